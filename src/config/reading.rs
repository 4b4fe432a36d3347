//! Reading a tree into types: every mistake is noted and the reading goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::hidden;
use super::language::{Key, Section};
use super::problem::Source;
use super::suggest::nearest;
use super::yaml::{self, Entry, Node, Value};
use super::{Place, Problem, Problems, Sources, Variables};
use crate::method;

/// What is known and found while one configuration is read.
pub(super) struct Reading<'a> {
    pub(super) sources: Sources,
    pub(super) problems: Problems,
    /// What relative paths are relative to.
    pub(super) base: PathBuf,
    /// How many routes were found, readable or not.
    pub(super) routes: usize,
    pub(super) variables: &'a Variables,
    /// Each key that a reader asked for: a test compares them with the language.
    #[cfg(test)]
    pub(super) asked: std::collections::BTreeSet<(&'static str, &'static str)>,
}

/// Why a text is not the value that is needed. Holds no part of the text, which may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(super) code: &'static str,
    /// Completes the sentence that begins with the value: "has no unit".
    pub(super) what: String,
    /// What stands under the caret.
    pub(super) label: String,
    /// The way out.
    pub(super) help: Option<&'static str>,
}

impl Fault {
    pub(super) fn new(
        code: &'static str,
        what: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self { code, what: what.into(), label: label.into(), help: None }
    }

    pub(super) fn help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }
}

impl<'a> Reading<'a> {
    pub(super) fn new(base: &Path, variables: &'a Variables) -> Self {
        Self {
            sources: Sources::default(),
            problems: Problems::default(),
            base: base.to_owned(),
            routes: 0,
            variables,
            #[cfg(test)]
            asked: std::collections::BTreeSet::new(),
        }
    }

    /// Adds a file and parses it.
    pub(super) fn parse(&mut self, name: &str, bytes: Vec<u8>) -> Option<Node> {
        let file = self.sources.0.len();
        let too_large = bytes.len() > MAX_BYTES;
        let (text, bad) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(at))
            }
        };
        self.sources.0.push(Source { name: Arc::from(name), text });
        let text = &self.sources.0[file].text;
        if let Some(offset) = bad {
            let problem = Problem::new("E004", place_at(file, text, offset), "this is not UTF-8");
            self.problems.push(problem.label("from here on"));
            return None;
        }
        if too_large {
            let problem = Problem::new("E004", place_at(file, text, 0), "the file is too large");
            self.problems.push(problem.label("more than 8 MiB"));
            return None;
        }
        let root = yaml::parse(file, text, self.variables, &mut self.problems);
        hidden::conceal(&mut self.sources.0[file].text);
        root
    }

    /// Notes a problem.
    pub(super) fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Notes that a value has the wrong type; `expected` says what it should be.
    pub(super) fn expected(&mut self, node: &Node, expected: &str) {
        if matches!(node.value, Value::Unset) {
            return;
        }
        let found = describe(node);
        self.note(
            Problem::new("E006", node.at, format!("expected {expected}, found {found}"))
                .label(format!("expected {expected}")),
        );
    }

    /// Notes that a text does not read as what is needed.
    pub(super) fn fault(&mut self, node: &Node, fault: Fault) {
        let message = format!("`{}` {}", shorten(&node.shown()), fault.what);
        let label = match node.expanded {
            true => "after its variables are expanded".to_owned(),
            false => fault.label,
        };
        let mut problem = Problem::new(fault.code, node.at, message).label(label);
        problem.help = fault.help.map(str::to_owned);
        self.note(problem);
    }

    /// Makes what is written at `at` unreadable in all that will be shown of the file.
    pub(super) fn conceal(&mut self, at: Place) {
        let Some(source) = self.sources.0.get_mut(at.file) else { return };
        hidden::star(&mut source.text, at.start..at.end);
    }

    /// The text of a file within `at`, as it is written.
    pub(super) fn written(&self, at: Place) -> &str {
        self.sources.text(at)
    }
}

/// A scalar or container in words.
fn describe(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{}`", shorten(&node.shown())),
        Value::Text(_) | Value::Unset => format!("the text `{}`", shorten(&node.shown())),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

/// At most sixty characters, on one line, without secrets: of what is cut off in the middle nobody
/// could tell any more that it is one.
pub(super) fn shorten(text: &str) -> String {
    let text = hidden::value(text);
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

fn place_at(file: usize, text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let end = text[offset..].chars().next().map_or(offset, |c| offset + c.len_utf8());
    Place { file, line, column, start: offset, end }
}

/// The keys of one mapping, checked against the language.
pub(super) struct Fields<'n> {
    section: &'static Section,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// Opens a mapping; `owner` says whose it is, as in "in route /orders/**". Keys that the
    /// language does not have are noted.
    pub(super) fn open(
        reading: &mut Reading<'_>,
        node: &'n Node,
        section: &'static Section,
        owner: &str,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            reading.expected(node, "a mapping");
            return None;
        };
        let fields = Self { section, entries };
        for entry in entries {
            if !fields.is_method(&entry.key.value) {
                fields.check_key(reading, entry, owner);
            }
        }
        Some(fields)
    }

    /// The value of `key`, if it is written and not empty.
    pub(super) fn find(&self, reading: &mut Reading<'_>, key: &'static str) -> Option<&'n Node> {
        debug_assert!(self.section.key(key).is_some(), "{}: {key}", self.section.name);
        #[cfg(test)]
        reading.asked.insert((self.section.name, key));
        let entry = self.entries.iter().find(|entry| entry.key.value == key)?;
        if matches!(entry.node.value, Value::Null) {
            reading.note(
                Problem::new("E006", entry.key.at, format!("`{key}` has no value"))
                    .label("write a value, or delete the key"),
            );
            return None;
        }
        Some(&entry.node)
    }

    /// The value of `key`, read by `read`.
    pub(super) fn read<T>(
        &self,
        reading: &mut Reading<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Reading<'_>, &Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.find(reading, key)?;
        read(reading, node)
    }

    /// Where `key` is written.
    pub(super) fn key_at(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|entry| entry.key.value == key).map(|entry| entry.key.at)
    }

    /// The entries whose keys are methods.
    pub(super) fn methods(&self) -> impl Iterator<Item = &'n Entry> {
        self.entries.iter().filter(|entry| self.is_method(&entry.key.value))
    }

    /// A route's key is a method if it is no key of the language and looks like one.
    fn is_method(&self, key: &str) -> bool {
        if !self.section.methods || self.section.key(key).is_some() {
            return false;
        }
        let first = key.split(',').next().unwrap_or_default().trim();
        key.contains(',')
            || key.starts_with(|c: char| c.is_ascii_uppercase())
            || method::known().any(|method| method.eq_ignore_ascii_case(first))
    }

    fn check_key(&self, reading: &mut Reading<'_>, entry: &Entry, owner: &str) {
        let name = &entry.key.value;
        match self.section.key(name) {
            Some(Key { later: false, .. }) => {}
            Some(Key { later: true, .. }) => {
                let message = format!("`{name}` is not supported yet{owner}");
                reading.note(
                    Problem::new("E090", entry.key.at, message)
                        .label("this version would ignore it")
                        .help("delete it: what is written here must be what is enforced"),
                );
            }
            None => reading.note(self.unknown(entry, owner)),
        }
    }

    fn unknown(&self, entry: &Entry, owner: &str) -> Problem {
        let name = &entry.key.value;
        let words = self.section.keys.iter().filter(|key| !key.later).map(|key| key.name);
        let label = match nearest(name, words) {
            Some(word) => format!("did you mean `{word}`?"),
            None => "no such key".to_owned(),
        };
        let message = format!("unknown key `{}`{owner}", shorten(name));
        let help = match name.as_str() {
            "<<" => {
                "merge keys are not read: write the keys out, or name a rule and `use:` it".into()
            }
            _ => format!("`scopegate help {}` lists the keys", self.section.name),
        };
        Problem::new("E001", entry.key.at, message).label(label).help(help)
    }
}

const MAX_BYTES: usize = 8 << 20;

const MAX_QUOTE: usize = 60;
