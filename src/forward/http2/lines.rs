//! The connections of one thread to the targets of one upstream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Way;
use super::line::{Lane, Line};
use crate::forward::connection::Connection;
use crate::forward::exchange::Fault;
use crate::forward::upstream::Backend;

/// The connections, by target.
#[derive(Debug)]
pub(in crate::forward) struct Lines(Box<[Spot]>);

/// The connections to one target.
#[derive(Debug)]
struct Spot {
    lines: Mutex<Vec<Line>>,
    /// Whoever has it opens a connection; those behind find it open, or hear of the same fault.
    turn: tokio::sync::Mutex<Fault>,
    failures: AtomicU64,
    /// Whether the next connection will be one that is shared: the last one was.
    shares: AtomicBool,
}

impl Lines {
    pub(in crate::forward) fn new(targets: usize) -> Self {
        Self((0..targets).map(|_| Spot::new()).collect())
    }

    /// A place on an open connection to the target.
    pub(in crate::forward) fn take(&self, target: usize) -> Option<Lane> {
        self.0[target].take()
    }

    /// Opens a connection to the target, unless another request has just done so. Requests that
    /// come at once wait for one handshake instead of doing one each.
    ///
    /// # Errors
    /// As [`Backend::connect`]; `Reset` if nothing can be said on it.
    pub(in crate::forward) async fn open(
        &self,
        target: usize,
        backend: &Arc<Backend>,
    ) -> Result<Way, Fault> {
        let spot = &self.0[target];
        if !spot.shares.load(Ordering::Relaxed) {
            return spot.connect(target, backend).await;
        }
        let failures = spot.failures.load(Ordering::Relaxed);
        let mut last = spot.turn.lock().await;
        if let Some(lane) = spot.take() {
            return Ok(Way::Http2(lane));
        }
        if spot.failures.load(Ordering::Relaxed) != failures {
            return Err(*last);
        }
        let opened = spot.connect(target, backend).await;
        if let Err(fault) = &opened {
            *last = *fault;
            spot.failures.fetch_add(1, Ordering::Relaxed);
        }
        opened
    }
}

impl Spot {
    fn new() -> Self {
        Self {
            lines: Mutex::default(),
            turn: tokio::sync::Mutex::new(Fault::Refused),
            failures: AtomicU64::new(0),
            shares: AtomicBool::new(true),
        }
    }

    fn take(&self) -> Option<Lane> {
        let mut lines = self.lines();
        lines.retain(Line::is_open);
        lines.iter().find_map(Line::lane)
    }

    async fn connect(&self, target: usize, backend: &Arc<Backend>) -> Result<Way, Fault> {
        let socket = backend.connect(target).await?;
        let shares = backend.speaks_http2(&socket);
        self.shares.store(shares, Ordering::Relaxed);
        if !shares {
            return Ok(Way::Http1(Connection::new(target, socket, backend)));
        }
        let line = Line::open(socket, target, backend).await?;
        let lane = line.lane().ok_or(Fault::Reset)?;
        self.lines().push(line);
        Ok(Way::Http2(lane))
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
