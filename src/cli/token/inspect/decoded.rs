//! A token as text that was decoded, and no more than that: nothing here is proved.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::identity::Kind;

/// The header and claims of a JWT.
#[derive(Debug)]
pub(in crate::cli) struct Decoded {
    pub(super) header: Map<String, Value>,
    pub(in crate::cli) claims: Map<String, Value>,
}

impl Decoded {
    /// Decodes a compact JWS (RFC 7515 §7.1).
    ///
    /// # Errors
    /// A sentence that says what it is instead.
    pub(in crate::cli) fn read(text: &str) -> Result<Self, &'static str> {
        let parts: Vec<&str> = text.split('.').collect();
        let (header, claims) = match parts.as_slice() {
            [""] => return Err("there is no token to read"),
            [header, claims, _] => (header, claims),
            [_, _, _, _, _] => return Err("an encrypted token (JWE): only its API can read it"),
            _ => {
                return Err(
                    "not a JWT, which has three parts between dots: an opaque token says something to its issuer alone",
                );
            }
        };
        let header =
            object(header).ok_or("not a JWT: the first part is not a JSON object in base64url")?;
        let claims =
            object(claims).ok_or("not a JWT: the second part is not a JSON object in base64url")?;
        Ok(Self { header, claims })
    }

    /// A member of the header, fit to print.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.header.get(name).map(shown)
    }

    /// `iss`, fit to print.
    pub(super) fn issuer(&self) -> String {
        self.claims.get("iss").map_or_else(|| "-".to_owned(), shown)
    }

    /// `sub`, fit to print.
    pub(super) fn subject(&self) -> Option<String> {
        self.claims.get("sub").map(shown)
    }

    /// The client, by the names that issuers give it.
    pub(super) fn client(&self) -> Option<String> {
        CLIENT_CLAIMS.iter().find_map(|name| self.claims.get(*name)).map(shown)
    }

    /// The audiences, fit to print.
    pub(super) fn audience(&self) -> Vec<String> {
        self.claims.get("aud").map_or_else(Vec::new, listed)
    }

    /// The scopes: text with spaces, or a list.
    pub(super) fn scopes(&self) -> Vec<String> {
        SCOPE_CLAIMS.iter().find_map(|name| self.claims.get(*name)).map_or_else(Vec::new, listed)
    }

    /// Whom it speaks for, as RFC 9068 §2.2 has it; the configured preset knows better.
    pub(super) fn kind(&self) -> Kind {
        match (self.subject(), self.client()) {
            (Some(subject), Some(client)) if subject == client => Kind::Client,
            (Some(_), Some(_)) => Kind::User,
            (None, Some(_)) => Kind::Client,
            (Some(_) | None, None) => Kind::Unknown,
        }
    }

    /// `exp`, in seconds since 1970.
    pub(super) fn expires(&self) -> Option<i128> {
        seconds(self.claims.get("exp")?)
    }

    /// How long it lives, in seconds; from `now` on if it does not say since when.
    pub(in crate::cli) fn life(&self, now: i128) -> Option<i128> {
        let issued = self.claims.get("iat").and_then(seconds).unwrap_or(now);
        Some(self.expires()?.saturating_sub(issued))
    }

    /// What to do about a token that lives for more than an hour: it serves whoever copies it for as
    /// long (RFC 9700 §4.10).
    pub(super) fn lifetime_note(&self) -> Option<String> {
        let issued = seconds(self.claims.get("iat")?)?;
        let life = self.expires()?.saturating_sub(issued);
        let note = || format!("note: lives {}; `max_token_age` shortens that", span(life));
        (life > LONG_LIFE).then(note)
    }

    /// `valid: 42 min left`, by the clock alone.
    pub(super) fn validity(&self, now: u64) -> String {
        let now = i128::from(now);
        let starts = self.claims.get("nbf").and_then(seconds).unwrap_or(now);
        match self.expires() {
            _ if starts > now => format!("not valid yet: starts in {}", span(starts - now)),
            None => "never expires: no exp, so no gateway accepts it".to_owned(),
            Some(expires) if expires > now => format!("valid: {} left", span(expires - now)),
            Some(expires) => format!("expired: {} ago", span(now - expires)),
        }
    }
}

/// Text without what would move the cursor or turn the reading direction: a token is whatever its
/// sender wrote.
pub(super) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                clean.extend(character.escape_unicode());
            }
            control if control.is_control() => clean.extend(control.escape_default()),
            plain => clean.push(plain),
        }
    }
    clean
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            printable(&value.to_string())
        }
    }
}

fn listed(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(shown).collect(),
        Value::String(text) => text.split_whitespace().map(printable).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec![shown(value)],
    }
}

/// A NumericDate (RFC 7519 §2), which may have a fraction.
#[expect(clippy::cast_possible_truncation, reason = "a cast from float saturates")]
fn seconds(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_f64().map(|float| (float as i64).into()))
}

/// A time in words.
pub(in crate::cli) fn span(seconds: i128) -> String {
    match seconds {
        ..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

/// In seconds.
const LONG_LIFE: i128 = 3_600;

const CLIENT_CLAIMS: [&str; 4] = ["client_id", "azp", "cid", "appid"];
const SCOPE_CLAIMS: [&str; 2] = ["scope", "scp"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_a_jwt_is_called_by_its_name() {
        for (text, word) in [
            ("", "no token"),
            ("ya29.a0AfH6SM", "opaque"),
            ("a.b.c.d.e", "encrypted"),
            ("!.e30.x", "first part"),
            ("e30.WzFd.x", "second part"),
            ("e30.e31.x", "second part"),
        ] {
            assert!(Decoded::read(text).unwrap_err().contains(word), "{text}");
        }
    }

    #[test]
    fn spans_are_words() {
        assert_eq!(span(59), "59 s");
        assert_eq!(span(3_600), "60 min");
        assert_eq!(span(86_400), "24 h");
        assert_eq!(span(i128::MAX / 2).split(' ').next_back(), Some("days"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*", claims in "\\PC*", exp in any::<f64>()) {
            drop(Decoded::read(&text));
            let header = URL_SAFE_NO_PAD.encode("{}");
            for claims in [claims, format!(r#"{{"exp":{exp},"aud":[1,null],"scope":{{}}}}"#)] {
                let claims = URL_SAFE_NO_PAD.encode(claims);
                if let Ok(token) = Decoded::read(&format!("{header}.{claims}.")) {
                    drop((token.validity(0), token.kind(), token.scopes(), token.audience()));
                }
            }
        }
    }
}
