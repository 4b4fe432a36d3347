//! The clock and the phase, looked at by a task that is woken for other things most of the time.
//!
//! A task keeps its waker, so timer and phase are told once whom to wake. From then on, looking at
//! them costs a load each until they have something to say. The runtime's budget does not apply: a
//! task that has used it up would not be told, and would never ask again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};

use super::super::Phase;

/// Wakes a connection's task.
pub(super) struct Watch {
    alarm: Pin<Box<Sleep>>,
    /// Whether the alarm knows whom to wake.
    armed: bool,
    phase: watch::Receiver<Phase>,
    seen: Phase,
    /// `None` before the phase is looked at, and behind its last change.
    change: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Watch {
    /// `due` is when the alarm is likely to be wanted.
    pub(super) fn new(phase: watch::Receiver<Phase>, due: Instant) -> Self {
        Self {
            alarm: Box::pin(sleep_until(due.into())),
            armed: false,
            phase,
            seen: Phase::Serving,
            change: None,
        }
    }

    /// The phase. Its next change wakes the task.
    pub(super) fn phase(&mut self, cx: &mut Context<'_>) -> Phase {
        while self.seen < Phase::Closed {
            let unchanged = matches!(self.phase.has_changed(), Ok(false));
            if unchanged && self.change.is_some() {
                break;
            }
            let change = self.change.get_or_insert_with(|| {
                let mut phase = self.phase.clone();
                // Listeners that are gone are past every phase; so says `has_changed`.
                Box::pin(async move { drop(phase.changed().await) })
            });
            if pin!(unconstrained(change)).poll(cx).is_pending() {
                break;
            }
            self.change = None;
            let ended = self.phase.has_changed().is_err();
            self.seen = if ended { Phase::Closed } else { *self.phase.borrow_and_update() };
        }
        self.seen
    }

    /// Whether the phase is still the first one.
    pub(super) fn is_serving(&self) -> bool {
        self.seen == Phase::Serving && matches!(self.phase.has_changed(), Ok(false))
    }

    /// Ready from `due` on.
    pub(super) fn poll_due(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if due < self.alarm.deadline().into_std() {
            self.set(due);
        }
        loop {
            if self.armed && !self.alarm.is_elapsed() {
                return Poll::Pending;
            }
            self.armed = true;
            ready!(pin!(unconstrained(self.alarm.as_mut())).poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            // It was set for something that did not last so long.
            self.set(due);
        }
    }

    fn set(&mut self, due: Instant) {
        self.alarm.as_mut().reset(due.into());
        self.armed = false;
    }
}
