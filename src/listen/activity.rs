//! What a connection is doing, and how long it may go on so.
//!
//! Requests only note what happens, with a few relaxed stores; a timer that is set once per
//! connection looks at the notes when it fires. So a request moves no timer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::Limits;

/// Why a connection is ended by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// No request began within the header timeout.
    Silent,
    /// A request's head did not end within the header timeout.
    Head,
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
    /// What an idle connection waits for: one of the constants below.
    awaits: AtomicU8,
    /// The last time that anything moved, in nanoseconds since `started`.
    since: AtomicU64,
    /// Whether bytes for the client have yet to be taken by the kernel.
    unsent: AtomicBool,
    /// Whether the end of the HTTP connection leaves the transport open.
    kept: AtomicBool,
}

const FIRST: u8 = 0;
const HEAD: u8 = 1;
const NEXT: u8 = 2;

impl Default for Activity {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            open: AtomicU32::new(0),
            unread: AtomicU32::new(0),
            awaits: AtomicU8::new(FIRST),
            since: AtomicU64::new(0),
            unsent: AtomicBool::new(false),
            kept: AtomicBool::new(false),
        }
    }
}

impl Activity {
    /// Bytes came in. Between requests, the first of them begin a head.
    pub(super) fn received(&self) {
        let between = self.open.load(Ordering::Relaxed) == 0;
        if between && self.awaits.load(Ordering::Relaxed) != HEAD {
            self.awaits.store(HEAD, Ordering::Relaxed);
            self.moved();
        }
    }

    /// A request's head is complete.
    pub(super) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A response has ended or will never come.
    pub(super) fn end(&self) {
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.awaits.store(NEXT, Ordering::Relaxed);
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

    /// Whether bytes for the client wait for the kernel.
    pub(super) fn set_unsent(&self, unsent: bool) {
        self.unsent.store(unsent, Ordering::Relaxed);
    }

    /// Whether shutting the transport down is to be left undone.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// Keeps the transport open from here on, or no longer.
    pub(super) fn keep(&self, kept: bool) {
        self.kept.store(kept, Ordering::Relaxed);
    }

    /// Since when the connection is between two requests, with nothing left to send. `None` if it
    /// is not.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let idle = self.open.load(Ordering::Relaxed) == 0
            && self.awaits.load(Ordering::Relaxed) == NEXT
            && !self.unsent.load(Ordering::Relaxed);
        idle.then(|| self.started + self.since())
    }

    /// Whether no request was begun yet, or one is half received.
    pub(super) fn is_before_request(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0 && self.awaits.load(Ordering::Relaxed) != NEXT
    }

    /// When the connection is to be ended, if nothing happens until then, and why. `None` while it
    /// waits for the gateway or a backend, whose own limits apply.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<(Instant, Late)> {
        let open = self.open.load(Ordering::Relaxed);
        let (late, span) = match (open, self.awaits.load(Ordering::Relaxed)) {
            (0, FIRST) => (Late::Silent, limits.header_timeout),
            (0, HEAD) => (Late::Head, limits.header_timeout),
            (0, _) => (Late::Idle, limits.idle_timeout),
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
        activity.received();
        assert_eq!(why(&activity), Some(Late::Head));
        activity.begin();
        assert_eq!(why(&activity), None);
        activity.offered();
        assert_eq!(why(&activity), Some(Late::Stalled));
        activity.taken();
        assert_eq!(why(&activity), None);
        activity.end();
        assert_eq!(why(&activity), Some(Late::Idle));
        activity.received();
        assert_eq!(why(&activity), Some(Late::Head));
    }

    #[test]
    fn further_bytes_of_a_head_win_no_time() {
        let activity = Activity::default();
        activity.received();
        let first = activity.deadline(&Limits::default());
        activity.received();
        assert_eq!(activity.deadline(&Limits::default()), first);
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
