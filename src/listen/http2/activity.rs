//! What a connection is doing, and how long it may go on so.
//!
//! Requests only note what happens, with a few relaxed stores; a timer that is set once per
//! connection looks at the notes when it fires. So a request moves no timer.

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
    /// The client read nothing of its responses within the idle timeout.
    Stalled,
}

/// Notes about one connection.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// Requests whose response has not ended.
    open: AtomicU32,
    /// Those of them whose response waits for the client to read.
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
            open: AtomicU32::new(0),
            unread: AtomicU32::new(0),
            served: AtomicBool::new(false),
            since: AtomicU64::new(0),
        }
    }
}

impl Activity {
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

    /// A part of a response is there for the client to read.
    pub(super) fn offered(&self) {
        self.unread.fetch_add(1, Ordering::Relaxed);
        self.moved();
    }

    /// That part was taken.
    pub(super) fn taken(&self) {
        self.unread.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether no request was begun yet.
    pub(super) fn is_before_request(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0 && !self.served.load(Ordering::Relaxed)
    }

    /// When the connection is to be ended, if nothing happens until then, and why. `None` while it
    /// waits for the gateway or a backend, whose own limits apply.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<(Instant, Late)> {
        let open = self.open.load(Ordering::Relaxed);
        let (late, span) = match open {
            0 if self.is_before_request() => (Late::Silent, limits.header_timeout),
            0 => (Late::Idle, limits.idle_timeout),
            _ if self.unread.load(Ordering::Relaxed) >= open => {
                (Late::Stalled, limits.idle_timeout)
            }
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
        activity.offered();
        assert_eq!(why(&activity), Some(Late::Stalled));
        activity.taken();
        assert_eq!(why(&activity), None);
        activity.end();
        assert_eq!(why(&activity), Some(Late::Idle));
    }

    #[test]
    fn one_stream_that_waits_for_its_backend_keeps_the_connection() {
        let activity = Activity::default();
        activity.begin();
        activity.begin();
        activity.offered();
        assert_eq!(why(&activity), None);
    }
}
