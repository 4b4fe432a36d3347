//! What revocations know a token by.

use std::time::Duration;

use serde_json::{Map, Value};

use super::key::{Key, Kind};

/// The keys of the entries that would refuse a token, hashed once when it is verified.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// `iat`, since 1970.
    pub(super) issued: Option<Duration>,
    pub(super) jti: Option<Key>,
    /// By the claim that the configuration reads the subject from, and by `sub`, which logout
    /// tokens mean whatever the configuration says.
    pub(super) subjects: [Option<Key>; 2],
    pub(super) client: Option<Key>,
    /// By `sid`.
    pub(super) session: Option<Key>,
    /// In place of `session`, for a token that does not name one.
    pub(super) sessionless: [Option<Key>; 2],
}

impl Marks {
    /// The marks of a token of the issuer with this identifier. `subject` and `client` are as the
    /// configuration reads them: machines, too, have subjects that can be revoked.
    #[must_use]
    pub fn of(
        issuer_url: &str,
        claims: &Map<String, Value>,
        issued: Option<Duration>,
        subject: Option<&str>,
        client: Option<&str>,
    ) -> Self {
        let key = |kind, name: Option<&str>| Some(Key::of(kind, issuer_url, name?));
        let text = |name| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let sub = text("sub").filter(|sub| subject != Some(*sub));
        let session = key(Kind::Session, text("sid"));
        let lone = |name| key(Kind::Sessionless, name).filter(|_| session.is_none());
        Self {
            issued,
            jti: key(Kind::Jti, text("jti")),
            subjects: [key(Kind::Subject, subject), key(Kind::Subject, sub)],
            client: key(Kind::Client, client),
            session,
            sessionless: [lone(subject), lone(sub)],
        }
    }

    /// Every key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        let [subject, sub] = &self.subjects;
        let [lone_subject, lone_sub] = &self.sessionless;
        [&self.jti, subject, sub, &self.client, &self.session, lone_subject, lone_sub]
            .into_iter()
            .flatten()
    }
}
