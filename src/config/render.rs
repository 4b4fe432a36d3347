//! Problems as people and programs read them.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value as Json, json};

use super::yaml::line_start;
use super::{Place, Problem, Problems, Severity, Sources};

impl Problems {
    /// The problems as people read them: code, place, source line, caret, label and help.
    #[must_use]
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for problem in &self.0 {
            out.push_str(&report(problem, sources, &renderer));
            out.push_str("\n\n");
        }
        out
    }

    /// The problems as a JSON array, for `--format json`.
    #[must_use]
    pub fn to_json(&self, sources: &Sources) -> Json {
        self.0.iter().map(|problem| object(problem, sources)).collect()
    }

    /// How many errors and warnings there are.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let errors = self.0.iter().filter(|p| p.severity == Severity::Error).count();
        (errors, self.0.len() - errors)
    }
}

fn report(problem: &Problem, sources: &Sources, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(plain(&problem.message)).id(problem.code);
    let mut elements = Vec::new();
    if let Some(at) = problem.at {
        elements = snippets(problem, at, sources);
    }
    let group = title.elements(elements);
    let more = format!("(scopegate help {})", problem.code);
    let help = match &problem.help {
        Some(help) => format!("{}     {more}", plain(help)),
        None => more,
    };
    let rendered = renderer.render(&[group.element(Level::HELP.message(help))]);
    rendered.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The lines of a problem: those of one file together.
fn snippets<'s>(
    problem: &Problem,
    at: Place,
    sources: &'s Sources,
) -> Vec<Snippet<'s, annotate_snippets::Annotation<'s>>> {
    let mut files: Vec<Vec<(Place, String, bool)>> = vec![vec![(at, problem.label.clone(), true)]];
    for (place, label) in &problem.also {
        let mark = (*place, label.clone(), false);
        match files.iter_mut().find(|marks| marks[0].0.file == place.file) {
            Some(marks) => marks.push(mark),
            None => files.push(vec![mark]),
        }
    }
    files.into_iter().filter_map(|marks| snippet(marks, sources)).collect()
}

/// The lines from the first mark to the last. Only these are handed on: the whole of a large file
/// would be split into lines for every problem.
fn snippet<'s>(
    marks: Vec<(Place, String, bool)>,
    sources: &'s Sources,
) -> Option<Snippet<'s, annotate_snippets::Annotation<'s>>> {
    let source = sources.0.get(marks.first()?.0.file)?;
    let first = marks.iter().map(|(at, ..)| at.line).min()?;
    let last = marks.iter().map(|(at, ..)| at.line).max()?;
    let start = line_start(&source.text, first);
    let end = line_start(&source.text, last + 1);
    let window = &source.text[start..end];
    let mut snippet = Snippet::source(window).line_start(first).path(&*source.name).fold(true);
    for (at, label, primary) in marks {
        let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
        let annotation = kind.span(span(&source.text, at, start, end));
        let label = Some(plain(&label)).filter(|label| !label.is_empty());
        snippet = snippet.annotation(annotation.label(label));
    }
    Some(snippet)
}

/// The bytes of a place within the window, on its first line alone. Whole characters, wherever the
/// place was computed to be.
fn span(text: &str, at: Place, start: usize, end: usize) -> std::ops::Range<usize> {
    let whole = |mut offset: usize| {
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    };
    let from = whole(at.start.clamp(start, end));
    let line = text[from..end].find(['\n', '\r']).map_or(end, |offset| from + offset);
    let to = whole(at.end.clamp(from, line));
    from - start..to.max(from) - start
}

/// Text without control characters, which a file or an environment could smuggle to a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn object(problem: &Problem, sources: &Sources) -> Json {
    let also: Vec<Json> = problem
        .also
        .iter()
        .map(|(at, label)| {
            let mut also = place(*at, sources);
            also["label"] = json!(label);
            also
        })
        .collect();
    let mut object = problem.at.map_or_else(|| json!({}), |at| place(at, sources));
    object["code"] = json!(problem.code);
    object["severity"] = json!(match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    });
    object["message"] = json!(problem.message);
    object["label"] = json!(problem.label);
    object["help"] = json!(problem.help);
    object["also"] = json!(also);
    object
}

fn place(at: Place, sources: &Sources) -> Json {
    json!({ "file": sources.name(at), "line": at.line, "column": at.column })
}
