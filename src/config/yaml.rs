//! YAML as a tree in which every value knows its place.
//!
//! serde-saphyr is the only parser, so that no two readings of a file can differ. Merge keys (`<<`)
//! are refused: what a route allows should be readable where the route is written.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Location, Options, Spanned};

use super::hidden;
use super::variables::{self, Variables};
use super::{Located, Place, Problem, Problems};

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Place,
    /// A scalar as the file has it, with variables not expanded.
    pub(super) written: String,
    /// Whether variables were expanded in it.
    pub(super) expanded: bool,
    /// Whether it is written under a key that holds a secret.
    secret: bool,
}

impl Node {
    /// What messages may quote of it.
    pub(super) fn shown(&self) -> String {
        if self.secret && !self.written.is_empty() {
            return hidden::HIDDEN.to_owned();
        }
        hidden::value(&self.written)
    }
}

/// What a [`Node`] holds.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    /// Text whose variables could not be expanded, which has been reported.
    Unset,
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Located<String>,
    pub(super) node: Node,
}

/// Parses one file. Problems that leave a readable tree are pushed; without one, the answer is
/// `None`.
pub(super) fn parse(
    file: usize,
    text: &str,
    variables: &Variables,
    problems: &mut Problems,
) -> Option<Node> {
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(raw) => Some(Builder { file, text, variables, problems, secret: false }.node(raw)),
        Err(error) => {
            problems.push(unreadable(file, text, &error));
            None
        }
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 3 * MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: MAX_REPLAYED,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
}

fn unreadable(file: usize, text: &str, error: &Error) -> Problem {
    let location = error.location().unwrap_or(Location::UNKNOWN);
    let at = place_of_error(file, text, location);
    let (message, label) = words(error);
    let mut shown = text.to_owned();
    hidden::conceal(&mut shown);
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    // The parser may quote what it stumbled over.
    let is_whole = shown.lines().nth(at.line.saturating_sub(1)) == Some(line);
    let label = if is_whole { label } else { "the reading stopped here".to_owned() };
    let problem = Problem::new("E004", at, message).label(label);
    if line.contains("${") || line.contains("/{") {
        return problem.help("inside [ ] and { }, a value that has braces needs quotes");
    }
    problem
}

/// The parser's own words, without its name for the place, which is shown beside them.
fn words(error: &Error) -> (String, String) {
    let text = error.to_string();
    let bare = text.split(" at line ").next().unwrap_or_default();
    let error = error.without_snippet();
    if matches!(error, Error::MultipleDocuments { .. }) {
        return ("a configuration is one YAML document".into(), "a second one begins here".into());
    }
    let is_over_budget = matches!(
        error,
        Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
    );
    match is_over_budget {
        true => ("the file is too large or too deeply nested".into(), "read up to here".into()),
        false => ("this is not valid YAML".into(), bare.to_owned()),
    }
}

fn place_of_error(file: usize, text: &str, location: Location) -> Place {
    let line = usize::try_from(location.line()).unwrap_or_default().max(1);
    let column = usize::try_from(location.column()).unwrap_or_default().max(1);
    let start = line_start(text, line);
    let within = text[start..].split('\n').next().unwrap_or_default();
    let offset = within.char_indices().nth(column - 1).map_or(within.len(), |(at, _)| at);
    let width = within[offset..].chars().next().map_or(0, char::len_utf8);
    Place { file, line, column, start: start + offset, end: start + offset + width }
}

/// The byte offset at which a line begins.
pub(super) fn line_start(text: &str, line: usize) -> usize {
    let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(newlines).nth(line - 1).unwrap_or(text.len())
}

/// Turns what the parser found into nodes: places, duplicate keys, variables.
struct Builder<'a> {
    file: usize,
    text: &'a str,
    variables: &'a Variables,
    problems: &'a mut Problems,
    /// Whether what is built is written under a key that holds a secret.
    secret: bool,
}

impl Builder<'_> {
    fn node(&mut self, raw: Spanned<Raw>) -> Node {
        let at = self.place(raw.defined);
        let written = self.text[at.start..at.end].to_owned();
        match raw.value {
            Raw::Null => self.leaf(Value::Null, at, written, false),
            Raw::Bool(value) => self.leaf(Value::Bool(value), at, written, false),
            Raw::Number(value) => self.leaf(Value::Number(value), at, written, false),
            Raw::Text(text) => self.text_node(text, at),
            Raw::List(items) => self.list(items, at),
            Raw::Map(entries) => self.map(entries, at),
        }
    }

    fn text_node(&mut self, written: String, at: Place) -> Node {
        match variables::expand(&written, self.variables) {
            Ok(None) => self.leaf(Value::Text(written.clone()), at, written, false),
            Ok(Some(value)) => self.leaf(Value::Text(value), at, written, true),
            Err(faults) => {
                for fault in faults {
                    let place = self.narrow(at, fault.reference());
                    self.problems.push(fault.problem(place, self.secret));
                }
                self.leaf(Value::Unset, at, written, true)
            }
        }
    }

    fn leaf(&self, value: Value, at: Place, written: String, expanded: bool) -> Node {
        Node { value, at, written, expanded, secret: self.secret }
    }

    /// The place of `needle` within a value, if it is written there as it is.
    fn narrow(&self, at: Place, needle: &str) -> Place {
        let Some(offset) = self.text[at.start..at.end].find(needle) else { return at };
        let before = &self.text[at.start..at.start + offset];
        if before.contains('\n') {
            return at;
        }
        let start = at.start + offset;
        let column = at.column + before.chars().count();
        Place { column, start, end: start + needle.len(), ..at }
    }

    fn list(&mut self, items: Vec<Spanned<Raw>>, at: Place) -> Node {
        let items: Vec<Node> = items.into_iter().map(|item| self.node(item)).collect();
        let at = self.around(at, items.first().map(|item| item.at), items.last().map(|n| n.at));
        self.leaf(Value::List(items), at, String::new(), false)
    }

    fn map(&mut self, raw: Vec<(Spanned<Raw>, Spanned<Raw>)>, at: Place) -> Node {
        let mut entries: Vec<Entry> = Vec::with_capacity(raw.len());
        let mut first = std::collections::HashMap::with_capacity(raw.len());
        let mut last_at = None;
        for (key, value) in raw {
            let key = self.key(key);
            let outer = self.secret;
            self.secret |= hidden::is_secret(&key.value);
            let node = self.node(value);
            self.secret = outer;
            last_at = Some(if node.at.end > node.at.start { node.at } else { key.at });
            if let Some(first) = first.get(&key.value) {
                self.problems.push(duplicate(&key, *first));
                continue;
            }
            first.insert(key.value.clone(), key.at);
            entries.push(Entry { key, node });
        }
        let at = self.around(at, entries.first().map(|entry| entry.key.at), last_at);
        self.leaf(Value::Map(entries), at, String::new(), false)
    }

    fn key(&mut self, raw: Spanned<Raw>) -> Located<String> {
        let at = self.place(raw.defined);
        let value = match raw.value {
            Raw::Text(text) => text,
            Raw::Null | Raw::Bool(_) | Raw::Number(_) => self.text[at.start..at.end].to_owned(),
            Raw::List(_) | Raw::Map(_) => {
                let problem = Problem::new("E006", at, "a key is a mapping or a list here")
                    .label("expected text")
                    .help("a key with braces or brackets at its start needs quotes");
                self.problems.push(problem);
                String::new()
            }
        };
        Located { value, at }
    }

    fn place(&self, location: Location) -> Place {
        let size = |number: u64| usize::try_from(number).unwrap_or_default();
        let mut start = size(location.span().byte_offset().unwrap_or_default());
        if !self.text.is_char_boundary(start) {
            start = self.text.len();
        }
        let mut end = start + size(location.span().byte_len().unwrap_or_default());
        if !self.text.is_char_boundary(end) {
            end = start;
        }
        let (line, column) = (size(location.line()).max(1), size(location.column()).max(1));
        Place { file: self.file, line, column, start, end }
    }

    /// The place of a list or mapping: all of it in flow style, else its first key or item.
    fn around(&self, at: Place, first: Option<Place>, last: Option<Place>) -> Place {
        let close = match self.text.as_bytes().get(at.start) {
            Some(b'[') if at.end > at.start => ']',
            Some(b'{') if at.end > at.start => '}',
            Some(_) | None => return first.unwrap_or(at),
        };
        let from = last.map_or(at.start + 1, |last| last.end).max(at.start + 1);
        let end = self.text[from..].find([close, '\n']).map_or(from, |offset| from + offset);
        let closes = self.text[end..].starts_with(close);
        Place { end: if closes { end + 1 } else { end }, ..at }
    }
}

fn duplicate(key: &Located<String>, first: Place) -> Problem {
    Problem::new("E005", key.at, format!("`{}` is written twice", key.value))
        .label("again here")
        .also(first, format!("first here (line {})", first.line))
        .help("keep one of them")
}

/// What the parser found, before places and variables.
enum Raw {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Raw::Null, Raw::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

/// Some ten thousand routes; a bomb of aliases ends here.
const MAX_NODES: usize = 250_000;

const MAX_DEPTH: usize = 48;

const MAX_REPLAYED: usize = 20_000;
