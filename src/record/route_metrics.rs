//! One route's counters: plain numbers, which `by_route` turns into series when they are asked
//! for. Counting a request hashes no label and takes no lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;

use crate::rejection::Reason;

use super::metrics::SECONDS;
use super::tally::Tally;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The backend answered, whatever it said.
    Ok,
    /// The gateway refused it.
    Denied,
    /// A limit refused it.
    Limited,
    /// The gateway or the backend failed.
    Error,
}

impl Outcome {
    pub(super) const ALL: [Self; 4] = [Self::Ok, Self::Denied, Self::Limited, Self::Error];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Error => "error",
        }
    }
}

/// What one route has counted. What never happened has no memory of its own: a gateway may have
/// thousands of routes, of which most see few kinds of requests.
#[derive(Debug, Default)]
pub(crate) struct RouteMetrics {
    /// By method, as an index, and status.
    requests: Tally<(u8, u16)>,
    ok: Lazy,
    denied: Lazy,
    limited: Lazy,
    error: Lazy,
    allowed: AtomicU64,
    /// The decisions that have a reason.
    decided: Tally<(&'static str, Reason)>,
    received: AtomicU64,
    sent: AtomicU64,
    /// By plan.
    exceeded: Tally<String>,
}

type Lazy = OnceLock<Box<Durations>>;

impl RouteMetrics {
    pub(crate) fn count_request(&self, method: &Method, status: u16) {
        let known = METHODS.iter().position(|known| known == method);
        let row = known.unwrap_or(METHODS.len());
        self.requests.count(&(u8::try_from(row).unwrap_or(u8::MAX), status));
    }

    pub(crate) fn count_duration(&self, outcome: Outcome, total: Duration) {
        self.lazy(outcome).get_or_init(Box::default).observe(total);
    }

    pub(crate) fn count_decision(&self, decision: &'static str, reason: Option<Reason>) {
        match reason {
            None => drop(self.allowed.fetch_add(1, Ordering::Relaxed)),
            Some(reason) => self.decided.count(&(decision, reason)),
        }
    }

    pub(crate) fn count_limited(&self, plan: &str) {
        self.exceeded.count(plan);
    }

    pub(crate) fn count_bytes(&self, received: u64, sent: u64) {
        if received > 0 {
            self.received.fetch_add(received, Ordering::Relaxed);
        }
        if sent > 0 {
            self.sent.fetch_add(sent, Ordering::Relaxed);
        }
    }

    /// Requests by method and status.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        self.requests.counts().map(|((row, status), count)| {
            let name = METHODS.get(usize::from(*row)).map_or("OTHER", Method::as_str);
            (name, *status, count)
        })
    }

    /// How long requests took that ended so; `None` if none did.
    pub(super) fn durations(&self, outcome: Outcome) -> Option<&Durations> {
        self.lazy(outcome).get().map(AsRef::as_ref)
    }

    /// Requests by decision and reason: first those that were allowed, without a reason.
    pub(super) fn decisions(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let allowed = ("allow", "-", self.allowed.load(Ordering::Relaxed));
        let decided = self.decided.counts();
        let decided = decided.map(|((decision, reason), n)| (*decision, reason.as_str(), n));
        std::iter::once(allowed).chain(decided)
    }

    /// Bytes of bodies that were received from clients, and sent to them.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let load = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        (load(&self.received), load(&self.sent))
    }

    /// Requests that a limit refused, by plan.
    pub(super) fn exceeded(&self) -> impl Iterator<Item = (&str, u64)> {
        self.exceeded.counts().map(|(plan, count)| (plan.as_str(), count))
    }

    fn lazy(&self, outcome: Outcome) -> &Lazy {
        match outcome {
            Outcome::Ok => &self.ok,
            Outcome::Denied => &self.denied,
            Outcome::Limited => &self.limited,
            Outcome::Error => &self.error,
        }
    }
}

/// A histogram over [`SECONDS`].
#[derive(Debug, Default)]
pub(super) struct Durations {
    /// One for each bound, and one for what is longer.
    counts: [AtomicU64; SECONDS.len() + 1],
    nanos: AtomicU64,
}

impl Durations {
    fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// For each bound, how many were not longer; and how many there are in all.
    pub(super) fn cumulative(&self) -> ([u64; SECONDS.len()], u64) {
        let mut sum = 0;
        let mut add = |count: &AtomicU64| {
            sum += count.load(Ordering::Relaxed);
            sum
        };
        let within = std::array::from_fn(|bucket| add(&self.counts[bucket]));
        (within, add(&self.counts[SECONDS.len()]))
    }

    /// The sum of all, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// The methods that have a label of their own; all others are `OTHER`, so that clients cannot
/// make series.
pub(super) static METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A bound belongs to its bucket, as Prometheus has it.
    #[test]
    fn durations_fall_into_the_buckets_that_hold_them() {
        let durations = Durations::default();
        for millis in [0, 5, 6, 10_000, 10_001] {
            durations.observe(Duration::from_millis(millis));
        }
        assert_eq!(durations.cumulative(), ([2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4], 5));
        assert!((durations.seconds() - 20.012).abs() < 1e-9);
    }

    #[test]
    fn methods_that_clients_invent_are_one() {
        let metrics = RouteMetrics::default();
        for method in ["GET", "BREW", "WHEN", "TRACE"] {
            metrics.count_request(&method.parse().unwrap(), 405);
        }
        let requests: Vec<_> = metrics.requests().collect();
        assert_eq!(requests, [("GET", 405, 1), ("OTHER", 405, 2), ("TRACE", 405, 1)]);
    }

    /// Routes that are never called cost a few words, and ten thousand of them no more than that.
    #[test]
    fn a_route_that_is_not_called_is_small() {
        assert!(size_of::<RouteMetrics>() <= 144, "{}", size_of::<RouteMetrics>());
        let used = allocation_counter::measure(|| {
            let metrics = RouteMetrics::default();
            metrics.count_request(&Method::GET, 200);
            metrics.count_duration(Outcome::Ok, Duration::from_millis(1));
            metrics.count_decision("allow", None);
            metrics.count_bytes(0, 10);
        });
        assert!(used.bytes_max <= 256, "{used:?}");
        assert_eq!(used.count_total, 2);
    }
}
