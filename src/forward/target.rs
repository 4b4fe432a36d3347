//! One server of an upstream, and what all threads know of it.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::Notify;

use super::breaker::Gate;
use super::eject::Outlier;
use super::resolve::Names;
use crate::config::{self, TargetAddress};
use crate::record::metrics::Metrics;

/// One server.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: TargetAddress,
    /// `host:port`, or `unix:` and a path.
    pub(super) label: String,
    pub(super) names: Names,
    pub(super) gate: Gate,
    pub(super) outlier: Outlier,
    /// Requests that are under way. Not counted for a target that is alone.
    pub(super) in_flight: AtomicUsize,
    weight: f64,
    /// Of [`Trouble`].
    troubles: AtomicU8,
    /// Until when it is not tried first: nanoseconds on the monotonic clock.
    avoided: AtomicU64,
    /// Since when it is new or back: nanoseconds on the monotonic clock; 0 was always there.
    since: AtomicU64,
    /// Tells those who wait for a place on a shared connection that there may be one.
    pub(super) lane_freed: Notify,
    up: IntGauge,
}

/// Why a target is not up. Each is one bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Health checks say so.
    Down = 1,
    /// It failed too many requests.
    Ejected = 2,
    /// The last connection to it failed.
    Unreachable = 4,
}

/// How willingly a target is used, the most willingly first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Well,
    /// Connecting to it failed within the last second.
    Avoided,
    Ejected,
    Down,
}

impl Target {
    pub(super) fn new(
        upstream: &str,
        target: &config::UpstreamTarget,
        most: usize,
        metrics: &Metrics,
    ) -> Self {
        let label = target.address.label();
        let up = metrics.upstream_up.with_label_values(&[upstream, &label]);
        up.set(1);
        Self {
            names: Names::of(&target.address),
            address: target.address.clone(),
            gate: Gate::new(most),
            outlier: Outlier::default(),
            in_flight: AtomicUsize::new(0),
            weight: f64::from(target.weight),
            troubles: AtomicU8::new(0),
            avoided: AtomicU64::new(0),
            since: AtomicU64::new(0),
            lane_freed: Notify::new(),
            label,
            up,
        }
    }

    /// Takes over what was known of the same server before a reload.
    pub(super) fn inherit(&self, old: &Self) {
        self.names.inherit(&old.names);
        self.outlier.inherit(&old.outlier);
        for (new, old) in [(&self.avoided, &old.avoided), (&self.since, &old.since)] {
            new.store(old.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.troubles.store(old.troubles.load(Ordering::Relaxed), Ordering::Relaxed);
        self.show();
    }

    /// Marks it as new since `now`.
    pub(super) fn is_new(&self, now: Duration) {
        self.since.store(nanos(now), Ordering::Relaxed);
    }

    /// Enters or strikes a trouble; whether that is a change.
    pub(super) fn mark(&self, trouble: Trouble, on: bool, now: Duration) -> bool {
        let bit = trouble as u8;
        let before = match on {
            true => self.troubles.fetch_or(bit, Ordering::Relaxed),
            false => self.troubles.fetch_and(!bit, Ordering::Relaxed),
        };
        let changed = (before & bit != 0) != on;
        if changed {
            if before == bit {
                self.is_new(now);
            }
            self.show();
        }
        changed
    }

    /// Lets others be tried first until `until`, on the monotonic clock.
    pub(super) fn avoid(&self, until: Duration) {
        self.avoided.store(nanos(until), Ordering::Relaxed);
    }

    /// How willingly it is used at `now`. Health checks are not heard while `panics`.
    pub(super) fn standing(&self, now: Duration, panics: bool) -> Standing {
        let now = nanos(now);
        if self.has(Trouble::Down) && !panics {
            Standing::Down
        } else if self.outlier.is_out(now) {
            Standing::Ejected
        } else if now < self.avoided.load(Ordering::Relaxed) {
            Standing::Avoided
        } else {
            Standing::Well
        }
    }

    pub(super) fn has(&self, trouble: Trouble) -> bool {
        self.troubles.load(Ordering::Relaxed) & trouble as u8 != 0
    }

    /// The `Host` of a request that is the gateway's own.
    pub(super) fn own_host(&self) -> &str {
        match self.address {
            TargetAddress::Tcp { .. } => &self.label,
            TargetAddress::Unix(_) => "localhost",
        }
    }

    /// The requests under way.
    pub(super) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Its weight, of which it has a tenth at first and all after `slow_start`.
    pub(super) fn weight_at(&self, now: Duration, slow_start: Duration) -> f64 {
        let since = self.since.load(Ordering::Relaxed);
        if slow_start.is_zero() || since == 0 {
            return self.weight;
        }
        // What was ejected is back when that time is over.
        let since = Duration::from_nanos(since.max(self.outlier.until()));
        let part = now.saturating_sub(since).as_secs_f64() / slow_start.as_secs_f64();
        self.weight * part.clamp(LEAST_PART, 1.0)
    }

    fn show(&self) {
        self.up.set(i64::from(self.troubles.load(Ordering::Relaxed) == 0));
    }
}

/// A time on the monotonic clock, to be kept in an atomic.
pub(super) fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

/// The part of its weight with which a target begins.
const LEAST_PART: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        let address = TargetAddress::Tcp { host: "127.0.0.1".into(), port: 80, tls: false };
        let settings = config::UpstreamTarget { address, weight: 10 };
        Target::new("main", &settings, 1, &Metrics::default())
    }

    #[test]
    fn a_target_is_up_while_nothing_is_wrong_with_it() {
        let (target, now) = (target(), Duration::from_secs(1));
        assert!(target.mark(Trouble::Down, true, now));
        assert!(!target.mark(Trouble::Down, true, now));
        assert!(target.mark(Trouble::Unreachable, true, now));
        assert!(target.mark(Trouble::Down, false, now));
        assert_eq!(target.up.get(), 0);
        assert!(target.mark(Trouble::Unreachable, false, now));
        assert_eq!(target.up.get(), 1);
    }

    #[test]
    fn a_target_that_comes_back_starts_slowly() {
        let (target, ramp) = (target(), Duration::from_secs(30));
        let weight = |seconds| target.weight_at(Duration::from_secs(seconds), ramp);
        assert_eq!(weight(1), 10.0, "it was always there");
        target.mark(Trouble::Down, true, Duration::from_secs(90));
        target.mark(Trouble::Down, false, Duration::from_secs(100));
        assert_eq!([100, 115, 130, 200].map(weight), [1.0, 5.0, 10.0, 10.0]);
        assert_eq!(target.weight_at(Duration::from_secs(100), Duration::ZERO), 10.0);
    }

    #[test]
    fn panic_does_not_hear_health_checks() {
        let (target, now) = (target(), Duration::from_secs(1));
        assert_eq!(target.standing(now, false), Standing::Well);
        target.avoid(Duration::from_secs(2));
        assert_eq!(target.standing(now, false), Standing::Avoided);
        target.mark(Trouble::Down, true, now);
        assert_eq!(target.standing(now, false), Standing::Down);
        assert_eq!(target.standing(Duration::from_secs(3), true), Standing::Well);
    }
}
