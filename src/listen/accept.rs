//! Accepting connections: a loop that survives whatever `accept` says.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connection;
use super::counters::{ListenerCounters, Slots};
use super::{Phase, Service, reached};
use crate::config::Limits;

/// What the connections of one configured address have in common, over all workers.
pub(super) struct Listener<S> {
    pub(super) label: Arc<str>,
    pub(super) service: S,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) slots: Arc<Slots>,
    pub(super) counters: ListenerCounters,
}

/// Accepts until the phase changes, then takes what the kernel has already queued and closes the
/// socket: connections left in the queue would be reset.
pub(super) async fn accept<S: Service>(
    socket: TcpListener,
    listener: Arc<Listener<S>>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut trouble = Trouble::default();
    let connections = phase.clone();
    loop {
        tokio::select! {
            biased;
            () = reached(&mut phase, Phase::Draining) => break,
            accepted = socket.accept() => match accepted {
                Ok((stream, address)) => admit(&listener, stream, address, &connections),
                Err(error) => trouble.wait(&error, &listener).await,
            },
        }
    }
    while let Some((stream, address)) = queued(&socket).await {
        admit(&listener, stream, address, &connections);
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
    let Some(slot) = Slots::take(&listener.slots, limits.connections, &listener.counters) else {
        listener.counters.over_limit.inc();
        return;
    };
    // Without it, small responses wait for the client's delayed acknowledgement.
    drop(stream.set_nodelay(true));
    let listener = Arc::clone(listener);
    let phase = phase.clone();
    tokio::spawn(async move {
        connection::serve(&listener, stream, address, limits, phase).await;
        drop(slot);
    });
}

/// A connection that is already there, without waiting for one.
async fn queued(socket: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    poll_fn(|cx| match socket.poll_accept(cx) {
        Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Errors of `accept`. Most concern one connection; being out of descriptors lasts, and leaves the
/// socket readable, so that a loop which only went on would spin.
#[derive(Default)]
struct Trouble {
    warned: Option<Instant>,
}

impl Trouble {
    async fn wait<S>(&mut self, error: &io::Error, listener: &Listener<S>) {
        if is_of_one_connection(error) {
            return;
        }
        listener.counters.failed.inc();
        if self.warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(listener = %listener.label, %error, "cannot accept connections");
        }
        tokio::time::sleep(PAUSE).await;
    }
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

/// How often such errors are logged.
const WARN_EVERY: Duration = Duration::from_secs(10);
