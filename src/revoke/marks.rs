//! What revocations know a token by.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use super::key::{Key, Kind};

/// The keys of the entries that would refuse a token, hashed once when it is verified.
///
/// Each by the claim that the configuration reads it from, and by the registered claim, which
/// operators and logout tokens mean whatever the configuration says.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// `iat`, since 1970.
    pub(super) issued: Option<Duration>,
    ids: [Option<Key>; 2],
    subjects: [Option<Key>; 2],
    clients: [Option<Key>; 3],
    sessions: [Option<Key>; 2],
    /// In place of `sessions`, for a token that does not name one.
    sessionless: [Option<Key>; 2],
}

/// What the configuration reads from a token. Machines, too, have subjects that can be revoked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'t> {
    /// The token's id.
    pub token_id: Option<&'t str>,
    /// The session.
    pub session: Option<&'t str>,
    /// The person or machine.
    pub subject: Option<&'t str>,
    /// The client.
    pub client: Option<&'t str>,
}

impl Marks {
    /// The marks of a token of the issuer with this identifier. An `iat` that is no date is none.
    #[must_use]
    pub fn of(issuer_url: &str, claims: &Map<String, Value>, known: Names<'_>) -> Self {
        let key = |kind, name: Option<&str>| Some(Key::of(kind, issuer_url, name?));
        let both = |kind, known: Option<&str>, name| {
            let registered = claims.get(name).and_then(id_text);
            let other = registered.filter(|text| known != Some(&**text));
            [key(kind, known), key(kind, other.as_deref())]
        };
        // A token that names two clients was issued through both of them.
        let client = |name| {
            let named = claims.get(name).and_then(id_text);
            key(Kind::Client, named.filter(|text| known.client != Some(&**text)).as_deref())
        };
        let sessions = both(Kind::Session, known.session, "sid");
        let names_none = sessions.iter().all(Option::is_none);
        let lone = both(Kind::Sessionless, known.subject, "sub");
        Self {
            issued: claims.get("iat").and_then(since_1970),
            ids: both(Kind::Jti, known.token_id, "jti"),
            subjects: both(Kind::Subject, known.subject, "sub"),
            clients: [key(Kind::Client, known.client), client("client_id"), client("azp")],
            sessions,
            sessionless: if names_none { lone } else { [None, None] },
        }
    }

    /// Every key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        let pairs = [&self.ids, &self.subjects, &self.sessions, &self.sessionless];
        pairs.into_iter().flatten().chain(&self.clients).flatten()
    }
}

/// An identifier as people write it who revoke: text that says something, or a whole number, which
/// some servers write. `None` for anything else.
#[must_use]
pub fn id_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => {
            Some(text.as_str().into()).filter(|text: &Cow<'_, str>| !text.is_empty())
        }
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            Some(number.to_string().into())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

fn since_1970(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}
