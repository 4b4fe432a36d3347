//! What signals do.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Drained, Server};

/// Serves until told to stop, then drains. See [`Server::run`].
pub(super) async fn run(server: &Server) -> io::Result<Drained> {
    let mut reload = signal(SignalKind::hangup())?;
    let mut stop = Stop {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };
    loop {
        tokio::select! {
            () = stop.told() => break,
            _ = reload.recv() => again(server).await,
        }
    }
    tokio::select! {
        drained = server.shutdown(server.drain()) => Ok(drained),
        () = stop.told() => Ok(Drained { cut: server.running.listeners.connections() }),
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
