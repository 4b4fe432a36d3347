//! How much an upstream is given at once, and the queue in front of that.
//!
//! Each target has so many places for connections. A request that finds none waits, in the order
//! of arrival and for a bounded time, until a connection is done with or its place is free. How many
//! may wait is bounded for the upstream; beyond that a request is refused at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::connection::Connection;
use super::upstream::Backend;
use crate::config::Resilience;

/// The places for connections to one target.
#[derive(Debug)]
pub(super) struct Gate {
    most: usize,
    open: AtomicUsize,
    /// The length of the queue, to be read without its lock.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<oneshot::Sender<Turn>>>,
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Turn {
    /// A connection that another request is done with.
    Connection(Box<Connection>),
    /// A place to open one.
    Place(Place),
}

/// A place for a connection. Dropping it gives it to whoever waits.
#[derive(Debug)]
pub(super) struct Place {
    /// `None` once it is given up.
    backend: Option<Arc<Backend>>,
    target: usize,
}

impl Gate {
    pub(super) fn new(most: usize) -> Self {
        let (open, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { most, open, waiting, queue: Mutex::default() }
    }

    /// Whether a connection could be opened now.
    pub(super) fn has_room(&self) -> bool {
        self.open.load(Ordering::Relaxed) < self.most
    }

    /// Whether somebody may be waiting. Certain only under the lock of what is waited for.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Gives `turn` to the first that still waits; else it comes back.
    pub(super) fn pass_on(&self, mut turn: Turn) -> Option<Turn> {
        loop {
            let Some(first) = self.pop(&mut self.queue()) else { return Some(turn) };
            // One that has given up meanwhile is passed over.
            match first.send(turn) {
                Ok(()) => return None,
                Err(unsent) => turn = unsent,
            }
        }
    }

    fn take(&self) -> bool {
        let more = |open| Some(open + 1).filter(|open| *open <= self.most);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Joins the queue, unless there is room after all.
    fn join(&self) -> Option<oneshot::Receiver<Turn>> {
        let mut queue = self.queue();
        if self.take() {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        queue.push_back(sender);
        self.waiting.store(queue.len(), Ordering::Relaxed);
        Some(receiver)
    }

    /// The first in the queue. With an empty queue and the lock held, a place that is given up is
    /// seen by whoever comes next.
    fn pop(
        &self,
        queue: &mut MutexGuard<'_, VecDeque<oneshot::Sender<Turn>>>,
    ) -> Option<oneshot::Sender<Turn>> {
        let first = queue.pop_front();
        self.waiting.store(queue.len(), Ordering::Relaxed);
        first
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<Turn>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up a place for which nobody waits; else says who does.
    fn give_up(&self) -> Option<oneshot::Sender<Turn>> {
        let mut queue = self.queue();
        let first = self.pop(&mut queue);
        if first.is_none() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        first
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(backend) = self.backend.take() else { return };
        let gate = &backend.targets()[self.target].gate;
        let mut turn = Turn::Place(Self::new(&backend, self.target));
        while let Some(first) = gate.give_up() {
            match first.send(turn) {
                Ok(()) => return,
                Err(unsent) => turn = unsent,
            }
        }
        // Given up above, once.
        if let Turn::Place(mut place) = turn {
            place.backend = None;
        }
    }
}

impl Place {
    fn new(backend: &Arc<Backend>, target: usize) -> Self {
        Self { backend: Some(Arc::clone(backend)), target }
    }
}

/// A bound that was reached, by the name of its setting.
pub(super) type Full = &'static str;

impl Backend {
    /// A place for a connection to the target, or a connection; waits for one if need be, at most
    /// as long as connecting may take.
    ///
    /// # Errors
    /// The bound that was reached.
    pub(super) async fn place(self: &Arc<Self>, target: usize) -> Result<Turn, Full> {
        let gate = &self.targets()[target].gate;
        if !gate.is_awaited() && gate.take() {
            return Ok(Turn::Place(Place::new(self, target)));
        }
        let _pending = self.bounds().pend()?;
        let Some(turn) = gate.join() else {
            return Ok(Turn::Place(Place::new(self, target)));
        };
        // In the queue, and only then: what comes to rest from now on is passed on.
        if let Some(connection) = self.resting(target) {
            return Ok(Turn::Connection(connection));
        }
        match timeout(self.connect_timeout(), turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err("max_connections"),
        }
    }
}

/// The bounds of an upstream as a whole.
#[derive(Debug)]
pub(super) struct Bounds {
    /// For requests under way; `None` without a bound.
    requests: Option<Arc<Semaphore>>,
    most_pending: usize,
    pending: AtomicUsize,
}

impl Bounds {
    pub(super) fn new(settings: &Resilience) -> Self {
        let semaphore = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self {
            requests: settings.max_requests.map(semaphore),
            most_pending: settings.max_pending,
            pending: AtomicUsize::new(0),
        }
    }

    /// Lets a request begin, if need be after a wait of at most `limit`. `None` is no bound.
    ///
    /// # Errors
    /// The bound that was reached.
    pub(super) async fn admit(
        &self,
        limit: Duration,
    ) -> Result<Option<OwnedSemaphorePermit>, Full> {
        let Some(requests) = &self.requests else { return Ok(None) };
        if let Ok(permit) = Arc::clone(requests).try_acquire_owned() {
            return Ok(Some(permit));
        }
        let _pending = self.pend()?;
        match timeout(limit, Arc::clone(requests).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            Ok(Err(_)) | Err(_) => Err("max_requests"),
        }
    }

    /// A place in the queue.
    pub(super) fn pend(&self) -> Result<Pending<'_>, Full> {
        let more = |pending| Some(pending + 1).filter(|pending| *pending <= self.most_pending);
        let joined = self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        joined.map(|_| Pending(&self.pending)).map_err(|_| "max_pending")
    }
}

/// Counts one that waits.
pub(super) struct Pending<'b>(&'b AtomicUsize);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
