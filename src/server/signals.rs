//! What signals do.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Drained, Server};

/// The signals that a gateway heeds, from the moment at which they are caught: those that come
/// before it runs are heeded once it does.
#[derive(Debug)]
pub struct Signals {
    reload: Signal,
    stop: Stop,
}

impl Signals {
    /// Catches SIGHUP, SIGINT and SIGTERM, whose default is to end the process. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// If the system does not let signals be caught.
    pub fn catch() -> io::Result<Self> {
        let stop = Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        Ok(Self { reload: signal(SignalKind::hangup())?, stop })
    }
}

/// Serves until told to stop, then drains. See [`Server::run`].
pub(super) async fn run(server: &Server, signals: Signals) -> Drained {
    let Signals { mut reload, mut stop } = signals;
    loop {
        tokio::select! {
            () = stop.told() => break,
            _ = reload.recv() => again(server).await,
        }
    }
    tokio::select! {
        drained = server.shutdown(server.drain()) => drained,
        () = stop.told() => Drained { cut: server.running.listeners.connections() },
    }
}

/// The result is in the log and the metrics already; the problems themselves are not.
async fn again(server: &Server) {
    match server.reload().await {
        Ok(reloaded) => {
            for note in reloaded.notes {
                tracing::warn!("{note}");
            }
        }
        Err(refused) => tracing::error!("{}", refused.problems),
    }
}

#[derive(Debug)]
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
