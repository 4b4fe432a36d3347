//! Tokens, good by default and spoiled on request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::keys::{Key, encode};

/// A JWT under construction.
#[derive(Clone)]
pub struct Token {
    key: Key,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

impl Token {
    /// A person's access token for `https://api.example.com`, without scopes, for an hour.
    pub fn new(key: &Key, issuer: &str) -> Self {
        let now = unix_now();
        let header =
            json!({ "typ": "at+jwt", "alg": format!("{:?}", key.alg()), "kid": key.kid() });
        let claims = json!({
            "iss": issuer, "sub": "alice", "client_id": "web-app",
            "aud": "https://api.example.com", "exp": now + 3600, "iat": now,
            "jti": format!("{:x}", fastrand::u64(..)), "auth_time": now,
        });
        Self { key: key.clone(), header: object(header), claims: object(claims) }
    }

    /// A machine's token: the subject is the client.
    pub fn machine(self, client: &str) -> Self {
        self.claim("sub", client).claim("client_id", client).without("auth_time")
    }

    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    pub fn expired_by(self, seconds: u64) -> Self {
        self.claim("exp", unix_now() - seconds)
    }

    pub fn signed_by(mut self, key: &Key) -> Self {
        self.key = key.clone();
        self
    }

    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The header as text.
    pub fn header_text(&self) -> String {
        Value::from(self.header.clone()).to_string()
    }

    /// The claims as text.
    pub fn payload(&self) -> String {
        Value::from(self.claims.clone()).to_string()
    }

    /// `header.payload`, not yet signed.
    pub fn input(&self) -> String {
        input(self.header_text(), self.payload())
    }

    pub fn sign(&self) -> String {
        let input = self.input();
        let signature = self.key.sign(&input);
        format!("{input}.{signature}")
    }

    /// A correctly signed token of exactly these bytes as header and payload.
    pub fn sign_text(key: &Key, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let input = input(header, payload);
        let signature = key.sign(&input);
        format!("{input}.{signature}")
    }
}

pub fn input(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    format!("{}.{}", encode(header.as_ref()), encode(payload.as_ref()))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}
