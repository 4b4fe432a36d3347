//! The tokens that were found good, so that each is verified once.
//!
//! A verdict is keyed by a hash of the whole token and tied to the issuer, its settings and its keys
//! as they were, or to the time for which its answer about the token is used. Time is compared on
//! every hit. What a route asks for is no part of it.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use foldhash::fast::RandomState;
use prometheus::{IntCounter, IntGauge};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::claims::Window;
use super::introspect::Until;
use super::issuer::Issuer;
use super::tally::Tally;
use super::turnstile::Turnstile;
use crate::clock::Now;
use crate::identity::Identity;
use crate::record::metrics::Metrics;
use crate::rejection::Rejection;

/// The verified tokens that are remembered.
#[derive(Debug)]
pub struct Verdicts {
    cache: Cache<TokenHash, Verdict, UnitWeighter, RandomState>,
    hasher: Hasher,
    hits: IntCounter,
    misses: IntCounter,
    entries: IntGauge,
    /// Counts the tokens that no issuer can be blamed for.
    pub(super) unassigned: Tally,
    /// Where those wait whose token is not remembered.
    pub(super) turnstile: Turnstile,
}

/// What is kept in a token's place, in this process alone.
pub(super) type TokenHash = [u8; 16];

/// Hashes tokens in a third of the time that SHA-256 takes: GMAC under a random key that nobody
/// knows, always with the same nonce.
///
/// As a hash that is enough, and it is all there is to tell tokens apart: the token itself is not
/// kept, so that who reads the memory finds none. Of two tokens of at most `n` blocks of 16 bytes,
/// whoever chose them, `n + 1` keys in 2^128 give the same hash, for that many zeros has the
/// polynomial that GHASH is at their difference (NIST SP 800-38D §6.4). The longest token that
/// `limits.token` can allow has 1 MiB, or 2^16 blocks: one key in 2^111. Beside 2^20 remembered tokens,
/// 2^40 tries meet one of them by chance once in 2^51. To do better one would have to see hashes.
/// None ever leaves the process, and a nonce that repeats gives away only what is seen.
#[derive(Debug)]
struct Hasher(LessSafeKey);

impl Hasher {
    /// With a key of its own.
    ///
    /// # Panics
    /// If the system has no randomness: nothing could be done safely then.
    fn new() -> Self {
        let mut key = [0; 16];
        rand::fill(&mut key).expect("the system has randomness");
        let key = UnboundKey::new(&AES_128_GCM, &key).expect("the key is as long as it must be");
        Self(LessSafeKey::new(key))
    }

    fn hash(&self, token: &[u8]) -> TokenHash {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let mut hash = [0; 16];
        match self.0.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []) {
            Ok(tag) => hash.copy_from_slice(tag.as_ref()),
            // It does not fail; if it did, this would still tell tokens apart.
            Err(_) => hash.copy_from_slice(&sha256_of(token)[..16]),
        }
        hash
    }
}

/// What was found, and under which circumstances it holds.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) identity: Arc<Identity>,
    /// Which issuer instance: another configuration of the same issuer is another instance.
    pub(super) issuer: u64,
    pub(super) ground: Ground,
}

/// What a verdict rests on, and holds as long as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ground {
    /// This set of the issuer's keys.
    Keys(u64),
    /// The issuer's own answer.
    Answer(Until),
}

/// A token that is good.
#[derive(Debug)]
pub(super) struct Good<'i> {
    pub(super) identity: Arc<Identity>,
    pub(super) issuer: &'i Arc<Issuer>,
    /// Whether its issuer said so, asked about this token.
    pub(super) is_answered: bool,
}

impl Ground {
    fn holds(self, issuer: &Issuer, now: Now) -> bool {
        match self {
            Self::Keys(generation) => issuer.generation(now) == Some(generation),
            Self::Answer(until) => until.holds(now),
        }
    }
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
            hasher: Hasher::new(),
            hits: requests("hit"),
            misses: requests("miss"),
            entries: metrics.token_cache_entries.clone(),
            unassigned: Tally::new(metrics, "-"),
            turnstile: Turnstile::new(),
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

    /// What the token is known by.
    pub(super) fn hash_of(&self, token: &[u8]) -> TokenHash {
        self.hasher.hash(token)
    }

    /// What is known of a token, if it still holds for one of `issuers`. Allocates nothing.
    pub(super) fn recall<'i>(
        &self,
        hash: &TokenHash,
        issuers: &'i [Arc<Issuer>],
        now: Now,
    ) -> Option<Result<Good<'i>, Rejection>> {
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
        let is_answered = matches!(verdict.ground, Ground::Answer(_));
        Some(Ok(Good { identity, issuer, is_answered }))
    }

    /// What is known of a token of `issuer` by its answer. Counts nothing.
    pub(super) fn known(
        &self,
        hash: &TokenHash,
        issuer: &Arc<Issuer>,
        now: Now,
    ) -> Option<Arc<Identity>> {
        let (verdict, _) = self.find(hash, std::slice::from_ref(issuer), now)?;
        matches!(verdict.ground, Ground::Answer(_)).then_some(verdict.identity)
    }

    fn find<'i>(
        &self,
        hash: &TokenHash,
        issuers: &'i [Arc<Issuer>],
        now: Now,
    ) -> Option<(Verdict, &'i Arc<Issuer>)> {
        let verdict = self.cache.get(hash)?;
        // The verdict of another policy's issuer says nothing here; it may still serve there.
        let issuer = issuers.iter().find(|issuer| issuer.id() == verdict.issuer)?;
        if !verdict.ground.holds(issuer, now) {
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

/// The SHA-256 of a token.
fn sha256_of(token: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}
