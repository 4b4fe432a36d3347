//! One rate, kept for each caller by the generic cell rate algorithm.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::Clock as Monotonic;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;

use crate::clock::Clock;
use crate::config::Rate;

use super::callers::{Callers, SharedCallers};

/// A rate and everyone's state in it.
pub(super) struct Bucket {
    limiter: RateLimiter<u128, SharedCallers, Time, StateInformationMiddleware>,
    callers: SharedCallers,
    time: Time,
    /// Governor's states count from here.
    started: Nanos,
    /// How many requests fit at once.
    burst: u32,
    /// The time in which one request is earned back.
    interval: Duration,
}

/// What is left after a request was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Requests that may follow at once.
    pub(super) remaining: u32,
    /// Seconds: after a pass, until everything is earned back; after a refusal, until one is.
    pub(super) reset: u64,
}

impl Bucket {
    pub(super) fn new(rate: Rate, burst: Option<u32>, callers: usize, clock: &Clock) -> Self {
        let burst = NonZeroU32::new(burst.unwrap_or(rate.count)).unwrap_or(NonZeroU32::MIN);
        let interval = (rate.period / rate.count.max(1)).max(Duration::from_nanos(1));
        // The interval is at least a nanosecond, the only thing that `with_period` asks for.
        let quota = governor::Quota::with_period(interval)
            .unwrap_or(governor::Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        let callers = SharedCallers(Arc::new(Callers::new(callers)));
        let time = Time(clock.clone());
        let started = time.now();
        let limiter = RateLimiter::new(quota, callers.clone(), time.clone());
        Self { limiter, callers, time, started, burst: burst.get(), interval }
    }

    /// Counts one request of `caller`.
    ///
    /// # Errors
    /// What is left when it is too many.
    pub(super) fn take(&self, caller: u128) -> Result<Left, Left> {
        match self.limiter.check_key(&caller) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let missing = self.burst.saturating_sub(remaining);
                Ok(Left { remaining, reset: whole_seconds(self.interval * missing) })
            }
            Err(refused) => {
                let reset = whole_seconds(refused.wait_time_from(self.time.now())).max(1);
                Err(Left { remaining: 0, reset })
            }
        }
    }

    pub(super) fn forget_idle(&self) {
        self.callers.0.forget_idle(self.time.now().saturating_sub(self.started));
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("burst", &self.burst).finish_non_exhaustive()
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Our monotonic clock, as governor reads it.
#[derive(Clone, Debug)]
struct Time(Clock);

impl Monotonic for Time {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.monotonic().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(count: u32, seconds: u64, burst: u32, callers: usize) -> (Bucket, Clock) {
        let clock = Clock::default();
        let rate = Rate { count, period: Duration::from_secs(seconds) };
        (Bucket::new(rate, Some(burst), callers, &clock), clock)
    }

    #[test]
    fn a_burst_passes_then_one_request_per_interval() {
        let (bucket, clock) = bucket(60, 60, 5, 10);
        for left in (0..5).rev() {
            assert_eq!(bucket.take(1).map(|left| left.remaining), Ok(left));
        }
        assert_eq!(bucket.take(1), Err(Left { remaining: 0, reset: 1 }));
        clock.advance(Duration::from_secs(1));
        assert!(bucket.take(1).is_ok());
        assert!(bucket.take(1).is_err());
    }

    /// RL-07: the wall clock has no say.
    #[test]
    fn moving_the_wall_clock_earns_nothing() {
        let (bucket, clock) = bucket(1, 60, 1, 10);
        assert!(bucket.take(1).is_ok());
        clock.advance_wall(Duration::from_secs(3600));
        assert!(bucket.take(1).is_err());
    }

    /// RL-07: 2N requests at once, at a limit of N.
    #[test]
    fn exactly_the_limit_passes_under_concurrency() {
        let (bucket, _clock) = bucket(100, 86_400, 100, 10);
        let passed = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        if bucket.take(7).is_ok() {
                            passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 100);
    }

    /// RL-08: memory is bounded, and strangers do not flush a caller out.
    #[test]
    fn strangers_beyond_the_capacity_share_a_state_and_evict_nobody() {
        let (bucket, clock) = bucket(1, 60, 1, 100);
        assert!(bucket.take(0).is_ok());
        let passed = (1..100_000).filter(|caller| bucket.take(*caller).is_ok()).count();
        assert_eq!(passed, 99 + 1, "99 of their own, and one of the shared state");
        assert_eq!(bucket.callers.0.len(), 100);
        assert!(bucket.take(0).is_err(), "the first caller is still at its limit");
        clock.advance(Duration::from_secs(61));
        bucket.forget_idle();
        assert_eq!(bucket.callers.0.len(), 0);
        assert!(bucket.take(0).is_ok());
    }
}
