//! Whether the token of a request still holds, for as long as the request or its answer goes on.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::{Authenticator, Issuer, bearer};
use crate::clock::{Clock, LOOK_EVERY, Now};
use crate::identity::Identity;
use crate::rejection::{Rejection, TokenFault};
use crate::revoke::{Revocations, Spellings};

/// What a request that goes on is asked for: a token that was good when it began.
#[derive(Debug)]
pub(crate) struct Lease {
    identity: Arc<Identity>,
    issuer: Arc<Issuer>,
    token: Spellings,
    revocations: Arc<Revocations>,
    /// Whether it ends with the token's `exp`, too.
    expires: bool,
}

impl Authenticator {
    /// The lease of a request that was identified by its fields. It ends when the token is revoked
    /// and, if it `expires`, at the token's `exp`.
    pub(crate) fn lease(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        identity: &Arc<Identity>,
        expires: bool,
    ) -> Option<Lease> {
        let credentials = bearer::credentials(headers, query, self.token_limit).ok()?;
        let issuer = self.issuers.iter().find(|issuer| *issuer.name() == identity.issuer)?;
        Some(Lease {
            identity: Arc::clone(identity),
            issuer: Arc::clone(issuer),
            token: Spellings::of(credentials.bytes()),
            revocations: Arc::clone(&self.revocations),
            expires,
        })
    }
}

impl Lease {
    /// Asks whether the token still holds. What its issuer would say if it were asked again is not
    /// known.
    ///
    /// # Errors
    /// `Token`, counted as the issuer's.
    pub(crate) fn check(&self, now: Now) -> Result<(), Rejection> {
        let marks = || self.issuer.marks(&self.identity);
        let fault = if self.expires && now.unix >= self.identity.expires {
            TokenFault::Expired
        } else if self.revocations.refuses(|| self.token, marks, now.unix) {
            TokenFault::Revoked
        } else {
            return Ok(());
        };
        Err(self.issuer.tally().refuse(fault))
    }

    /// How long after `now` it is to be looked at again.
    pub(crate) fn next_look(&self, now: Now) -> Duration {
        let may_be_revoked = self.revocations.settings().is_some();
        let longest = if may_be_revoked { LOOK_EVERY } else { LONGEST_SLEEP };
        match self.expires {
            true => self.identity.expires.saturating_sub(now.unix).min(longest),
            false => longest,
        }
    }

    /// The time that it is judged by.
    pub(crate) fn clock(&self) -> &Clock {
        self.revocations.clock()
    }
}

/// The system's clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
