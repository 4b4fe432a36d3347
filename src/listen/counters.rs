//! Counting connections: the cap over all listeners and the metrics of each.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use crate::config::Limits;
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
            "Connections closed before HTTP, by reason (limit, peer, handshake, accept).",
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
            over_share: refused("peer"),
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
    pub(super) over_share: IntCounter,
    pub(super) handshake: IntCounter,
    pub(super) failed: IntCounter,
}

/// Why there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// As many are open as `limits.connections` allows.
    All,
    /// This peer has as many as `limits.connections_per_peer` allows.
    Peer,
}

/// The open connections of all listeners.
#[derive(Debug, Default)]
pub(super) struct Slots {
    open: AtomicUsize,
    /// How many each peer has. There are never more entries than open connections.
    peers: DashMap<IpAddr, usize, RandomState>,
}

impl Slots {
    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A place for one more connection. A peer that is `None` is not counted apart.
    pub(super) fn take(
        slots: &Arc<Self>,
        limits: &Limits,
        peer: Option<IpAddr>,
        counters: &ListenerCounters,
    ) -> Result<Slot, Full> {
        let one_more = |open| (open < limits.connections).then_some(open + 1);
        let taken = slots.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        taken.map_err(|_| Full::All)?;
        counters.open.inc();
        // From here on dropping it gives back what was taken.
        let mut slot = Slot { slots: Arc::clone(slots), gauge: counters.open.clone(), peer: None };
        if let Some(peer) = peer.map(household) {
            slots.enter(peer, limits.per_peer())?;
            slot.peer = Some(peer);
        }
        Ok(slot)
    }

    fn enter(&self, peer: IpAddr, most: usize) -> Result<(), Full> {
        let mut count = self.peers.entry(peer).or_insert(0);
        if *count >= most {
            return Err(Full::Peer);
        }
        *count += 1;
        Ok(())
    }

    fn leave(&self, peer: IpAddr) {
        if let Entry::Occupied(mut count) = self.peers.entry(peer) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What one subscriber is given, who could else be as many peers as it likes: an IPv4 address, or
/// the /64 of an IPv6 address (RFC 6177 §2).
fn household(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// The place of one open connection; dropping it gives it back, also when its task panics.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    gauge: IntGauge,
    peer: Option<IpAddr>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(peer) = self.peer {
            self.slots.leave(peer);
        }
        self.slots.open.fetch_sub(1, Ordering::AcqRel);
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(slots: &Arc<Slots>, limits: &Limits, peer: Option<&str>) -> Result<Slot, Full> {
        let metrics = Metrics::default();
        let counters = Counters::register(&metrics).of(&metrics, "a");
        Slots::take(slots, limits, peer.map(|peer| peer.parse().unwrap()), &counters)
    }

    #[test]
    fn a_peer_has_its_share_and_no_more() {
        let slots = Arc::new(Slots::default());
        let limits = Limits { connections: 4, connections_per_peer: Some(2), ..Limits::default() };
        let first = take(&slots, &limits, Some("2001:db8::1")).unwrap();
        let _second = take(&slots, &limits, Some("2001:db8::2")).unwrap();
        assert_eq!(take(&slots, &limits, Some("2001:db8::3")).unwrap_err(), Full::Peer);
        assert_eq!(slots.open(), 2, "what is refused takes no place");
        let _neighbour = take(&slots, &limits, Some("2001:db8:0:1::1")).unwrap();
        drop(first);
        let _third = take(&slots, &limits, Some("2001:db8::3")).unwrap();
        let _proxy = take(&slots, &limits, None).unwrap();
        assert_eq!(take(&slots, &limits, None).unwrap_err(), Full::All);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let slots = Arc::new(Slots::default());
        drop(take(&slots, &Limits::default(), Some("192.0.2.1")).unwrap());
        drop(take(&slots, &Limits::default(), Some("::ffff:192.0.2.1")).unwrap());
        assert_eq!((slots.open(), slots.peers.len()), (0, 0));
    }
}
