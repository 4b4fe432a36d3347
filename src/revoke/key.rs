//! What an entry is found by: a kind and a hash, never the text itself.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// What an entry refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One token, by the SHA-256 of its bytes.
    Token,
    /// The tokens with this `jti`.
    Jti,
    /// The tokens of a subject.
    Subject,
    /// The tokens issued to a client.
    Client,
    /// The tokens of a session, by `sid`.
    Session,
    /// The tokens of a subject that name no session: nobody can tell whether they belong to one
    /// that has ended.
    Sessionless,
    /// Nothing: a logout token that was carried out and must not be again.
    Logout,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Token,
        Self::Jti,
        Self::Subject,
        Self::Client,
        Self::Session,
        Self::Sessionless,
        Self::Logout,
    ];

    /// The word in ids, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Jti => "jti",
            Self::Subject => "subject",
            Self::Client => "client",
            Self::Session => "session",
            Self::Sessionless => "sessionless",
            Self::Logout => "logout",
        }
    }
}

/// What an entry is found by. Its text, such as `jti-5f2b…`, is the entry's id.
///
/// 128 bits of SHA-256 over the kind, the issuer and the name: a store or a log that is read by
/// others tells nobody who was locked out, equal names of two issuers stay apart, and nobody can
/// search for a name that shares another's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key {
    kind: Kind,
    hash: u128,
}

impl Key {
    /// The key of `name` at the issuer with this identifier.
    #[must_use]
    pub fn of(kind: Kind, issuer_url: &str, name: &str) -> Self {
        let mut context = Context::new(&SHA256);
        for part in [kind.as_str(), "\0", issuer_url, "\0", name] {
            context.update(part.as_bytes());
        }
        Self { kind, hash: first_half(context.finish().as_ref()) }
    }

    /// The key of a token with this SHA-256. A token belongs to one issuer by itself.
    #[must_use]
    pub fn token(hash: &[u8; 32]) -> Self {
        Self { kind: Kind::Token, hash: first_half(hash) }
    }

    /// What it refuses.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Evenly spread bits, to share keys out by.
    pub(super) fn bits(&self) -> usize {
        // The low bits are as good as any.
        usize::from(self.hash.to_le_bytes()[0])
    }
}

fn first_half(hash: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(bytes)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.kind.as_str(), self.hash)
    }
}

/// The text is not the id of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a revocation")]
pub struct NotAnId;

impl FromStr for Key {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let (word, digits) = text.split_once('-').ok_or(NotAnId)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or(NotAnId)?;
        // One entry, one id: no signs, no capitals, no leading zeros left out.
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 32 || !digits.bytes().all(is_hex) {
            return Err(NotAnId);
        }
        let hash = u128::from_str_radix(digits, 16).map_err(|_| NotAnId)?;
        Ok(Self { kind, hash })
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for kind in Kind::ALL {
            let key = Key::of(kind, "https://id.example", "alice");
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        let id = Key::of(Kind::Jti, "https://id.example", "1").to_string();
        for bad in ["", "jti", "jti-", "jti-1", &id.to_uppercase(), &format!("{id}0"), &id[1..]] {
            assert_eq!(bad.parse::<Key>(), Err(NotAnId), "{bad}");
        }
        assert_eq!(format!("jti-+{}", &id[5..]).parse::<Key>(), Err(NotAnId));
    }

    #[test]
    fn issuers_kinds_and_names_are_kept_apart() {
        let key = |kind, issuer, name| Key::of(kind, issuer, name);
        let alice = key(Kind::Subject, "https://a.example", "alice");
        assert_ne!(alice, key(Kind::Subject, "https://b.example", "alice"));
        assert_ne!(alice, key(Kind::Client, "https://a.example", "alice"));
        assert_ne!(alice, key(Kind::Subject, "https://a.example", "Alice"));
        let shifted = key(Kind::Subject, "https://a.exampl", "ealice");
        assert_ne!(alice.hash, shifted.hash);
    }
}
