//! Whom a token speaks for: a person, a machine, or nobody knows (RFC 9700 §4.15).

use serde_json::{Map, Value};

use super::presets::{KindRule, Path, Preset, Tell};
use crate::config::{self, ClaimPath};
use crate::identity::{Kind, walk};

/// How one issuer's people and machines are told apart.
#[derive(Debug)]
pub(super) struct Kinds {
    machines: Vec<(ClaimPath, String)>,
    people: Vec<(ClaimPath, String)>,
    preset: &'static Preset,
    else_user: bool,
}

/// What a token says, as far as it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'c> {
    pub(super) claims: &'c Map<String, Value>,
    pub(super) client: Option<&'c str>,
    pub(super) subject: Option<&'c str>,
}

impl Kinds {
    pub(super) fn new(config: &config::Issuer, preset: &'static Preset) -> Self {
        Self {
            machines: config.client_token_when.clone(),
            people: config.user_token_when.clone(),
            preset,
            else_user: preset.else_user && !config.kind_unknown_by_default,
        }
    }

    /// The kind that the first matching rule tells, and what the rule is called. Claims that the
    /// configuration names come before any rule of the preset, and marks of machines before all.
    pub(super) fn of(&self, said: Said<'_>) -> (Kind, &'static str) {
        let is_marked =
            |marks: &[(ClaimPath, String)]| marks.iter().any(|mark| is_marked(said.claims, mark));
        if is_marked(&self.machines) {
            return (Kind::Client, "client_token_when");
        }
        if is_marked(&self.people) {
            return (Kind::User, "user_token_when");
        }
        let holds = |rule: &&KindRule| rule.when.iter().all(|tell| holds(tell, said));
        let mut rules = self.preset.strangers.iter().chain(self.preset.kinds);
        match rules.find(holds) {
            Some(rule) => (rule.kind, rule.name),
            None if self.else_user && said.subject.is_some() => (Kind::User, "else-user"),
            None => (Kind::Unknown, "none"),
        }
    }
}

fn is_marked(claims: &Map<String, Value>, (path, expected): &(ClaimPath, String)) -> bool {
    match walk(claims, path.0.iter().map(String::as_str)) {
        Some(Value::String(text)) => text == expected,
        Some(Value::Bool(flag)) => flag.to_string() == *expected,
        Some(Value::Number(number)) => number.to_string() == *expected,
        Some(Value::Array(_) | Value::Object(_) | Value::Null) | None => false,
    }
}

fn holds(tell: &Tell, said: Said<'_>) -> bool {
    let text = |path: &Path| value(said.claims, path)?.as_str();
    match tell {
        Tell::Absent(path) => value(said.claims, path).is_none(),
        Tell::Contains(path, part) => {
            text(path).and_then(|text| text.find(part)).is_some_and(|at| at > 0)
        }
        Tell::EndsWith(path, end) => text(path).is_some_and(|text| text.ends_with(end)),
        Tell::HasClient => said.client.is_some(),
        Tell::Is(path, expected) => text(path) == Some(expected),
        Tell::IsClient(path) => said.client.is_some() && text(path) == said.client,
        Tell::IsClientWithin(path, before, after) => text(path)
            .and_then(|text| text.strip_prefix(before)?.strip_suffix(after))
            .zip(said.client)
            .is_some_and(|(text, client)| text.eq_ignore_ascii_case(client)),
        Tell::KeycloakGrant(path, grant) => {
            text(path).is_some_and(|id| is_keycloak_grant(id, grant))
        }
        Tell::NoSubject => said.subject.is_none(),
        Tell::Present(path) => {
            value(said.claims, path).is_some_and(|value| value.as_f64() != Some(0.0))
        }
        Tell::Same(one, other) => text(one).is_some() && text(one) == text(other),
        Tell::Within(path, before, after) => text(path)
            .and_then(|text| text.strip_prefix(before)?.strip_suffix(after))
            .is_some_and(|between| !between.is_empty()),
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
