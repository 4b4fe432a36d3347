//! Sockets, TLS, the limits of a connection, and the way to stop.
//!
//! [`Listeners::open`] binds each address once per worker with `SO_REUSEPORT`, so that the kernel
//! spreads connections and no worker waits for another. A connection then passes, in this order,
//! the cap on open connections, the TLS handshake, and the choice of HTTP version by ALPN; from
//! there on `http1` or `http2` says how long it may stay as it is. What answers the requests is a
//! [`Service`].

mod accept;
mod bind;
mod certificates;
mod close;
mod connection;
mod counters;
mod door;
mod guests;
mod http1;
mod http2;
mod inherited;
mod owner;
mod pulse;
mod received;
mod seldom;
#[cfg(test)]
mod tests;
mod tls;
mod unix;
mod workers;

pub use bind::{ListenError, Place};
pub use certificates::{Certificates, Refreshed, Validity};
pub(crate) use certificates::{Fault as PairFault, Text as PairText, certified, digest_of};
pub use inherited::Inherited;
pub(crate) use pulse::Pulse;
pub use received::{BrokeOff, Received};
pub(crate) use seldom::Seldom;
pub use tls::tls_config;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Response, request};
use ipnet::IpNet;
use tokio::sync::watch;

use crate::config::{Limits, Listen};
use crate::gateway::{self, Gateway, Peer};
use crate::record::metrics::Metrics;
use crate::rejection::Rejection;
use accept::Listener;
use bind::Bound;
use counters::{Counters, Slots};
use guests::Guests;
use unix::SocketFile;
use workers::Workers;

/// What answers the requests of connections.
pub trait Service: Clone + Send + Sync + 'static {
    /// The body of its answers.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers one request; never fails. The head is boxed, so that it goes from hand to hand
    /// without being copied.
    fn answer(
        &self,
        peer: &Peer,
        head: Box<request::Parts>,
        body: Received,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// What is said to a client whose bytes are no request, or not in time; never fails.
    fn refuse(&self, peer: &Peer, rejection: Rejection) -> Response<Self::Body>;

    /// Whether there is so little room left that answers which nobody reads are given up.
    fn is_strained(&self) -> bool {
        false
    }

    /// Connections are about to be cut: whatever is polled from now on is to be answered at once.
    fn close(&self) {}
}

impl Service for Arc<Gateway> {
    type Body = gateway::Body;

    fn answer(
        &self,
        peer: &Peer,
        head: Box<request::Parts>,
        body: Received,
    ) -> impl Future<Output = Response<Self::Body>> + Send {
        self.handle(peer, head, body)
    }

    fn refuse(&self, peer: &Peer, rejection: Rejection) -> Response<Self::Body> {
        Gateway::refuse(self, peer, rejection)
    }

    fn is_strained(&self) -> bool {
        Gateway::is_strained(self)
    }

    fn close(&self) {
        Gateway::close(self);
    }
}

/// Where and how to listen.
#[derive(Debug)]
pub struct Setup {
    /// The places; port 0 takes a free one.
    pub addresses: Vec<Listen>,
    /// The option that changes the addresses, for the help in errors: `--listen`.
    pub flag: &'static str,
    /// How many threads serve; 0 serves on the caller's runtime.
    pub workers: usize,
    /// How TLS is ended; `None` speaks plaintext HTTP/1.1.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The limits in force; a connection heeds those of the moment at which it was accepted.
    pub limits: Arc<ArcSwap<Limits>>,
    /// The proxies whose connections are not counted by peer.
    pub trusted: Arc<ArcSwap<Vec<IpNet>>>,
    /// What the service manager passed.
    pub inherited: Arc<Inherited>,
    /// Whether to listen beside a gateway that is to be replaced.
    pub takeover: bool,
    /// How many connections of each place may stay; the oldest make room for others. `None` refuses
    /// those who come when the limits are met.
    pub guests: Option<usize>,
    /// Where connections are counted.
    pub metrics: Metrics,
    /// What the threads tell that they turn; `None` tells nobody.
    pub(crate) pulse: Option<Arc<Pulse>>,
}

impl Setup {
    /// Listening on the caller's runtime, in plaintext and by the default limits.
    #[must_use]
    pub fn new(addresses: Vec<Listen>, flag: &'static str, metrics: Metrics) -> Self {
        Self {
            addresses,
            flag,
            workers: 0,
            tls: None,
            limits: Arc::default(),
            trusted: Arc::default(),
            inherited: Arc::default(),
            takeover: false,
            guests: None,
            metrics,
            pulse: None,
        }
    }
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
    places: Vec<Place>,
    addresses: Vec<SocketAddr>,
    /// Those that this process alone has bound.
    own: Vec<SocketAddr>,
    /// Removed when they are dropped.
    _files: Vec<SocketFile>,
    has_heir: Arc<AtomicBool>,
    phase: watch::Sender<Phase>,
    slots: Arc<Slots>,
    workers: Workers,
}

/// Places that are bound and threads that wait. Nobody can connect to them, and whoever serves the
/// same places still has all of their clients. Dropping it leaves everything as it was.
pub struct Reserved {
    bound: Bound,
    workers: Workers,
}

/// Places that clients can connect to, but where nobody is accepted yet.
pub struct Listening(Reserved);

impl Reserved {
    /// Binds the addresses and starts the threads.
    ///
    /// # Errors
    /// If an address cannot be listened on, or a thread cannot be started.
    pub fn bind(setup: &Setup) -> Result<Self, ListenError> {
        let bound = bind::bind(setup, setup.workers.max(1))?;
        Ok(Self { bound, workers: Workers::start(setup.workers)? })
    }

    /// Lets clients connect.
    ///
    /// # Errors
    /// If the system does not allow it after all.
    pub fn listen(mut self) -> Result<Listening, ListenError> {
        self.bound.listen()?;
        Ok(Listening(self))
    }
}

impl Listeners {
    /// Binds the addresses and starts to accept. With `workers: 0` it must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// If an address cannot be listened on, or a thread cannot be started.
    pub fn open<S: Service>(setup: &Setup, service: &S) -> Result<Self, ListenError> {
        Self::serve(Reserved::bind(setup)?.listen()?, setup, service)
    }

    /// Starts to accept. With `workers: 0` it must be called within a tokio runtime.
    ///
    /// # Errors
    /// If a runtime does not take a socket.
    pub fn serve<S: Service>(
        listening: Listening,
        setup: &Setup,
        service: &S,
    ) -> Result<Self, ListenError> {
        let Listening(Reserved { bound, workers }) = listening;
        let Bound { sets, places, own, endings, files, .. } = bound;
        let has_heir = Arc::new(AtomicBool::new(false));
        let counters = Counters::register(&setup.metrics);
        let slots = Arc::new(Slots::default());
        let listeners: Vec<Arc<Listener<S>>> = setup
            .addresses
            .iter()
            .zip(endings)
            .map(|(address, ending)| {
                let label: Arc<str> = address.to_string().into();
                Arc::new(Listener {
                    counters: counters.of(&setup.metrics, &label),
                    label,
                    limits: Arc::clone(&setup.limits),
                    trusted: Arc::clone(&setup.trusted),
                    ending,
                    guests: setup.guests.map(Guests::new),
                    has_heir: Arc::clone(&has_heir),
                    warned: Seldom::default(),
                    service: service.clone(),
                    slots: Arc::clone(&slots),
                    tls: setup.tls.clone(),
                })
            })
            .collect();
        let (phase, watched) = watch::channel(Phase::Serving);
        let pulse = setup.pulse.as_ref();
        workers.serve(sets, &listeners, &watched, pulse)?;
        let addresses = places.iter().filter_map(Place::address).collect();
        Ok(Self { places, addresses, own, _files: files, has_heir, phase, slots, workers })
    }

    /// Where connections are accepted, in the order of the setup.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The addresses among the places, with the ports that were taken for 0.
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
        self.has_heir.store(self.is_shared().await, Ordering::Release);
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

impl Listeners {
    /// Whether another process accepts on the same addresses, as its successor does.
    pub async fn is_shared(&self) -> bool {
        let own = self.own.clone();
        let look = tokio::task::spawn_blocking(move || owner::is_shared(&own));
        look.await.unwrap_or(false)
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Closed);
    }
}

/// How long cut connections may take to notice; they only have to be polled once.
const CUT_WITHIN: Duration = Duration::from_secs(1);
