//! Writing a request to its connection: the head, then the body as the client gives it.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::request_body::{Framing, RequestBody};
use super::socket::Socket;

/// A request on its way out.
#[derive(Debug)]
pub(super) struct Sending {
    /// The head, or the line in front of a chunk.
    front: Bytes,
    /// A piece of the body.
    piece: Bytes,
    /// What ends the piece, or the body.
    behind: &'static [u8],
    pub(super) body: RequestBody,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was written.
    Untouched,
    Sending,
    /// The body's last piece is in the buffers.
    Ending,
    Done,
    /// The backend takes no more, or the client's body broke off.
    Broken,
}

/// Why a request cannot be sent to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The body broke off or is too large: its own stage says which.
    Body,
    /// The connection was closed, and nothing was written to it.
    Unsent,
    /// The backend takes no more. It may have answered.
    Socket,
}

impl Sending {
    /// `head` ends with its blank line.
    pub(super) fn new(head: Bytes, body: RequestBody) -> Self {
        Self { front: head, piece: Bytes::new(), behind: b"", body, state: State::Untouched }
    }

    /// Makes the request ready to be sent once more, with the same `head`, if no part of its body
    /// was taken from the client.
    pub(super) fn rewind(&mut self, head: &Bytes) {
        if self.body.is_untouched() {
            (self.front, self.piece, self.behind) = (head.clone(), Bytes::new(), b"");
            self.state = State::Untouched;
        }
    }

    /// Goes on with another protocol, behind a request that was sent.
    pub(super) fn turn(&mut self) {
        self.body.turn();
        self.state = State::Sending;
    }

    /// The head, as long as nothing was written.
    pub(super) fn head(&self) -> Bytes {
        self.front.clone()
    }

    /// Whether all of the request was written.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether nothing of the request will be sent any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Done | State::Broken)
    }

    /// Writes as much as the client gives and the backend takes. Ready at the end; later calls do
    /// nothing.
    pub(super) fn poll(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        while !self.is_over() {
            let step = match ready!(self.poll_flush(socket, cx)) {
                Ok(()) if self.state == State::Ending && self.body.framing() == Framing::Raw => {
                    // The other side is to hear that this one has ended. Its answer may go on.
                    drop(ready!(Pin::new(&mut *socket).poll_shutdown(cx)));
                    self.state = State::Done;
                    Ok(())
                }
                Ok(()) => ready!(self.poll_body(cx)),
                Err(broken) => Err(broken),
            };
            if let Err(broken) = step {
                // A request that was not begun may begin on another connection.
                let retried = broken == Broken::Unsent;
                self.state = if retried { State::Untouched } else { State::Broken };
                return Poll::Ready(Err(broken));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Empties the buffers.
    fn poll_flush(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let slices = [&*self.front, &*self.piece, self.behind].map(IoSlice::new);
            let left: usize = slices.iter().map(|slice| slice.len()).sum();
            if left == 0 {
                // TLS keeps what the socket did not take.
                let flushed = ready!(Pin::new(&mut *socket).poll_flush(cx));
                return Poll::Ready(flushed.map_err(|_| Broken::Socket));
            }
            let written = if left == self.front.len() {
                ready!(Pin::new(&mut *socket).poll_write(cx, &self.front))
            } else {
                ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &slices))
            };
            match written {
                Ok(1..) if self.state == State::Untouched => self.state = State::Sending,
                Ok(1..) => {}
                Ok(0) | Err(_) if self.state == State::Untouched && socket.fails_whole() => {
                    return Poll::Ready(Err(Broken::Unsent));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Socket)),
            }
            self.advance(written.unwrap_or(0));
        }
    }

    fn advance(&mut self, written: usize) {
        let front = written.min(self.front.len());
        let piece = (written - front).min(self.piece.len());
        self.front.advance(front);
        self.piece.advance(piece);
        self.behind = &self.behind[written - front - piece..];
    }

    /// Puts the next piece of the body into the empty buffers.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.state == State::Ending {
            self.state = State::Done;
            return Poll::Ready(Ok(()));
        }
        let chunked = self.body.framing() == Framing::Chunked;
        match ready!(self.body.poll(cx)) {
            // An empty chunk would be the last one.
            Some(Ok(piece)) if piece.is_empty() => {}
            Some(Ok(piece)) => {
                if chunked {
                    self.front = format!("{:x}\r\n", piece.len()).into();
                    self.behind = b"\r\n";
                }
                self.piece = piece;
            }
            Some(Err(_)) => return Poll::Ready(Err(Broken::Body)),
            None => {
                self.behind = if chunked { b"0\r\n\r\n" } else { b"" };
                self.state = State::Ending;
            }
        }
        Poll::Ready(Ok(()))
    }
}
