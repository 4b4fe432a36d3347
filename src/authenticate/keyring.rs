//! The keys of an issuer over time: what requests see of them.
//!
//! A background task ([`super::refresh`]) fetches; requests read, and may ask for a refresh. They
//! meet here, perhaps on different runtimes, so nothing here needs a particular one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::key_set::KeySet;
use super::keys::Key;
use crate::clock::{Clock, Now};
use crate::rejection::Rejection;

/// The keys of one issuer, and the state of getting them.
#[derive(Debug)]
pub(super) struct Keyring {
    set: ArcSwap<KeySet>,
    /// The generation of `set`, for a look without touching it.
    generation: AtomicU64,
    /// When the set was last confirmed, in monotonic nanoseconds.
    confirmed: AtomicU64,
    max_stale: Duration,
    /// When the next attempt is due, in monotonic nanoseconds.
    next_attempt: AtomicU64,
    is_started: AtomicBool,
    begun: AtomicU64,
    ended: watch::Sender<u64>,
    demand: Mutex<Demand>,
    wanted: Notify,
    problem: Mutex<Option<String>>,
    pub(super) clock: Clock,
}

/// A request for a refresh outside of the schedule.
#[derive(Debug, Default)]
struct Demand {
    /// When the last one was granted, on the monotonic clock.
    granted: Option<Duration>,
    /// The number of the attempt that will show its outcome.
    attempt: u64,
    /// Whether a refusal has been logged since.
    is_refusal_logged: bool,
}

/// What became of asking for a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// An attempt that began after somebody asked has ended.
    Refreshed,
    /// It has not ended in time.
    TimedOut,
    /// Too soon after the last one. `is_first` marks the first such refusal, for the log.
    Throttled { is_first: bool },
}

impl Keyring {
    pub(super) fn new(max_stale: Duration, clock: &Clock) -> Self {
        Self {
            set: ArcSwap::default(),
            generation: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            max_stale,
            next_attempt: AtomicU64::new(0),
            is_started: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            demand: Mutex::default(),
            wanted: Notify::new(),
            problem: Mutex::default(),
            clock: clock.clone(),
        }
    }

    /// Takes over what `older` has, with its age: keys that were fetched from the same place by the
    /// same rules. They serve until the first fetch of this one's own.
    pub(super) fn succeed(&self, older: &Self) {
        self.set.store(older.set.load_full());
        self.confirmed.store(older.confirmed.load(Ordering::Acquire), Ordering::Release);
        self.generation.store(older.generation.load(Ordering::Acquire), Ordering::Release);
    }

    /// A keyring with keys that nobody refreshes and that never get stale.
    pub(super) fn fixed(keys: Vec<Key>, clock: &Clock) -> Self {
        let keyring = Self::new(Duration::MAX, clock);
        keyring.confirm(keys);
        keyring.ended.send_replace(1);
        keyring
    }

    /// The keys that may be used at `now`, if there are any.
    pub(super) fn usable(&self, now: Now) -> Option<Arc<KeySet>> {
        self.generation(now)?;
        Some(self.set.load_full())
    }

    /// Which set of keys may be used at `now`, if there is one.
    pub(super) fn generation(&self, now: Now) -> Option<u64> {
        let generation = self.generation.load(Ordering::Acquire);
        let confirmed = Duration::from_nanos(self.confirmed.load(Ordering::Acquire));
        let is_fresh = now.monotonic.saturating_sub(confirmed) <= self.max_stale;
        Some(generation).filter(|generation| *generation > 0 && is_fresh)
    }

    /// The keys, waiting for the first attempt to get them if it is under way, for a second.
    pub(super) async fn usable_soon(&self, now: Now) -> Result<Arc<KeySet>, Rejection> {
        if let Some(set) = self.usable(now) {
            return Ok(set);
        }
        if self.is_started.load(Ordering::Acquire) && *self.ended.borrow() == 0 {
            self.wait(1, FIRST_WAIT).await;
        }
        let now = self.clock.now();
        self.usable(now).ok_or_else(|| self.unavailable(now))
    }

    /// Asks for a refresh because of a key that is not known, and waits for its outcome for at most
    /// three seconds.
    ///
    /// Granted once in 30 seconds whatever comes of it, or unknown keys would be a way to flood the
    /// issuer. Those who ask while a granted refresh is under way wait for the same one.
    pub(super) async fn refresh(&self) -> Asked {
        let attempt = match self.demand(self.clock.monotonic()) {
            Ok(attempt) => attempt,
            Err(asked) => return asked,
        };
        if self.wait(attempt, REFRESH_WAIT).await { Asked::Refreshed } else { Asked::TimedOut }
    }

    /// The attempt to wait for.
    fn demand(&self, now: Duration) -> Result<u64, Asked> {
        if !self.is_started.load(Ordering::Acquire) {
            return Err(Asked::Throttled { is_first: false });
        }
        let mut demand = lock(&self.demand);
        let is_due =
            demand.granted.is_none_or(|granted| now.saturating_sub(granted) >= DEMAND_INTERVAL);
        if is_due {
            // An attempt that is under way may have read the old keys already: take the next one.
            let attempt = self.begun.load(Ordering::Acquire) + 1;
            *demand = Demand { granted: Some(now), attempt, is_refusal_logged: false };
            self.wanted.notify_one();
            return Ok(attempt);
        }
        if *self.ended.borrow() < demand.attempt {
            return Ok(demand.attempt);
        }
        let is_first = !std::mem::replace(&mut demand.is_refusal_logged, true);
        Err(Asked::Throttled { is_first })
    }

    /// Waits until the first attempt has ended.
    pub(super) async fn first_attempt(&self) {
        self.ended_at_least(1).await;
    }

    async fn wait(&self, attempt: u64, limit: Duration) -> bool {
        tokio::select! {
            () = self.ended_at_least(attempt) => true,
            () = self.clock.sleep(limit) => false,
        }
    }

    async fn ended_at_least(&self, attempt: u64) {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as `self`, so this ends when the attempt does.
        drop(ended.wait_for(|ended| *ended >= attempt).await);
    }

    /// Whether tokens can be verified at `now`.
    pub(super) fn is_ready(&self, now: Now) -> bool {
        self.generation(now).is_some()
    }

    /// The latest keys, fresh or not.
    pub(super) fn latest(&self) -> Arc<KeySet> {
        self.set.load_full()
    }

    /// Why the last attempt failed, if it did.
    pub(super) fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    /// That validity cannot be known, with the time until the next attempt.
    fn unavailable(&self, now: Now) -> Rejection {
        let next = Duration::from_nanos(self.next_attempt.load(Ordering::Acquire));
        let left = next.saturating_sub(now.monotonic);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Rejection::AuthUnavailable { retry_after: seconds.clamp(1, 60) }
    }
}

/// What the background task does.
impl Keyring {
    /// Says that attempts will be made.
    pub(super) fn start(&self) {
        self.is_started.store(true, Ordering::Release);
    }

    /// Says that an attempt begins; returns its number.
    pub(super) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Takes the keys of a successful attempt; says whether they differ from those before.
    pub(super) fn confirm(&self, keys: Vec<Key>) -> bool {
        self.confirmed.store(nanos(self.clock.monotonic()), Ordering::Release);
        let Some(next) = self.set.load().followed_by(keys) else { return false };
        let generation = next.generation;
        self.set.store(Arc::new(next));
        self.generation.store(generation, Ordering::Release);
        true
    }

    /// Notes why an attempt failed, or that it did not; says whether that is news.
    pub(super) fn note(&self, problem: Option<&str>) -> bool {
        let mut noted = lock(&self.problem);
        let is_news = noted.as_deref() != problem;
        *noted = problem.map(str::to_owned);
        is_news
    }

    /// Says that attempt `number` has ended, and waits for the next: for `pause`, or until somebody
    /// asks.
    pub(super) async fn end(&self, number: u64, pause: Duration) {
        let due = self.clock.monotonic().saturating_add(pause);
        self.next_attempt.store(nanos(due), Ordering::Release);
        self.ended.send_replace(number);
        let left = due.saturating_sub(self.clock.monotonic());
        tokio::select! {
            () = self.clock.sleep(left) => {}
            () = self.wanted_after(number) => {}
        }
    }

    /// Waits until somebody asks for a later attempt than `number`. A wake-up for one that has
    /// begun by itself in the meantime is no reason for another.
    async fn wanted_after(&self, number: u64) {
        while lock(&self.demand).attempt <= number {
            self.wanted.notified().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a request waits for the first attempt.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How long a request waits for a refresh.
const REFRESH_WAIT: Duration = Duration::from_secs(3);

/// The time between refreshes that requests ask for.
pub(super) const DEMAND_INTERVAL: Duration = Duration::from_secs(30);
