//! The only place that asks the system for the time.
//!
//! Everything else takes a [`Now`] as an argument or holds a [`Clock`], so that tests move time
//! instead of waiting for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall-clock time since 1970-01-01T00:00:00Z: what `exp` and `nbf` are compared with.
    pub unix: Duration,
    /// Time since the clock was made; never goes back. Limits and throttles use this one.
    pub monotonic: Duration,
}

/// A source of time, cheap to clone. [`Clock::default`] is the system's.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    advanced: AtomicU64,
    wall_advanced: AtomicU64,
    moved: Notify,
}

/// How often whoever waits for long looks whether it may go on.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            advanced: AtomicU64::new(0),
            wall_advanced: AtomicU64::new(0),
            moved: Notify::new(),
        }))
    }
}

impl Clock {
    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let advanced = Duration::from_nanos(self.0.advanced.load(Ordering::Acquire));
        let wall = Duration::from_nanos(self.0.wall_advanced.load(Ordering::Acquire));
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { unix: unix + advanced + wall, monotonic: self.0.started.elapsed() + advanced }
    }

    /// Reads the monotonic clock alone, which costs half.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        let advanced = Duration::from_nanos(self.0.advanced.load(Ordering::Acquire));
        self.0.started.elapsed() + advanced
    }

    /// The instant at which [`monotonic`](Self::monotonic) is, was or will be `at`, if nobody moves
    /// the clock meanwhile: for timers, which read the system's clock.
    #[must_use]
    pub fn instant(&self, at: Duration) -> Instant {
        let advanced = Duration::from_nanos(self.0.advanced.load(Ordering::Acquire));
        self.0.started + at.saturating_sub(advanced)
    }

    /// Waits until `duration` has passed on the monotonic clock.
    pub async fn sleep(&self, duration: Duration) {
        let deadline = self.monotonic() + duration;
        loop {
            let moved = self.0.moved.notified();
            let left = deadline.saturating_sub(self.monotonic());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = moved => {}
            }
        }
    }

    /// Moves both clocks forward and wakes whoever sleeps on this clock. For tests.
    pub fn advance(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.0.advanced.fetch_add(nanos, Ordering::AcqRel);
        self.0.moved.notify_waiters();
    }

    /// Moves the wall clock alone, as an administrator or NTP would. For tests.
    pub fn advance_wall(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.0.wall_advanced.fetch_add(nanos, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_moves_without_the_monotonic_one() {
        let clock = Clock::default();
        let before = clock.now();
        clock.advance_wall(Duration::from_secs(3600));
        let after = clock.now();
        assert!(after.unix - before.unix >= Duration::from_secs(3600));
        assert!(after.monotonic - before.monotonic < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn advancing_wakes_sleepers() {
        let clock = Clock::default();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(3600)).await }
        });
        while !sleeper.is_finished() {
            clock.advance(Duration::from_secs(1800));
            tokio::task::yield_now().await;
        }
    }
}
