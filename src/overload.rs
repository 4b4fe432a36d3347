//! Refusing requests before the machine falls over (RFC 9110 §15.6.4).
//!
//! Two ceilings: how many requests are answered at once, and how much memory the process holds.
//! Both are looked at with relaxed loads of what is counted anyway; memory is measured in the
//! background.

mod descriptors;
mod memory;

pub use descriptors::{Descriptors, raise_limit};
pub(crate) use memory::watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus::IntGauge;

use crate::config::{Limits, MemoryLimit, Sources};
use crate::rejection::Rejection;

/// What a policy says of how much may be under way.
#[derive(Debug)]
pub(crate) struct Ceilings {
    requests: i64,
    requests_at: Arc<str>,
    memory_at: Arc<str>,
    pub(crate) memory: MemoryLimit,
}

impl Ceilings {
    pub(crate) fn new(limits: &Limits, sources: &Sources) -> Self {
        let written = limits.requests.map(|requests| requests.value);
        let requests = written.unwrap_or(limits.connections.saturating_mul(2));
        let at = |place, name| match place {
            Some(place) => sources.cite(place),
            None => format!("limits.{name}, by default"),
        };
        Self {
            requests: i64::try_from(requests).unwrap_or(i64::MAX),
            requests_at: at(limits.requests.map(|requests| requests.at), "requests").into(),
            memory_at: at(limits.memory.map(|memory| memory.at), "memory").into(),
            memory: limits.memory.map(|memory| memory.value).unwrap_or_default(),
        }
    }

    /// From here on there is little room.
    fn half(&self) -> i64 {
        self.requests / 2
    }
}

/// How much is under way.
#[derive(Debug, Default)]
pub struct Load {
    /// The requests being answered, by listener.
    in_flight: OnceLock<Box<[IntGauge]>>,
    memory_is_short: AtomicBool,
}

impl Load {
    /// Names the gauges that count requests. Before, none are counted.
    pub fn count(&self, in_flight: Box<[IntGauge]>) {
        // A gateway listens once.
        drop(self.in_flight.set(in_flight));
    }

    /// The requests that are being answered now, those that are being refused among them.
    #[must_use]
    pub fn requests(&self) -> i64 {
        self.in_flight.get().map_or(0, |gauges| gauges.iter().map(IntGauge::get).sum())
    }

    /// Lets a request pass that is counted already, or says which ceiling it met.
    ///
    /// Every request is counted before it looks, so no more than the ceiling ever pass. Short of
    /// memory, a few still do: what is held may be nothing that refusing gives back, and a gateway
    /// that answers nobody never learns so.
    ///
    /// The upper half of the requests is for connections that have few, as `has_its_share` says:
    /// else a few HTTP/2 connections with all the streams that they may have could take every
    /// place, each for as long as it takes to read.
    pub(crate) fn admit(
        &self,
        ceilings: &Ceilings,
        has_its_share: impl FnOnce() -> bool,
    ) -> Result<(), Rejection> {
        let requests = self.requests();
        let is_over = requests > ceilings.requests;
        if is_over || (requests > ceilings.half() && has_its_share()) {
            return Err(Rejection::Shed { rule: Arc::clone(&ceilings.requests_at) });
        }
        if requests > FEW && self.memory_is_short.load(Ordering::Relaxed) {
            return Err(Rejection::Shed { rule: Arc::clone(&ceilings.memory_at) });
        }
        Ok(())
    }

    /// Whether so little room is left that what nobody reads is not waited for.
    pub(crate) fn is_strained(&self, ceilings: &Ceilings) -> bool {
        self.memory_is_short.load(Ordering::Relaxed) || self.requests() > ceilings.half()
    }

    /// Says whether memory is short; returns whether that is news.
    pub(crate) fn set_short(&self, short: bool) -> bool {
        self.memory_is_short.swap(short, Ordering::Relaxed) != short
    }
}

/// The requests that are answered however much memory is held.
const FEW: i64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn load(open: [i64; 2]) -> Load {
        let load = Load::default();
        let gauges = open.map(|open| {
            let gauge = IntGauge::new("a", "a").unwrap();
            gauge.set(open);
            gauge
        });
        load.count(Box::new(gauges));
        load
    }

    fn ceilings(requests: i64) -> Ceilings {
        let at = |name: &str| -> Arc<str> { name.into() };
        Ceilings {
            requests,
            requests_at: at("requests"),
            memory_at: at("memory"),
            memory: MemoryLimit::default(),
        }
    }

    fn refused(load: &Load, requests: i64) -> Option<String> {
        load.admit(&ceilings(requests), || false).err()?.rule().map(str::to_owned)
    }

    #[test]
    fn requests_of_all_listeners_count() {
        assert_eq!(refused(&load([2, 1]), 3), None);
        assert_eq!(refused(&load([2, 2]), 3).as_deref(), Some("requests"));
        assert_eq!(refused(&Load::default(), 1), None);
    }

    #[test]
    fn the_upper_half_is_for_those_who_have_few() {
        let half = |load: &Load| load.admit(&ceilings(6), || true).is_ok();
        assert!(half(&load([2, 1])) && !half(&load([2, 2])));
        assert!(load([2, 2]).is_strained(&ceilings(6)));
        assert!(!load([2, 1]).is_strained(&ceilings(6)));
        assert_eq!(refused(&load([2, 2]), 6), None);
    }

    #[test]
    fn short_of_memory_a_few_requests_pass() {
        let (busy, calm) = (load([FEW, 1]), load([FEW, 0]));
        for load in [&busy, &calm] {
            assert!(load.set_short(true));
            assert!(!load.set_short(true));
        }
        assert_eq!(refused(&busy, 100).as_deref(), Some("memory"));
        assert_eq!(refused(&calm, 100), None);
        busy.set_short(false);
        assert_eq!(refused(&busy, 100), None);
    }

    #[test]
    fn what_is_not_written_has_a_default() {
        let ceilings = Ceilings::new(&Limits::default(), &Sources::default());
        assert_eq!((ceilings.requests, ceilings.memory), (20_000, MemoryLimit::Share(90)));
        assert_eq!(&*ceilings.requests_at, "limits.requests, by default");
    }
}
