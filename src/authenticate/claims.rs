//! Whether a token that its issuer signed is an access token for this API, and valid now
//! (RFC 7519 §4.1, RFC 9068 §4).

use std::time::Duration;

use serde_json::{Map, Value};

use super::presets::{ABSENT, DECLARES_ACCESS, FOREIGN, Needed, OF_ID_TOKENS, Preset, TOKEN_USE};
use super::reading::paths_of;
use super::token::Header;
use crate::config::{self, ClaimMatch, ClaimPath};
use crate::identity::{meets, walk};
use crate::rejection::TokenFault;

/// What an issuer's tokens must say.
#[derive(Debug)]
pub(super) struct Checks {
    preset: &'static Preset,
    /// What the header's `typ` may say, in addition to nothing if `is_typ_optional`.
    header_types: Vec<String>,
    is_typ_optional: bool,
    audience: Vec<String>,
    audience_claim: Vec<ClaimPath>,
    required: Vec<(ClaimPath, ClaimMatch)>,
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
        let accepted: Vec<&str> = match config.accept_typ.as_slice() {
            [] => preset.header_types.to_vec(),
            written => written.iter().map(String::as_str).collect(),
        };
        let (absent, named): (Vec<&str>, Vec<&str>) =
            accepted.into_iter().partition(|typ| *typ == ABSENT);
        Self {
            preset,
            header_types: named.into_iter().map(str::to_owned).collect(),
            is_typ_optional: !absent.is_empty(),
            audience: config.audience.clone(),
            audience_claim: match config.audience_claim.as_slice() {
                [] => paths_of(preset.audience),
                written => written.to_vec(),
            },
            required: config.required_claims.clone(),
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
        check_unbound(claims)?;
        self.check_audience(claims)?;
        if self.preset.profile_claims {
            check_profile(claims)?;
        }
        self.check_required(claims)?;
        let exp = date(claims, "exp")?.ok_or(TokenFault::Malformed)?;
        let window = self.window(exp, claims)?;
        window.check(now)?;
        Ok(window)
    }

    /// Checks what an introspection endpoint says of an active token (RFC 7662 §2.2). It has no
    /// header that could name the token's kind, `exp` is optional, and so is what RFC 9068 asks of
    /// JWTs; `aud` is not, or every API's tokens would do.
    pub(super) fn check_answer(
        &self,
        claims: &Map<String, Value>,
        now: Duration,
    ) -> Result<Window, TokenFault> {
        let is_foreign =
            self.is_foreign(claims) || ANSWERED_FOREIGN.iter().any(|sign| says(claims, sign));
        if is_foreign || !is_of_server(claims, self.preset) {
            return Err(TokenFault::WrongTokenType);
        }
        if says(claims, &("token_type", &["DPoP"])) {
            return Err(TokenFault::SenderMismatch);
        }
        check_unbound(claims)?;
        self.check_audience(claims)?;
        self.check_required(claims)?;
        let exp = date(claims, "exp")?.unwrap_or(Duration::MAX);
        let window = self.window(exp, claims)?;
        window.check(now)?;
        Ok(window)
    }

    /// Refuses ID tokens, refresh tokens, logout tokens and all other kinds.
    fn check_type(&self, header: &Header, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        let typ = header.typ.as_deref();
        let is_explicit = typ.is_some_and(|typ| is_media_type(typ, "at+jwt"));
        let is_allowed = match typ {
            None => self.is_typ_optional,
            Some(typ) => self.header_types.iter().any(|known| is_media_type(typ, known)),
        };
        // Some servers copy `nonce` into access tokens; then something else must say what it is.
        let is_access = is_explicit || DECLARES_ACCESS.iter().any(|sign| says(claims, sign));
        let is_login = claims.contains_key("nonce") && !is_access && !self.preset.id_tokens;
        if is_allowed && !is_login && !self.is_foreign(claims) && is_of_server(claims, self.preset)
        {
            Ok(())
        } else {
            Err(TokenFault::WrongTokenType)
        }
    }

    /// Whether the claims are of another kind of token.
    fn is_foreign(&self, claims: &Map<String, Value>) -> bool {
        let has_other_use = claims.contains_key(TOKEN_USE.0) && !says(claims, &TOKEN_USE);
        let is_id_token =
            !self.preset.id_tokens && OF_ID_TOKENS.iter().any(|sign| says(claims, sign));
        has_other_use || is_id_token || FOREIGN.iter().any(|sign| says(claims, sign))
    }

    /// What the configuration asks of every token.
    fn check_required(&self, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        let is_met = |(path, wanted): &(ClaimPath, ClaimMatch)| {
            meets(wanted, walk(claims, path.0.iter().map(String::as_str)))
        };
        if self.required.iter().all(is_met) { Ok(()) } else { Err(TokenFault::WrongTokenType) }
    }

    /// RFC 7519 §4.1.3: exact, case-sensitive comparison; one match is enough.
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        let audience = self.audience_claim.iter().find_map(|path| written(claims, path));
        let audience = audience.ok_or(TokenFault::WrongAudience)?;
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
    fn window(&self, exp: Duration, claims: &Map<String, Value>) -> Result<Window, TokenFault> {
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

/// Whether a token has what the access tokens of such a server have, and nothing that they have
/// not.
fn is_of_server(claims: &Map<String, Value>, preset: &Preset) -> bool {
    let has =
        |needed: &Needed| needed.one_of.iter().any(|name| says(claims, &(*name, needed.says)));
    preset.required.iter().all(has) && !preset.refused.iter().any(|name| claims.contains_key(*name))
}

/// What stands at a path, null included.
fn written<'c>(claims: &'c Map<String, Value>, path: &ClaimPath) -> Option<&'c Value> {
    match path.0.as_slice() {
        [name] => claims.get(name),
        names => walk(claims, names.iter().map(String::as_str)).value(),
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

/// A token that is bound to a key of its sender (RFC 7800) must not pass as a bearer token of
/// whoever stole it.
fn check_unbound(claims: &Map<String, Value>) -> Result<(), TokenFault> {
    if claims.contains_key("cnf") { Err(TokenFault::SenderMismatch) } else { Ok(()) }
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

/// How introspection endpoints call tokens that are no access tokens, beside what
/// [`FOREIGN`] lists: OpenIddict's `token_usage`, and the names of RFC 8693 §3.
const ANSWERED_FOREIGN: [(&str, &[&str]); 2] = [
    ("token_usage", &["authorization_code", "id_token", "refresh_token", "user_code"]),
    (
        "token_type",
        &[
            "urn:ietf:params:oauth:token-type:id_token",
            "urn:ietf:params:oauth:token-type:refresh_token",
        ],
    ),
];

/// 2^53: up to here every whole number of seconds has its own floating-point number.
const MAX_DATE: f64 = 9_007_199_254_740_992.0;

const MAX_LEEWAY: Duration = Duration::from_secs(300);
