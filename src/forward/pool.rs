//! Connections to the targets of one upstream, kept by the thread that opened them.
//!
//! Each worker thread has a shard, so that no lock here is ever contended and no connection is
//! woken by one core and used by another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::breaker::Turn;
use super::connection::Connection;
use super::exchange::Miss;
use super::http2::{Lines, Way};
use super::upstream::Backend;

/// One thread's connections.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) backend: Arc<Backend>,
    /// The targets' names; copies, so that threads do not share their reference counts.
    labels: Box<[Arc<str>]>,
    turn: AtomicUsize,
    /// Connections that requests share; `None` if HTTP/2 is never spoken.
    pub(super) lines: Option<Lines>,
    idle: Mutex<Idle>,
}

/// The connections that rest.
#[derive(Debug)]
struct Idle {
    /// By target, the one used last on top.
    #[expect(clippy::vec_box, reason = "a connection goes from hand to hand without being copied")]
    stacks: Box<[Vec<Box<Connection>>]>,
    /// Closes those that have rested too long, while there are any.
    sweeper: Option<AbortHandle>,
}

impl Shard {
    /// An empty shard; `index` spreads the first turns of the threads over the targets.
    pub(super) fn new(backend: &Arc<Backend>, index: usize) -> Self {
        let labels: Box<[Arc<str>]> =
            backend.targets().iter().map(|target| Arc::from(&*target.label)).collect();
        let stacks = labels.iter().map(|_| Vec::new()).collect();
        Self {
            backend: Arc::clone(backend),
            turn: AtomicUsize::new(index),
            lines: backend.may_speak_http2().then(|| Lines::new(labels.len())),
            idle: Mutex::new(Idle { stacks, sweeper: None }),
            labels,
        }
    }

    /// The target's `host:port`.
    pub(super) fn label(&self, target: usize) -> Arc<str> {
        Arc::clone(&self.labels[target])
    }

    /// The target to try next, of those that were not tried yet.
    pub(super) fn pick(&self, tried: &[usize]) -> Option<usize> {
        let targets = self.backend.targets();
        if targets.len() < 2 {
            return (0..targets.len()).find(|target| !tried.contains(target));
        }
        self.backend.choose(tried, self.turn.fetch_add(1, Ordering::Relaxed))
    }

    /// The connection to the target that was used last and still stands.
    pub(super) fn take(&self, target: usize) -> Option<Box<Connection>> {
        let mut idle = self.idle();
        loop {
            // One that does not stand any more is dropped here, and closes.
            let mut connection = idle.stacks[target].pop()?;
            if connection.is_quiet() && connection.is_current() {
                connection.resume();
                return Some(connection);
            }
        }
    }

    /// A connection to the target that stands and has room for a request.
    pub(super) fn way(&self, target: usize) -> Option<Way> {
        let shared = self.lines.as_ref().and_then(|lines| lines.take(target));
        shared.map(Way::Http2).or_else(|| self.take(target).map(Way::Http1))
    }

    /// Lets a connection rest on which both messages are complete. One on which the backend has
    /// said more than its answer is closed: whatever comes next on it is not to be believed.
    pub(super) fn give(self: &Arc<Self>, mut connection: Box<Connection>, now: Duration) {
        if !connection.input.is_empty() || !connection.is_current() {
            return;
        }
        let mut idle = self.idle();
        let gate = &self.backend.targets()[connection.target].gate;
        if gate.is_awaited() {
            drop(idle);
            return self.pass_on(connection, now);
        }
        let stack = &mut idle.stacks[connection.target];
        if stack.len() < MOST_IDLE {
            connection.rest(now);
            stack.push(connection);
        }
        if idle.sweeper.as_ref().is_none_or(AbortHandle::is_finished) {
            idle.sweeper = Some(tokio::spawn(sweep(Arc::downgrade(self))).abort_handle());
        }
    }

    /// Gives a connection to a request that waits for one, if there still is one.
    fn pass_on(self: &Arc<Self>, connection: Box<Connection>, now: Duration) {
        let gate = &self.backend.targets()[connection.target].gate;
        if let Some(Turn::Connection(connection)) = gate.pass_on(Turn::Connection(connection)) {
            self.give(connection, now);
        }
    }

    /// Opens a connection to the target, or takes one over if there may be no more of them, or
    /// finds room on one that requests share. The second says whether it was used before.
    pub(super) async fn open(&self, target: usize) -> Result<(Way, bool), Miss> {
        if let Some(lines) = &self.lines {
            return lines.open(target, &self.backend).await;
        }
        let turn = self.backend.place(target).await;
        match turn.map_err(|setting| Miss::Refused(self.backend.overloaded(setting)))? {
            Turn::Connection(connection) => Ok((Way::Http1(connection), true)),
            Turn::Place(place) => {
                let socket = self.backend.connect(target).await.map_err(Miss::Down)?;
                let connection = Connection::new(target, socket, &self.backend, place);
                Ok((Way::Http1(Box::new(connection)), false))
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what has rested too long or was closed by the backend; false if nothing is left, and
    /// the next connection that rests needs a sweeper of its own.
    fn tidy(&self) -> bool {
        let now = self.backend.clock().monotonic();
        let mut idle = self.idle();
        for stack in &mut idle.stacks {
            stack.retain(|connection| {
                !connection.is_tired(now) && connection.is_current() && connection.is_quiet()
            });
        }
        let any = idle.stacks.iter().any(|stack| !stack.is_empty());
        if !any {
            idle.sweeper = None;
        }
        any
    }
}

/// Tidies now and then until nothing rests or the shard is gone.
async fn sweep(shard: Weak<Shard>) {
    loop {
        let Some(idle_timeout) = shard.upgrade().map(|shard| shard.backend.idle_timeout()) else {
            return;
        };
        tokio::time::sleep(idle_timeout.min(SWEEP)).await;
        if !shard.upgrade().is_some_and(|shard| shard.tidy()) {
            return;
        }
    }
}

/// Connections that rest, by target and thread.
const MOST_IDLE: usize = 64;
/// How long a connection may be closed, or rest beyond its time, before that is noticed.
const SWEEP: Duration = Duration::from_secs(1);
