//! A map that is read without locks.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::entry::Entry;
use super::key::Key;

/// Entries by key.
pub(super) type Entries = HashMap<Key, Arc<Entry>, RandomState>;

/// Entries in many small maps, each replaced as a whole when one of its entries changes. A reader
/// takes no lock and waits for nobody; a writer copies a few hundred pointers even when there are
/// a hundred thousand entries. Writers must take turns.
#[derive(Debug)]
pub(super) struct Shards([ArcSwap<Entries>; COUNT]);

impl Default for Shards {
    fn default() -> Self {
        Self(std::array::from_fn(|_| ArcSwap::default()))
    }
}

impl Shards {
    /// Whether the entry with this key, if there is one, is as `wanted` says.
    pub(super) fn has(&self, key: &Key, wanted: impl FnOnce(&Entry) -> bool) -> bool {
        self.of(key).load().get(key).is_some_and(|entry| wanted(entry))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.of(key).load().get(key).cloned()
    }

    /// Enters one entry; says whether its key is new.
    pub(super) fn insert(&self, entry: Arc<Entry>) -> bool {
        let key = entry.id;
        self.change(&key, |entries| entries.insert(key, entry).is_none())
    }

    /// Removes one entry.
    pub(super) fn remove(&self, key: &Key) -> Option<Arc<Entry>> {
        self.change(key, |entries| entries.remove(key))
    }

    /// Every entry, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.0.iter().flat_map(|shard| shard.load().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn change<T>(&self, key: &Key, change: impl FnOnce(&mut Entries) -> T) -> T {
        let shard = self.of(key);
        let mut entries = Entries::clone(&shard.load());
        let changed = change(&mut entries);
        shard.store(Arc::new(entries));
        changed
    }

    fn of(&self, key: &Key) -> &ArcSwap<Entries> {
        &self.0[key.bits() % COUNT]
    }
}

const COUNT: usize = 256;
