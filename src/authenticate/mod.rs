//! From a bearer token to an identity.

use std::sync::Arc;

use http::HeaderMap;

use crate::clock::{Clock, Now};
use crate::config::{self, IdentityHeader, Problem};
use crate::identity::Caller;
use crate::record::metrics::Metrics;
use crate::rejection::Rejection;

/// Verifies tokens for one policy.
#[derive(Debug)]
pub struct Authenticator {}

impl Authenticator {
    /// An authenticator for these issuers. `token_limit` is in bytes. `verdicts` outlive policies.
    #[must_use]
    pub fn new(issuers: Vec<Arc<Issuer>>, verdicts: Arc<Verdicts>, token_limit: usize) -> Self {
        drop((issuers, verdicts, token_limit));
        todo!()
    }

    /// Finds out who calls.
    ///
    /// # Errors
    /// `MissingToken`, `MalformedCredentials`, `TwoTokens`, `TokenInQuery`, `RequestTooLarge`,
    /// `Token`, or `AuthUnavailable`.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        now: Now,
    ) -> Result<Caller, Rejection> {
        drop((headers, query, now));
        todo!()
    }

    /// The issuers, in the order of the configuration.
    #[must_use]
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        todo!()
    }
}

/// The verified tokens that are remembered.
#[derive(Debug)]
pub struct Verdicts {}

impl Verdicts {
    /// A cache of at most `capacity` tokens.
    #[must_use]
    pub fn new(capacity: usize, metrics: &Metrics) -> Self {
        drop((capacity, metrics));
        todo!()
    }

    /// The number of tokens remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }
}

/// An authorization server whose tokens are accepted: its settings and its keys.
#[derive(Debug)]
pub struct Issuer {}

impl Issuer {
    /// An issuer that has not fetched anything yet; reads a static key file.
    ///
    /// # Errors
    /// If a static key file cannot be used.
    pub fn new(
        config: &config::Issuer,
        headers: &[IdentityHeader],
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, Problem> {
        drop((config, headers, clock, metrics));
        todo!()
    }

    /// Whether this issuer was made from the same settings, so that a reload can keep its state.
    #[must_use]
    pub fn is_made_from(&self, config: &config::Issuer, headers: &[IdentityHeader]) -> bool {
        drop((config, headers));
        todo!()
    }

    /// Starts fetching keys in the background, on the runtime of the caller. Later calls do
    /// nothing. The work ends when the issuer is dropped.
    pub fn start(self: &Arc<Self>) {
        todo!()
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        todo!()
    }

    /// What is known of the issuer's keys.
    #[must_use]
    pub fn status(&self) -> IssuerStatus {
        todo!()
    }

    /// Waits until the first attempt to fetch keys has ended, well or badly.
    pub async fn first_attempt(&self) {
        todo!()
    }
}

/// The state of an issuer's keys, for people.
#[derive(Clone, Debug)]
pub struct IssuerStatus {
    /// Whether tokens can be verified now.
    pub ready: bool,
    /// The number of keys that can verify tokens.
    pub keys: usize,
    /// The algorithms that those keys are for.
    pub algorithms: Vec<String>,
    /// Why the last refresh failed, if it did. No secret and no text from the issuer.
    pub problem: Option<String>,
}
