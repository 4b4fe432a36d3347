//! Which requests are sent again, and how many.
//!
//! A request of which nothing was written may go elsewhere whatever it is. One that a backend may
//! have seen is sent again only if it is idempotent (RFC 9110 §9.2.2), no part of its body was taken
//! from the client, and nothing of an answer has come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;

use crate::config::{Retry, RetryOn};

/// An upstream's retries.
#[derive(Debug)]
pub(super) struct Retries {
    settings: Retry,
    budget: Budget,
}

impl Retries {
    pub(super) fn new(settings: &Retry) -> Self {
        Self { settings: settings.clone(), budget: Budget::default() }
    }

    /// Counts a request at `now`, on the monotonic clock: it earns a part of a retry.
    pub(super) fn earn(&self, now: Duration) {
        self.budget.requests.add(now);
    }

    /// Whether a request that was sent again `before` times may be once more after `event`.
    pub(super) fn covers(&self, event: RetryOn, before: u32) -> bool {
        before < self.settings.times && self.settings.on.contains(&event)
    }

    /// Takes one retry out of the budget at `now`; false if there is none left.
    pub(super) fn spend(&self, now: Duration) -> bool {
        self.budget.spend(u64::from(self.settings.budget), now)
    }
}

/// Whether sending the request twice is as good as once (RFC 9110 §9.2.2). TRACE is never
/// forwarded, and methods of other documents are not guessed at.
pub(super) fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}

/// Bounds retries by requests, so that a backend that is overloaded is not asked twice as much.
#[derive(Debug, Default)]
struct Budget {
    requests: Window,
    retries: Window,
}

impl Budget {
    fn spend(&self, percent: u64, now: Duration) -> bool {
        let earned = self.requests.sum(now).saturating_mul(percent) / 100;
        if self.retries.sum(now) >= earned + ALWAYS {
            return false;
        }
        self.retries.add(now);
        true
    }
}

/// Counts over the last seconds, without a lock: each slot is a second in the upper half and the
/// count of that second in the lower.
#[derive(Debug, Default)]
struct Window([AtomicU64; SECONDS as usize]);

impl Window {
    fn add(&self, now: Duration) {
        let second = now.as_secs();
        let slot = &self.0[(second % SECONDS) as usize];
        let next = |value: u64| match value >> HALF == second {
            true => Some(value.saturating_add(1)),
            false => Some((second << HALF) + 1),
        };
        // `next` always has an answer.
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    fn sum(&self, now: Duration) -> u64 {
        let oldest = (now.as_secs() + 1).saturating_sub(SECONDS);
        let values = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        values.filter(|value| value >> HALF >= oldest).map(|value| value & COUNT).sum()
    }
}

/// How long requests and retries are remembered.
const SECONDS: u64 = 10;
/// Retries in that time that need no requests to earn them: three in a second.
const ALWAYS: u64 = 3 * SECONDS;
const HALF: u32 = 32;
const COUNT: u64 = (1 << HALF) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_window_forgets_what_is_older() {
        let window = Window::default();
        for second in 0..25 {
            window.add(at(second));
            assert_eq!(window.sum(at(second)), (second + 1).min(SECONDS));
        }
        assert_eq!(window.sum(at(30)), 4);
        assert_eq!(window.sum(at(34)), 0);
    }

    #[test]
    fn retries_are_bounded_by_requests() {
        let budget = Budget::default();
        let spent = |now| (0..1000).filter(|_| budget.spend(20, at(now))).count() as u64;
        assert_eq!(spent(100), ALWAYS);
        (0..500).for_each(|_| budget.requests.add(at(101)));
        assert_eq!(spent(101), 100, "a fifth of the requests more");
        assert_eq!(spent(105), 0);
        assert_eq!(spent(115), ALWAYS, "the requests are forgotten, and so are the retries");
    }

    #[test]
    fn only_what_is_asked_for_is_covered() {
        let retries = Retries::new(&Retry::default());
        assert!(retries.covers(RetryOn::Reset, 0) && retries.covers(RetryOn::Connect, 0));
        assert!(!retries.covers(RetryOn::Reset, 1) && !retries.covers(RetryOn::Status(503), 0));
    }

    #[test]
    fn idempotent_methods_are_those_of_the_standard() {
        let methods = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "LOCK", "get"];
        let found = methods.map(|name| is_idempotent(&name.parse().unwrap()));
        assert_eq!(found, [true, true, true, true, true, false, false, false, false]);
    }
}
