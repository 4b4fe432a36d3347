//! Sockets, TLS, the limits of a connection, and the way to stop.
//!
//! [`Listeners::open`] binds each address once per worker with `SO_REUSEPORT`, so that the kernel
//! spreads connections and no worker waits for another. A connection then passes, in this order,
//! the cap on open connections, the TLS handshake, and the choice of HTTP version by ALPN; from
//! there on its `activity` says how long it may stay as it is. What answers the requests is a
//! [`Service`].

mod accept;
mod activity;
mod bind;
mod certificates;
mod close;
mod connection;
mod counters;
mod driver;
mod owner;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod workers;

pub use bind::ListenError;
pub use certificates::{Certificates, Refreshed};
pub(crate) use certificates::{Fault as PairFault, Text as PairText, certified, digest_of};
pub use tls::tls_config;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::config::Limits;
use crate::gateway::{self, Gateway, Peer};
use crate::record::metrics::Metrics;
use accept::Listener;
use counters::{Counters, Slots};
use workers::Workers;

/// What answers the requests of connections.
pub trait Service: Clone + Send + Sync + 'static {
    /// The body of its answers.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers one request; never fails.
    fn answer(
        &self,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

impl Service for Arc<Gateway> {
    type Body = gateway::Body;

    async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> Response<Self::Body> {
        self.handle(peer, request).await
    }
}

/// Where and how to listen.
#[derive(Debug)]
pub struct Setup {
    /// The addresses; port 0 takes a free one.
    pub addresses: Vec<SocketAddr>,
    /// The option that changes the addresses, for the help in errors: `--listen`.
    pub flag: &'static str,
    /// How many threads serve; 0 serves on the caller's runtime.
    pub workers: usize,
    /// How TLS is ended; `None` speaks plaintext HTTP/1.1.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The limits in force; a connection heeds those of the moment at which it was accepted.
    pub limits: Arc<ArcSwap<Limits>>,
    /// Where connections are counted.
    pub metrics: Metrics,
}

/// Where a set of listeners stands on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// New connections are accepted.
    Serving,
    /// No more are; open ones end with the request that they are at.
    Draining,
    /// Open ones are cut.
    Closed,
}

/// Waits until the phase is at least `wanted`. Listeners that are gone are past every phase.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    drop(phase.wait_for(|phase| *phase >= wanted).await);
}

/// Bound sockets and the threads that serve them.
#[derive(Debug)]
pub struct Listeners {
    addresses: Vec<SocketAddr>,
    phase: watch::Sender<Phase>,
    slots: Arc<Slots>,
    workers: Workers,
}

impl Listeners {
    /// Binds the addresses and starts to accept. With `workers: 0` it must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// If an address cannot be listened on, or a thread cannot be started.
    pub fn open<S: Service>(setup: &Setup, service: &S) -> Result<Self, ListenError> {
        let sets = bind::bind(&setup.addresses, setup.workers.max(1), setup.flag)?;
        let addresses = bind::bound_addresses(&sets)?;
        let counters = Counters::register(&setup.metrics);
        let slots = Arc::new(Slots::default());
        let listeners: Vec<Arc<Listener<S>>> = setup
            .addresses
            .iter()
            .map(|address| {
                let label: Arc<str> = address.to_string().into();
                Arc::new(Listener {
                    counters: counters.of(&setup.metrics, &label),
                    label,
                    limits: Arc::clone(&setup.limits),
                    service: service.clone(),
                    slots: Arc::clone(&slots),
                    tls: setup.tls.clone(),
                })
            })
            .collect();
        let (phase, watched) = watch::channel(Phase::Serving);
        let workers = Workers::start(sets, setup.workers, &listeners, &watched)?;
        Ok(Self { addresses, phase, slots, workers })
    }

    /// The addresses bound, in the order of the setup, with the ports that were taken for 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.slots.open()
    }

    /// Whether new connections are accepted.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// Stops accepting, lets open connections finish their requests for at most `timeout`, cuts
    /// the rest, and ends the threads. Returns how many were cut.
    pub async fn drain(&self, timeout: Duration) -> usize {
        self.phase.send_replace(Phase::Draining);
        // Every accept loop and every connection holds a receiver: no receiver, nothing open.
        let finished = tokio::time::timeout(timeout, self.phase.closed()).await.is_ok();
        let cut = if finished { 0 } else { self.slots.open() };
        self.phase.send_replace(Phase::Closed);
        drop(tokio::time::timeout(CUT_WITHIN, self.phase.closed()).await);
        self.workers.stop().await;
        cut
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Closed);
    }
}

/// How long cut connections may take to notice; they only have to be polled once.
const CUT_WITHIN: Duration = Duration::from_secs(1);
