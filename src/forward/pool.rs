//! Connections to the targets of one upstream, kept by the thread that opened them.
//!
//! Each worker thread has a shard, so that no lock here is ever contended and no connection is
//! driven by one core and used by another.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use prometheus::IntGauge;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::exchange::Fault;
use super::request_body::RequestBody;
use super::upstream::Backend;
use crate::clock::Clock;

/// One thread's connections.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) backend: Arc<Backend>,
    /// The targets' names; copies, so that threads do not share their reference counts.
    labels: Box<[Arc<str>]>,
    turn: AtomicUsize,
    /// By target: the connections that rest, the one used last on top.
    idle: Mutex<Box<[Vec<Connection>]>>,
}

impl Shard {
    /// An empty shard; `index` spreads the first turns of the threads over the targets.
    pub(super) fn new(backend: &Arc<Backend>, index: usize) -> Self {
        let labels: Box<[Arc<str>]> =
            backend.targets().iter().map(|target| Arc::from(&*target.label)).collect();
        Self {
            backend: Arc::clone(backend),
            turn: AtomicUsize::new(index),
            idle: Mutex::new(labels.iter().map(|_| Vec::new()).collect()),
            labels,
        }
    }

    /// The target's `host:port`.
    pub(super) fn label(&self, target: usize) -> Arc<str> {
        Arc::clone(&self.labels[target])
    }

    /// The next target in turn that was not tried yet. One that failed a moment ago comes last.
    pub(super) fn pick(&self, tried: &[usize]) -> Option<usize> {
        let targets = self.backend.targets();
        if targets.len() < 2 {
            return (0..targets.len()).find(|target| !tried.contains(target));
        }
        let now = self.backend.clock().now().monotonic;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let order = (0..targets.len()).map(|step| turn.wrapping_add(step) % targets.len());
        let mut untried = order.filter(|target| !tried.contains(target)).peekable();
        let first = untried.peek().copied();
        untried.find(|target| !targets[*target].failed_lately(now)).or(first)
    }

    /// The connection to the target that was used last and still stands.
    pub(super) fn take(&self, target: usize) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // One that does not stand any more is dropped here, and closes.
            let connection = idle[target].pop()?;
            if connection.resume() {
                return Some(connection);
            }
        }
    }

    /// Lets a connection rest on which both messages are complete.
    pub(super) fn give(&self, connection: Connection) {
        if !connection.rest(self.backend.clock().now().monotonic) {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let stack = &mut idle[connection.target];
        if stack.len() >= MOST_IDLE {
            stack.retain(|resting| !resting.sender.is_closed());
        }
        if stack.len() < MOST_IDLE {
            stack.push(connection);
        }
    }

    /// Opens a connection to the target and starts its driver on this thread's runtime.
    pub(super) async fn open(&self, target: usize) -> Result<Connection, Fault> {
        let stream = self.backend.connect(target).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(READ_AHEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Fault::Reset)?;
        let vitals = Arc::new(Vitals::new(&self.backend));
        let driver = tokio::spawn(drive(connection, Vital(Arc::clone(&vitals)))).abort_handle();
        Ok(Connection { target, sender, driver, vitals })
    }
}

/// The number of this thread among those that have asked.
pub(super) fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    INDEX.with(|index| *index)
}

/// An open connection. Dropping it closes the socket, whatever is under way on it.
#[derive(Debug)]
pub(super) struct Connection {
    target: usize,
    sender: SendRequest<RequestBody>,
    driver: AbortHandle,
    vitals: Arc<Vitals>,
}

impl Connection {
    /// Sends a request. The future does not borrow the connection, and is not boxed.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<>
    {
        self.sender.try_send_request(request)
    }

    /// Marks it as used again; false if it is closed or not ready.
    fn resume(&self) -> bool {
        self.sender.is_ready() && self.vitals.resume()
    }

    /// Marks it as resting; false if it is closed.
    fn rest(&self, now: Duration) -> bool {
        !self.sender.is_closed() && self.vitals.rest(now)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // hyper alone would finish sending a body that nobody waits for an answer to.
        self.driver.abort();
    }
}

/// Whether a connection works, rests or is closed, counted in the gauges.
#[derive(Debug)]
struct Vitals {
    /// [`WORKING`], [`CLOSED`], or since when it rests: nanoseconds on the monotonic clock.
    state: AtomicU64,
    active: IntGauge,
    idle: IntGauge,
    clock: Clock,
    idle_timeout: Duration,
}

impl Vitals {
    fn new(backend: &Backend) -> Self {
        let counters = backend.counters();
        counters.active.inc();
        Self {
            state: AtomicU64::new(WORKING),
            active: counters.active.clone(),
            idle: counters.idle.clone(),
            clock: backend.clock().clone(),
            idle_timeout: backend.idle_timeout(),
        }
    }

    fn rest(&self, now: Duration) -> bool {
        let since = u64::try_from(now.as_nanos()).unwrap_or(0).min(CLOSED - 1);
        if self.change(WORKING, since) {
            self.active.dec();
            self.idle.inc();
            return true;
        }
        false
    }

    fn resume(&self) -> bool {
        let since = self.state.load(Ordering::Acquire);
        if since < CLOSED && self.change(since, WORKING) {
            self.idle.dec();
            self.active.inc();
            return true;
        }
        false
    }

    fn close(&self) {
        match self.state.swap(CLOSED, Ordering::AcqRel) {
            CLOSED => {}
            WORKING => self.active.dec(),
            _resting => self.idle.dec(),
        }
    }

    /// How much longer the connection may rest: all of the timeout if it works.
    fn left(&self) -> Duration {
        match self.state.load(Ordering::Acquire) {
            CLOSED | WORKING => self.idle_timeout,
            since => {
                let end = Duration::from_nanos(since).saturating_add(self.idle_timeout);
                end.saturating_sub(self.clock.monotonic())
            }
        }
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Held by a connection's driver: its end is the connection's.
struct Vital(Arc<Vitals>);

impl Drop for Vital {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Moves bytes until the connection ends or has rested too long. A request that comes in that very
/// moment is handed back by hyper as never sent.
async fn drive(connection: http1::Connection<TokioIo<TcpStream>, RequestBody>, vital: Vital) {
    let mut connection = pin!(connection);
    loop {
        let left = vital.0.left();
        if left.is_zero() {
            return;
        }
        tokio::select! {
            biased;
            // What went wrong is told to whoever waits for an answer on this connection.
            _ = &mut connection => return,
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// The bytes read from a connection at once, which is also the most that the head of an answer may
/// have. hyper's own limit is six times as much, by connection, and lets a backend that never stops
/// talking (interim answers, one after the other) keep the thread busy for as much longer.
const READ_AHEAD: usize = 64 << 10;

/// Connections that rest, by target and thread.
const MOST_IDLE: usize = 64;
const WORKING: u64 = u64::MAX;
const CLOSED: u64 = u64::MAX - 1;
