//! One revocation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key::Key;

/// One revocation: which tokens it refuses, until when, and who wanted that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it refuses.
    pub id: Key,
    /// The issuer's identifier; absent in an entry for one token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// It refuses tokens whose `iat` lies before this, in seconds since 1970, and those without
    /// `iat`. Absent: whenever they were issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<u64>,
    /// When it ends, in seconds since 1970.
    pub until: u64,
    /// When it was entered, in seconds since 1970.
    pub entered: u64,
    /// Where it came from.
    pub source: Source,
    /// Who entered it, as far as is known.
    pub by: String,
    /// Why, in their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Where a revocation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The admin port: an operator, or a program of theirs.
    Admin,
    /// The issuer, by OIDC Back-Channel Logout.
    BackchannelLogout,
    /// The file that the configuration names.
    File,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 3] = [Self::Admin, Self::BackchannelLogout, Self::File];

    /// The word in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::BackchannelLogout => "backchannel_logout",
            Self::File => "file",
        }
    }
}

impl Entry {
    /// Whether it has not ended at `now`, since 1970.
    #[must_use]
    pub fn is_live(&self, now: Duration) -> bool {
        now < Duration::from_secs(self.until)
    }

    /// Whether it ended so long ago that it may be forgotten. Not before: a clock that was set ahead
    /// for a moment, or by a wrong time zone, must not take revocations away for good.
    #[must_use]
    pub(super) fn is_over(&self, now: Duration) -> bool {
        now >= Duration::from_secs(self.until).saturating_add(GRACE)
    }

    /// Whether it refuses a token issued at `issued`. One that does not say when it was issued may
    /// have been issued before (TX-04).
    #[must_use]
    pub(super) fn refuses(&self, issued: Option<Duration>, now: Duration) -> bool {
        let is_early = |before| issued.is_none_or(|issued| issued < Duration::from_secs(before));
        self.is_live(now) && self.issued_before.is_none_or(is_early)
    }

    /// What refuses all that either of two entries with the same id refuses: a later one never
    /// opens what an earlier one closed.
    pub(super) fn or(self, earlier: &Self) -> Self {
        let issued_before = match (self.issued_before, earlier.issued_before) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (_, _) => None,
        };
        Self { issued_before, until: self.until.max(earlier.until), ..self }
    }
}

/// How long an entry is kept behind its end.
const GRACE: Duration = Duration::from_secs(86_400);

#[cfg(test)]
pub(super) mod tests {
    use super::super::key::Kind;
    use super::*;

    /// An entry for alice that ends at `until`.
    pub(in super::super) fn entry(name: &str, until: u64) -> Entry {
        Entry {
            id: Key::of(Kind::Subject, "https://id.example", name),
            issuer: Some("https://id.example".into()),
            issued_before: Some(100),
            until,
            entered: 50,
            source: Source::Admin,
            by: "root".into(),
            why: None,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// TX-04
    #[test]
    fn tokens_issued_before_are_refused_and_so_are_those_that_do_not_say() {
        let entry = entry("alice", 1_000);
        assert!(entry.refuses(Some(at(99)), at(200)));
        assert!(entry.refuses(None, at(200)));
        assert!(!entry.refuses(Some(at(100)), at(200)));
        assert!(!entry.refuses(None, at(1_000)));
        let every = Entry { issued_before: None, ..entry };
        assert!(every.refuses(Some(at(999)), at(999)));
    }

    #[test]
    fn a_later_entry_never_opens_what_an_earlier_one_closed() {
        let (long, early) = (entry("alice", 1_000), entry("alice", 500));
        let later = Entry { issued_before: Some(300), ..early.clone() }.or(&long);
        assert_eq!((later.issued_before, later.until), (Some(300), 1_000));
        let every = Entry { issued_before: None, ..long };
        assert_eq!(early.or(&every).issued_before, None);
    }
}
