//! Whether a token that its issuer signed is an access token for this API, and valid now
//! (RFC 7519 §4.1, RFC 9068 §4).

use std::time::Duration;

use serde_json::{Map, Value};

use super::presets::{DECLARES_ACCESS, FOREIGN, HeaderType, Preset, TOKEN_USE};
use super::token::Header;
use crate::config;
use crate::rejection::TokenFault;

/// What an issuer's tokens must say.
#[derive(Debug)]
pub(super) struct Checks {
    preset: &'static Preset,
    audience: Vec<String>,
    leeway: Duration,
    max_age: Option<Duration>,
}

/// When a token is accepted, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The first moment at which it is accepted.
    pub(super) not_before: Duration,
    /// The first moment at which it is not accepted any more.
    pub(super) expires: Duration,
}

impl Window {
    /// Whether `now`, since 1970, is inside.
    pub(super) fn check(self, now: Duration) -> Result<(), TokenFault> {
        if now >= self.expires {
            return Err(TokenFault::Expired);
        }
        if now < self.not_before {
            return Err(TokenFault::NotYetValid);
        }
        Ok(())
    }
}

impl Checks {
    pub(super) fn new(config: &config::Issuer, preset: &'static Preset) -> Self {
        Self {
            preset,
            audience: config.audience.clone(),
            leeway: config.leeway.min(MAX_LEEWAY),
            max_age: config.max_token_age,
        }
    }

    /// Checks everything but the issuer, which was compared when the issuer was chosen.
    pub(super) fn check(
        &self,
        header: &Header,
        claims: &Map<String, Value>,
        now: Duration,
    ) -> Result<Window, TokenFault> {
        self.check_type(header, claims)?;
        // A token that is bound to a key of its sender (RFC 7800) must not pass as a bearer token
        // of whoever stole it.
        if claims.contains_key("cnf") {
            return Err(TokenFault::SenderMismatch);
        }
        self.check_audience(claims)?;
        if self.preset.profile_claims {
            check_profile(claims)?;
        }
        let window = self.window(claims)?;
        window.check(now)?;
        Ok(window)
    }

    /// Refuses ID tokens, refresh tokens, logout tokens and all other kinds.
    fn check_type(&self, header: &Header, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        let typ = header.typ.as_deref();
        let is_explicit = typ.is_some_and(|typ| is_media_type(typ, "at+jwt"));
        let is_allowed = match self.preset.header_type {
            HeaderType::AccessToken => is_explicit,
            HeaderType::Unnamed => is_explicit || typ.is_none_or(|typ| is_media_type(typ, "jwt")),
        };
        let payload_types = self.preset.payload_types;
        let is_payload_allowed = payload_types.is_empty() || says(claims, &("typ", payload_types));
        let has_other_use = claims.contains_key(TOKEN_USE.0) && !says(claims, &TOKEN_USE);
        let is_foreign = has_other_use || FOREIGN.iter().any(|sign| says(claims, sign));
        if !is_allowed || !is_payload_allowed || is_foreign {
            return Err(TokenFault::WrongTokenType);
        }
        // Some servers copy `nonce` into access tokens; then something else must say what it is.
        let is_access = is_explicit || DECLARES_ACCESS.iter().any(|sign| says(claims, sign));
        if claims.contains_key("nonce") && !is_access {
            return Err(TokenFault::WrongTokenType);
        }
        Ok(())
    }

    /// RFC 7519 §4.1.3: exact, case-sensitive comparison; one match is enough.
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        let audience = claims.get("aud").ok_or(TokenFault::WrongAudience)?;
        let listed = match audience.as_array() {
            Some(list) => list.as_slice(),
            None => std::slice::from_ref(audience),
        };
        let mut is_ours = false;
        for item in listed {
            let item = item.as_str().ok_or(TokenFault::Malformed)?;
            is_ours |= self.audience.iter().any(|ours| ours == item);
        }
        if is_ours { Ok(()) } else { Err(TokenFault::WrongAudience) }
    }

    /// RFC 7519 §4.1.4 to §4.1.6. `iat` counts as a second `nbf`: a token from the future was
    /// issued by somebody whose clock or honesty is off.
    fn window(&self, claims: &Map<String, Value>) -> Result<Window, TokenFault> {
        let exp = date(claims, "exp")?.ok_or(TokenFault::Malformed)?;
        let nbf = date(claims, "nbf")?;
        let iat = date(claims, "iat")?;
        let mut end = exp;
        if let Some(max_age) = self.max_age {
            let issued = iat.ok_or(TokenFault::Malformed)?;
            end = end.min(issued.saturating_add(max_age));
        }
        let start = nbf.max(iat).unwrap_or_default();
        Ok(Window {
            not_before: start.saturating_sub(self.leeway),
            expires: end.saturating_add(self.leeway),
        })
    }
}

/// A NumericDate (RFC 7519 §2): a number of seconds from 0 to 2^53, perhaps with a fraction.
pub(super) fn date(
    claims: &Map<String, Value>,
    name: &str,
) -> Result<Option<Duration>, TokenFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=MAX_DATE).contains(seconds));
    let date = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    date.map(Some).ok_or(TokenFault::Malformed)
}

/// RFC 9068 §2.2.
fn check_profile(claims: &Map<String, Value>) -> Result<(), TokenFault> {
    let is_text = |name: &&str| {
        claims.get(*name).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    };
    let is_complete = ["sub", "client_id", "jti"].iter().all(is_text);
    if is_complete && claims.contains_key("iat") { Ok(()) } else { Err(TokenFault::Malformed) }
}

/// Compares media types: the case does not matter, nor does the prefix that RFC 7515 §4.1.9 lets
/// one leave out.
pub(super) fn is_media_type(typ: &str, expected: &str) -> bool {
    let has_prefix =
        typ.get(..APPLICATION.len()).is_some_and(|start| start.eq_ignore_ascii_case(APPLICATION));
    let name = if has_prefix { &typ[APPLICATION.len()..] } else { typ };
    name.eq_ignore_ascii_case(expected)
}

/// Whether a claim has one of these texts, or is there at all if no texts are listed.
fn says(claims: &Map<String, Value>, (name, texts): &(&str, &[&str])) -> bool {
    let Some(value) = claims.get(*name) else { return false };
    let is_listed = |text: &str| texts.iter().any(|known| known.eq_ignore_ascii_case(text));
    texts.is_empty() || value.as_str().is_some_and(is_listed)
}

const APPLICATION: &str = "application/";

/// 2^53: up to here every whole number of seconds has its own floating-point number.
const MAX_DATE: f64 = 9_007_199_254_740_992.0;

const MAX_LEEWAY: Duration = Duration::from_secs(300);
