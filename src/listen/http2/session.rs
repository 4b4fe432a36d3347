//! One connection as its requests see it: the service, the peer, and notes on what happens.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;

use super::super::Service;
use super::super::received::Received;
use super::activity::Activity;
use crate::gateway::Peer;

/// Shared by a connection's requests and its timer: one count to touch per request, and none that
/// other connections touch.
pub(super) struct Session<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) activity: Activity,
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
        turn: Offer<S>,
    }
}

/// A turn whose response has begun. `waiting` is true from the moment at which a part is handed
/// over until the next is asked for.
struct Offer<S> {
    turn: Turn<S>,
    waiting: bool,
}

impl<S> Offer<S> {
    fn set_waiting(&mut self, waiting: bool) {
        let activity = &self.turn.0.activity;
        match (self.waiting, waiting) {
            (false, true) => activity.offered(),
            (true, false) => activity.taken(),
            (true, true) | (false, false) => {}
        }
        self.waiting = waiting;
    }
}

impl<S> Drop for Offer<S> {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}

impl<S: Service> Watched<S> {
    fn new(body: S::Body, turn: Turn<S>) -> Self {
        let mut turn = Offer { turn, waiting: false };
        turn.set_waiting(true);
        Self { body, turn }
    }
}

impl<S: Service> Body for Watched<S> {
    type Data = <S::Body as Body>::Data;
    type Error = <S::Body as Body>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        this.turn.set_waiting(false);
        let frame = ready!(this.body.poll_frame(cx));
        this.turn.set_waiting(true);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
