//! Which target a request goes to: of two that are drawn by weight, the one with less to do.
//!
//! Two choices are enough to keep away from a target that is slow, and unlike the least loaded of
//! all they do not send every thread to the same one at the same moment. The load is what is under
//! way on all threads, by weight. Where loads are equal the first draw decides, and draws follow a
//! sequence that is even however far it goes, so that targets with nothing to do are used by weight.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::pool::Shard;
use super::target::{Standing, Target};

/// What decides beside the targets themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'t> {
    /// Those that this request has tried.
    pub(super) tried: &'t [usize],
    /// Counts the choices of a thread.
    pub(super) turn: usize,
    /// On the monotonic clock.
    pub(super) now: Duration,
    /// While less than this percentage is up, health checks do not count.
    pub(super) panic: u32,
    pub(super) slow_start: Duration,
}

impl Choice<'_> {
    /// The target to try next. Those that are down, ejected or were unreachable a moment ago are
    /// left to the last, in this order: with nothing better, all are used. Of those that are well,
    /// those with room for a connection come first.
    pub(super) fn among(self, targets: &[Target]) -> Option<usize> {
        let panics = self.panics(targets);
        let standing = |index: &usize| targets[*index].standing(self.now, panics);
        let untried = || (0..targets.len()).filter(|index| !self.tried.contains(index));
        let best = untried().map(|index| standing(&index)).min()?;
        let good = || untried().filter(|index| standing(index) == best);
        let roomy = good().any(|index| targets[index].gate.has_room());
        let usable = || good().filter(|index| !roomy || targets[*index].gate.has_room());
        let weight = |index: usize| targets[index].weight_at(self.now, self.slow_start);
        let first = draw(usable(), &weight, spread(self.turn)).or_else(|| untried().next())?;
        let others = usable().filter(|index| *index != first);
        let Some(second) = draw(others, &weight, fastrand::f64()) else { return Some(first) };
        let load = |index: usize| targets[index].load() as f64 / weight(index);
        Some(if load(second) < load(first) { second } else { first })
    }

    fn panics(&self, targets: &[Target]) -> bool {
        if self.panic == 0 {
            return false;
        }
        let down = |target: &&Target| target.standing(self.now, false) == Standing::Down;
        let up = targets.len() - targets.iter().filter(down).count();
        up * 100 < self.panic as usize * targets.len()
    }
}

/// One of the indices, each as likely as its weight, by a `point` from 0 to 1.
fn draw(
    indices: impl Iterator<Item = usize> + Clone,
    weight: &impl Fn(usize) -> f64,
    point: f64,
) -> Option<usize> {
    let total: f64 = indices.clone().map(weight).sum();
    let mut left = total * point;
    let mut last = None;
    for index in indices {
        left -= weight(index);
        last = Some(index);
        if left < 0.0 {
            break;
        }
    }
    last
}

/// The turn's bits in reverse, as a fraction (van der Corput): 0, 1/2, 1/4, 3/4, 1/8, ...
fn spread(turn: usize) -> f64 {
    f64::from((turn as u32).reverse_bits()) / (f64::from(u32::MAX) + 1.0)
}

/// What a request occupies until its answer has ended. Nothing with one target and no bounds.
#[derive(Debug, Default)]
pub(super) struct Occupied {
    pub(super) _load: Option<Load>,
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

/// A request under way at a target.
#[derive(Debug)]
pub(super) struct Load {
    shard: Arc<Shard>,
    target: usize,
}

impl Load {
    /// `None` where there is no choice to make.
    pub(super) fn on(shard: &Arc<Shard>, target: usize) -> Option<Self> {
        let targets = shard.backend.targets();
        if targets.len() < 2 {
            return None;
        }
        targets[target].in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Self { shard: Arc::clone(shard), target })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let target = &self.shard.backend.targets()[self.target];
        target.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_evenly() {
        let points: Vec<f64> = (0..8).map(spread).collect();
        assert_eq!(points, [0.0, 0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]);
        assert!(spread(usize::MAX) < 1.0);
    }

    #[test]
    fn draws_follow_the_weights() {
        let weights = [1.0, 0.1, 2.9];
        let mut counts = [0; 3];
        for turn in 0..4096 {
            counts[draw(0..3, &|index| weights[index], spread(turn)).unwrap()] += 1;
        }
        assert_eq!(counts.iter().sum::<i32>(), 4096);
        for (count, weight) in counts.into_iter().zip(weights) {
            assert!((f64::from(count) - 1024.0 * weight).abs() < 4.0, "{counts:?}");
        }
        assert_eq!(draw(0..0, &|_| 1.0, 0.5), None);
    }
}
