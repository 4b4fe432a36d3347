//! The request's body on its way to the backend: counted, bounded, and without trailers.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::response_body::BodyError;
use crate::clock::Clock;
use crate::rejection::Rejection;

/// Where a body comes from. A concrete type, because one pool serves all requests.
#[derive(Debug)]
pub(super) enum Source {
    /// A client's connection.
    Incoming(Incoming),
    /// A test's script.
    #[cfg(test)]
    Script(super::tests::Script),
}

/// How the body's length is told to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Empty,
    /// `Content-Length`.
    Exact(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// The body that a connection sends.
#[derive(Debug)]
pub(super) struct RequestBody {
    source: Source,
    framing: Framing,
    limit: u64,
    upload: Option<Arc<Upload>>,
}

impl RequestBody {
    /// Wraps a body without polling it.
    ///
    /// # Errors
    /// `BodyTooLarge` if its announced length exceeds `limit`, which is in bytes.
    pub(super) fn new(source: Source, limit: u64, clock: &Clock) -> Result<Self, Rejection> {
        let framing = match source.size_hint().exact() {
            _ if source.is_end_stream() => Framing::Empty,
            Some(0) => Framing::Empty,
            Some(length) => Framing::Exact(length),
            None => Framing::Chunked,
        };
        if matches!(framing, Framing::Exact(length) if length > limit) {
            return Err(Rejection::BodyTooLarge(limit));
        }
        let upload = (framing != Framing::Empty).then(|| Arc::new(Upload::new(clock)));
        Ok(Self { source, framing, limit, upload })
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// What can be seen of the upload from outside; `None` without a body.
    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        self.upload.clone()
    }

    fn count(&self, upload: &Upload, data: &Bytes) -> Result<(), BodyError> {
        let sent = upload.sent.load(Ordering::Relaxed) + data.len() as u64;
        if sent > self.limit {
            upload.enter(Stage::TooLarge);
            return Err(BodyError::TooLarge);
        }
        upload.sent.store(sent, Ordering::Relaxed);
        let ended = self.source.is_end_stream() || self.framing == Framing::Exact(sent);
        upload.enter(if ended { Stage::Done } else { Stage::Moving });
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(upload) = self.upload() else { return Poll::Ready(None) };
        let frame = match self.source.poll(cx) {
            Poll::Ready(Some(frame)) => frame,
            Poll::Ready(None) => {
                upload.enter(Stage::Done);
                return Poll::Ready(None);
            }
            Poll::Pending => {
                upload.starve();
                return Poll::Pending;
            }
        };
        let Ok(frame) = frame else {
            upload.enter(Stage::Cut);
            return Poll::Ready(Some(Err(BodyError::Cut)));
        };
        let Ok(data) = frame.into_data() else {
            // Trailers: the last frame, and dropped.
            upload.enter(Stage::Done);
            return Poll::Ready(None);
        };
        Poll::Ready(Some(self.count(&upload, &data).map(|()| Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.upload.is_none() || self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Incoming(body) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::Cut)))
            }
            #[cfg(test)]
            Self::Script(script) => script.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Incoming(body) => body.is_end_stream(),
            #[cfg(test)]
            Self::Script(script) => script.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Incoming(body) => body.size_hint(),
            #[cfg(test)]
            Self::Script(script) => script.size_hint(),
        }
    }
}

/// How far an upload is, shared between the connection that sends it and those who wait for it.
#[derive(Debug)]
pub(super) struct Upload {
    /// The bytes handed to the connection.
    pub(super) sent: Arc<AtomicU64>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    stage: Stage,
    /// When the body last moved, on the monotonic clock.
    moved: Duration,
}

/// Where an upload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The connection has something to send, or has not asked yet: it is the backend's turn.
    Moving,
    /// The connection would send more, but the client gives nothing.
    Starving,
    /// All of it was handed over.
    Done,
    /// It was broken off at the limit.
    TooLarge,
    /// The client broke it off.
    Cut,
}

impl Upload {
    fn new(clock: &Clock) -> Self {
        let state = State { stage: Stage::Moving, moved: clock.monotonic() };
        Self { sent: Arc::default(), clock: clock.clone(), state: Mutex::new(state) }
    }

    /// Where the upload stands, and when it last moved.
    pub(super) fn progress(&self) -> (Stage, Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.stage, state.moved)
    }

    fn enter(&self, stage: Stage) {
        let moved = self.clock.monotonic();
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { stage, moved };
    }

    /// Waiting is not moving: the time stays that of the last byte.
    fn starve(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stage = Stage::Starving;
    }
}
