//! Where an issuer's tokens say what: `claims`, `audience_claim`, `accept_typ`, `required_claims`,
//! and the marks of people and machines.

use super::reading::{Fault, Reading};
use super::rules::condition;
use super::value::{at_least_one, entries, parsed, some, text};
use super::yaml::{Node, Value};
use super::{ClaimMatch, ClaimPath, Located};

/// `claims:`
pub(super) fn claims(
    reading: &mut Reading<'_>,
    node: &Node,
) -> Option<Vec<(Located<String>, Vec<ClaimPath>)>> {
    let mut claims = Vec::new();
    for entry in entries(reading, node) {
        if let Some(paths) = claim_paths(reading, &entry.node) {
            claims.push((entry.key.clone(), paths));
        }
    }
    Some(claims)
}

/// A path, or a list of paths of which one at least is itself written as a list.
pub(super) fn claim_paths(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<ClaimPath>> {
    match &node.value {
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::List(_))) => {
            at_least_one(reading, node, claim_path)
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Unset
        | Value::List(_)
        | Value::Map(_) => claim_path(reading, node).map(|path| vec![path]),
    }
}

/// A dotted name, or a list of exact member names.
pub(super) fn claim_path(reading: &mut Reading<'_>, node: &Node) -> Option<ClaimPath> {
    let names = match &node.value {
        Value::List(items) if !items.is_empty() => some(reading, node, text),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Unset
        | Value::List(_)
        | Value::Map(_) => parsed(reading, node, "a claim's name", parse_dotted)?,
    };
    Some(ClaimPath(names))
}

fn parse_dotted(text: &str) -> Result<Vec<String>, Fault> {
    if text.contains("://") {
        let what = "would be split at its dots";
        return Err(Fault::new("E008", what, "write it as a list: `[\"https://...\"]`"));
    }
    let names: Vec<String> = text.split('.').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        let what = "has an empty name in it";
        return Err(Fault::new("E008", what, "expected a dotted name, such as `a.b`"));
    }
    Ok(names)
}

/// `client_token_when:` and `user_token_when:`, claims with one value or several.
pub(super) fn marks(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<(ClaimPath, String)>> {
    let mut marks = Vec::new();
    for entry in entries(reading, node) {
        let path = key_path(&entry.key.value);
        let values = at_least_one(reading, &entry.node, text).unwrap_or_default();
        marks.extend(values.into_iter().map(|value| (path.clone(), value)));
    }
    Some(marks)
}

/// `required_claims:`, the conditions that a rule's `claim:` has.
pub(super) fn required(
    reading: &mut Reading<'_>,
    node: &Node,
) -> Option<Vec<(ClaimPath, ClaimMatch)>> {
    let mut required = Vec::new();
    for entry in entries(reading, node) {
        match condition(reading, &entry.node) {
            Some(ClaimMatch::Param(_)) => {
                let what = "is no value of a claim";
                let fault = Fault::new("E016", what, "there is no path here to take it from");
                reading.fault(&entry.node, fault);
            }
            Some(wanted) => required.push((key_path(&entry.key.value), wanted)),
            None => {}
        }
    }
    Some(required)
}

/// The path that a key names: dotted, or a URL that is one name.
fn key_path(key: &str) -> ClaimPath {
    ClaimPath(parse_dotted(key).unwrap_or_else(|_| vec![key.to_owned()]))
}

/// `accept_typ:`
pub(super) fn accept_typ(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<String>> {
    at_least_one(reading, node, |reading, node| {
        parsed(reading, node, "a value of `typ`", |text| parse_typ(text).map(str::to_owned))
    })
}

fn parse_typ(text: &str) -> Result<&str, Fault> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '/');
    if text.is_empty() || !text.chars().all(is_name) {
        let label = "expected a media type, such as `at+jwt`, or `absent`";
        return Err(Fault::new("E008", "is no value of `typ`", label));
    }
    let name = text.to_ascii_lowercase();
    let name = name.strip_prefix("application/").unwrap_or(&name);
    if OTHER_KINDS.contains(&name) {
        let what = "is the type of something that is no access token";
        let fault = Fault::new("E027", what, "it would be accepted as one");
        return Err(fault
            .help("delete it: each kind of token is good for one thing (RFC 8725 section 3.11)"));
    }
    Ok(text)
}

/// Types of what is signed with the same keys (RFC 7519 §5.1 and the registry of media types).
const OTHER_KINDS: [&str; 10] = [
    "dpop+jwt",
    "entity-statement+jwt",
    "jwe",
    "logout+jwt",
    "oauth-authz-req+jwt",
    "openid-request+jwt",
    "rt+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
    "txn_token+jwt",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_names_are_paths() {
        assert_eq!(parse_dotted("a.b").unwrap(), ["a", "b"]);
        assert!(parse_dotted("a..b").is_err());
        assert!(parse_dotted("").is_err());
        assert!(parse_dotted("https://a.example/roles").is_err());
        assert_eq!(key_path("https://a.example/roles").0, ["https://a.example/roles"]);
    }

    /// CL-08
    #[test]
    fn other_kinds_of_tokens_cannot_be_accepted() {
        for typ in ["at+jwt", "JWT", "absent", "application/at+jwt", "vendor.x-1+jwt"] {
            assert_eq!(parse_typ(typ), Ok(typ));
        }
        for typ in ["logout+jwt", "LOGOUT+JWT", "application/dpop+jwt", "JWE"] {
            assert_eq!(parse_typ(typ).unwrap_err().code, "E027", "{typ}");
        }
        for typ in ["", "a b", "é"] {
            assert_eq!(parse_typ(typ).unwrap_err().code, "E008", "{typ}");
        }
    }
}
