//! One connection as its requests see it: the service, the peer, and notes on what happens.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;

use super::super::Service;
use super::super::received::Received;
use super::activity::Activity;
use super::stream::{Step, note};
use crate::gateway::Peer;

/// Shared by a connection's requests and its timer: one count to touch per request, and none that
/// other connections touch.
pub(super) struct Session<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) activity: Activity,
    /// How long an answer may wait for its reader.
    pub(super) idle_timeout: Duration,
}

/// The session as hyper wants it.
pub(super) fn answer<S: Service>(
    session: &Arc<Session<S>>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<Watched<S>>,
    Error = Infallible,
    Future: Send + 'static,
> + use<S> {
    let session = Arc::clone(session);
    service_fn(move |request| {
        let turn = Turn::begin(&session);
        async move {
            let (head, body): (_, Incoming) = Request::into_parts(request);
            let body = Received::Http2(body);
            let response = turn.0.service.answer(&turn.0.peer, Box::new(head), body).await;
            Ok(response.map(|body| Watched::new(body, turn)))
        }
    })
}

/// One request, from its head to the end of its response.
struct Turn<S>(Arc<Session<S>>);

impl<S> Turn<S> {
    fn begin(session: &Arc<Session<S>>) -> Self {
        session.activity.begin();
        Self(Arc::clone(session))
    }
}

impl<S> Drop for Turn<S> {
    fn drop(&mut self) {
        self.0.activity.end();
    }
}

pin_project_lite::pin_project! {
    /// A response's body that notes whether it waits for the client.
    pub(super) struct Watched<S: Service> {
        #[pin]
        body: S::Body,
        // What is left of a part that is handed over in pieces.
        rest: Bytes,
        _turn: Turn<S>,
    }
}

impl<S: Service> Watched<S> {
    fn new(body: S::Body, turn: Turn<S>) -> Self {
        note(Step::Offered);
        Self { body, rest: Bytes::new(), _turn: turn }
    }
}

impl<S: Service> Body for Watched<S> {
    type Data = Bytes;
    type Error = <S::Body as Body>::Error;

    /// A part goes out in pieces: whatever is handed over is the library's, who keeps it until the
    /// client reads, and how much of it was read is not known.
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        note(Step::Taken);
        if this.rest.is_empty() {
            let frame = ready!(this.body.poll_frame(cx));
            let data = frame.map(|frame| frame.map(Frame::into_data));
            match data {
                Some(Ok(Ok(data))) => *this.rest = data,
                Some(Ok(Err(other))) => return offer(Some(Ok(other))),
                Some(Err(error)) => return offer(Some(Err(error))),
                None => return offer(None),
            }
        }
        let length = this.rest.len().min(PIECE);
        offer(Some(Ok(Frame::data(this.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn offer<T>(frame: T) -> Poll<T> {
    note(Step::Offered);
    Poll::Ready(frame)
}

/// The most that a frame may carry to a client that has not asked for more (RFC 9113 §6.5.2).
const PIECE: usize = 16 << 10;
