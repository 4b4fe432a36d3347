//! Who asks, and how it proves that.

use super::ClientProof;
use crate::config::Secret;
use crate::config::reading::{Fields, Reading};
use crate::config::server::path;
use crate::config::value::{text, word};
use crate::config::yaml::{Node, Value};
use crate::config::{Issuer, Place, Problem};

/// How the gateway authenticates: `client_auth`, or what the other keys suggest.
pub(super) fn proof(
    reading: &mut Reading<'_>,
    fields: &Fields<'_>,
    issuer: &Issuer,
) -> Option<ClientProof> {
    let secret = fields
        .read(reading, "client_secret", |r, node| self::secret(r, fields, "client_secret", node));
    let key = fields.read(reading, "client_key", path);
    let kid = fields.read(reading, "client_key_id", text);
    let encoding = [("form", true), ("raw", false)];
    let is_encoded = fields
        .read(reading, "client_secret_encoding", |r, node| word(r, node, &encoding))
        .unwrap_or(true);
    let usual =
        if fields.key_at("client_key").is_some() { Method::PrivateKey } else { Method::Basic };
    let method =
        fields.read(reading, "client_auth", |r, node| word(r, node, &METHODS)).unwrap_or(usual);
    if fields.key_at("introspection").is_some() {
        refuse_unused(reading, fields, issuer, method);
        lacks(reading, fields, issuer, method.needs());
    }
    Some(match method {
        Method::Basic => ClientProof::Basic { secret: secret?, is_encoded },
        Method::Post => ClientProof::Post(secret?),
        Method::PrivateKey => ClientProof::PrivateKey { key: key?, kid },
    })
}

/// The ways to authenticate, as the registry of RFC 8414 section 7.1.1 calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Basic,
    Post,
    PrivateKey,
}

const METHODS: [(&str, Method); 3] = [
    ("client_secret_basic", Method::Basic),
    ("client_secret_post", Method::Post),
    ("private_key_jwt", Method::PrivateKey),
];

impl Method {
    fn needs(self) -> &'static str {
        match self {
            Self::Basic | Self::Post => "client_secret",
            Self::PrivateKey => "client_key",
        }
    }

    fn ignores(self) -> &'static [&'static str] {
        match self {
            Self::Basic => &["client_key", "client_key_id"],
            Self::Post => &["client_key", "client_key_id", "client_secret_encoding"],
            Self::PrivateKey => &["client_secret", "client_secret_encoding"],
        }
    }
}

fn refuse_unused(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &Issuer, method: Method) {
    for key in method.ignores() {
        let Some(at) = fields.key_at(key) else { continue };
        let message = format!("issuer `{}` does not use `{key}`", *issuer.name);
        let label = format!("authentication is by `{}`", method.needs());
        reading.note(Problem::new("E014", at, message).label(label).help("delete one of them"));
    }
}

/// The secret that `key` holds: whatever is wrong with it or near it, no message shows it.
pub(in crate::config) fn secret(
    reading: &mut Reading<'_>,
    fields: &Fields<'_>,
    key: &str,
    node: &Node,
) -> Option<Secret> {
    let at = fields.key_at(key).unwrap_or(node.at);
    if !node.expanded {
        reading.conceal(node.at);
    }
    match &node.value {
        Value::Text(text) if !text.is_empty() => {
            if !node.expanded {
                reading.note(written_secret(at, key));
            }
            Some(Secret::from(text.clone()))
        }
        Value::Unset => None,
        Value::Text(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::List(_)
        | Value::Map(_) => {
            let message = format!("`{key}` is not text, or is empty");
            reading.note(Problem::new("E006", at, message).label("numbers need quotes"));
            None
        }
    }
}

fn written_secret(at: Place, key: &str) -> Problem {
    Problem::new("A102", at, "a secret is written in the file")
        .label("whoever reads the file can use it")
        .help(format!("`{key}: ${{file:/run/secrets/NAME}}`, or an environment variable"))
}

/// Notes that a key without which nobody can ask is missing.
pub(super) fn lacks(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &Issuer, key: &str) {
    if fields.key_at(key).is_some() {
        return;
    }
    let at = fields.key_at("introspection").unwrap_or(issuer.name.at);
    let message = format!("issuer `{}` has no `{key}`", *issuer.name);
    reading.note(
        Problem::new("E007", at, message)
            .label(format!("`{key}` is missing"))
            .help("an issuer answers clients that it knows (RFC 7662 section 2.1)"),
    );
}
