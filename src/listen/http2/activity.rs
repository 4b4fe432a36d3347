//! What a connection is doing, and how long it may go on so.
//!
//! Requests only note what happens, with a few relaxed stores; a timer that is set once per
//! connection looks at the notes when it fires. So a request moves no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::Limits;

/// Why a connection is ended by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// No request began within the header timeout.
    Silent,
    /// No further request began within the idle timeout.
    Idle,
    /// The client left too many answers unread.
    Unread,
}

/// Notes about one connection.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// Requests whose response has not ended.
    open: Arc<AtomicU32>,
    /// Responses that were given up, since the client did not read them.
    unread: AtomicU32,
    /// Whether a request was ever answered.
    served: AtomicBool,
    /// The last time that anything moved, in nanoseconds since `started`.
    since: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            open: Arc::default(),
            unread: AtomicU32::new(0),
            served: AtomicBool::new(false),
            since: AtomicU64::new(0),
        }
    }
}

impl Activity {
    /// The count of requests whose response has not ended.
    pub(super) fn open(&self) -> &Arc<AtomicU32> {
        &self.open
    }

    /// A request's head is complete.
    pub(super) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A response has ended or will never come.
    pub(super) fn end(&self) {
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.served.store(true, Ordering::Relaxed);
        }
        self.moved();
    }

    /// A response was given up, since the client did not read it.
    pub(super) fn give_up(&self) {
        self.unread.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether no request was begun yet.
    pub(super) fn is_before_request(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0 && !self.served.load(Ordering::Relaxed)
    }

    /// When the connection is to be ended, if nothing happens until then, and why. `None` while it
    /// waits for the gateway or a backend, or each answer for its reader: they have limits of their
    /// own.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<(Instant, Late)> {
        if self.unread.load(Ordering::Relaxed) >= MOST_UNREAD {
            return Some((self.started, Late::Unread));
        }
        let (late, span) = match self.open.load(Ordering::Relaxed) {
            0 if self.is_before_request() => (Late::Silent, limits.header_timeout),
            0 => (Late::Idle, limits.idle_timeout),
            _ => return None,
        };
        Some((self.started + self.since() + span, late))
    }

    fn since(&self) -> Duration {
        Duration::from_nanos(self.since.load(Ordering::Relaxed))
    }

    fn moved(&self) {
        let since = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
    }
}

/// Whoever leaves so many answers unread asks in order not to read.
const MOST_UNREAD: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn why(activity: &Activity) -> Option<Late> {
        activity.deadline(&Limits::default()).map(|(_, late)| late)
    }

    #[test]
    fn each_state_has_its_own_limit() {
        let activity = Activity::default();
        assert_eq!(why(&activity), Some(Late::Silent));
        activity.begin();
        assert_eq!(why(&activity), None);
        activity.end();
        assert_eq!(why(&activity), Some(Late::Idle));
    }

    #[test]
    fn who_leaves_too_much_unread_is_late_whatever_else_goes_on() {
        let activity = Activity::default();
        activity.begin();
        (1..MOST_UNREAD).for_each(|_| activity.give_up());
        assert_eq!(why(&activity), None);
        activity.give_up();
        assert_eq!(why(&activity), Some(Late::Unread));
    }
}
