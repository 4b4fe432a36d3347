//! Mistakes in a configuration: each has a code, a place and a way out.

use std::sync::Arc;

use super::hidden::prose;

/// The texts of the files that a configuration was read from.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub(super) Vec<Source>);

/// One file's name, as the user gave it, and text.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) text: String,
}

impl Sources {
    /// `gateway.yaml:7`: what logs and explanations cite.
    #[must_use]
    pub fn cite(&self, place: Place) -> String {
        match self.0.get(place.file) {
            Some(source) => format!("{}:{}", source.name, place.line),
            None => format!("line {}", place.line),
        }
    }

    /// What is written at a place, as it is in the file but for secrets.
    #[must_use]
    pub fn text(&self, place: Place) -> &str {
        let text = self.0.get(place.file).map_or("", |source| &source.text);
        text.get(place.start..place.end).unwrap_or_default()
    }

    /// The name of a place's file.
    #[must_use]
    pub fn name(&self, place: Place) -> &str {
        self.0.get(place.file).map_or("", |source| &source.name)
    }
}

/// A span of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Index into [`Sources`].
    pub file: usize,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The byte offset of the span's start.
    pub start: usize,
    /// The byte offset behind the span's end.
    pub end: usize,
}

/// A value with its place.
#[derive(Clone, Copy, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub at: Place,
}

/// Two located values are equal when they say the same, wherever: a reload that only moves lines
/// changes nothing.
impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

impl<T> std::ops::Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Whether a problem stops the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but someone should look.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug)]
pub struct Problem {
    /// `E012` or `A101`; `scopegate help E012` explains it.
    pub code: &'static str,
    /// Errors start with `E`, warnings with `A`.
    pub severity: Severity,
    /// Where it is; `None` for what concerns the whole file.
    pub at: Option<Place>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What stands under the caret.
    pub label: String,
    /// Other places that belong to it.
    pub also: Vec<(Place, String)>,
    /// The way out.
    pub help: Option<String>,
}

impl Problem {
    /// A problem with code `code` (`E…` an error, `A…` a warning) at `at`. Whatever it is told to
    /// say, it hides the secrets in URLs.
    #[must_use]
    pub fn new(code: &'static str, at: Place, message: impl AsRef<str>) -> Self {
        let severity = if code.starts_with('A') { Severity::Warning } else { Severity::Error };
        Self {
            code,
            severity,
            at: Some(at),
            message: prose(message.as_ref()),
            label: String::new(),
            also: Vec::new(),
            help: None,
        }
    }

    /// Says what is under the caret.
    #[must_use]
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        self.label = prose(label.as_ref());
        self
    }

    /// Says the way out.
    #[must_use]
    pub fn help(mut self, help: impl AsRef<str>) -> Self {
        self.help = Some(prose(help.as_ref()));
        self
    }

    /// Points at another place.
    #[must_use]
    pub fn also(mut self, at: Place, label: impl AsRef<str>) -> Self {
        self.also.push((at, prose(label.as_ref())));
        self
    }
}

/// All the problems of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether one of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }
}
