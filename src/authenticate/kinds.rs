//! Whom a token speaks for: a person, a machine, or nobody knows (RFC 9700 §4.15).

use serde_json::{Map, Value};

use super::presets::{KindRule, Path, Tell};
use crate::config::ClaimPath;
use crate::identity::{Kind, walk};

/// The kind that the first matching rule tells. Claims that the configuration names mark machines
/// before any rule of the preset is asked.
pub(super) fn kind_of(
    claims: &Map<String, Value>,
    client: Option<&str>,
    marks: &[(ClaimPath, String)],
    rules: &[KindRule],
) -> Kind {
    if marks.iter().any(|(path, value)| is_marked(claims, path, value)) {
        return Kind::Client;
    }
    let holds = |rule: &&KindRule| rule.when.iter().all(|tell| holds(tell, claims, client));
    rules.iter().find(holds).map_or(Kind::Unknown, |rule| rule.kind)
}

fn is_marked(claims: &Map<String, Value>, path: &ClaimPath, expected: &str) -> bool {
    match walk(claims, path.0.iter().map(String::as_str)) {
        Some(Value::String(text)) => text == expected,
        Some(Value::Bool(flag)) => flag.to_string() == expected,
        Some(Value::Number(number)) => number.to_string() == expected,
        Some(Value::Array(_) | Value::Object(_) | Value::Null) | None => false,
    }
}

fn holds(tell: &Tell, claims: &Map<String, Value>, client: Option<&str>) -> bool {
    match tell {
        Tell::Present(path) => value(claims, path).is_some_and(|value| value.as_f64() != Some(0.0)),
        Tell::Absent(path) => value(claims, path).is_none(),
        Tell::Is(path, expected) => text(claims, path) == Some(expected),
        Tell::HasClient => client.is_some(),
        Tell::IsClient(path) => client.is_some() && text(claims, path) == client,
        Tell::IsClientWithin(path, before, after) => text(claims, path)
            .and_then(|text| text.strip_prefix(before)?.strip_suffix(after))
            .zip(client)
            .is_some_and(|(text, client)| text.eq_ignore_ascii_case(client)),
        Tell::KeycloakGrant(path, grant) => {
            text(claims, path).is_some_and(|id| is_keycloak_grant(id, grant))
        }
    }
}

/// Two letters for the session, `rt` or `lt`, two for the grant, then a colon.
fn is_keycloak_grant(id: &str, grant: &str) -> bool {
    let Some((prefix, _)) = id.split_once(':') else { return false };
    let Some((session, token_and_grant)) = prefix.split_at_checked(2) else { return false };
    session.bytes().all(|byte| byte.is_ascii_lowercase())
        && ["rt", "lt"].iter().any(|token| token_and_grant.strip_prefix(token) == Some(grant))
}

fn value<'c>(claims: &'c Map<String, Value>, path: &Path) -> Option<&'c Value> {
    walk(claims, path.iter().copied())
}

fn text<'c>(claims: &'c Map<String, Value>, path: &Path) -> Option<&'c str> {
    value(claims, path)?.as_str()
}
