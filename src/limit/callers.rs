//! The limiters' memory: one state per caller, bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use governor::nanos::Nanos;
use governor::state::direct::NotKeyed;
use governor::state::{InMemoryState, StateStore};

/// One state per caller, for at most `capacity` callers; those beyond it share one.
///
/// Governor's own store never forgets and never stops growing. Here nobody is evicted to make
/// room, so a caller at its limit cannot be flushed out by made-up ones: strangers that come when
/// the store is full are counted together instead.
#[derive(Debug)]
pub(super) struct Callers {
    states: DashMap<u128, InMemoryState, RandomState>,
    count: AtomicUsize,
    capacity: usize,
    overflow: InMemoryState,
}

impl Callers {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            states: DashMap::with_hasher(RandomState::default()),
            count: AtomicUsize::new(0),
            capacity,
            overflow: InMemoryState::default(),
        }
    }

    /// Forgets the callers whose limits are as good as new at `now`.
    pub(super) fn forget_idle(&self, now: Nanos) {
        self.states.retain(|_, state| arrival(state).is_some_and(|next| next > now));
        self.count.store(self.states.len(), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }
}

/// The theoretical arrival time of a state: the moment at which its limit is full again.
fn arrival(state: &InMemoryState) -> Option<Nanos> {
    let read: Result<(), Option<Nanos>> = state.measure_and_replace(&NotKeyed::NonKey, Err);
    read.err().flatten()
}

impl StateStore for Callers {
    type Key = u128;

    fn measure_and_replace<T, F, E>(&self, key: &u128, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(state) = self.states.get(key) {
            return state.measure_and_replace(&NotKeyed::NonKey, f);
        }
        if self.count.load(Ordering::Relaxed) >= self.capacity {
            return self.overflow.measure_and_replace(&NotKeyed::NonKey, f);
        }
        let state = self.states.entry(*key).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            InMemoryState::default()
        });
        state.measure_and_replace(&NotKeyed::NonKey, f)
    }
}

/// The same store for a limiter and for whoever sweeps it.
#[derive(Clone, Debug)]
pub(super) struct SharedCallers(pub(super) Arc<Callers>);

impl StateStore for SharedCallers {
    type Key = u128;

    fn measure_and_replace<T, F, E>(&self, key: &u128, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}
