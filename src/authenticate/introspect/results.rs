//! What is remembered of answers, beside the verdicts of opaque tokens.
//!
//! One issuer's alone, keyed by the SHA-256 of the token. Good and bad are kept apart, so that
//! made-up tokens cannot push good ones out. What a route asks for is no part of a result.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::Question;
use crate::authenticate::verdicts::TokenHash;
use crate::clock::Now;
use crate::config::Introspection;
use crate::identity::Identity;
use crate::rejection::TokenFault;

/// The results of one issuer.
#[derive(Debug)]
pub(super) struct Results {
    /// JWTs that the issuer vouches for; that they are genuine was found before.
    vouched: Memory<Until>,
    refused: Memory<(TokenFault, Until)>,
    negative: Duration,
}

type Memory<T> = Cache<TokenHash, T, UnitWeighter, RandomState>;

/// How long an answer is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::authenticate) struct Until {
    /// On the monotonic clock.
    deadline: Duration,
    /// The token's `exp`, since 1970: no leeway for what is only remembered.
    exp: Duration,
}

impl Until {
    /// For `time_to_live` from `now` on, and not past `exp`; `None` if that is no time at all.
    pub(super) fn of(now: Now, time_to_live: Duration, exp: Option<Duration>) -> Option<Self> {
        let deadline = now.monotonic.saturating_add(time_to_live);
        let until = Self { deadline, exp: exp.unwrap_or(Duration::MAX) };
        until.holds(now).then_some(until)
    }

    /// Whether it is still used at `now`.
    pub(in crate::authenticate) fn holds(self, now: Now) -> bool {
        now.monotonic < self.deadline && now.unix < self.exp
    }
}

impl Results {
    pub(super) fn new(settings: &Introspection) -> Self {
        Self { vouched: memory(), refused: memory(), negative: settings.negative_cache }
    }

    /// What is known of a token that needs an answer.
    pub(super) fn recall(
        &self,
        question: &Question<'_>,
        now: Now,
    ) -> Option<Result<Arc<Identity>, TokenFault>> {
        let refused = self.refused.get(&question.hash).filter(|(_, until)| until.holds(now));
        if let Some((fault, _)) = refused {
            return Some(Err(fault));
        }
        let local = question.local?;
        let vouched = self.vouched.get(&question.hash).filter(|until| until.holds(now));
        vouched.map(|_| Ok(Arc::clone(local)))
    }

    /// Remembers that the issuer vouches for a verified JWT.
    pub(super) fn vouch(&self, hash: TokenHash, until: Until) {
        self.refused.remove(&hash);
        self.vouched.insert(hash, until);
    }

    /// Remembers that a token is refused, briefly.
    pub(super) fn refuse(&self, hash: TokenHash, fault: TokenFault, now: Now) {
        self.vouched.remove(&hash);
        if let Some(until) = Until::of(now, self.negative, None) {
            self.refused.insert(hash, (fault, until));
        }
    }
}

fn memory<T: Clone>() -> Memory<T> {
    let lifecycle = DefaultLifecycle::default();
    Cache::with(INITIAL, MOST, UnitWeighter, RandomState::default(), lifecycle)
}

/// Entries to make room for at first, and at most.
const INITIAL: usize = 256;
const MOST: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn now(seconds: u64) -> Now {
        Now { unix: Duration::from_secs(1000 + seconds), monotonic: Duration::from_secs(seconds) }
    }

    /// IN-06
    #[test]
    fn an_answer_ends_with_its_time_or_its_token() {
        let second = Duration::from_secs;
        let until = Until::of(now(0), second(60), Some(second(1003))).unwrap();
        assert!(until.holds(now(2)) && !until.holds(now(3)));
        let until = Until::of(now(0), second(60), None).unwrap();
        assert!(until.holds(now(59)) && !until.holds(now(60)));
        assert_eq!(Until::of(now(0), Duration::ZERO, None), None);
        assert_eq!(Until::of(now(0), second(60), Some(second(1000))), None);
        // Somebody set the clock.
        let until = Until::of(now(0), second(60), Some(second(1003))).unwrap();
        assert!(!until.holds(Now { unix: second(1003), ..now(1) }));
    }
}
