//! Rules: who may call.
//!
//! A string is a scope, the keys of a mapping are all needed, and a bare list is an error, because
//! half of its readers would take it for the other of "all" and "any".

use super::language::{MATCHER, RULE};
use super::reading::{Fault, Fields, Reading, shorten};
use super::server::network;
use super::upstreams::unquoted;
use super::value::{self, at_least_one, entries, literal, parsed, some, switch, text, wait, word};
use super::yaml::{Entry, Node, Value};
use super::{ClaimMatch, Located, Place, Problem, Public, Rule, RuleKind, TokenKind};

/// `rules:`, the named ones.
pub(super) fn named(
    reading: &mut Reading<'_>,
    node: &Node,
) -> Option<Vec<(Located<String>, Rule)>> {
    let mut rules = Vec::new();
    for entry in entries(reading, node) {
        let name = value::name(reading, &entry.key);
        rules.push((name, rule(reading, &entry.node, &entry.key.value)));
    }
    Some(rules)
}

/// A method's rule, which may be `{ public: true }`; `key` is what it is written under.
pub(super) fn of_method(reading: &mut Reading<'_>, node: &Node, key: &str) -> Rule {
    if let Value::Map(entries) = &node.value
        && let [Entry { key, node: value }] = entries.as_slice()
        && key.value == "public"
    {
        if let Some(fields) = Fields::open(reading, node, &RULE, "") {
            fields.find(reading, "public");
        }
        let kind = public(reading, value).map_or_else(refused, RuleKind::Public);
        return Rule { at: value.at, kind };
    }
    rule(reading, node, key)
}

/// A rule, wherever it is written; `key` is what it is written under, for suggestions. What
/// cannot be read becomes a rule that nobody meets, beside the problem that says why.
pub(super) fn rule(reading: &mut Reading<'_>, node: &Node, key: &str) -> Rule {
    let kind = match &node.value {
        Value::Text(text) if text == "public" && !node.expanded => {
            reading.note(bare_public(node));
            refused()
        }
        Value::Text(_) => scope(reading, node).map_or_else(refused, RuleKind::Scope),
        Value::List(items) => {
            reading.note(bare_list(node, items, key, "scopes", None));
            refused()
        }
        Value::Map(_) => mapping(reading, node),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Unset => {
            reading.expected(node, "a scope or a mapping");
            refused()
        }
    };
    Rule { at: node.at, kind }
}

/// `public: true`, or `optional`; `false` is what is anyway.
pub(super) fn public(reading: &mut Reading<'_>, node: &Node) -> Option<Public> {
    match &node.value {
        Value::Bool(true) => Some(Public::Open),
        Value::Text(text) if text == "optional" => Some(Public::Optional),
        Value::Bool(false)
        | Value::Null
        | Value::Number(_)
        | Value::Text(_)
        | Value::Unset
        | Value::List(_)
        | Value::Map(_) => {
            reading.expected(node, "`true` or `optional`");
            None
        }
    }
}

/// Nobody meets it.
fn refused() -> RuleKind {
    RuleKind::Any(Vec::new())
}

fn bare_public(node: &Node) -> Problem {
    Problem::new("E013", node.at, "a string is a scope: this would ask for a scope called `public`")
        .label("did you mean `{ public: true }`?")
        .help("for the scope, write `{ scope: public }`")
}

/// The error of a list where it is not said whether all or any are needed.
fn bare_list(node: &Node, items: &[Node], key: &str, plural: &str, inner: Option<&str>) -> Problem {
    let message = format!("a list of {plural} must say whether all or any are needed");
    let words: Vec<String> = items
        .iter()
        .map(|item| match (item.shown().as_str(), inner) {
            ("", _) => "...".to_owned(),
            (text, None) => shorten(text),
            (text, Some(inner)) => format!("{{ {inner}: {} }}", shorten(text)),
        })
        .collect();
    let list = words.join(", ");
    let all = if inner.is_none() { "{ all: [...] }" } else { "all: [...]" };
    let help = match inner {
        None => format!("write `{key}: {{ any: [{list}] }}` or `{all}`"),
        Some(_) => format!("write `any: [{list}]` or `{all}`"),
    };
    Problem::new("E012", node.at, message).label("all of these, or any one?").help(help)
}

fn mapping(reading: &mut Reading<'_>, node: &Node) -> RuleKind {
    let Value::Map(entries) = &node.value else { return refused() };
    let Some(fields) = Fields::open(reading, node, &RULE, " in a rule") else { return refused() };
    if entries.is_empty() {
        reading.note(
            Problem::new("E013", node.at, "this rule asks for nothing")
                .label("who may call?")
                .help("`{ token: any }` for any valid token, `{ public: true }` for no token"),
        );
    }
    let mut parts = Vec::new();
    for key in entries.iter().filter_map(|entry| RULE.key(&entry.key.value)) {
        if let Some(value) = fields.find(reading, key.name) {
            part(reading, key.name, value, &mut parts);
        }
    }
    match parts.len() {
        0 => refused(),
        1 => parts.remove(0).kind,
        _ => RuleKind::All(parts),
    }
}

/// Reads one key of a rule.
fn part(reading: &mut Reading<'_>, key: &'static str, node: &Node, parts: &mut Vec<Rule>) {
    let name = |reading: &mut Reading<'_>, plural| one_name(reading, node, key, plural);
    let kind = match key {
        "public" => misplaced_public(reading, node),
        "scope" => scope_of(reading, node).map(RuleKind::Scope),
        "role" => name(reading, "roles").map(RuleKind::Role),
        "group" => name(reading, "groups").map(RuleKind::Group),
        "client" => name(reading, "clients").map(RuleKind::Client),
        "issuer" => name(reading, "issuers").map(RuleKind::Issuer),
        "use" => name(reading, "rules").map(RuleKind::Use),
        "token" => word(reading, node, &TOKEN_KINDS).map(RuleKind::Token),
        "acr" => at_least_one(reading, node, fixed_text).map(RuleKind::Acr),
        "max_age" => wait(reading, node).map(RuleKind::MaxAge),
        "source" => at_least_one(reading, node, network).map(RuleKind::Source),
        "all" => rules(reading, node).map(RuleKind::All),
        "any" => rules(reading, node).map(RuleKind::Any),
        "not" => Some(RuleKind::Not(Box::new(rule(reading, node, "not")))),
        "claim" => return claims(reading, node, parts),
        // A test proves that every key of the language is above; if not, nobody may call.
        _ => None,
    };
    parts.push(Rule { at: node.at, kind: kind.unwrap_or_else(refused) });
}

fn misplaced_public(reading: &mut Reading<'_>, node: &Node) -> Option<RuleKind> {
    reading.note(
        Problem::new("E013", node.at, "`public` cannot be part of a rule")
            .label("it stands alone: for a whole route, or for one method")
            .help("`public: true` on the route opens GET and HEAD; `POST: { public: true }` opens POST"),
    );
    None
}

fn scope_of(reading: &mut Reading<'_>, node: &Node) -> Option<String> {
    match &node.value {
        Value::List(items) => {
            reading.note(bare_list(node, items, "scope", "scopes", Some("scope")));
            None
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Unset
        | Value::Map(_) => scope(reading, node),
    }
}

fn scope(reading: &mut Reading<'_>, node: &Node) -> Option<String> {
    fixed_text(reading, node)?;
    parsed(reading, node, "a scope", parse_scope)
}

/// A scope is one token of RFC 6749 §3.3.
fn parse_scope(text: &str) -> Result<String, Fault> {
    if text.contains(' ') {
        let fault = Fault::new("E013", "is more than one scope", "one scope for each string");
        return Err(fault.help("write `{ all: [a, b] }` or `{ any: [a, b] }`"));
    }
    if !text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)) {
        let label = "see RFC 6749 section 3.3";
        return Err(Fault::new("E013", "has characters that no scope has", label));
    }
    Ok(text.to_owned())
}

fn one_name(
    reading: &mut Reading<'_>,
    node: &Node,
    key: &'static str,
    plural: &str,
) -> Option<String> {
    if let Value::List(items) = &node.value {
        reading.note(bare_list(node, items, key, plural, Some(key)));
        return None;
    }
    fixed_text(reading, node)
}

/// The rules of `all` and `any`.
fn rules(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<Rule>> {
    let items = filled_list(reading, node, "a list of rules")?;
    Some(items.iter().map(|item| rule(reading, item, "all")).collect())
}

/// The items of a list that has some; anything else is a mistake, and `what` was expected.
fn filled_list<'n>(reading: &mut Reading<'_>, node: &'n Node, what: &str) -> Option<&'n [Node]> {
    if let Value::List(items) = &node.value
        && !items.is_empty()
    {
        return Some(items);
    }
    reading.expected(node, what);
    None
}

/// `claim:`, each of whose keys is a condition of its own.
fn claims(reading: &mut Reading<'_>, node: &Node, parts: &mut Vec<Rule>) {
    let found = entries(reading, node);
    if found.is_empty() {
        reading.expected(node, "at least one claim");
        parts.push(Rule { at: node.at, kind: refused() });
    }
    for entry in found {
        let at = if entry.node.at.end > entry.node.at.start { entry.node.at } else { entry.key.at };
        let kind = condition(reading, &entry.node)
            .map_or_else(refused, |matcher| RuleKind::Claim(entry.key.value.clone(), matcher));
        parts.push(Rule { at, kind });
    }
}

pub(super) fn condition(reading: &mut Reading<'_>, node: &Node) -> Option<ClaimMatch> {
    match &node.value {
        Value::Map(_) => matcher(reading, node),
        Value::List(items) => {
            reading.note(claim_list(node, items));
            None
        }
        Value::Text(text) if text.contains(['{', '}']) && !node.expanded => {
            let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            let name = name.filter(|name| !name.is_empty() && !name.contains(['{', '}']));
            if name.is_none() {
                reading.fault(node, half_a_parameter());
            }
            name.map(|name| ClaimMatch::Param(name.to_owned()))
        }
        Value::Text(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Unset => {
            literal(reading, node).map(ClaimMatch::Is)
        }
    }
}

fn half_a_parameter() -> Fault {
    Fault::new("E016", "is no parameter of a path", "expected `\"{name}\"` and nothing else")
        .help("for a value that has other braces, write `{ in: [\"...\"] }`")
}

fn claim_list(node: &Node, items: &[Node]) -> Problem {
    let words: Vec<String> = items.iter().map(|item| shorten(&item.shown())).collect();
    Problem::new("E012", node.at, "a list of values must say what it is")
        .label("equal to one of these?")
        .help(format!("write `{{ in: [{}] }}`", words.join(", ")))
}

fn matcher(reading: &mut Reading<'_>, node: &Node) -> Option<ClaimMatch> {
    if let Some(problem) = unquoted(node)
        && let Value::Map(entries) = &node.value
        && entries.iter().all(|entry| MATCHER.key(&entry.key.value).is_none())
    {
        reading.note(problem);
        return None;
    }
    let fields = Fields::open(reading, node, &MATCHER, " in a condition on a claim")?;
    let mut found = Vec::new();
    found.extend(fields.read(reading, "in", |r, n| literals(r, n).map(ClaimMatch::In)));
    found.extend(fields.read(reading, "contains", fixed).map(ClaimMatch::Contains));
    found.extend(fields.read(reading, "starts_with", fixed_text).map(ClaimMatch::StartsWith));
    found.extend(fields.read(reading, "ends_with", fixed_text).map(ClaimMatch::EndsWith));
    found.extend(fields.read(reading, "exists", switch).map(ClaimMatch::Exists));
    let written = MATCHER.keys.iter().filter(|key| fields.key_at(key.name).is_some()).count();
    if written != 1 {
        reading.note(one_condition(node.at));
        return None;
    }
    found.pop()
}

fn one_condition(at: Place) -> Problem {
    Problem::new("E013", at, "a condition on a claim has one key")
        .label("expected one of in, contains, starts_with, ends_with, exists")
        .help("for two conditions, write `all: [{ claim: ... }, { claim: ... }]`")
}

fn literals(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<serde_json::Value>> {
    filled_list(reading, node, "a list of values")?;
    Some(some(reading, node, fixed))
}

/// A value that is compared as it is written.
fn fixed(reading: &mut Reading<'_>, node: &Node) -> Option<serde_json::Value> {
    is_fixed(reading, node).then(|| literal(reading, node))?
}

fn fixed_text(reading: &mut Reading<'_>, node: &Node) -> Option<String> {
    is_fixed(reading, node).then(|| text(reading, node))?
}

/// Whether a value has no parameter of the path in it. Where none is read, `{id}` would be compared
/// letter by letter and never match: under `not` that would let everybody in.
fn is_fixed(reading: &mut Reading<'_>, node: &Node) -> bool {
    let Value::Text(text) = &node.value else { return true };
    if node.expanded || !has_parameter(text) {
        return true;
    }
    let fault =
        Fault::new("E016", "would be compared letter by letter", "no parameter is read here");
    reading.fault(node, fault.help(
        "`claim: { NAME: \"{id}\" }` compares a claim with the path; take a text that has such braces from a variable",
    ));
    false
}

/// Whether there is a name in braces.
fn has_parameter(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    text.split('{').skip(1).any(|part| part.split_once('}').is_some_and(|(name, _)| is_name(name)))
}

const TOKEN_KINDS: [(&str, TokenKind); 3] =
    [("user", TokenKind::User), ("client", TokenKind::Client), ("any", TokenKind::Any)];

#[cfg(test)]
mod tests {
    use super::{has_parameter, parse_scope};
    use crate::config::{Variables, load_text};

    #[test]
    fn what_looks_like_a_parameter_is_compared_with_one_or_refused() {
        let found = |rule: &str| {
            let text = format!(
                "issuer: https://id.example.com\naudience: api\nupstream: http://127.0.0.1:1\n\
                 routes:\n  /a/{{id}}: {{ GET: {rule} }}\n"
            );
            let loaded = load_text("t.yaml", &text, &Variables::default().with("X", "{id}"));
            loaded.problems.0.iter().map(|problem| problem.code).collect::<Vec<_>>()
        };
        for condition in [
            "{ contains: \"{id}\" }",
            "{ in: [\"{id}\"] }",
            "{ in: [a, \"a-{id}\"] }",
            "{ starts_with: \"{id}/\" }",
            "{ ends_with: \"/{id}\" }",
            "\"a-{id}\"",
        ] {
            assert_eq!(
                found(&format!("{{ claim: {{ x: {condition} }} }}")),
                ["E016"],
                "{condition}"
            );
            let under = found(&format!("{{ not: {{ claim: {{ x: {condition} }} }} }}"));
            assert_eq!(under, ["E016"], "{condition}");
        }
        for rule in [
            "\"orders:{id}\"",
            "{ scope: \"orders:{id}\" }",
            "{ not: { role: \"{id}\" } }",
            "{ not: { group: \"/tenants/{id}\" } }",
            "{ client: \"{id}\" }",
            "{ acr: [\"{id}\"] }",
        ] {
            assert_eq!(found(rule), ["E016"], "{rule}");
        }
        for fine in [
            "\"{id}\"",
            "{ in: [\"{}\", \"{1}\", \"a{b\"] }",
            "{ contains: \"{ \\\"a\\\": 1 }\" }",
            "{ contains: \"${X}\" }",
        ] {
            assert_eq!(found(&format!("{{ claim: {{ x: {fine} }} }}")), [""; 0], "{fine}");
        }
        assert!(has_parameter("a{b}") && has_parameter("{{b}}") && !has_parameter("{a b}"));
    }

    #[test]
    fn a_scope_is_one_token() {
        assert!(parse_scope("orders:read").is_ok());
        assert!(parse_scope("https://api.example.com/orders.read").is_ok());
        for text in ["a b", "a\"b", "a\\b", "\u{e9}", "a\tb"] {
            assert_eq!(parse_scope(text).unwrap_err().code, "E013");
        }
    }
}
