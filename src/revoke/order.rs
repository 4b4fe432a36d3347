//! A revocation as people and programs write it: in a request's body, or in the file.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::entry::{Entry, Source};
use super::key::{Key, Kind};
use crate::config::{Config, parse_duration};

/// What is to be revoked: one of `token`, `token_sha256`, `jti`, `subject`, `client`, `session`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// The issuer, by its name in the configuration or its identifier. Default: the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The SHA-256 of a token in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The person, or a machine with a subject of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The session's id, `sid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Refuse tokens issued before this. Default for a subject: now, plus how far the issuer's clock
    /// may be ahead; for others: whenever issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<Moment>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// How long it lasts, such as `24h`, in place of `until`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Who wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A time in whole seconds since 1970: RFC 3339 text, or that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u64);

/// What an order is read by.
#[derive(Clone, Debug)]
pub struct Known {
    issuers: Vec<Issuer>,
    keep: Duration,
}

#[derive(Clone, Debug)]
struct Issuer {
    name: String,
    url: String,
    /// How long its tokens live at most, as far as is known.
    tokens_last: Option<Duration>,
    /// How far its clock may differ from this one.
    leeway: Duration,
}

impl Known {
    /// What a configuration says of issuers and durations.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let issuer = |issuer: &crate::config::Issuer| Issuer {
            name: issuer.name.value.clone(),
            url: issuer.url.value.clone(),
            // The leeway counts twice: a token may seem to come from the future, and to live on.
            tokens_last: issuer.max_token_age.map(|age| age.saturating_add(issuer.leeway * 2)),
            leeway: issuer.leeway,
        };
        let keep = config.revocation.as_ref().map_or(Duration::ZERO, |found| found.keep);
        Self { issuers: config.issuers.iter().map(issuer).collect(), keep }
    }

    /// How long a revocation at this issuer lasts that does not say; without an issuer, at any.
    #[must_use]
    pub fn lasts(&self, issuer_url: Option<&str>) -> Duration {
        let is_meant = |issuer: &&Issuer| issuer_url.is_none_or(|url| url == issuer.url);
        let meant = self.issuers.iter().filter(is_meant);
        meant.filter_map(|issuer| issuer.tokens_last).max().unwrap_or_default().max(self.keep)
    }

    /// How far the clock of the issuer with this identifier may be ahead.
    fn leeway(&self, issuer_url: Option<&str>) -> Duration {
        let is_meant = |issuer: &&Issuer| issuer_url.is_some_and(|url| url == issuer.url);
        self.issuers.iter().find(is_meant).map_or(Duration::ZERO, |issuer| issuer.leeway)
    }

    fn issuer(&self, wanted: Option<&str>) -> Result<&Issuer, String> {
        let Some(wanted) = wanted else {
            return match self.issuers.as_slice() {
                [only] => Ok(only),
                _ => Err(format!("`issuer` is missing: it is one of {}", self.names())),
            };
        };
        let mut issuers = self.issuers.iter();
        let found = issuers.find(|issuer| issuer.name == wanted || issuer.url == wanted);
        found.ok_or_else(|| format!("no issuer is called that: it is one of {}", self.names()))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
        names.join(", ")
    }
}

impl Order {
    /// The order for one token. `until` is left open unless the token says that it lives longer
    /// than `keep` from now: nothing that a token says makes its revocation shorter.
    #[must_use]
    pub fn for_token(token: &str, now: Duration, keep: Duration) -> Self {
        let digest = digest(&SHA256, token.as_bytes());
        let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let late = expiry(token).filter(|end| *end > now + keep);
        let until = late.map(|end| Moment(end.as_secs().min(now.as_secs() + LONGEST)));
        Self { token_sha256: Some(hex), until, ..Self::default() }
    }

    /// Reads an order of an operator; `by` is who sent it, if it does not say itself.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence. It repeats nothing of the order.
    pub fn entry(&self, known: &Known, now: Duration, by: &str) -> Result<Entry, String> {
        let (id, issuer) = self.target(known)?;
        let now_ceiling = ceiling(now);
        let issued_before = match (id.kind(), self.issued_before) {
            // A token of this very second may have been issued before, and so may one that the
            // issuer's clock dates later.
            (Kind::Subject, None) => Some(ceiling(now + known.leeway(issuer.as_deref()))),
            (_, given) => given.map(|moment| moment.0),
        };
        let until = match (self.until, &self.lasts) {
            (Some(_), Some(_)) => return Err("`until` and `for` contradict each other".into()),
            (Some(until), None) => until.0,
            (None, Some(text)) => now_ceiling + duration(text)?.as_secs(),
            (None, None) => now_ceiling + known.lasts(issuer.as_deref()).as_secs(),
        };
        if until <= now.as_secs() {
            return Err("it ends before it begins".into());
        }
        let entry = Entry {
            id,
            issuer,
            issued_before,
            until,
            entered: now.as_secs(),
            source: Source::Admin,
            by: self.by.clone().unwrap_or_else(|| by.to_owned()),
            why: self.why.clone(),
        };
        checked(entry, now)
    }

    /// Reads an item of the file, which must mean the same whenever it is read.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn listed(&self, known: &Known, now: Duration, file: &str) -> Result<Entry, String> {
        let (id, issuer) = self.target(known)?;
        if self.lasts.is_some() {
            return Err("write `until`: `for` would begin anew at each reading".into());
        }
        let until = self.until.ok_or("`until` is missing: each revocation ends")?;
        if id.kind() == Kind::Subject && self.issued_before.is_none() {
            return Err("`issued_before` is missing: it says which tokens are meant".into());
        }
        let entry = Entry {
            id,
            issuer,
            issued_before: self.issued_before.map(|moment| moment.0),
            until: until.0,
            entered: now.as_secs(),
            source: Source::File,
            by: self.by.clone().unwrap_or_else(|| file.to_owned()),
            why: self.why.clone(),
        };
        checked(entry, now)
    }

    /// The one thing that is to be revoked, and its issuer.
    fn target(&self, known: &Known) -> Result<(Key, Option<String>), String> {
        let named = [
            (Kind::Jti, &self.jti),
            (Kind::Subject, &self.subject),
            (Kind::Client, &self.client),
            (Kind::Session, &self.session),
        ];
        let mut named = named.iter().filter_map(|(kind, name)| Some((*kind, name.as_ref()?)));
        let target = match (&self.token_sha256, named.next(), named.next()) {
            (Some(hash), None, None) => (Key::token(&sha256(hash)?), None),
            (None, Some((kind, name)), None) => {
                if name.is_empty() || name.len() > LONGEST_NAME {
                    return Err("what is to be revoked is empty, or too long".into());
                }
                let issuer = known.issuer(self.issuer.as_deref())?;
                (Key::of(kind, &issuer.url, name), Some(issuer.url.clone()))
            }
            (_, _, _) => return Err(ONE_OF.into()),
        };
        if matches!(target.0.kind(), Kind::Token | Kind::Jti) && self.issued_before.is_some() {
            return Err("`issued_before` is for subjects, clients and sessions".into());
        }
        Ok(target)
    }
}

/// In whole seconds, so that none of this one is left out.
fn ceiling(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// What entries of every source have in common.
fn checked(entry: Entry, now: Duration) -> Result<Entry, String> {
    if entry.until > now.as_secs().saturating_add(LONGEST) {
        return Err("it ends in more than ten years".into());
    }
    for text in [Some(&entry.by), entry.why.as_ref()].into_iter().flatten() {
        if text.is_empty() || text.len() > LONGEST_TEXT || text.chars().any(char::is_control) {
            return Err("`by` and `why` are one line of at most 256 bytes".into());
        }
    }
    Ok(entry)
}

fn sha256(text: &str) -> Result<[u8; 32], String> {
    let mut hash = [0; 32];
    let fault = || "`token_sha256` is not 64 hexadecimal digits".to_owned();
    if text.len() != 64 || !text.is_ascii() {
        return Err(fault());
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        let digits = &text[2 * index..2 * index + 2];
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(fault());
        }
        *byte = u8::from_str_radix(digits, 16).map_err(|_| fault())?;
    }
    Ok(hash)
}

fn duration(text: &str) -> Result<Duration, String> {
    let found = parse_duration(text).ok().filter(|found| !found.is_zero());
    found.ok_or_else(|| "`for` is not a duration such as `24h`".to_owned())
}

/// What a token says of its own end, with the most leeway that there is. Not verified: it only
/// makes a revocation longer.
fn expiry(token: &str) -> Option<Duration> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let seconds = claims.get("exp")?.as_f64()?;
    Duration::try_from_secs_f64(seconds.min(FAR)).ok()?.checked_add(MOST_LEEWAY)
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MomentReader)
    }
}

impl std::str::FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self(seconds));
        }
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NO_MOMENT)?;
        u64::try_from(time.unix_timestamp()).map(Self).map_err(|_| NO_MOMENT)
    }
}

struct MomentReader;

impl Visitor<'_> for MomentReader {
    type Value = Moment;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NO_MOMENT)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E>(self, seconds: u64) -> Result<Moment, E> {
        Ok(Moment(seconds))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Moment, E> {
        u64::try_from(seconds).map(Moment).map_err(|_| E::custom(NO_MOMENT))
    }
}

const NO_MOMENT: &str = "a time such as 2026-11-23T10:42:03Z, or seconds since 1970";

const ONE_OF: &str = "one of token_sha256, jti, subject, client, session is needed, and one alone";

/// In bytes.
const LONGEST_NAME: usize = 2_048;
const LONGEST_TEXT: usize = 256;

/// Ten years, in seconds.
const LONGEST: u64 = 3_650 * 86_400;

/// Beyond any date that matters, in seconds since 1970, and still a duration.
const FAR: f64 = 1e12;

/// The most that an issuer's `leeway` may be.
const MOST_LEEWAY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_millis(1_000_500);

    fn known(names: &[&str]) -> Known {
        let issuer = |name: &&str| Issuer {
            name: (*name).to_owned(),
            url: format!("https://{name}.example"),
            tokens_last: None,
            leeway: Duration::ZERO,
        };
        Known { issuers: names.iter().map(issuer).collect(), keep: Duration::from_secs(60) }
    }

    fn read(json: &str) -> Result<Entry, String> {
        let order: Order = serde_json::from_str(json).map_err(|error| error.to_string())?;
        order.entry(&known(&["main"]), NOW, "root")
    }

    #[test]
    fn what_is_left_out_has_a_safe_default() {
        let entry = read(r#"{"subject":"alice"}"#).unwrap();
        assert_eq!(entry.id, Key::of(Kind::Subject, "https://main.example", "alice"));
        // 1000.5 s: a token of the second 1000 may be older than this order.
        assert_eq!((entry.issued_before, entry.until), (Some(1_001), 1_061));
        assert_eq!((entry.by.as_str(), entry.source), ("root", Source::Admin));
        let entry = read(r#"{"client":"web","for":"1h","why":"stolen","by":"eve"}"#).unwrap();
        assert_eq!((entry.issued_before, entry.until), (None, 4_601));
        assert_eq!((entry.by.as_str(), entry.why.as_deref()), ("eve", Some("stolen")));
    }

    /// The issuer may date a token later than it was made.
    #[test]
    fn a_subjects_tokens_are_caught_as_far_as_the_issuers_clock_may_be_ahead() {
        let mut known = known(&["main", "other"]);
        known.issuers[1].leeway = Duration::from_millis(30_600);
        let before = |json: &str| {
            let order: Order = serde_json::from_str(json).unwrap();
            order.entry(&known, NOW, "root").unwrap().issued_before
        };
        assert_eq!(before(r#"{"subject":"a","issuer":"main"}"#), Some(1_001));
        assert_eq!(before(r#"{"subject":"a","issuer":"other"}"#), Some(1_032));
        assert_eq!(before(r#"{"subject":"a","issuer":"other","issued_before":5}"#), Some(5));
        assert_eq!(before(r#"{"session":"a","issuer":"other"}"#), None);
    }

    #[test]
    fn orders_that_could_mean_something_else_are_refused() {
        let hash = "0".repeat(64);
        for json in [
            "{}".to_owned(),
            r#"{"subject":""}"#.into(),
            r#"{"subject":"a","jti":"b"}"#.into(),
            r#"{"subject":"a","issuer":"other"}"#.into(),
            r#"{"subject":"a","until":900}"#.into(),
            r#"{"subject":"a","until":9000000000}"#.into(),
            r#"{"subject":"a","until":2000,"for":"1h"}"#.into(),
            r#"{"subject":"a","for":"1"}"#.into(),
            r#"{"subject":"a","for":"0s"}"#.into(),
            r#"{"subject":"a","until":-1}"#.into(),
            r#"{"subject":"a","until":"tomorrow"}"#.into(),
            r#"{"subject":"a","why":"a\nb"}"#.into(),
            r#"{"jti":"a","issued_before":5}"#.into(),
            r#"{"sub":"a"}"#.into(),
            format!(r#"{{"token_sha256":"{}"}}"#, &hash[1..]),
            format!(r#"{{"token_sha256":"+{}"}}"#, &hash[1..]),
            format!(r#"{{"token_sha256":"{hash}","subject":"a"}}"#),
        ] {
            assert!(read(&json).is_err(), "{json}");
        }
        let order = Order { jti: Some("1".into()), ..Order::default() };
        let fault = order.entry(&known(&["a", "b"]), NOW, "root").unwrap_err();
        assert_eq!(fault, "`issuer` is missing: it is one of a, b");
    }

    #[test]
    fn an_item_of_the_file_means_the_same_whenever_it_is_read() {
        let listed = |json: &str| {
            let order: Order = serde_json::from_str(json).unwrap();
            order.listed(&known(&["main"]), NOW, "revoked.yaml")
        };
        assert!(listed(r#"{"jti":"1"}"#).is_err());
        assert!(listed(r#"{"jti":"1","for":"1h"}"#).is_err());
        assert!(listed(r#"{"subject":"a","until":2000}"#).is_err());
        let entry =
            listed(r#"{"subject":"a","until":2000,"issued_before":"1970-01-01T00:10:00Z"}"#);
        let entry = entry.unwrap();
        assert_eq!((entry.issued_before, entry.until), (Some(600), 2_000));
        assert_eq!((entry.by.as_str(), entry.source), ("revoked.yaml", Source::File));
    }

    #[test]
    fn a_token_can_make_its_revocation_longer_and_never_shorter() {
        let token = |exp: &str| {
            let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}}}"#));
            Order::for_token(&format!("e30.{claims}.c2ln"), NOW, Duration::from_secs(60))
        };
        assert_eq!(token("5000").until, Some(Moment(5_300)));
        for exp in ["1", "0", "-1", "\"x\"", "null"] {
            assert_eq!(token(exp).until, None, "{exp}");
        }
        assert!(token("1e300").until.is_some());
        assert_eq!(Order::for_token("opaque", NOW, Duration::from_secs(60)).until, None);
        let hash = Order::for_token("opaque", NOW, Duration::ZERO).token_sha256.unwrap();
        assert_eq!(hash.len(), 64);
        assert!(sha256(&hash).is_ok());
    }

    #[test]
    fn moments_are_rfc_3339_or_seconds() {
        assert_eq!("1970-01-01T01:00:01+01:00".parse(), Ok(Moment(1)));
        assert_eq!("17".parse(), Ok(Moment(17)));
        assert!("1969-12-31T23:59:59Z".parse::<Moment>().is_err());
        assert!("2026-11-23".parse::<Moment>().is_err());
    }
}
