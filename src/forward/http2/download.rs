//! A response's body on its stream.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::line::Lane;
use super::upload::Upload;
use crate::forward::alarm::Alarm;
use crate::forward::balance::Occupied;
use crate::forward::hop;
use crate::forward::pool::Shard;
use crate::forward::request_body::{MOST_EMPTY, RequestBody};
use crate::forward::response_body::{Step, broke_off, wait};
use crate::forward::sending::Broken;

/// A body that comes in pieces. Dropped before its end, it resets the stream.
#[derive(Debug)]
pub(in crate::forward) struct Download {
    pub(super) received: RecvStream,
    /// The request's body, of which a part may still have to be sent.
    pub(super) upload: Upload,
    pub(super) body: RequestBody,
    pub(super) alarm: Alarm,
    /// The bytes that are still to come, if that was announced.
    pub(super) left: Option<u64>,
    pub(super) shard: Arc<Shard>,
    /// When the last frame came, on the monotonic clock.
    pub(super) moved: Duration,
    /// Frames without data in a row.
    pub(super) empty: usize,
    /// Given back behind the stream.
    pub(super) _lane: Lane,
    pub(super) _occupied: Occupied,
}

impl Download {
    /// Waits for the first frame from now on.
    pub(super) fn ready(mut self) -> Self {
        let backend = &self.shard.backend;
        self.alarm.wake_after(backend.clock(), self.moved, backend.idle_timeout());
        self
    }

    pub(in crate::forward) fn is_uploading(&self) -> bool {
        !self.upload.is_over()
    }

    pub(in crate::forward) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    pub(in crate::forward) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let sent = self.upload.poll(&mut self.body, cx);
        if sent == Poll::Ready(Err(Broken::Body)) {
            return Poll::Ready(self.failed());
        }
        loop {
            match self.received.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) if data.is_empty() && self.empty < MOST_EMPTY => {
                    self.empty += 1;
                }
                Poll::Ready(Some(Ok(data))) => return Poll::Ready(self.data(data)),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(self.failed()),
                Poll::Ready(None) => return self.poll_end(cx),
                Poll::Pending => return self.wait(cx),
            }
        }
    }

    fn data(&mut self, data: Bytes) -> Step {
        self.empty = 0;
        // The client asked for it, so the backend may send as much again.
        let released = self.received.flow_control().release_capacity(data.len());
        let left = match self.left {
            Some(left) => left.checked_sub(data.len() as u64).map(Some),
            None => Some(None),
        };
        let (Ok(()), Some(left), false) = (released, left, data.is_empty()) else {
            return self.failed();
        };
        self.left = left;
        self.moved = self.shard.backend.clock().monotonic();
        Step::Data(data)
    }

    /// Behind the data. What is shorter than it was announced to be was cut.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        match self.received.poll_trailers(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(self.failed()),
            Poll::Ready(Ok(_)) if self.left.is_some_and(|left| left > 0) => {
                Poll::Ready(self.failed())
            }
            Poll::Ready(Ok(Some(mut trailers))) => {
                hop::strip_trailers(&mut trailers, &hop::Nominated::none());
                Poll::Ready(Step::Last(Frame::trailers(trailers)))
            }
            Poll::Ready(Ok(None)) => Poll::Ready(Step::End),
            Poll::Pending => self.wait(cx),
        }
    }

    fn failed(&self) -> Step {
        Step::Failed(broke_off(&self.body, &self.shard.backend))
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let backend = &self.shard.backend;
        wait(&self.body, backend, self.moved, &mut self.alarm, cx).map(Step::Failed)
    }
}
