//! The connections of one thread to the targets of one upstream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turns, MutexGuard};
use tokio::time::timeout;

use super::Way;
use super::line::{Lane, Line};
use crate::forward::breaker::Turn;
use crate::forward::connection::Connection;
use crate::forward::exchange::{Fault, Miss};
use crate::forward::upstream::Backend;

/// The connections, by target.
#[derive(Debug)]
pub(in crate::forward) struct Lines(Box<[Spot]>);

/// The connections to one target.
#[derive(Debug)]
struct Spot {
    lines: Mutex<Vec<Line>>,
    /// Whoever has it opens a connection; those behind find it open, or hear of the same fault.
    turn: Turns<Fault>,
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
    /// come at once wait for one handshake instead of doing one each. The second says whether the
    /// connection was used before.
    ///
    /// # Errors
    /// As [`Backend::connect`]; `Reset` if nothing can be said on it; `UpstreamOverloaded`.
    pub(in crate::forward) async fn open(
        &self,
        target: usize,
        backend: &Arc<Backend>,
    ) -> Result<(Way, bool), Miss> {
        let spot = &self.0[target];
        if !spot.shares.load(Ordering::Relaxed) {
            return spot.connect(target, backend).await;
        }
        let failures = spot.failures.load(Ordering::Relaxed);
        let mut last = spot.turn(target, backend).await?;
        if let Some(lane) = spot.take() {
            return Ok((Way::Http2(lane), true));
        }
        if spot.failures.load(Ordering::Relaxed) != failures {
            return Err(Miss::Down(*last));
        }
        let opened = spot.connect(target, backend).await;
        if let Err(Miss::Down(fault)) = &opened {
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
            turn: Turns::new(Fault::Refused),
            failures: AtomicU64::new(0),
            shares: AtomicBool::new(true),
        }
    }

    fn take(&self) -> Option<Lane> {
        let mut lines = self.lines();
        lines.retain(Line::is_open);
        lines.iter().find_map(Line::lane)
    }

    /// The right to open a connection. Who waits because there may be no more of them stands in the
    /// queue of the upstream, whose length is bounded.
    async fn turn(&self, target: usize, backend: &Backend) -> Result<MutexGuard<'_, Fault>, Miss> {
        if let Ok(turn) = self.turn.try_lock() {
            return Ok(turn);
        }
        let overloaded = |setting| Miss::Refused(backend.overloaded(setting));
        let is_full = || !backend.targets()[target].gate.has_room();
        let _pending =
            is_full().then(|| backend.bounds().pend()).transpose().map_err(overloaded)?;
        match timeout(backend.connect_timeout(), self.turn.lock()).await {
            Ok(turn) => Ok(turn),
            Err(_) if is_full() => Err(overloaded("max_connections")),
            Err(_) => Err(Miss::Down(Fault::Timeout)),
        }
    }

    async fn connect(&self, target: usize, backend: &Arc<Backend>) -> Result<(Way, bool), Miss> {
        let turn = tokio::select! {
            biased;
            turn = backend.place(target) => turn,
            lane = freed(target, backend) => return Ok((Way::Http2(lane), true)),
        };
        let place = match turn.map_err(|setting| Miss::Refused(backend.overloaded(setting)))? {
            Turn::Connection(connection) => return Ok((Way::Http1(connection), true)),
            Turn::Place(place) => place,
        };
        let socket = backend.connect(target).await.map_err(Miss::Down)?;
        let shares = backend.speaks_http2(&socket);
        self.shares.store(shares, Ordering::Relaxed);
        if !shares {
            let connection = Connection::new(target, socket, backend, place);
            return Ok((Way::Http1(Box::new(connection)), false));
        }
        let line = Line::open(socket, target, backend, place).await.map_err(Miss::Down)?;
        let lane = line.lane().ok_or(Miss::Down(Fault::Reset))?;
        self.lines().push(line);
        Ok((Way::Http2(lane), false))
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane of any thread, as soon as there is one.
async fn freed(target: usize, backend: &Backend) -> Lane {
    loop {
        let freed = backend.targets()[target].lane_freed.notified();
        if let Some(lane) = backend.lane(target) {
            return lane;
        }
        freed.await;
    }
}
