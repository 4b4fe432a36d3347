//! The bytes of one connection, in both directions.

use std::fmt;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use super::super::close::Transport;
use super::body::Left;
use crate::http1::buffer::make_room;

/// A connection's wire, shared by the task that serves it and the body of the request that it is
/// at. Both run in that task, one after the other: the lock is there for the compiler.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Wire>>);

/// A transport, what came in and nobody has read, and what is to go out.
pub(super) struct Wire {
    /// `None` once the connection is over.
    stream: Option<Box<dyn Transport>>,
    pub(super) input: BytesMut,
    /// How much the next read may take.
    room: usize,
    /// Which request of the connection this is.
    pub(super) turn: u64,
    /// What is still to come of the request's body.
    pub(super) left: Left,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
    pub(super) output: Output,
}

/// What is to be written, in this order.
#[derive(Default)]
pub(super) struct Output {
    /// Heads, short pieces, and the lines in front of chunks.
    pub(super) front: Vec<u8>,
    /// How much of `front` was written.
    written: usize,
    /// A long piece of a body, which is not copied.
    piece: Bytes,
    /// What ends the piece.
    behind: &'static [u8],
    /// All bytes that were ever written; says whether the client takes any.
    pub(super) total: u64,
    unflushed: bool,
}

impl Shared {
    pub(super) fn new(stream: Box<dyn Transport>) -> Self {
        Self(Arc::new(Mutex::new(Wire {
            stream: Some(stream),
            input: BytesMut::new(),
            room: FIRST_READ,
            turn: 0,
            left: Left::NOTHING,
            expects: false,
            output: Output::default(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection for whoever still holds it, and gives its transport.
    pub(super) fn end(&self) -> Option<Box<dyn Transport>> {
        self.lock().stream.take()
    }
}

impl Wire {
    /// Reads more into `input`; zero at the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        make_room(&mut self.input, self.room);
        let spare = self.input.capacity() - self.input.len();
        let count = ready!(pin!(stream.read_buf(&mut self.input)).poll(cx))?;
        if count == spare {
            self.room = (self.room * 2).min(MOST_READ);
        }
        Poll::Ready(Ok(count))
    }

    /// Whether the client has gone while it waits for an answer (RFC 9112 §9.6). What it has sent
    /// on top of its request is not looked behind.
    pub(super) fn is_deserted(&mut self, cx: &mut Context<'_>) -> bool {
        let reads_ahead = self.left.is_nothing() && self.input.is_empty();
        // While nothing comes, no buffer is needed.
        reads_ahead
            && self.poll_readable(cx).is_ready()
            && matches!(self.poll_fill(cx), Poll::Ready(Ok(0) | Err(_)))
    }

    /// Ready when a read would bring something. Needs no buffer, unlike a read.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(()) };
        // An error is for the next read to tell.
        stream.poll_readable(cx).map(drop)
    }

    /// Writes all of the output.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let output = &mut self.output;
        while output.left() > 0 {
            let front = &output.front[output.written..];
            let written = if output.piece.is_empty() && output.behind.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, front))?
            } else {
                let slices = [front, &output.piece, output.behind].map(IoSlice::new);
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
        }
        if output.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            output.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives back the memory that serving takes.
    pub(super) fn release(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.output.front = Vec::new();
        self.room = FIRST_READ;
    }
}

impl Output {
    /// Appends a piece of a body, and what is to follow it. Call it only when all that was there
    /// before is short or written.
    pub(super) fn data(&mut self, piece: Bytes, behind: &'static [u8]) {
        if piece.len() <= COPIED {
            self.front.extend_from_slice(&piece);
            self.front.extend_from_slice(behind);
        } else {
            self.piece = piece;
            self.behind = behind;
        }
    }

    /// Whether another piece has room.
    pub(super) fn has_room(&self) -> bool {
        self.piece.is_empty() && self.behind.is_empty() && self.front.len() < MOST_FRONT
    }

    fn left(&self) -> usize {
        self.front.len() - self.written + self.piece.len() + self.behind.len()
    }

    fn advance(&mut self, count: usize) {
        let front = count.min(self.front.len() - self.written);
        let piece = (count - front).min(self.piece.len());
        self.written += front;
        self.piece.advance(piece);
        self.behind = &self.behind[count - front - piece..];
        self.total += count as u64;
        self.unflushed = true;
        if self.written == self.front.len() {
            self.front.clear();
            self.written = 0;
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What clients say is not for logs.
        f.debug_struct("Wire").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Bytes: enough for the head of most requests.
const FIRST_READ: usize = 8 << 10;
/// Bytes: large bodies are read in pieces of this size.
const MOST_READ: usize = 128 << 10;
/// Bytes: for the kernel, one short piece is less work than a list of them.
const COPIED: usize = 1 << 10;
/// Bytes: short pieces are gathered up to this.
const MOST_FRONT: usize = 8 << 10;
