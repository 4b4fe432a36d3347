//! Entering and withdrawing. Each of these waits for the disk.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::super::entry::{Entry, Source};
use super::super::key::{Key, Kind};
use super::super::order::Known;
use super::super::outcome::{NotEntered, NotWithdrawn, Outcome, TARGET, count, export, tell};
use super::super::shards::{Entries, Shards};
use super::super::store::{Store, Unusable};
use super::{Entered, Revocations, Unopened};
use crate::clock::Clock;
use crate::config::Revocation;
use crate::record::metrics::Metrics;

impl Revocations {
    /// No revocations, and none are taken.
    #[must_use]
    pub fn none(clock: &Clock, metrics: &Metrics) -> Self {
        Self {
            total: AtomicUsize::new(0),
            tokens: AtomicUsize::new(0),
            entered: Shards::default(),
            listed: ArcSwap::default(),
            ledger: Mutex::default(),
            list: Mutex::default(),
            settings: ArcSwapOption::empty(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        }
    }

    /// The revocations that the store has and the file lists.
    ///
    /// # Errors
    /// If either cannot be used. To go on without what it holds would accept revoked tokens.
    pub fn open(
        settings: Option<&Revocation>,
        known: &Known,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, Unopened> {
        let set = Self::none(clock, metrics);
        let Some(settings) = settings else { return Ok(set) };
        set.settings.store(Some(Arc::new(settings.clone())));
        export(metrics);
        if let Some(path) = &settings.store {
            let (store, entries) = Store::open(path).map_err(Unopened::Store)?;
            let mut ledger = set.lock();
            ledger.store = Some(store);
            entries.into_iter().for_each(|entry| set.insert(&mut ledger, Arc::new(entry)));
            set.forget_ended(&mut ledger);
            metrics.revocation_up.with_label_values(&["store"]).set(1);
            drop(ledger);
        }
        set.read_list(settings, known, true).map_err(Unopened::File)?;
        set.recount(&set.lock());
        Ok(set)
    }

    /// What the configuration says from now on. Its file is read; another `store` is opened at the
    /// next start.
    ///
    /// # Errors
    /// If the file cannot be used; then nothing changes.
    pub fn follow(&self, settings: Option<&Revocation>, known: &Known) -> Result<(), Unusable> {
        match settings {
            Some(settings) => self.read_list(settings, known, false)?,
            None => self.drop_list(),
        }
        self.settings.store(settings.cloned().map(Arc::new));
        Ok(())
    }

    /// Enters revocations, all or none, and keeps them: when this returns well and there is a
    /// store, a power cut does not lose them. What is there already is extended, never narrowed.
    ///
    /// # Errors
    /// [`NotEntered`]; with `NotDurable` they are in force nevertheless.
    pub fn enter(&self, wanted: Vec<Entry>) -> Result<Entered, NotEntered> {
        let now = self.clock.now().unix;
        let mut ledger = self.lock();
        if wanted.iter().any(|entry| self.was_carried_out(entry, now)) {
            return Err(NotEntered::Replayed);
        }
        let entries: Vec<_> = wanted.into_iter().map(|entry| self.merged(entry, now)).collect();
        self.make_room(&mut ledger, &entries)?;
        // In force before they are durable: the disk may be slow, and may fail.
        let (carried_out, refusing): (Vec<_>, Vec<_>) =
            entries.iter().cloned().partition(|entry| entry.id.kind() == Kind::Logout);
        refusing.iter().for_each(|entry| self.insert(&mut ledger, Arc::clone(entry)));
        self.recount(&ledger);
        let kept = self.keep(&mut ledger, &entries);
        let outcome = if kept.is_ok() { Outcome::Accepted } else { Outcome::NotDurable };
        refusing.iter().for_each(|entry| tell(&self.metrics, entry, outcome));
        let durable = kept.map_err(|Unusable(why)| {
            // Nothing is noted as carried out: the issuer may send the same token again.
            NotEntered::NotDurable { entries: refusing, why }
        })?;
        carried_out.into_iter().for_each(|entry| self.insert(&mut ledger, entry));
        self.recount(&ledger);
        Ok(Entered { entries, durable })
    }

    /// Takes a revocation back: tokens that it refused are accepted again.
    ///
    /// # Errors
    /// [`NotWithdrawn`]; then it stays in force.
    pub fn withdraw(&self, key: &Key, by: &str) -> Result<Arc<Entry>, NotWithdrawn> {
        let mut ledger = self.lock();
        let Some(entry) = self.entered.get(key) else {
            let is_listed = self.listed.load().contains_key(key);
            return Err(if is_listed { NotWithdrawn::InFile } else { NotWithdrawn::Unknown });
        };
        if let Some(store) = &mut ledger.store {
            store.remove(&[*key]).map_err(|Unusable(why)| NotWithdrawn::NotDurable(why))?;
        }
        ledger.volatile.remove(key);
        self.delete(&mut ledger, key);
        self.recount(&ledger);
        let told = Entry { by: by.to_owned(), source: Source::Admin, ..(*entry).clone() };
        tell(&self.metrics, &told, Outcome::Withdrawn);
        Ok(entry)
    }

    /// Replaces what the file lists; tells of each entry that is new or gone, unless the gateway
    /// just starts.
    pub(in crate::revoke) fn replace_listed(&self, entries: Vec<Entry>, at_start: bool) {
        self.list(Entries::default(), entries, at_start);
    }

    /// Adds to what the file lists, which may be about to list it again.
    pub(in crate::revoke) fn add_listed(&self, entries: Vec<Entry>) {
        let listed = Entries::clone(&self.listed.load());
        self.list(listed, entries, false);
    }

    fn list(&self, mut listed: Entries, entries: Vec<Entry>, at_start: bool) {
        for entry in entries {
            let entry = match listed.get(&entry.id) {
                Some(earlier) => entry.or(earlier),
                None => entry,
            };
            listed.insert(entry.id, Arc::new(entry));
        }
        let mut ledger = self.lock();
        ledger.listed = Default::default();
        listed.keys().for_each(|key| ledger.listed[key.kind() as usize] += 1);
        let before = self.listed.swap(Arc::new(listed.clone()));
        self.recount(&ledger);
        drop(ledger);
        if at_start {
            return;
        }
        let is_same = |old: &Arc<Entry>, new: &Entry| {
            (old.issued_before, old.until) == (new.issued_before, new.until)
        };
        for (key, entry) in &listed {
            if before.get(key).is_none_or(|old| !is_same(old, entry)) {
                tell(&self.metrics, entry, Outcome::Accepted);
            }
        }
        for (_, entry) in before.iter().filter(|(key, _)| !listed.contains_key(*key)) {
            tell(&self.metrics, entry, Outcome::Withdrawn);
        }
    }

    /// Drops what has ended, and gives the store what it could not take before.
    pub fn sweep(&self) {
        let mut ledger = self.lock();
        self.forget_ended(&mut ledger);
        let volatile: Vec<_> =
            ledger.volatile.iter().filter_map(|key| self.entered.get(key)).collect();
        if !volatile.is_empty() && self.keep(&mut ledger, &volatile).is_ok() {
            tracing::info!(
                target: TARGET,
                entries = volatile.len(),
                "the store works again: nothing would be lost by a restart",
            );
        }
        self.recount(&ledger);
    }

    /// Counts a logout that was not carried out.
    pub(in crate::revoke) fn rejected_logout(&self) {
        let source = Source::BackchannelLogout;
        count(&self.metrics, Kind::Logout, source, Outcome::Rejected, 1);
    }
}
