//! The language of `gateway.yaml` as one table: what each section may hold.
//!
//! From it come the check for unknown keys, `scopegate help routes` and the JSON Schema.

mod keys;

pub(crate) use keys::*;

/// A mapping of the language.
pub(crate) struct Section {
    /// What `scopegate help` calls it.
    pub(crate) name: &'static str,
    /// What it is for, in a sentence.
    pub(crate) doc: &'static str,
    /// Its keys, in the order in which they are explained.
    pub(crate) keys: &'static [Key],
    /// Whether methods such as `GET` are keys too.
    pub(crate) methods: bool,
    /// Whether a mapping is all it can be; a rule can also be a string.
    pub(crate) or_text: bool,
    /// The keys of which one must be there, for the schema.
    pub(crate) required: &'static [&'static str],
}

/// A key and what it holds.
pub(crate) struct Key {
    /// The key itself.
    pub(crate) name: &'static str,
    /// The type of its value.
    pub(crate) kind: Kind,
    /// What it does, and its default.
    pub(crate) doc: &'static str,
    /// Whether it is reserved for a later version and refused by this one.
    pub(crate) later: bool,
}

/// The type of a value.
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// Text of a form that a regular expression describes, and how people call it.
    Form(&'static str, &'static str),
    /// One of some words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Count,
    /// A number of bytes, with or without a unit.
    Size,
    /// Text, a number or a truth value.
    Literal,
    /// A mapping of its own.
    One(&'static Section),
    /// A mapping of names that the user chooses to this.
    Named(&'static Kind),
    /// A list of these.
    List(&'static Kind),
    /// One of these, or a list of them.
    Some(&'static Kind),
    /// Any of these.
    Either(&'static [Kind]),
}

impl Section {
    /// The key called `name`.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// The section called `name`.
pub(crate) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().copied().find(|section| section.name == name)
}
