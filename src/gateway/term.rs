//! How long a stream may go on: as long as the token holds that it was admitted with.
//!
//! An answer that ends by itself was permitted as a whole. A tunnel, a stream of events or a call
//! of gRPC may go on for days, long after its caller's access was taken away.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;

use super::websocket::Boundary;
use crate::authenticate::Lease;

/// The term of one stream.
pub(super) struct Term {
    lease: Lease,
    stream: Stream,
    /// Until the lease is to be looked at again.
    alarm: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What goes on, and how its end is told.
#[derive(Debug)]
enum Stream {
    /// A close frame, where one message has ended and no other begun.
    WebSocket(Boundary),
    /// `grpc-status` in trailers.
    Grpc,
    /// Breaking off.
    Other,
}

impl Stream {
    /// `None` for an answer that ends by itself.
    fn of<B>(answer: &Response<B>) -> Option<Self> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let protocol = answer.headers().get(UPGRADE).map(HeaderValue::as_bytes);
            let is_websocket = protocol.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
            let websocket = || Self::WebSocket(Boundary::default());
            return Some(if is_websocket { websocket() } else { Self::Other });
        }
        let kind = answer.headers().get(CONTENT_TYPE)?.as_bytes();
        let is = |wanted: &str| {
            kind.get(..wanted.len())
                .is_some_and(|kind| kind.eq_ignore_ascii_case(wanted.as_bytes()))
        };
        match () {
            () if is("text/event-stream") => Some(Self::Other),
            () if is("application/grpc") => Some(Self::Grpc),
            () => None,
        }
    }
}

impl Term {
    /// The term of an answer, if it is a stream and somebody's token admitted it.
    pub(super) fn of<B>(
        answer: &Response<B>,
        lease: impl FnOnce() -> Option<Lease>,
    ) -> Option<Box<Self>> {
        let stream = Stream::of(answer)?;
        Some(Box::new(Self { lease: lease()?, stream, alarm: None }))
    }

    /// Ready when it is over.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(alarm) = &mut self.alarm {
                ready!(alarm.as_mut().poll(cx));
                self.alarm = None;
            }
            let clock = self.lease.clock().clone();
            let now = clock.now();
            if !self.lease.holds(now) {
                return Poll::Ready(());
            }
            let wait = self.lease.next_look(now);
            self.alarm = Some(Box::pin(async move { clock.sleep(wait).await }));
        }
    }

    /// Notes what is passed on.
    pub(super) fn passed(&mut self, data: &[u8]) {
        if let Stream::WebSocket(boundary) = &mut self.stream {
            boundary.pass(data);
        }
    }

    /// What the client is told at the end; `None` where it cannot be told in the stream.
    pub(super) fn last_words(&self) -> Option<Frame<Bytes>> {
        match &self.stream {
            Stream::WebSocket(boundary) => {
                boundary.is_here().then(|| Frame::data(Bytes::from_static(&POLICY_VIOLATION)))
            }
            Stream::Grpc => {
                let status = (GRPC_STATUS, HeaderValue::from_static(UNAUTHENTICATED));
                Some(Frame::trailers(HeaderMap::from_iter([status])))
            }
            Stream::Other => None,
        }
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Term").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// A close frame with the code 1008 (RFC 6455 §5.5.1, §7.4.1).
const POLICY_VIOLATION: [u8; 4] = [0x88, 2, 0x03, 0xf0];
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const UNAUTHENTICATED: &str = "16";
