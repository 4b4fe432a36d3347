//! Whether the token of a request still holds, for as long as its answer goes on.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::{Authenticator, Issuer, bearer};
use crate::clock::{Clock, Now};
use crate::identity::Identity;
use crate::revoke::{Revocations, Spellings};

/// What an answer that goes on is asked for: a token that was good when it began.
#[derive(Debug)]
pub(crate) struct Lease {
    identity: Arc<Identity>,
    issuer: Arc<Issuer>,
    token: Spellings,
    revocations: Arc<Revocations>,
}

impl Authenticator {
    /// The lease of a request that was identified by its fields.
    pub(crate) fn lease(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        identity: &Arc<Identity>,
    ) -> Option<Lease> {
        let credentials = bearer::credentials(headers, query, self.token_limit).ok()?;
        let issuer = self.issuers.iter().find(|issuer| *issuer.name() == identity.issuer)?;
        Some(Lease {
            identity: Arc::clone(identity),
            issuer: Arc::clone(issuer),
            token: Spellings::of(credentials.bytes()),
            revocations: Arc::clone(&self.revocations),
        })
    }
}

impl Lease {
    /// Whether the token has neither expired nor been revoked. What its issuer would say if it were
    /// asked again is not known.
    pub(crate) fn holds(&self, now: Now) -> bool {
        let marks = || self.issuer.marks(&self.identity);
        now.unix < self.identity.expires
            && !self.revocations.refuses(|| self.token, marks, now.unix)
    }

    /// How long after `now` it is to be looked at again.
    pub(crate) fn next_look(&self, now: Now) -> Duration {
        let may_be_revoked = self.revocations.settings().is_some();
        let longest = if may_be_revoked { LOOK_EVERY } else { LONGEST_SLEEP };
        self.identity.expires.saturating_sub(now.unix).min(longest)
    }

    /// The time that it is judged by.
    pub(crate) fn clock(&self) -> &Clock {
        self.revocations.clock()
    }
}

/// How long a revocation may go unnoticed by an answer that goes on.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The system's clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
