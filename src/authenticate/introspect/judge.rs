//! Whether what an issuer says of an active token is enough, here and now (RFC 7662 §4).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::authenticate::claims;
use crate::authenticate::issuer::Issuer;
use crate::clock::Now;
use crate::identity::Identity;
use crate::rejection::TokenFault;

/// A token that its issuer vouches for.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) identity: Arc<Identity>,
    /// When it ends, since 1970, if the answer says so.
    pub(super) exp: Option<Duration>,
}

/// Checks an answer as a JWT's claims are checked.
///
/// A JWT that was verified stays what it says of itself: the answer can refuse it, not change it.
/// What the answer leaves out of that the token's own words say.
pub(super) fn judge(
    issuer: &Issuer,
    mut claims: Map<String, Value>,
    local: Option<&Arc<Identity>>,
    now: Now,
) -> Result<Judged, TokenFault> {
    check_issuer(issuer, local, &claims)?;
    if let Some(local) = local {
        complete(&mut claims, local.claims.read());
    }
    let window = issuer.checks().check_answer(&claims, now.unix)?;
    let exp = claims::date(&claims, "exp")?;
    let identity = match local {
        Some(local) => Arc::clone(local),
        None => Arc::new(issuer.reading().identity(text_of(&claims), claims, window)?),
    };
    Ok(Judged { identity, exp })
}

/// An answer need not name the issuer; one that names another, or another tenant than the token
/// itself, is about a token of another.
fn check_issuer(
    issuer: &Issuer,
    local: Option<&Arc<Identity>>,
    claims: &Map<String, Value>,
) -> Result<(), TokenFault> {
    let Some(iss) = claims.get("iss") else { return Ok(()) };
    let iss = iss.as_str().ok_or(TokenFault::Malformed)?;
    let named = issuer.reading().names().find(iss).ok_or(TokenFault::UnknownIssuer)?;
    if local.is_some_and(|local| local.issuer_url != named.url) {
        return Err(TokenFault::UnknownIssuer);
    }
    Ok(())
}

fn text_of(claims: &Map<String, Value>) -> Vec<u8> {
    // Writing a tree that was read cannot fail.
    serde_json::to_vec(claims).unwrap_or_default()
}

fn complete(claims: &mut Map<String, Value>, own: &Map<String, Value>) {
    for name in ["aud", "exp", "iat", "typ"] {
        if let (false, Some(value)) = (claims.contains_key(name), own.get(name)) {
            claims.insert(name.to_owned(), value.clone());
        }
    }
}
