//! One open connection to a target, as HTTP/1.1 uses it: a request at a time.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::alarm::Alarm;
use super::breaker::Place;
use super::socket::Socket;
use super::upstream::Backend;
use crate::http1::buffer::make_room;

/// An open connection. Dropping it closes the socket, whatever is under way on it.
#[derive(Debug)]
pub(super) struct Connection {
    /// The index of the target that it leads to.
    pub(super) target: usize,
    /// Of the target's addresses when it was opened.
    epoch: u64,
    pub(super) socket: Socket,
    /// What the backend said and nobody has read yet.
    pub(super) input: BytesMut,
    /// How much the next read may take.
    room: usize,
    pub(super) alarm: Alarm,
    /// Since when it rests, on the monotonic clock; `None` while it works.
    resting: Option<Duration>,
    backend: Arc<Backend>,
    /// Given up when the connection is closed.
    _place: Place,
}

impl Connection {
    pub(super) fn new(target: usize, socket: Socket, backend: &Arc<Backend>, place: Place) -> Self {
        backend.counters().active.inc();
        Self {
            target,
            epoch: backend.targets()[target].names.epoch(),
            socket,
            input: BytesMut::new(),
            room: FIRST_READ,
            alarm: Alarm::after(backend.idle_timeout()),
            resting: None,
            backend: Arc::clone(backend),
            _place: place,
        }
    }

    /// Whether all addresses that were known when it was opened still are.
    pub(super) fn is_current(&self) -> bool {
        self.epoch == self.backend.targets()[self.target].names.epoch()
    }

    /// Reads more into `input`; zero at the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        make_room(&mut self.input, self.room);
        let spare = self.input.capacity() - self.input.len();
        let count = ready!(pin!(self.socket.read_buf(&mut self.input)).poll(cx))?;
        if count == spare {
            self.room = (self.room * 2).min(MOST_READ);
        }
        Poll::Ready(Ok(count))
    }

    /// Whether the backend has neither closed the connection nor said anything unasked. Costs no
    /// system call unless something has come.
    pub(super) fn is_quiet(&self) -> bool {
        self.input.is_empty() && self.socket.is_quiet()
    }

    /// Marks it as resting since `now`, on the monotonic clock.
    pub(super) fn rest(&mut self, now: Duration) {
        self.resting = Some(now);
        self.room = FIRST_READ;
        let counters = self.backend.counters();
        counters.active.dec();
        counters.idle.inc();
    }

    /// Marks it as used again.
    pub(super) fn resume(&mut self) {
        if self.resting.take().is_some() {
            let counters = self.backend.counters();
            counters.idle.dec();
            counters.active.inc();
        }
    }

    /// Whether it has rested for so long that it is closed.
    pub(super) fn is_tired(&self, now: Duration) -> bool {
        self.resting.is_some_and(|since| now.saturating_sub(since) >= self.backend.idle_timeout())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let counters = self.backend.counters();
        let gauge = if self.resting.is_some() { &counters.idle } else { &counters.active };
        gauge.dec();
    }
}

/// Bytes: enough for the head of most answers and a small body.
const FIRST_READ: usize = 8 << 10;
/// Bytes: large bodies are read in pieces of this size.
const MOST_READ: usize = 128 << 10;
