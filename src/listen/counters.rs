//! Counting connections: the cap over all listeners and the metrics of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use crate::record::metrics::Metrics;

/// `scopegate_connections_refused_total`.
pub(super) struct Counters {
    refused: IntCounterVec,
}

impl Counters {
    /// Makes the family known to the registry.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let options = Opts::new(
            "scopegate_connections_refused_total",
            "Connections closed before HTTP, by reason (limit, handshake, accept).",
        );
        let refused = IntCounterVec::new(options, &["listener", "reason"])
            .expect("the name and labels are constants that the tests cover");
        let collector: Box<dyn Collector> = Box::new(refused.clone());
        // A second set of listeners in one process keeps counting, only unexported.
        drop(metrics.registry.register(collector));
        Self { refused }
    }

    /// The handles of one listener; its series start at 0.
    pub(super) fn of(&self, metrics: &Metrics, listener: &str) -> ListenerCounters {
        let refused = |reason| self.refused.with_label_values(&[listener, reason]);
        ListenerCounters {
            open: metrics.connections.with_label_values(&[listener]),
            in_flight: metrics.http_requests_in_flight.with_label_values(&[listener]),
            over_limit: refused("limit"),
            handshake: refused("handshake"),
            failed: refused("accept"),
        }
    }
}

/// One listener's handles.
pub(super) struct ListenerCounters {
    pub(super) open: IntGauge,
    pub(super) in_flight: IntGauge,
    pub(super) over_limit: IntCounter,
    pub(super) handshake: IntCounter,
    pub(super) failed: IntCounter,
}

/// The open connections of all listeners.
#[derive(Debug, Default)]
pub(super) struct Slots {
    open: AtomicUsize,
}

impl Slots {
    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A place for one more connection, unless `limit` are open.
    pub(super) fn take(
        slots: &Arc<Self>,
        limit: usize,
        counters: &ListenerCounters,
    ) -> Option<Slot> {
        let one_more = |open| (open < limit).then_some(open + 1);
        slots.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        counters.open.inc();
        Some(Slot { slots: Arc::clone(slots), gauge: counters.open.clone() })
    }
}

/// The place of one open connection; dropping it gives it back, also when its task panics.
pub(super) struct Slot {
    slots: Arc<Slots>,
    gauge: IntGauge,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.open.fetch_sub(1, Ordering::AcqRel);
        self.gauge.dec();
    }
}
