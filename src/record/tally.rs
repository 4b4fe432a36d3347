//! Counters by key that cost nothing before they are used.

use std::borrow::Borrow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters, each made when its key is first counted, in that order: the usual ones are found
/// first, without hashing and without a lock. It only grows, so keys must be few, and never made
/// by clients.
#[derive(Debug)]
pub(super) struct Tally<K>(OnceLock<Box<Part<K>>>);

#[derive(Debug)]
struct Part<K> {
    counts: [OnceLock<(K, AtomicU64)>; PART],
    more: Tally<K>,
}

impl<K> Tally<K> {
    /// Adds one.
    pub(super) fn count<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: PartialEq + ToOwned<Owned = K> + ?Sized,
    {
        let mut tally = self;
        loop {
            let part = tally.0.get_or_init(Box::default);
            for place in &part.counts {
                let (known, count) = place.get_or_init(|| (key.to_owned(), AtomicU64::new(0)));
                if known.borrow() == key {
                    count.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            tally = &part.more;
        }
    }

    /// The keys that were counted, and how often.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&K, u64)> {
        let parts = std::iter::successors(self.0.get(), |part| part.more.0.get());
        let counts = parts.flat_map(|part| &part.counts).filter_map(OnceLock::get);
        counts.map(|(key, count)| (key, count.load(Ordering::Relaxed)))
    }
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K> Default for Part<K> {
    fn default() -> Self {
        Self { counts: Default::default(), more: Tally::default() }
    }
}

/// Keys that are kept together.
const PART: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_count_of_its_own() {
        let tally = Tally::<String>::default();
        assert_eq!(tally.counts().count(), 0);
        for round in 0..3 {
            for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i"].iter().skip(round) {
                tally.count(*key);
            }
        }
        let counts: Vec<_> = tally.counts().map(|(key, count)| (key.as_str(), count)).collect();
        assert_eq!(counts[..3], [("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!((counts.len(), counts[8]), (9, ("i", 3)));
    }

    /// Keys that several threads count first at the same time are there once.
    #[test]
    fn threads_share_the_counts() {
        let tally = Tally::<u32>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000_u32).for_each(|n| tally.count(&(n % 11))));
            }
        });
        let mut counts: Vec<_> = tally.counts().collect();
        counts.sort_unstable();
        assert_eq!(counts.len(), 11);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 40_000);
        assert_eq!(counts[0], (&0, 3640));
    }
}
