//! Answers that are signed (RFC 9701).

use std::time::Duration;

use serde_json::{Map, Value};

use super::answer::Answer;
use crate::authenticate::claims;
use crate::authenticate::fetch::Fault;
use crate::authenticate::issuer::Issuer;
use crate::authenticate::token::Jws;
use crate::clock::Now;
use crate::rejection::TokenFault;

/// Reads a signed answer (RFC 9701 §5). What is wrong with it is never about the token: it means
/// that nothing is known.
///
/// `recipients` are the client id under which the gateway asks, and the names of this API: the
/// answer must be for one of them (RFC 9701 §8.1), or answers for others could be replayed here.
pub(super) async fn read(
    issuer: &Issuer,
    recipients: (&str, &[String]),
    body: &[u8],
    now: Now,
) -> Result<Answer, Fault> {
    let text = str::from_utf8(body).map_err(|_| Fault::Invalid(NOT_SIGNED))?.trim_ascii();
    let jws = Jws::parse(text).map_err(|_| Fault::Invalid(NOT_SIGNED))?;
    let typ = jws.header.typ.as_deref().unwrap_or_default();
    if !claims::is_media_type(typ, "token-introspection+jwt") {
        return Err(Fault::Invalid("its `typ` is not that of an introspection answer"));
    }
    let checked = issuer.check_signature(&jws, now, None).await;
    checked.map_err(|_| Fault::Invalid("its signature cannot be verified"))?;
    let mut claims = jws.claims().map_err(|_| Fault::Invalid(NOT_SIGNED))?;
    check_claims(issuer, recipients, &claims, now)?;
    match claims.remove("token_introspection") {
        Some(Value::Object(members)) => Answer::of(members),
        Some(_) | None => Err(Fault::Invalid("it has no `token_introspection`")),
    }
}

/// RFC 9701 §5: `iss`, `aud` and `iat` are required.
fn check_claims(
    issuer: &Issuer,
    (client_id, audience): (&str, &[String]),
    claims: &Map<String, Value>,
    now: Now,
) -> Result<(), Fault> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer.url()) {
        return Err(Fault::Invalid("it is signed for another issuer's name"));
    }
    let aud = claims.get("aud").unwrap_or(&Value::Null);
    let listed = aud.as_array().map_or(std::slice::from_ref(aud), Vec::as_slice);
    let is_ours = |name: &str| name == client_id || audience.iter().any(|ours| ours == name);
    if !listed.iter().filter_map(Value::as_str).any(is_ours) {
        return Err(Fault::Invalid("it is for another resource server"));
    }
    is_fresh(claims, now).map_err(|_| Fault::Invalid("it is not of now"))
}

/// An answer is made for one question: an old one is a replay.
fn is_fresh(claims: &Map<String, Value>, now: Now) -> Result<(), TokenFault> {
    let iat = claims::date(claims, "iat")?.ok_or(TokenFault::Malformed)?;
    if iat.abs_diff(now.unix) > SKEW { Err(TokenFault::Expired) } else { Ok(()) }
}

/// What such answers are called (RFC 9701 §4).
pub(super) const MEDIA_TYPE: &str = "application/token-introspection+jwt";

const NOT_SIGNED: &str = "it is not a signed answer";

/// The age of an answer, and the difference between two clocks.
const SKEW: Duration = Duration::from_secs(300);
