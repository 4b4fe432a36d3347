//! Sending a request's body on its stream, as the client gives it and the backend takes it.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};

use crate::forward::request_body::{RequestBody, Stage};
use crate::forward::sending::Broken;

/// A body on its way out.
#[derive(Debug)]
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    /// What the backend has no room for yet.
    piece: Bytes,
    /// Nothing is left to be sent, or nobody takes it.
    is_over: bool,
}

impl Upload {
    /// `is_over` if the head was all.
    pub(super) fn new(stream: SendStream<Bytes>, is_over: bool) -> Self {
        Self { stream, piece: Bytes::new(), is_over }
    }

    /// Whether nothing is left to be sent, or nobody takes it.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Sends as much as can be sent. Ready at the end; later calls do nothing.
    ///
    /// # Errors
    /// `Body` if the client's body broke off or is too large; the stream is reset then. `Socket` if
    /// the backend takes no more; it may have answered.
    pub(super) fn poll(
        &mut self,
        body: &mut RequestBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        while !self.is_over {
            let step = match self.piece.is_empty() {
                true => ready!(self.poll_body(body, cx)),
                false => ready!(self.poll_piece(body, cx)),
            };
            if let Err(broken) = step {
                self.is_over = true;
                if broken == Broken::Body {
                    self.stream.send_reset(Reason::CANCEL);
                }
                return Poll::Ready(Err(broken));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece from the client.
    fn poll_body(
        &mut self,
        body: &mut RequestBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        // A backend that has heard enough resets the stream (RFC 9113 §8.1).
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Broken::Socket));
        }
        Poll::Ready(match ready!(body.poll(cx)) {
            Some(Ok(piece)) => {
                self.piece = piece;
                Ok(())
            }
            Some(Err(_)) => Err(Broken::Body),
            None => self.send(Bytes::new(), true),
        })
    }

    /// Sends what the backend has room for.
    fn poll_piece(&mut self, body: &RequestBody, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.stream.reserve_capacity(self.piece.len());
        if self.stream.capacity() == 0 {
            return Poll::Ready(match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => Ok(()),
                Some(Err(_)) | None => Err(Broken::Socket),
            });
        }
        let room = self.stream.capacity().min(self.piece.len());
        let part = self.piece.split_to(room);
        let ends = self.piece.is_empty() && body.progress().0 == Stage::Done;
        Poll::Ready(self.send(part, ends))
    }

    fn send(&mut self, part: Bytes, ends: bool) -> Result<(), Broken> {
        self.is_over = ends;
        self.stream.send_data(part, ends).map_err(|_| Broken::Socket)
    }
}
