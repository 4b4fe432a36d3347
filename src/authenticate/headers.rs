//! The identity headers for backends.
//!
//! Claims are attacker-influenced text: names people chose, groups people founded. Every byte that
//! is not visible ASCII is percent-encoded, so that no claim ends a header or starts another, and
//! so is `%`, so that decoding is exact. Lists have a delimiter that no item contains unencoded.

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use crate::config::{IdentityHeader, Template, TemplatePart};
use crate::http1::fields::line;
use crate::identity::Identity;

/// The headers that `templates` make of `identity`, as field lines; 8 KiB of values at most. A header
/// is absent if a claim in it is. A list that does not fit ends early, at an item's end, and a
/// header named `<name>-Truncated` says so; a header of which no part may be cut is left out, with
/// the same sign.
pub(super) fn headers(templates: &[IdentityHeader], identity: &Identity) -> Box<[u8]> {
    let mut lines = Vec::new();
    for (name, value) in fields(templates, identity) {
        line(&mut lines, &name, value.as_bytes());
    }
    lines.into_boxed_slice()
}

fn fields(templates: &[IdentityHeader], identity: &Identity) -> Vec<(HeaderName, HeaderValue)> {
    // Neither a long list nor a claim that people write themselves, such as their name, may crowd
    // out who calls, wherever it stands in the configuration.
    let mut templates: Vec<&IdentityHeader> = templates.iter().collect();
    templates.sort_by_key(|header| !is_of_identity(&header.template));
    let filled = templates.into_iter();
    let mut filled: Vec<_> = filled
        .filter_map(|header| Some((&*header.name, fill(&header.template, identity)?)))
        .collect();
    filled
        .sort_by_key(|(_, pieces)| pieces.iter().any(|piece| matches!(piece, Piece::List { .. })));
    let mut left = MAX_TOTAL;
    let mut headers = Vec::with_capacity(filled.len());
    for (name, pieces) in filled {
        let (text, is_cut) = join(pieces, left);
        left -= text.as_ref().map_or(0, String::len);
        let value = text.and_then(|text| HeaderValue::try_from(text).ok());
        let is_lost = value.is_none();
        headers.extend(value.map(|value| (name.clone(), value)));
        if is_cut || is_lost {
            headers.extend(truncated(name));
        }
    }
    headers
}

/// Whether a template tells who calls, and nothing else.
fn is_of_identity(template: &Template) -> bool {
    template.0.iter().all(|part| match part {
        TemplatePart::Text(_) => true,
        TemplatePart::Claim(name) => matches!(name.as_str(), "sub" | "client" | "issuer" | "kind"),
    })
}

/// A part of a header's value, encoded.
enum Piece {
    Text(String),
    List { items: Vec<String>, delimiter: char },
}

/// The pieces of a header's value; `None` if a claim is absent.
fn fill(template: &Template, identity: &Identity) -> Option<Vec<Piece>> {
    template.0.iter().map(|part| piece(part, identity)).collect()
}

fn piece(part: &TemplatePart, identity: &Identity) -> Option<Piece> {
    let name = match part {
        TemplatePart::Text(text) => return Some(Piece::Text(encode(text, TEXT))),
        TemplatePart::Claim(name) => name.as_str(),
    };
    match name {
        "sub" => identity.subject.as_deref().map(scalar),
        "client" => identity.client.as_deref().map(scalar),
        "issuer" => Some(scalar(&identity.issuer_url)),
        "kind" => Some(scalar(identity.kind.as_str())),
        "scopes" => list(&identity.scopes, SCALAR, ' '),
        "roles" => list(&identity.roles, ITEM, ','),
        "groups" => list(&identity.groups, ITEM, ','),
        claim => any_claim(identity.claim(claim)?),
    }
}

/// A claim that may be a list or not: commas are encoded in both, or `a,b` could be either.
fn any_claim(value: &Value) -> Option<Piece> {
    let text = |value: &Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    match value.as_array() {
        None => Some(Piece::Text(encode(&text(value), ITEM))),
        Some(items) => {
            let items: Vec<_> = items.iter().filter(|item| !item.is_null()).map(text).collect();
            list(&items, ITEM, ',')
        }
    }
}

fn scalar(text: &str) -> Piece {
    Piece::Text(encode(text, SCALAR))
}

fn list<T: AsRef<str>>(items: &[T], set: &'static AsciiSet, delimiter: char) -> Option<Piece> {
    if items.is_empty() {
        return None;
    }
    let items = items.iter().map(|item| encode(item.as_ref(), set)).collect();
    Some(Piece::List { items, delimiter })
}

fn encode(text: &str, set: &'static AsciiSet) -> String {
    utf8_percent_encode(text, set).to_string()
}

/// The value in at most `limit` bytes, and whether a list was cut. `None` if not even the parts
/// that are not lists fit: half a subject would be another subject.
fn join(pieces: Vec<Piece>, limit: usize) -> (Option<String>, bool) {
    let fixed: usize = pieces.iter().map(Piece::fixed_len).sum();
    let Some(mut left) = limit.checked_sub(fixed) else { return (None, false) };
    let mut value = String::new();
    let mut is_cut = false;
    for piece in pieces {
        match piece {
            Piece::Text(text) => value.push_str(&text),
            Piece::List { items, delimiter } => {
                is_cut |= !append(&mut value, &items, delimiter, &mut left);
            }
        }
    }
    (Some(value), is_cut)
}

impl Piece {
    fn fixed_len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List { .. } => 0,
        }
    }
}

/// Appends the items that fit into `left` bytes; says whether all did.
fn append(value: &mut String, items: &[String], delimiter: char, left: &mut usize) -> bool {
    for (index, item) in items.iter().enumerate() {
        let length = item.len() + usize::from(index > 0);
        let Some(rest) = left.checked_sub(length) else { return false };
        *left = rest;
        if index > 0 {
            value.push(delimiter);
        }
        value.push_str(item);
    }
    true
}

/// The header that says that `name` is not complete.
fn truncated(name: &HeaderName) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::try_from(format!("{name}-truncated")).ok()?;
    Some((name, HeaderValue::from_static("1")))
}

/// The sum of all values' bytes: no token may make a request that its backend finds too large.
const MAX_TOTAL: usize = 8 << 10;

/// What is encoded in text that the operator wrote.
const TEXT: &AsciiSet = CONTROLS;

/// What is encoded in a value: all but visible ASCII, and the escape itself.
const SCALAR: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// What is encoded in an item of a list.
const ITEM: &AsciiSet = &SCALAR.add(b',');
