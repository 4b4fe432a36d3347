//! The body of a request, read from the connection when somebody asks for it.

use std::sync::MutexGuard;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use super::super::received::BrokeOff;
use super::wire::{Shared, Wire};
use crate::http1::chunks::{Chunks, Read};

/// The body of a request.
#[derive(Debug)]
pub struct Body {
    wire: Shared,
    /// The turn that it belongs to. Behind that turn, what comes in is not its own.
    turn: u64,
}

/// What is still to come of a body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// So many bytes.
    Length(u64),
    Chunks(Chunks),
    /// Bytes of another protocol, until the client ends them.
    Raw,
    /// It broke off: where it would have ended is not known.
    Broken,
}

impl Left {
    pub(super) const NOTHING: Self = Self::Length(0);

    pub(super) fn is_nothing(self) -> bool {
        match self {
            Self::Chunks(chunks) => chunks.is_done(),
            Self::Length(_) | Self::Raw | Self::Broken => self == Self::NOTHING,
        }
    }
}

impl Body {
    /// The body of the turn that the wire is at.
    pub(super) fn new(wire: &Shared) -> Self {
        Self { wire: wire.clone(), turn: wire.lock().turn }
    }

    pub(in crate::listen) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match self.wire() {
            Some(mut wire) => wire.poll_body(cx),
            None => Poll::Ready(Some(Err(BrokeOff))),
        }
    }

    pub(in crate::listen) fn has_ended(&self) -> bool {
        self.wire().is_some_and(|wire| wire.left.is_nothing())
    }

    /// How many bytes are still to come, if that was said.
    pub(in crate::listen) fn length(&self) -> Option<u64> {
        match self.wire()?.left {
            Left::Length(length) => Some(length),
            Left::Chunks(chunks) if chunks.is_done() => Some(0),
            Left::Chunks(_) | Left::Raw | Left::Broken => None,
        }
    }

    fn wire(&self) -> Option<MutexGuard<'_, Wire>> {
        Some(self.wire.lock()).filter(|wire| wire.turn == self.turn)
    }
}

impl Wire {
    /// The next piece of the body, or its trailers.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        loop {
            match self.take_body() {
                Ok(Read::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Read::Trailers(fields)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(fields))));
                }
                Ok(Read::End) => return Poll::Ready(None),
                Err(broken) => return Poll::Ready(Some(Err(broken))),
                Ok(Read::More) => {}
            }
            if std::mem::take(&mut self.expects) {
                self.output.front.extend_from_slice(CONTINUE);
            }
            // An error of writing is for reading to tell.
            let _ = self.poll_flush(cx);
            match ready!(self.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) if self.left == Left::Raw => self.left = Left::NOTHING,
                Ok(0) | Err(_) => self.left = Left::Broken,
            }
        }
    }

    /// What of the body has come in.
    pub(super) fn take_body(&mut self) -> Result<Read, BrokeOff> {
        match &mut self.left {
            Left::Length(0) => Ok(Read::End),
            Left::Length(_) if self.input.is_empty() => Ok(Read::More),
            Left::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                *left -= count as u64;
                Ok(Read::Data(self.input.split_to(count).freeze()))
            }
            Left::Chunks(chunks) => chunks.read(&mut self.input).map_err(|_| {
                self.left = Left::Broken;
                BrokeOff
            }),
            Left::Raw if self.input.is_empty() => Ok(Read::More),
            Left::Raw => Ok(Read::Data(self.input.split().freeze())),
            Left::Broken => Err(BrokeOff),
        }
    }
}

/// RFC 9110 §15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
