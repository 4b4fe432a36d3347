//! The request's body on its way to the backend: counted, bounded, and without trailers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::response_body::BodyError;
use crate::clock::Clock;
use crate::listen::{BrokeOff, Received};
use crate::rejection::Rejection;

/// Where a body comes from. A concrete type, because one pool serves all requests.
#[derive(Debug)]
pub(super) enum Source {
    /// A client's connection.
    Client(Received),
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
    /// None: bytes of another protocol, until the client ends them.
    Raw,
}

/// The body that a connection sends, and how far it is.
#[derive(Debug)]
pub(super) struct RequestBody {
    source: Source,
    framing: Framing,
    limit: u64,
    /// The bytes handed to the connection; `None` if there is no body.
    sent: Option<Arc<AtomicU64>>,
    stage: Stage,
    /// When the body last moved, on the monotonic clock.
    moved: Duration,
    /// Pieces without a byte in a row: they cost and bring nothing, and no other limit counts them.
    empty: usize,
    /// Since when the connection would send more, if it is starving.
    hungry: Duration,
    /// For how long it was starving before.
    starved: Duration,
    /// Whether the client may take its time.
    is_unhurried: bool,
    clock: Clock,
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

impl RequestBody {
    /// Wraps a body without polling it. `now` is on the monotonic clock.
    ///
    /// # Errors
    /// `BodyTooLarge` if its announced length exceeds `limit`, which is in bytes.
    pub(super) fn new(
        source: Source,
        limit: u64,
        clock: &Clock,
        now: Duration,
    ) -> Result<Self, Rejection> {
        let framing = match source.size_hint().exact() {
            _ if source.is_end_stream() => Framing::Empty,
            Some(0) => Framing::Empty,
            Some(length) => Framing::Exact(length),
            None => Framing::Chunked,
        };
        if matches!(framing, Framing::Exact(length) if length > limit) {
            return Err(Rejection::BodyTooLarge(limit));
        }
        let is_empty = framing == Framing::Empty;
        let sent = (!is_empty).then(Arc::default);
        let stage = if is_empty { Stage::Done } else { Stage::Moving };
        Ok(Self {
            source,
            framing,
            limit,
            sent,
            stage,
            moved: now,
            empty: 0,
            hungry: now,
            starved: Duration::ZERO,
            is_unhurried: false,
            clock: clock.clone(),
        })
    }

    /// Only silence ends it.
    pub(super) fn may_take_its_time(&mut self) {
        self.is_unhurried = true;
    }

    /// Until when a starving connection waits for the client: for `idle` after the last byte, and in
    /// all for `idle` and as long as what was sent takes at the least rate. By one byte now and then
    /// a client could else keep a connection to the backend without end.
    pub(super) fn patience(&self, started: Duration, idle: Duration) -> Duration {
        let silence = self.moved.max(started).saturating_add(idle);
        if self.is_unhurried {
            return silence;
        }
        let sent = self.sent.as_ref().map_or(0, |sent| sent.load(Ordering::Relaxed));
        let earned = idle.saturating_add(Duration::from_millis(sent.saturating_mul(1000) / RATE));
        let left = earned.saturating_sub(self.starved);
        silence.min(self.hungry.max(started).saturating_add(left))
    }

    /// The bytes behind the head may become another protocol's: they are counted.
    pub(super) fn may_turn(&mut self) {
        self.sent.get_or_insert_default();
    }

    /// From here on, whatever the client sends is passed on.
    pub(super) fn turn(&mut self) {
        (self.framing, self.limit) = (Framing::Raw, u64::MAX);
        self.enter(Stage::Moving);
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// The most bytes that it may have.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The count of the bytes handed over; `None` without a body.
    pub(super) fn sent(&self) -> Option<&Arc<AtomicU64>> {
        self.sent.as_ref()
    }

    /// Whether no part of it was taken from the client.
    pub(super) fn is_untouched(&self) -> bool {
        let taken = self.sent.as_ref().map_or(0, |sent| sent.load(Ordering::Relaxed));
        taken == 0 && !matches!(self.stage, Stage::Cut | Stage::TooLarge)
    }

    /// Where the upload stands, and when it last moved.
    pub(super) fn progress(&self) -> (Stage, Duration) {
        (self.stage, self.moved)
    }

    /// The next piece; `None` at the end. Trailers are the end, and dropped.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.stage == Stage::Done {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = self.source.poll(cx) else {
            // Waiting is not moving: the time stays that of the last byte.
            if self.stage != Stage::Starving {
                self.hungry = self.clock.monotonic();
            }
            self.stage = Stage::Starving;
            return Poll::Pending;
        };
        Poll::Ready(match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => Some(self.count(data)),
            Some(Ok(Err(_trailers))) => self.end(),
            Some(Err(_)) => Some(Err(self.fail(Stage::Cut, BodyError::Cut))),
            None => self.end(),
        })
    }

    /// The end of the source. What is shorter than it was announced to be was cut.
    fn end(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self.framing {
            Framing::Exact(_) => Some(Err(self.fail(Stage::Cut, BodyError::Cut))),
            Framing::Chunked | Framing::Empty | Framing::Raw => {
                self.enter(Stage::Done);
                None
            }
        }
    }

    fn count(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        self.empty = if data.is_empty() { self.empty + 1 } else { 0 };
        if self.empty > MOST_EMPTY {
            return Err(self.fail(Stage::Cut, BodyError::Cut));
        }
        let before = self.sent.as_ref().map_or(0, |sent| sent.load(Ordering::Relaxed));
        let total = before + data.len() as u64;
        let announced = match self.framing {
            Framing::Exact(length) => length,
            Framing::Chunked | Framing::Empty | Framing::Raw => u64::MAX,
        };
        if total > self.limit.min(announced) {
            return Err(self.fail(Stage::TooLarge, BodyError::TooLarge));
        }
        if let Some(sent) = &self.sent {
            sent.store(total, Ordering::Relaxed);
        }
        let ended =
            total == announced || (self.framing != Framing::Raw && self.source.is_end_stream());
        self.enter(if ended { Stage::Done } else { Stage::Moving });
        Ok(data)
    }

    fn fail(&mut self, stage: Stage, error: BodyError) -> BodyError {
        self.enter(stage);
        error
    }

    fn enter(&mut self, stage: Stage) {
        self.moved = self.clock.monotonic();
        if self.stage == Stage::Starving {
            self.starved += self.moved.saturating_sub(self.hungry);
        }
        self.stage = stage;
    }
}

/// Pieces without a byte that may come in a row, from either side.
pub(super) const MOST_EMPTY: usize = 100;

/// The bytes that a client has to send in a second for which it is waited for, over the whole
/// upload: what Kestrel asks for, and less than any line carries.
const RATE: u64 = 240;

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Client(body) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|BrokeOff| BodyError::Cut)))
            }
            #[cfg(test)]
            Self::Script(script) => script.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Client(body) => body.is_end_stream(),
            #[cfg(test)]
            Self::Script(script) => script.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Client(body) => body.size_hint(),
            #[cfg(test)]
            Self::Script(script) => script.size_hint(),
        }
    }
}
