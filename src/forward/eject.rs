//! Passive ejection: a target that fails one request after the other is left out for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::target::{Standing, Target, Trouble, nanos};
use super::upstream::Backend;
use crate::config::Ejection;

/// What is remembered of a target's failures.
#[derive(Debug, Default)]
pub(super) struct Outlier {
    /// In a row.
    failures: AtomicU32,
    /// Until when it is out: nanoseconds on the monotonic clock.
    until: AtomicU64,
    /// How often it was put out lately.
    times: AtomicU32,
}

impl Outlier {
    /// Whether it is out at `now`, in nanoseconds on the monotonic clock.
    pub(super) fn is_out(&self, now: u64) -> bool {
        now < self.until()
    }

    /// Until when it is or was out.
    pub(super) fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    /// Takes over what was known before a reload.
    pub(super) fn inherit(&self, old: &Self) {
        self.until.store(old.until(), Ordering::Relaxed);
        self.times.store(old.times.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// How many failures there were in a row, with this one.
    fn fail(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    fn succeed(&self) {
        // Written only when it changes, so that threads share the line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Puts it out from `now` on; for how long. What is longer ago than the longest ejection is
    /// forgiven.
    fn put_out(&self, settings: &Ejection, now: Duration) -> Duration {
        let forgiven = Duration::from_nanos(self.until()).saturating_add(settings.max_time) < now;
        let before = if forgiven { 0 } else { self.times.load(Ordering::Relaxed) };
        let times = before.saturating_add(1);
        let length = settings.time.saturating_mul(times).min(settings.max_time);
        self.times.store(times, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.until.store(nanos(now.saturating_add(length)), Ordering::Relaxed);
        length
    }
}

impl Backend {
    /// Hears how a request at the target went, and puts it out if it has failed too often. Costs
    /// nothing where there is no other target.
    pub(super) fn judge(self: &Arc<Self>, index: usize, well: bool) {
        let Some(settings) = &self.ejection else { return };
        let outlier = &self.targets()[index].outlier;
        if well {
            outlier.succeed();
        } else if outlier.fail() >= settings.failures {
            self.eject(index, settings);
        }
    }

    /// Puts the target out, unless too many are out or down already: whatever is wrong with all of
    /// them is not cured by using none.
    fn eject(self: &Arc<Self>, index: usize, settings: &Ejection) {
        let _turn = self.ejecting();
        let now = self.clock().monotonic();
        let targets = self.targets();
        let is_out = |target: &Target| target.standing(now, false) >= Standing::Ejected;
        let out = targets.iter().filter(|target| is_out(target)).count();
        let target = &targets[index];
        if is_out(target) || out >= most_out(targets.len(), settings.max_share) {
            return;
        }
        let length = target.outlier.put_out(settings, now);
        target.mark(Trouble::Ejected, true, now);
        self.counters().ejected();
        let (upstream, target, seconds) = (self.name(), &*target.label, length.as_secs());
        tracing::warn!(upstream, target, seconds, "a target failed too often and is left out");
        self.bring_back(index, length);
    }

    /// Says so when the time is over. The choice looks at the time itself.
    pub(super) fn bring_back(self: &Arc<Self>, index: usize, length: Duration) {
        let (backend, clock) = (Arc::downgrade(self), self.clock().clone());
        tokio::spawn(async move {
            clock.sleep(length).await;
            let Some(backend) = backend.upgrade() else { return };
            let (target, now) = (&backend.targets()[index], clock.monotonic());
            if !target.outlier.is_out(nanos(now)) && target.mark(Trouble::Ejected, false, now) {
                let (upstream, target) = (backend.name(), &*target.label);
                tracing::info!(upstream, target, "a target that was left out is used again");
            }
        });
    }
}

/// How many of the targets may be out: a share, but at least one if any, and never all.
fn most_out(targets: usize, share: u32) -> usize {
    let part = targets * share as usize / 100;
    let least = usize::from(share > 0);
    part.max(least).min(targets.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_all_are_out() {
        let counts = [(1, 50), (2, 50), (3, 50), (4, 50), (4, 100), (10, 5), (10, 0), (0, 50)];
        let most = counts.map(|(targets, share)| most_out(targets, share));
        assert_eq!(most, [0, 1, 1, 2, 3, 1, 0, 0]);
    }

    #[test]
    fn each_ejection_is_longer_up_to_a_limit_and_is_forgiven() {
        let outlier = Outlier::default();
        let (time, max_time) = (Duration::from_secs(30), Duration::from_secs(70));
        let settings = Ejection { time, max_time, ..Ejection::default() };
        let put_out = |at| outlier.put_out(&settings, Duration::from_secs(at)).as_secs();
        assert_eq!([put_out(100), put_out(140), put_out(210)], [30, 60, 70]);
        assert!(outlier.is_out(nanos(Duration::from_secs(279))));
        assert!(!outlier.is_out(nanos(Duration::from_secs(280))));
        assert_eq!(outlier.put_out(&settings, Duration::from_secs(351)).as_secs(), 30);
    }
}
