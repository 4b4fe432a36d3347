//! The response's body on its way to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::alarm::Alarm;
use super::balance::Occupied;
use super::connection::Connection;
use super::exchange::Fault;
use super::hop;
use super::http2::Download;
use super::pool::Shard;
use super::request_body::{RequestBody, Stage};
use super::response_head::Coding;
use super::sending::{Broken, Sending};
use super::upstream::Backend;
use crate::http1::{Invalid, chunks};

/// A response body that gives its connection back to the pool at its end.
///
/// It streams: a frame is read from the backend when the client has taken the one before. Dropped
/// or broken off before its end, it closes the connection.
#[derive(Debug)]
pub struct UpstreamBody(State);

#[derive(Debug)]
enum State {
    /// All of it came with the head; empty when it was passed on.
    Whole(Bytes),
    Streaming(Box<Stream>),
    /// On a connection that is shared.
    Shared(Box<Download>),
    Ended,
    Failed(BodyError),
}

/// A body that comes in pieces.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) connection: Box<Connection>,
    /// Whether another request may follow on the connection.
    pub(super) reusable: bool,
    pub(super) coding: Coding,
    /// The request, of which a part may still have to be sent.
    pub(super) sending: Sending,
    pub(super) shard: Arc<Shard>,
    /// Given up when the body ends.
    pub(super) _occupied: Occupied,
    /// What the backend's `Connection` nominated.
    pub(super) nominated: hop::Nominated,
    /// When the last frame came, on the monotonic clock.
    pub(super) moved: Duration,
}

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The sender broke off.
    #[error("the body was cut short")]
    Cut,
    /// The body exceeds the limit.
    #[error("the body is too large")]
    TooLarge,
    /// Nothing came for too long.
    #[error("the body stalled")]
    Stalled,
}

/// What came of looking for more.
pub(super) enum Step {
    Data(Bytes),
    /// Data or trailers, and behind them the end of the body.
    Last(Frame<Bytes>),
    End,
    Failed(BodyError),
}

impl UpstreamBody {
    /// A body of which all has come.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(State::Whole(bytes))
    }

    /// A body of which not all has come.
    pub(super) fn streaming(mut stream: Stream) -> Self {
        let backend = &stream.shard.backend;
        let (moved, limit) = (stream.moved, backend.idle_timeout());
        stream.connection.alarm.wake_after(backend.clock(), moved, limit);
        Self(State::Streaming(Box::new(stream)))
    }

    /// The body of an answer by HTTP/2; `None` if it has none, and the request was sent.
    pub(super) fn shared(download: Option<Box<Download>>) -> Self {
        Self(download.map_or(State::Ended, State::Shared))
    }
}

impl UpstreamBody {
    /// Whether the request is still being sent: the backend answered before its end.
    pub(crate) fn is_uploading(&self) -> bool {
        match &self.0 {
            State::Streaming(stream) => !stream.sending.is_over(),
            State::Shared(download) => download.is_uploading(),
            State::Whole(_) | State::Ended | State::Failed(_) => false,
        }
    }
}

/// The body behind a head that has just come, if all of it is there.
pub(super) fn whole(input: &mut BytesMut, coding: Coding) -> Option<Bytes> {
    let Coding::Length(length) = coding else { return None };
    let length = usize::try_from(length).ok().filter(|length| *length <= input.len())?;
    Some(input.split_to(length).freeze())
}

/// Gives a connection back if both messages on it are complete: behind half a request, the backend
/// would read the next one as the rest of this.
pub(super) fn give_back(
    shard: &Arc<Shard>,
    connection: Box<Connection>,
    reusable: bool,
    sending: &Sending,
    now: Duration,
) {
    if reusable && sending.is_done() {
        shard.give(connection, now);
    }
}

impl Stream {
    fn end(self) {
        give_back(&self.shard, self.connection, self.reusable, &self.sending, self.moved);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let sent = self.sending.poll(&mut self.connection.socket, cx);
        if sent == Poll::Ready(Err(Broken::Body)) {
            return Poll::Ready(Step::Failed(self.broke_off()));
        }
        loop {
            if let Some(step) = self.read() {
                self.moved = self.now();
                return Poll::Ready(step);
            }
            match self.connection.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) if self.coding == Coding::UntilClose => {
                    return Poll::Ready(Step::End);
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Step::Failed(self.broke_off())),
                Poll::Pending => {
                    let (body, alarm) = (&self.sending.body, &mut self.connection.alarm);
                    let backend = &self.shard.backend;
                    return wait(body, backend, self.moved, alarm, cx).map(Step::Failed);
                }
            }
        }
    }

    /// Takes what comes next from the input; `None` if there is nothing.
    fn read(&mut self) -> Option<Step> {
        let input = &mut self.connection.input;
        match &mut self.coding {
            Coding::Length(_) | Coding::UntilClose if input.is_empty() => None,
            Coding::UntilClose => Some(Step::Data(input.split().freeze())),
            Coding::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= count as u64;
                let data = input.split_to(count).freeze();
                Some(if *left == 0 { Step::Last(Frame::data(data)) } else { Step::Data(data) })
            }
            Coding::Chunks(chunks) => match chunks.read(input) {
                Ok(chunks::Read::Data(data)) => Some(Step::Data(data)),
                Ok(chunks::Read::Trailers(mut trailers)) => {
                    hop::strip_trailers(&mut trailers, &self.nominated);
                    Some(Step::Last(Frame::trailers(trailers)))
                }
                Ok(chunks::Read::End) => Some(Step::End),
                Ok(chunks::Read::More) => None,
                Err(Invalid) => Some(Step::Failed(self.broke_off())),
            },
        }
    }

    fn broke_off(&self) -> BodyError {
        broke_off(&self.sending.body, &self.shard.backend)
    }

    fn now(&self) -> Duration {
        self.shard.backend.clock().monotonic()
    }
}

/// Whose fault it is that an answer's body ends here, while the request's is `body`.
pub(super) fn broke_off(body: &RequestBody, backend: &Backend) -> BodyError {
    match body.progress().0 {
        Stage::TooLarge => BodyError::TooLarge,
        // The client's own doing: not the backend's error.
        Stage::Cut => BodyError::Cut,
        Stage::Moving | Stage::Starving | Stage::Done => {
            backend.counters().failed(Fault::Reset);
            BodyError::Cut
        }
    }
}

/// Waits at most the idle timeout since `moved` for the next frame. An upload that still moves
/// counts as life: the backend may be reading before it says more.
pub(super) fn wait(
    body: &RequestBody,
    backend: &Backend,
    moved: Duration,
    alarm: &mut Alarm,
    cx: &mut Context<'_>,
) -> Poll<BodyError> {
    while alarm.poll(cx).is_ready() {
        let (stage, uploaded) = body.progress();
        let since = moved.max(uploaded);
        let now = backend.clock().monotonic();
        let left = since.saturating_add(backend.idle_timeout()).saturating_sub(now);
        if left.is_zero() {
            // A backend that waits for a client's upload is not the one that is late.
            if stage != Stage::Starving {
                backend.counters().failed(Fault::Timeout);
            }
            return Poll::Ready(BodyError::Stalled);
        }
        alarm.wake_after(backend.clock(), now, left);
    }
    Poll::Pending
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let step = match &mut self.0 {
            State::Streaming(stream) => ready!(stream.poll(cx)),
            State::Shared(download) => ready!(download.poll(cx)),
            State::Whole(bytes) if !bytes.is_empty() => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
            }
            State::Whole(_) | State::Ended => return Poll::Ready(None),
            State::Failed(error) => return Poll::Ready(Some(Err(*error))),
        };
        let frame = match step {
            Step::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Step::Last(frame) => Some(Ok(frame)),
            Step::End => None,
            // The server throws away what it has not written when a body fails. A turn of waiting
            // lets the client have all that came before.
            Step::Failed(error) => {
                self.0 = State::Failed(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        // Whoever sends this body on asks whether it has ended and may never poll again.
        if let State::Streaming(stream) = std::mem::replace(&mut self.0, State::Ended) {
            stream.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Whole(bytes) => bytes.is_empty(),
            State::Ended => true,
            State::Streaming(_) | State::Shared(_) | State::Failed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            State::Ended => SizeHint::with_exact(0),
            State::Streaming(stream) => match stream.coding {
                Coding::Length(left) => SizeHint::with_exact(left),
                Coding::Chunks(_) | Coding::UntilClose => SizeHint::default(),
            },
            State::Shared(download) => download.size_hint(),
            State::Failed(_) => SizeHint::default(),
        }
    }
}
