//! The body of a client's request, of either HTTP version.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::http1;

/// A request's body as it comes in. Nothing is read of it before it is polled, and a client that
/// waits for `100 Continue` (RFC 9110 §10.1.1) hears it then and not before.
#[derive(Debug)]
pub enum Received {
    /// There is none.
    Empty,
    /// Behind a head of HTTP/1.1.
    Http1(http1::Body),
    /// In a stream of HTTP/2.
    Http2(Incoming),
}

/// The client broke off, or what it sent is no body (RFC 9112 §7.1, RFC 9113 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body broke off")]
pub struct BrokeOff;

impl Received {
    /// Whether it goes on until the client ends it: nothing was said of its length.
    pub(crate) fn is_endless(&self) -> bool {
        !self.is_end_stream() && self.size_hint().exact().is_none()
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => body.poll_frame(cx),
            Self::Http2(body) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|_| BrokeOff)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.has_ended(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.length().map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
