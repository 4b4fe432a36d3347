//! Accepting connections: a loop that survives whatever `accept` says.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::connection;
use super::counters::{Full, ListenerCounters, Slots};
use super::door::Door;
use super::guests::Guests;
use super::seldom::Seldom;
use super::{Phase, Service, reached};
use crate::config::{Limits, UNIX_PEER};

/// What the connections of one configured address have in common, over all workers.
pub(super) struct Listener<S> {
    pub(super) label: Arc<str>,
    pub(super) service: S,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) trusted: Arc<ArcSwap<Vec<IpNet>>>,
    pub(super) slots: Arc<Slots>,
    pub(super) counters: ListenerCounters,
    pub(super) ending: Ending,
    /// If its connections make room for others.
    pub(super) guests: Option<Guests>,
    /// Whether another process is to get the connections from the drain on.
    pub(super) has_heir: Arc<AtomicBool>,
    pub(super) warned: Seldom,
}

/// What becomes of a socket when its gateway stops accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It closes, and what is left in its queue would be reset.
    Closes,
    /// It is the service manager's, and whoever is started next finds what is queued.
    Stays,
}

/// Accepts until the phase changes, then takes what the kernel has already queued and closes the
/// socket: connections left in the queue would be reset.
pub(super) async fn accept<S: Service>(
    door: Door,
    listener: Arc<Listener<S>>,
    mut phase: watch::Receiver<Phase>,
) {
    let connections = phase.clone();
    let draining = reached(&mut phase, Phase::Draining);
    accept_until(draining, &door, &listener, &connections).await;
    if listener.ending == Ending::Stays {
        return;
    }
    // Of connections that have begun, not all are in the queue yet.
    if listener.has_heir.load(Ordering::Acquire) && door.stop_beginnings().is_ok() {
        accept_until(tokio::time::sleep(SETTLE), &door, &listener, &connections).await;
    }
    while let Some((stream, address)) = door.queued().await {
        admit(&listener, stream, address, &connections);
    }
}

async fn accept_until<S: Service>(
    end: impl Future<Output = ()>,
    door: &Door,
    listener: &Arc<Listener<S>>,
    connections: &watch::Receiver<Phase>,
) {
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            biased;
            () = &mut end => return,
            accepted = door.accept() => match accepted {
                Ok((stream, address)) => admit(listener, stream, address, connections),
                Err(error) => pause(&error, listener).await,
            },
        }
    }
}

/// Starts to serve a connection, or closes it at once if there are too many.
fn admit<S: Service>(
    listener: &Arc<Listener<S>>,
    stream: TcpStream,
    address: SocketAddr,
    phase: &watch::Receiver<Phase>,
) {
    let limits = **listener.limits.load();
    let peer = listener.counted(address.ip());
    let slot = match Slots::take(&listener.slots, &limits, peer, &listener.counters) {
        Ok(slot) => slot,
        Err(full) => return listener.refuse(full, &limits, address),
    };
    // Without it, small responses wait for the client's delayed acknowledgement.
    drop(stream.set_nodelay(true));
    let listener = Arc::clone(listener);
    let phase = phase.clone();
    tokio::spawn(async move {
        let serve = |phase| connection::serve(&listener, stream, address, limits, phase);
        match &listener.guests {
            Some(guests) => guests.serve(phase, serve).await,
            None => serve(phase).await,
        }
        drop(slot);
    });
}

impl<S> Listener<S> {
    /// The peer, if its connections are counted apart. Behind a trusted proxy are many clients.
    fn counted(&self, peer: IpAddr) -> Option<IpAddr> {
        let address = peer.to_canonical();
        let trusted = || self.trusted.load().iter().any(|net| net.contains(&address));
        (address != UNIX_PEER && !trusted()).then_some(address)
    }

    /// Counts a connection that is closed before HTTP, and says now and then which limit it met.
    fn refuse(&self, full: Full, limits: &Limits, address: SocketAddr) {
        let (counter, limit, most) = match full {
            Full::All => (&self.counters.over_limit, "limits.connections", limits.connections),
            Full::Peer => {
                (&self.counters.over_share, "limits.connections_per_peer", limits.per_peer())
            }
        };
        counter.inc();
        if self.warned.is_due() {
            let (listener, peer) = (&self.label, address.ip());
            tracing::warn!(%listener, %peer, limit, most, "connections are refused");
        }
    }
}

/// Heeds an error of `accept`. Most concern one connection; being out of descriptors lasts, and
/// leaves the socket readable, so that a loop which only went on would spin.
async fn pause<S>(error: &io::Error, listener: &Listener<S>) {
    if is_of_one_connection(error) {
        return;
    }
    listener.counters.failed.inc();
    if listener.warned.is_due() {
        tracing::warn!(listener = %listener.label, %error, "cannot accept connections");
    }
    tokio::time::sleep(PAUSE).await;
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// The pause after an error that lasts.
const PAUSE: Duration = Duration::from_millis(50);

/// How long handshakes that have begun may take to end while another process takes over.
const SETTLE: Duration = Duration::from_millis(300);
