//! The response's body on its way to the client.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::exchange::Fault;
use super::hop;
use super::pool::{Connection, Shard};
use super::request_body::{Stage, Upload};

/// A response body that gives its connection back to the pool at its end.
///
/// It streams: a frame is read from the backend when the client has taken the one before. Dropped
/// or broken off before its end, it closes the connection.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease>,
    upload: Option<Arc<Upload>>,
    shard: Arc<Shard>,
    /// What the backend's `Connection` nominated.
    nominated: Vec<HeaderName>,
    failed: Option<BodyError>,
    /// When the last frame came, on the monotonic clock.
    moved: Duration,
    /// Made when the backend first lets the body wait.
    timer: Option<Pin<Box<Sleep>>>,
}

/// The connection that a body comes from.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection,
    /// Whether another request may follow on it.
    pub(super) reusable: bool,
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

impl UpstreamBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        upload: Option<Arc<Upload>>,
        shard: &Arc<Shard>,
        nominated: Vec<HeaderName>,
    ) -> Self {
        let mut body = Self {
            incoming,
            lease: Some(lease),
            upload,
            shard: Arc::clone(shard),
            nominated,
            failed: None,
            moved: shard.backend.clock().now().monotonic,
            timer: None,
        };
        body.end_if_complete();
        body
    }

    /// Whoever sends this body on asks [`Body::is_end_stream`] and may never poll again, so the
    /// end is looked for after each frame and not only when the stream says so.
    fn end_if_complete(&mut self) {
        if self.incoming.is_end_stream() {
            self.end();
        }
    }

    /// Gives the connection back if both messages on it are complete: behind half a request, the
    /// backend would read the next one as the rest of this.
    fn end(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let complete = |upload: &Arc<Upload>| upload.progress().0 == Stage::Done;
        if lease.reusable && self.upload.as_ref().is_none_or(complete) {
            self.shard.give(lease.connection);
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.lease = None;
        self.failed = Some(error);
        Poll::Ready(Some(Err(error)))
    }

    fn broke_off(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.upload.as_ref().map(|upload| upload.progress().0) {
            Some(Stage::TooLarge) => self.fail(BodyError::TooLarge),
            // The client's own doing: not the backend's error.
            Some(Stage::Cut) => self.fail(BodyError::Cut),
            Some(Stage::Moving | Stage::Starving | Stage::Done) | None => {
                self.shard.backend.counters().failed(Fault::Reset);
                self.fail(BodyError::Cut)
            }
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.moved = self.now();
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                hop::strip_trailers(&mut trailers, &self.nominated);
                self.end();
                Frame::trailers(trailers)
            }
            Err(data) => data,
        };
        self.end_if_complete();
        Poll::Ready(Some(Ok(frame)))
    }

    fn now(&self) -> Duration {
        self.shard.backend.clock().now().monotonic
    }

    /// Waits at most the idle timeout for the next frame. An upload that still moves counts as
    /// life: the backend may be reading before it says more.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let limit = self.shard.backend.idle_timeout();
        let mut timer = self.timer.take().unwrap_or_else(|| Box::pin(tokio::time::sleep(limit)));
        while timer.as_mut().poll(cx).is_ready() {
            let upload = self.upload.as_ref().map(|upload| upload.progress());
            let moved = self.moved.max(upload.map_or(Duration::ZERO, |(_, moved)| moved));
            let left = moved.saturating_add(limit).saturating_sub(self.now());
            if left.is_zero() {
                // A backend that waits for a client's upload is not the one that is late.
                if upload.is_none_or(|(stage, _)| stage != Stage::Starving) {
                    self.shard.backend.counters().failed(Fault::Timeout);
                }
                return self.fail(BodyError::Stalled);
            }
            timer.set(tokio::time::sleep(left));
        }
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Some(Err(error)));
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => self.pass(frame),
            Poll::Ready(Some(Err(_))) => self.broke_off(),
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
