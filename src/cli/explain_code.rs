//! `scopegate help E012`, `scopegate help routes`, `scopegate help check`.

use clap::CommandFactory;

use super::check::{answer, complain};
use super::{Cli, Exit, Format, Global};
use crate::config::codes::{CODES, Code, explain};
use crate::config::language::{Key, Kind, SECTIONS, Section, section};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A code such as E012, a section such as routes, or a command
    topic: Option<String>,
}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    let Some(topic) = options.topic.as_deref() else {
        answer(&format!("{}\n{}", Cli::command().render_long_help(), topics()));
        return Exit::Fine;
    };
    if let Some(text) = about(topic, global.format) {
        answer(&text);
        return Exit::Fine;
    }
    complain(&format!("nothing is called `{topic}`"), topics().trim_end());
    Exit::Usage
}

/// What there is to say about a topic.
fn about(topic: &str, format: Format) -> Option<String> {
    if let Some(code) = explain(topic) {
        return Some(match format {
            Format::Human => code_text(code),
            Format::Json => code_json(code),
        });
    }
    if let Some(section) = section(topic) {
        return Some(section_text(section));
    }
    let mut cli = Cli::command();
    let command = cli.find_subcommand_mut(topic)?;
    Some(command.render_long_help().to_string())
}

fn topics() -> String {
    let sections: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
    let (first, last) = (CODES.first(), CODES.last());
    let code = |code: Option<&Code>| code.map_or("", |code| code.code);
    format!("codes {} to {}; sections {}\n", code(first), code(last), sections.join(", "))
}

fn code_text(code: &Code) -> String {
    format!(
        "{}: {}\n\n{}\n\nWrong:\n{}\n\nRight:\n{}\n",
        code.code,
        code.title,
        wrap(code.text, ""),
        indent(code.wrong),
        indent(code.right)
    )
}

fn code_json(code: &Code) -> String {
    let object = serde_json::json!({
        "code": code.code,
        "title": code.title,
        "text": code.text,
        "wrong": code.wrong,
        "right": code.right,
    });
    format!("{object:#}\n")
}

fn section_text(section: &Section) -> String {
    let mut text = format!("{}\n\n", wrap(section.doc, ""));
    for key in section.keys.iter().filter(|key| !key.later) {
        text.push_str(&key_text(key));
    }
    let later: Vec<_> = section.keys.iter().filter(|key| key.later).map(|key| key.name).collect();
    if !later.is_empty() {
        text.push_str(&format!("\nNot supported yet: {}\n", later.join(", ")));
    }
    text
}

fn key_text(key: &Key) -> String {
    format!("  {}: {}\n{}\n", key.name, kind(&key.kind), wrap(key.doc, "      "))
}

/// A type in words.
fn kind(of: &Kind) -> String {
    match of {
        Kind::Text => "text".to_owned(),
        Kind::Form(_, words) => (*words).to_owned(),
        Kind::Word(words) => words.join(" | "),
        Kind::Switch => "true | false".to_owned(),
        Kind::Count => "a number".to_owned(),
        Kind::Size => "a size such as 64KiB".to_owned(),
        Kind::Literal => "a value".to_owned(),
        Kind::One(section) if section.or_text => "a rule (scopegate help rules)".to_owned(),
        Kind::One(section) => format!("a mapping (scopegate help {})", section.name),
        Kind::Named(inner) => format!("names, each with {}", kind(inner)),
        Kind::List(inner) => format!("a list, each {}", kind(inner)),
        Kind::Some(inner) => format!("{}, or a list", kind(inner)),
        Kind::Either(kinds) => kinds.iter().map(kind).collect::<Vec<_>>().join(", or "),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Breaks text into lines of at most eighty characters.
fn wrap(text: &str, margin: &str) -> String {
    let mut lines = vec![String::from(margin)];
    for word in text.split_whitespace() {
        let last = lines.last_mut().filter(|line| line.len() + word.len() < WIDTH);
        match last {
            Some(line) if line.len() > margin.len() => *line = format!("{line} {word}"),
            Some(line) => line.push_str(word),
            None => lines.push(format!("{margin}{word}")),
        }
    }
    lines.join("\n")
}

const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_sections_and_commands_are_explained() {
        let text = about("e012", Format::Human).unwrap();
        assert!(text.starts_with("E012: a list that does not say all or any\n"));
        assert!(text.contains("Wrong:\n    GET: [orders:read, orders:admin]\n"));
        let text = about("routes", Format::Human).unwrap();
        assert!(text.contains("  strip_prefix: text\n"));
        let text = about("file", Format::Human).unwrap();
        assert!(text.contains("Not supported yet: redis"));
        assert!(about("check", Format::Human).unwrap().contains("Usage"));
        assert!(about("nonsense", Format::Human).is_none());
    }

    #[test]
    fn every_topic_fits_the_width() {
        for section in SECTIONS {
            let text = about(section.name, Format::Human).unwrap();
            let docs = text.lines().filter(|line| line.starts_with("      "));
            assert!(docs.into_iter().all(|line| line.chars().count() <= WIDTH));
        }
    }
}
