//! What is seen of an issuer from outside: its metrics and log lines.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};
use tracing::{debug, info, warn};

use super::fetch::Fault;
use super::key_set::KeySet;
use super::keys::Skipped;
use super::refresh::Step;
use crate::clock::Now;
use crate::record::metrics::Metrics;

/// The metrics of one issuer, resolved once, and its name for the log.
#[derive(Debug)]
pub(super) struct Watchers {
    issuer: Arc<str>,
    up: IntGauge,
    keys: IntGauge,
    last_success: Gauge,
    discovery: Requests,
    key_sets: Requests,
    /// The keys that the log has been told of.
    skipped: Mutex<Vec<Skipped>>,
}

/// The metrics of one kind of request.
#[derive(Debug)]
pub(super) struct Requests {
    results: [IntCounter; Fault::WORDS.len()],
    duration: Histogram,
}

impl Requests {
    pub(super) fn new(metrics: &Metrics, issuer: &str, kind: &str) -> Self {
        let result = |result| metrics.issuer_requests.with_label_values(&[issuer, kind, result]);
        Self {
            results: Fault::WORDS.map(result),
            duration: metrics.issuer_request_duration.with_label_values(&[issuer, kind]),
        }
    }

    /// Counts a request whose outcome is called `word`.
    pub(super) fn count(&self, word: &str, took: Duration) {
        if let Some(index) = Fault::WORDS.iter().position(|known| *known == word) {
            self.results[index].inc();
        }
        self.duration.observe(took.as_secs_f64());
    }
}

impl Watchers {
    /// Resolves the metrics of the issuer called `issuer`, and leaves their values: on a reload
    /// they may be another instance's that is still in force.
    pub(super) fn new(metrics: &Metrics, issuer: &Arc<str>) -> Self {
        Self {
            issuer: Arc::clone(issuer),
            up: metrics.issuer_up.with_label_values(&[issuer]),
            keys: metrics.issuer_keys.with_label_values(&[issuer]),
            last_success: metrics.issuer_keys_last_success.with_label_values(&[issuer]),
            discovery: Requests::new(metrics, issuer, "discovery"),
            key_sets: Requests::new(metrics, issuer, "keys"),
            skipped: Mutex::default(),
        }
    }

    /// A document was fetched and read, or not.
    pub(super) fn fetched(&self, step: Step, fault: Option<&Fault>, took: Duration) {
        let requests = match step {
            Step::Discovery => &self.discovery,
            Step::Keys => &self.key_sets,
        };
        requests.count(fault.map_or("ok", Fault::word), took);
    }

    /// There are keys.
    pub(super) fn succeeded(&self, set: &KeySet, is_news: bool, now: Now) {
        self.up.set(1);
        self.keys.set(i64::try_from(set.len()).unwrap_or(i64::MAX));
        self.last_success.set(now.unix.as_secs_f64());
        // An issuer that is only asked about tokens has none to tell of.
        if is_news && set.len() > 0 {
            info!(
                target: "scopegate::issuer",
                issuer = &*self.issuer, keys = set.len(), generation = set.generation,
                "keys obtained",
            );
        }
    }

    /// An attempt failed; `is_ready` says whether older keys can still be used.
    pub(super) fn failed(&self, problem: &str, is_news: bool, is_ready: bool) {
        self.up.set(0);
        let issuer = &*self.issuer;
        if is_news {
            warn!(target: "scopegate::issuer", issuer, is_ready, "keys not refreshed: {problem}");
        } else {
            debug!(target: "scopegate::issuer", issuer, is_ready, "keys not refreshed: {problem}");
        }
    }

    /// The metadata does not say where to introspect.
    pub(super) fn no_endpoint(&self, fault: &Fault) {
        let issuer = &*self.issuer;
        warn!(target: "scopegate::issuer", issuer, "tokens cannot be introspected: the metadata {fault}");
    }

    /// These keys of a set are not used. Says so once.
    pub(super) fn skipped(&self, skipped: Vec<Skipped>) {
        let mut last = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == skipped {
            return;
        }
        let issuer = &*self.issuer;
        for Skipped { line, is_wrong } in &skipped {
            if *is_wrong {
                warn!(target: "scopegate::issuer", issuer, "key skipped: {line}");
            } else {
                debug!(target: "scopegate::issuer", issuer, "key skipped: {line}");
            }
        }
        *last = skipped;
    }

    /// Tokens name keys that the issuer does not have, more often than it is asked for new ones.
    pub(super) fn throttled(&self, kid: Option<&str>) {
        let kid: String =
            kid.unwrap_or_default().chars().take(64).flat_map(char::escape_default).collect();
        warn!(
            target: "scopegate::issuer",
            issuer = &*self.issuer, kid,
            "tokens name unknown keys; the issuer is asked again only every 30 seconds",
        );
    }
}
