//! The tokens that were found good, so that each is verified once.
//!
//! A verdict is keyed by the SHA-256 of the whole token and tied to the issuer, its settings and
//! its keys as they were. Time is compared on every hit. What a route asks for is no part of it.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use foldhash::fast::RandomState;
use prometheus::{IntCounter, IntGauge};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::claims::Window;
use super::issuer::Issuer;
use super::tally::Tally;
use crate::clock::Now;
use crate::identity::Identity;
use crate::record::metrics::Metrics;
use crate::rejection::Rejection;

/// The verified tokens that are remembered.
#[derive(Debug)]
pub struct Verdicts {
    cache: Cache<TokenHash, Verdict, UnitWeighter, RandomState>,
    hits: IntCounter,
    misses: IntCounter,
    entries: IntGauge,
    /// Counts the tokens that no issuer can be blamed for.
    pub(super) unassigned: Tally,
}

/// The SHA-256 of a token: what is kept in its place.
pub(super) type TokenHash = [u8; 32];

/// What was found, and under which circumstances it holds.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) identity: Arc<Identity>,
    /// Which issuer instance: another configuration of the same issuer is another instance.
    pub(super) issuer: u64,
    /// Which set of its keys.
    pub(super) generation: u64,
}

impl Verdicts {
    /// A cache of at most `capacity` tokens.
    #[must_use]
    pub fn new(capacity: usize, metrics: &Metrics) -> Self {
        let requests = |result| metrics.token_cache_requests.with_label_values(&[result]);
        Self {
            cache: Cache::with(
                capacity,
                u64::try_from(capacity).unwrap_or(u64::MAX),
                UnitWeighter,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
            hits: requests("hit"),
            misses: requests("miss"),
            entries: metrics.token_cache_entries.clone(),
            unassigned: Tally::new(metrics, "-"),
        }
    }

    /// The number of tokens remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether no token is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// What is known of a token, if it still holds for one of `issuers`, and which. Allocates
    /// nothing.
    pub(super) fn recall<'i>(
        &self,
        hash: &TokenHash,
        issuers: &'i [Arc<Issuer>],
        now: Now,
    ) -> Option<Result<(Arc<Identity>, &'i Issuer), Rejection>> {
        let Some((verdict, issuer)) = self.find(hash, issuers, now) else {
            self.misses.inc();
            return None;
        };
        self.hits.inc();
        let identity = verdict.identity;
        let window = Window { not_before: identity.not_before, expires: identity.expires };
        if let Err(fault) = window.check(now.unix) {
            self.cache.remove(hash);
            return Some(Err(issuer.tally().refuse(fault)));
        }
        Some(Ok((identity, issuer)))
    }

    fn find<'i>(
        &self,
        hash: &TokenHash,
        issuers: &'i [Arc<Issuer>],
        now: Now,
    ) -> Option<(Verdict, &'i Issuer)> {
        let verdict = self.cache.get(hash)?;
        // The verdict of another policy's issuer says nothing here; it may still serve there.
        let issuer = issuers.iter().find(|issuer| issuer.id() == verdict.issuer)?;
        if issuer.generation(now) != Some(verdict.generation) {
            self.cache.remove(hash);
            return None;
        }
        Some((verdict, issuer))
    }

    /// Keeps a verdict.
    pub(super) fn remember(&self, hash: TokenHash, verdict: Verdict) {
        self.cache.insert(hash, verdict);
        self.entries.set(i64::try_from(self.cache.len()).unwrap_or(i64::MAX));
    }
}

/// The hash of a token.
pub(super) fn hash_of(token: &[u8]) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}
