//! The set of revocations: asked by every request, changed by few.

mod changing;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::entry::{Entry, Source};
use super::key::{Key, Kind};
use super::list::List;
use super::marks::Marks;
use super::outcome::{NotEntered, Outcome, TARGET, tell};
use super::shards::{Entries, Shards};
use super::spellings::Spellings;
use super::store::{Store, Unusable};
use crate::clock::Clock;
use crate::config::Revocation;
use crate::record::metrics::Metrics;

/// The revocations in force. They outlive policies: a reload forgets none.
#[derive(Debug)]
pub struct Revocations {
    /// How many entries there are, of both maps: what a request asks first.
    total: AtomicUsize,
    /// How many of them are for one token by its bytes, which have to be hashed then.
    tokens: AtomicUsize,
    /// What was entered while running, and what the store had.
    entered: Shards,
    /// What the file lists; replaced as a whole.
    listed: ArcSwap<Entries>,
    ledger: Mutex<Ledger>,
    /// The file that `listed` comes from.
    pub(super) list: Mutex<Option<List>>,
    /// What the configuration in force says; `None` if it takes no revocations.
    settings: ArcSwapOption<Revocation>,
    clock: Clock,
    pub(super) metrics: Metrics,
}

/// What writers need beside the maps. Its lock is their turn.
#[derive(Debug, Default)]
struct Ledger {
    store: Option<Store>,
    /// How many were entered, by kind.
    entered: [usize; Kind::ALL.len()],
    /// How many the file lists, by kind.
    listed: [usize; Kind::ALL.len()],
    /// Those that the store has not, because it failed.
    volatile: HashSet<Key>,
}

/// Revocations that are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// As they are in force now, merged with what there was.
    pub entries: Vec<Arc<Entry>>,
    /// Whether they survive a restart: false without a store.
    pub durable: bool,
}

/// Why a gateway must not start: it would accept tokens that were revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// The file of `revocation.file` cannot be used.
    #[error("{0}")]
    File(Unusable),
    /// The store cannot be used.
    #[error("{0}")]
    Store(Unusable),
}

/// Asking.
impl Revocations {
    /// Whether a token must be refused at `now`, since 1970. One atomic load while nothing is
    /// revoked; never a lock.
    #[must_use]
    pub fn refuses<'m>(
        &self,
        token: impl FnOnce() -> Spellings,
        marks: impl FnOnce() -> &'m Marks,
        now: Duration,
    ) -> bool {
        if self.total.load(Ordering::Acquire) == 0 {
            return false;
        }
        let (listed, marks) = (self.listed.load(), marks());
        let refuses = |key: &Key| {
            let wanted = |entry: &Entry| entry.refuses(marks.issued, now);
            self.entered.has(key, wanted) || listed.get(key).is_some_and(|entry| wanted(entry))
        };
        let by_bytes = || self.tokens.load(Ordering::Acquire) > 0 && token().keys().any(&refuses);
        marks.keys().any(&refuses) || by_bytes()
    }

    /// Every live entry, in the order of the ids.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Entry>> {
        let now = self.clock.now().unix;
        let mut all = self.entered.all();
        all.extend(self.listed.load().values().cloned());
        all.retain(|entry| entry.is_live(now));
        all.sort_by_key(|entry| entry.id);
        all
    }

    /// Says in the log what the gateway starts with: an empty set is never a silent one.
    pub fn announce(&self) {
        let Some(settings) = self.settings() else { return };
        let ledger = self.lock();
        let entries = self.total.load(Ordering::Acquire);
        let store = settings.store.as_ref().map(|store| store.display().to_string());
        if ledger.store.as_ref().is_some_and(|store| store.is_new) {
            tracing::warn!(target: TARGET, store, "there was no store: an empty one was made");
        } else if store.is_none() {
            tracing::warn!(target: TARGET, "there is no `revocation.store`: a restart forgets");
        }
        tracing::info!(target: TARGET, entries, store, "revocations are in force");
    }

    /// What the configuration in force says; `None` if it takes no revocations.
    #[must_use]
    pub fn settings(&self) -> Option<Arc<Revocation>> {
        self.settings.load_full()
    }

    /// The source of time that ends are compared with.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// The steps of these. Whoever has the ledger has the turn.
impl Revocations {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn was_carried_out(&self, entry: &Entry, now: Duration) -> bool {
        let is_live = |known: &Entry| known.is_live(now);
        entry.id.kind() == Kind::Logout && self.entered.has(&entry.id, is_live)
    }

    fn merged(&self, entry: Entry, now: Duration) -> Arc<Entry> {
        match self.entered.get(&entry.id).filter(|earlier| earlier.is_live(now)) {
            Some(earlier) => Arc::new(entry.or(&earlier)),
            None => Arc::new(entry),
        }
    }

    /// Refuses what would be too many, once nothing more can be dropped.
    fn make_room(&self, ledger: &mut Ledger, entries: &[Arc<Entry>]) -> Result<(), NotEntered> {
        let most = self.settings().map_or(0, |settings| settings.max_entries);
        // Whoever logs out over and over must not keep an operator from revoking.
        let by_issuer = |entry: &Arc<Entry>| entry.source == Source::BackchannelLogout;
        let most = if entries.iter().any(by_issuer) { most - most / 10 } else { most };
        let fits = |ledger: &Ledger| {
            let new = entries.iter().filter(|entry| self.entered.get(&entry.id).is_none());
            ledger.count() + new.count() <= most
        };
        if fits(ledger) {
            return Ok(());
        }
        self.forget(ledger, |entry, now| !entry.is_live(now));
        if fits(ledger) {
            return Ok(());
        }
        entries.iter().for_each(|entry| tell(&self.metrics, entry, Outcome::Full));
        tracing::error!(
            target: TARGET,
            max_entries = most,
            "a revocation was refused: there are as many as there may be",
        );
        Err(NotEntered::Full(most))
    }

    /// Gives entries to the store, if there is one; says whether there is.
    fn keep(&self, ledger: &mut Ledger, entries: &[Arc<Entry>]) -> Result<bool, Unusable> {
        let Some(store) = &mut ledger.store else { return Ok(false) };
        let all: Vec<&Entry> = entries.iter().map(|entry| &**entry).collect();
        let kept = store.put(&all);
        self.metrics.revocation_up.with_label_values(&["store"]).set(i64::from(kept.is_ok()));
        for entry in entries.iter().filter(|entry| entry.id.kind() != Kind::Logout) {
            match &kept {
                Ok(()) => ledger.volatile.remove(&entry.id),
                Err(_) => ledger.volatile.insert(entry.id),
            };
        }
        self.recount(ledger);
        if let Err(why) = &kept {
            tracing::error!(
                target: TARGET,
                %why,
                volatile = ledger.volatile.len(),
                "the revocation store failed: a restart would forget revocations",
            );
        }
        kept.map(|()| true)
    }

    /// Forgets the entries that ended long ago.
    fn forget_ended(&self, ledger: &mut Ledger) {
        self.forget(ledger, Entry::is_over);
    }

    fn forget(&self, ledger: &mut Ledger, is_ended: impl Fn(&Entry, Duration) -> bool) {
        let now = self.clock.now().unix;
        let all = self.entered.all();
        let ended: Vec<Key> =
            all.iter().filter(|entry| is_ended(entry, now)).map(|entry| entry.id).collect();
        if ended.is_empty() {
            return;
        }
        for key in &ended {
            ledger.volatile.remove(key);
            self.delete(ledger, key);
        }
        // What stays in the file does no harm, and is dropped when it is read again.
        if let Some(Err(why)) = ledger.store.as_mut().map(|store| store.remove(&ended)) {
            tracing::warn!(target: TARGET, %why, "ended revocations stay stored");
        }
    }

    fn insert(&self, ledger: &mut Ledger, entry: Arc<Entry>) {
        let kind = entry.id.kind();
        if self.entered.insert(entry) {
            ledger.entered[kind as usize] += 1;
        }
    }

    fn delete(&self, ledger: &mut Ledger, key: &Key) {
        if self.entered.remove(key).is_some() {
            ledger.entered[key.kind() as usize] -= 1;
        }
    }

    /// Says how many there are, to requests and to whoever watches.
    fn recount(&self, ledger: &Ledger) {
        let listed: usize = ledger.listed.iter().sum();
        let of = |kind: Kind| ledger.entered[kind as usize] + ledger.listed[kind as usize];
        self.tokens.store(of(Kind::Token), Ordering::Release);
        self.total.store(ledger.count() + listed, Ordering::Release);
        if self.settings.load().is_none() && ledger.count() == 0 {
            return;
        }
        for kind in Kind::ALL {
            let all = i64::try_from(of(kind)).unwrap_or(i64::MAX);
            self.metrics.revocation_entries.with_label_values(&[kind.as_str()]).set(all);
        }
        let volatile = i64::try_from(ledger.volatile.len()).unwrap_or(i64::MAX);
        self.metrics.revocation_entries_not_durable.with_label_values(&["store"]).set(volatile);
    }
}

impl Ledger {
    /// How many were entered.
    fn count(&self) -> usize {
        self.entered.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::entry::tests::entry;
    use super::super::outcome::NotWithdrawn;
    use super::*;

    fn set(most: usize) -> Revocations {
        let settings = Revocation {
            store: None,
            file: None,
            max_entries: most,
            keep: Duration::from_secs(60),
            secret: None,
        };
        let set = Revocations::none(&Clock::default(), &Metrics::default());
        set.settings.store(Some(Arc::new(settings)));
        set
    }

    fn refuses(set: &Revocations, token: &[u8], marks: &Marks, now: Duration) -> bool {
        set.refuses(|| Spellings::of(token), || marks, now)
    }

    fn marks(subject: &str) -> Marks {
        let claims = serde_json::Map::from_iter([("iat".to_owned(), 50.into())]);
        let names = crate::revoke::Names { subject: Some(subject), ..Default::default() };
        Marks::of("https://id.example", &claims, names)
    }

    /// Whether nothing is revoked or a hundred thousand tokens are, a request allocates nothing.
    #[test]
    fn asking_allocates_nothing_however_much_is_revoked() {
        let set = set(200_000);
        let (alice, now) = (marks("alice"), set.clock.now().unix);
        let until = now.as_secs() + 1_000;
        let ask = |name: &str| {
            let started = Instant::now();
            for _ in 0..1_000 {
                assert!(!set.refuses(|| Spellings::of(std::hint::black_box(b"7")), || &alice, now));
            }
            eprintln!("{name}: {} ns", started.elapsed().as_nanos() / 1_000);
            let count = allocation_counter::measure(|| {
                std::hint::black_box(set.refuses(|| Spellings::of(b"7"), || &alice, now));
            });
            assert_eq!(count.count_total, 0, "{name}");
        };
        ask("nothing is revoked");
        let entries = (0..100_000).map(|number| entry(&format!("user-{number}"), until));
        set.replace_listed(entries.collect(), true);
        ask("100000 are");
        assert!(refuses(&set, b"7", &marks("user-99999"), now));
        assert!(!refuses(&set, b"7", &marks("user-99999"), Duration::from_secs(until)));
    }

    #[test]
    fn a_full_set_refuses_what_is_new_and_forgets_nothing() {
        let set = set(2);
        let until = set.clock.now().unix.as_secs() + 1_000;
        set.enter(vec![entry("a", until), entry("b", until)]).unwrap();
        assert_eq!(set.enter(vec![entry("c", until)]), Err(NotEntered::Full(2)));
        // All or none.
        assert_eq!(set.enter(vec![entry("a", until), entry("c", until)]), Err(NotEntered::Full(2)));
        set.enter(vec![entry("a", until + 5)]).unwrap();
        assert_eq!(set.all().len(), 2);
        set.clock.advance(Duration::from_secs(1_001));
        set.enter(vec![entry("c", until + 1_000)]).unwrap();
        assert_eq!(set.all().len(), 2);
        set.withdraw(&entry("c", 0).id, "root").unwrap();
        assert_eq!(set.withdraw(&entry("c", 0).id, "root"), Err(NotWithdrawn::Unknown));
    }

    /// The clock may have been wrong for a moment.
    #[test]
    fn an_entry_is_kept_for_a_while_behind_its_end() {
        let set = set(2);
        let now = set.clock.now().unix;
        let alice = entry("alice", now.as_secs() + 1_000);
        set.enter(vec![alice]).unwrap();
        set.clock.advance(Duration::from_secs(20 * 3_600));
        set.sweep();
        assert!(!refuses(&set, b"0", &marks("alice"), set.clock.now().unix));
        assert!(refuses(&set, b"0", &marks("alice"), now));
        set.clock.advance(Duration::from_secs(5 * 3_600));
        set.sweep();
        assert!(!refuses(&set, b"0", &marks("alice"), now));
    }

    /// Logouts fill nine tenths at most.
    #[test]
    fn logouts_leave_room_for_operators() {
        let set = set(20);
        let until = set.clock.now().unix.as_secs() + 1_000;
        let enter = |source, number: u32| {
            set.enter(vec![Entry { source, ..entry(&number.to_string(), until) }]).is_ok()
        };
        let logouts = (0..30).filter(|number| enter(Source::BackchannelLogout, *number));
        assert_eq!(logouts.count(), 18);
        let orders = (30..60).filter(|number| enter(Source::Admin, *number));
        assert_eq!(orders.count(), 2);
    }

    /// What one source says does not depend on what another takes back.
    #[test]
    fn the_file_and_what_was_entered_are_apart() {
        let set = set(5);
        let now = set.clock.now().unix;
        let until = now.as_secs() + 1_000;
        set.enter(vec![entry("a", until)]).unwrap();
        set.replace_listed(vec![entry("a", until), entry("b", until)], false);
        set.replace_listed(vec![entry("b", until)], false);
        assert!(refuses(&set, b"0", &marks("a"), now));
        set.withdraw(&entry("a", 0).id, "root").unwrap();
        assert!(!refuses(&set, b"0", &marks("a"), now));
        assert!(refuses(&set, b"0", &marks("b"), now));
        assert_eq!(set.withdraw(&entry("b", 0).id, "root"), Err(NotWithdrawn::InFile));
    }
}
