//! Verifying logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6).

use std::time::Duration;

use serde_json::{Map, Value};

use super::claims::{date, is_media_type};
use super::issuer::Issuer;
use super::token::{Header, Jws};
use crate::clock::Now;
use crate::config::BackchannelLogout;
use crate::rejection::Rejection;

/// What a verified logout token says. At least one of `subject` and `session` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// Whose sessions end, by `sub`.
    pub subject: Option<String>,
    /// Which session ends, by `sid`.
    pub session: Option<String>,
    /// The token's id.
    pub jti: String,
    /// When it was issued, since 1970, by the issuer's clock.
    pub issued: Duration,
    /// From when on it would not be accepted any more, since 1970.
    pub ends: Duration,
}

/// Why a logout token is not carried out.
#[derive(Clone, Debug)]
pub enum LogoutFault {
    /// It is not good; in words, for the log.
    Bad(&'static str),
    /// Whether it is good cannot be known now.
    Unknown(Rejection),
}

/// What a token says its issuer is. Good for choosing whose keys to try, for nothing else.
#[must_use]
pub fn claimed_issuer(token: &str) -> Option<String> {
    Jws::parse(token).ok()?.claimed_issuer().ok().map(str::to_owned)
}

impl Issuer {
    /// Verifies a logout token of this issuer, which has been compared with its `iss`. Whether it
    /// was used before is not asked here.
    ///
    /// # Errors
    /// [`LogoutFault`].
    pub async fn verify_logout(
        &self,
        token: &str,
        settings: &BackchannelLogout,
        now: Now,
    ) -> Result<Logout, LogoutFault> {
        let bad = |_| LogoutFault::Bad("it is not a JWT");
        let jws = Jws::parse(token).map_err(bad)?;
        if !self.is_called(jws.claimed_issuer().map_err(bad)?) {
            return Err(LogoutFault::Bad("it is another issuer's"));
        }
        let checked = self.check_signature(&jws, now, None).await;
        checked.map_err(|rejection| {
            if let Rejection::Token(fault) = rejection {
                return LogoutFault::Bad(fault.description());
            }
            LogoutFault::Unknown(rejection)
        })?;
        // From here on the claims are the issuer's own words.
        let claims = jws.claims().map_err(bad)?;
        read(&jws.header, &claims, settings, self.leeway(), now.unix).map_err(LogoutFault::Bad)
    }
}

/// BL-02, BL-03.
fn read(
    header: &Header,
    claims: &Map<String, Value>,
    settings: &BackchannelLogout,
    leeway: Duration,
    now: Duration,
) -> Result<Logout, &'static str> {
    if header.typ.as_deref().is_some_and(|typ| !is_media_type(typ, "logout+jwt")) {
        return Err("its typ is not logout+jwt");
    }
    if claims.contains_key("nonce") {
        return Err("it has a nonce, as ID tokens have");
    }
    let events = claims.get("events").and_then(Value::as_object);
    if !events.and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err("it tells of no logout");
    }
    if !is_for(claims, &settings.audience) {
        return Err("its aud names none of our clients");
    }
    let (issued, ends) = times(claims, settings.allow_missing_exp, leeway, now)?;
    let (subject, session) = (text(claims, "sub")?, id(claims, "sid")?);
    if subject.is_none() && session.is_none() {
        return Err("it says neither whose nor which session ended");
    }
    let jti = id(claims, "jti")?.ok_or("it has no jti")?;
    Ok(Logout { subject, session, jti, issued, ends })
}

fn is_for(claims: &Map<String, Value>, ours: &[String]) -> bool {
    let listed = match claims.get("aud") {
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => return false,
    };
    let is_ours = |item: &Value| item.as_str().is_some_and(|item| ours.iter().any(|o| o == item));
    listed.iter().all(Value::is_string) && listed.iter().any(is_ours)
}

/// When it was issued, and from when on it is not accepted: bounded, so that what was carried out
/// need not be remembered for ever.
fn times(
    claims: &Map<String, Value>,
    may_lack_exp: bool,
    leeway: Duration,
    now: Duration,
) -> Result<(Duration, Duration), &'static str> {
    let date = |name| date(claims, name).map_err(|_| "a time in it is not a number of seconds");
    let issued = date("iat")?.ok_or("it has no iat")?;
    let oldest = match date("exp")? {
        Some(exp) => exp.min(issued.saturating_add(OLDEST)),
        None if may_lack_exp => issued.saturating_add(OLDEST_WITHOUT_EXP),
        None => return Err("it has no exp"),
    };
    let starts = issued.max(date("nbf")?.unwrap_or_default());
    let ends = oldest.saturating_add(leeway);
    if now >= ends {
        return Err("it has expired");
    }
    if starts > now.saturating_add(leeway) {
        return Err("it is from the future");
    }
    Ok((issued, ends))
}

/// Text that must be text, and some, if it is there.
fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, &'static str> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err("its jti, sub or sid is not text"),
    }
}

/// The same, or a whole number, as access tokens may have it.
fn id(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, &'static str> {
    match claims.get(name) {
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        _ => text(claims, name),
    }
}

/// Back-Channel Logout §2.4.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The specification recommends two minutes of life; servers that retry give more.
const OLDEST: Duration = Duration::from_secs(24 * 3_600);

const OLDEST_WITHOUT_EXP: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Located, Rate};

    const NOW: Duration = Duration::from_secs(1_000_000);
    const LEEWAY: Duration = Duration::from_secs(30);

    fn settings(allow_missing_exp: bool) -> BackchannelLogout {
        let at = crate::config::Place::default();
        BackchannelLogout {
            path: Located { value: "/logout".into(), at },
            audience: vec!["web".into(), "app".into()],
            rate: Rate { count: 1, period: Duration::from_secs(1) },
            allow_missing_exp,
        }
    }

    /// A good token's claims, changed.
    fn reads(typ: Option<&str>, change: impl FnOnce(&mut Map<String, Value>)) -> Option<Logout> {
        let header = Header { alg: "ES256".into(), kid: None, typ: typ.map(str::to_owned) };
        let Value::Object(mut claims) = json!({
            "iss": "https://id.example", "aud": "web", "iat": 1_000_000, "exp": 1_000_120,
            "jti": "1", "sub": "alice", "sid": "s1", "events": { EVENT: {} },
        }) else {
            unreachable!()
        };
        change(&mut claims);
        let allow = claims.remove("allow").is_some();
        read(&header, &claims, &settings(allow), LEEWAY, NOW).ok()
    }

    fn with(name: &str, value: Value) -> bool {
        reads(None, |claims| drop(claims.insert(name.into(), value))).is_some()
    }

    fn without(name: &str) -> bool {
        reads(None, |claims| drop(claims.remove(name))).is_some()
    }

    /// BL-02, BL-03
    #[test]
    fn a_logout_token_has_all_that_it_needs() {
        let logout = reads(Some("logout+jwt"), |_| {}).unwrap();
        assert_eq!(
            (logout.subject.as_deref(), logout.session.as_deref()),
            (Some("alice"), Some("s1"))
        );
        assert_eq!((logout.issued, logout.ends.as_secs()), (NOW, 1_000_150));
        assert!(reads(Some("application/Logout+JWT"), |_| {}).is_some());
        for typ in ["JWT", "at+jwt", "id_token", ""] {
            assert!(reads(Some(typ), |_| {}).is_none(), "{typ}");
        }
        for name in ["aud", "iat", "exp", "jti", "events"] {
            assert!(!without(name), "{name}");
        }
        assert!(without("sub") && without("sid"));
        let neither = |claims: &mut Map<String, Value>| {
            claims.retain(|name, _| !matches!(name.as_str(), "sub" | "sid"))
        };
        assert!(reads(None, neither).is_none());
    }

    /// BL-02, BL-03
    #[test]
    fn wrong_values_are_refused() {
        for (name, value) in [
            ("nonce", json!("n")),
            ("nonce", Value::Null),
            ("events", json!([EVENT])),
            ("events", json!({ EVENT: true })),
            ("events", json!({ "http://schemas.openid.net/event/other": {} })),
            ("aud", json!("other")),
            ("aud", json!(["web", 1])),
            ("aud", json!([])),
            ("sub", json!(7)),
            ("sid", json!("")),
            ("jti", json!("")),
            ("iat", json!("1000000")),
            ("iat", json!(1_000_031)),
            ("iat", json!(1_000_000 - 86_400 - 31)),
            ("exp", json!(999_970)),
            ("exp", json!("x")),
            ("nbf", json!(1_000_031)),
        ] {
            assert!(!with(name, value.clone()), "{name}: {value}");
        }
        assert!(with("aud", json!(["other", "app"])));
        assert!(with("iat", json!(1_000_030)));
        assert!(with("exp", json!(999_971)));
    }

    /// BL-02: old servers leave `exp` out; then `iat` must be fresh.
    #[test]
    fn a_missing_exp_is_accepted_where_the_configuration_says_so() {
        let at = |iat: u64| {
            reads(None, |claims| {
                claims.remove("exp");
                claims.insert("iat".into(), iat.into());
                claims.insert("allow".into(), true.into());
            })
        };
        assert_eq!(at(1_000_000).unwrap().ends.as_secs(), 1_000_150);
        assert!(at(1_000_000 - 149).is_some());
        assert!(at(1_000_000 - 150).is_none());
    }
}
