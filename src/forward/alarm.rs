//! The alarm of whoever waits for a backend.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::Clock;

/// A timer that is set seldom: it fires early, and whoever waits looks then how long it may go on
/// waiting.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Fires after this time at the latest.
    pub(super) fn after(time: Duration) -> Self {
        Self(Box::pin(sleep_until(Instant::now() + time)))
    }

    /// Makes sure that it fires `left` after `now`, which is on the monotonic clock, at the latest.
    pub(super) fn wake_after(&mut self, clock: &Clock, now: Duration, left: Duration) {
        let due = Instant::from_std(clock.instant(now.saturating_add(left)));
        if self.0.is_elapsed() || self.0.deadline() > due {
            self.0.as_mut().reset(due);
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}
