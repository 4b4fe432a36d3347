//! Whom a token speaks for: a person, a machine, or nobody knows (RFC 9700 §4.15).

use serde_json::{Map, Value};

use super::presets::{Path, Preset, Tell};
use crate::config::{self, ClaimPath};
use crate::identity::{Kind, Place, all_of, one_of, walk};

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
        match marked(said.claims, &self.machines) {
            Mark::Is => return (Kind::Client, "client_token_when"),
            Mark::Unreadable => return UNREADABLE,
            Mark::IsNot => {}
        }
        match marked(said.claims, &self.people) {
            Mark::Is => return (Kind::User, "user_token_when"),
            Mark::Unreadable => return UNREADABLE,
            Mark::IsNot => {}
        }
        for rule in self.preset.strangers.iter().chain(self.preset.kinds) {
            if rule.when.iter().any(|tell| is_unreadable(tell, said.claims)) {
                return UNREADABLE;
            }
            if rule.when.iter().all(|tell| holds(tell, said)) {
                return (rule.kind, rule.name);
            }
        }
        match self.else_user && said.subject.is_some() {
            true => (Kind::User, "else-user"),
            false => (Kind::Unknown, "none"),
        }
    }
}

/// What a claim says that tells machines or people, in a form that nobody knows: then it may be
/// either.
const UNREADABLE: (Kind, &str) = (Kind::Unknown, "unreadable");

/// Whether a token has one of the marks that the configuration names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Is,
    IsNot,
    Unreadable,
}

fn marked(claims: &Map<String, Value>, marks: &[(ClaimPath, String)]) -> Mark {
    let mut found = Mark::IsNot;
    for (path, expected) in marks {
        match walk(claims, path.0.iter().map(String::as_str)) {
            Place::Value(value) if one_of(value, |item| reads_as(item, expected)) => {
                return Mark::Is;
            }
            Place::Value(value) if all_of(value, is_scalar) => {}
            Place::Nothing => {}
            Place::Value(_) | Place::Unreadable => found = Mark::Unreadable,
        }
    }
    found
}

/// Whether a text, number or truth value is written so.
fn reads_as(value: &Value, expected: &str) -> bool {
    match value {
        Value::String(text) => text == expected,
        Value::Bool(flag) => flag.to_string() == *expected,
        Value::Number(number) => {
            let is_number = |text: &str| text.parse::<f64>().ok() == number.as_f64();
            number.to_string() == *expected || is_number(expected)
        }
        Value::Array(_) | Value::Object(_) | Value::Null => false,
    }
}

fn is_scalar(value: &Value) -> bool {
    value.is_string() || value.is_boolean() || value.is_number()
}

/// Whether a tell asks for text where there is something else.
fn is_unreadable(tell: &Tell, claims: &Map<String, Value>) -> bool {
    let is_odd = |path: &Path| match walk(claims, path.iter().copied()) {
        Place::Nothing => false,
        Place::Value(value) => !value.is_string(),
        Place::Unreadable => true,
    };
    match tell {
        Tell::Absent(_) | Tell::HasClient | Tell::NoSubject | Tell::Present(_) => false,
        Tell::Contains(path, _)
        | Tell::EndsWith(path, _)
        | Tell::Is(path, _)
        | Tell::IsClient(path)
        | Tell::IsClientWithin(path, ..)
        | Tell::KeycloakGrant(path, _)
        | Tell::Within(path, ..) => is_odd(path),
        Tell::Same(one, other) => is_odd(one) || is_odd(other),
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
    walk(claims, path.iter().copied()).value()
}
