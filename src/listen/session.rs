//! One connection as its requests see it: the service, the peer, and notes on what happens.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Service;
use super::activity::Activity;
use crate::gateway::Peer;

/// Shared by a connection's transport, its requests and its timer: one count to touch per request,
/// and none that other connections touch.
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
            let response = turn.0.service.answer(&turn.0.peer, request).await;
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

/// Bytes.
const SHORT: usize = 1 << 10;

/// A transport that notes when bytes come in and go out.
pub(super) struct Noting<T, S> {
    transport: T,
    /// Bytes that came in and were not understood yet: the beginning of a request.
    unread: Bytes,
    session: Arc<Session<S>>,
}

impl<T, S> Noting<T, S> {
    pub(super) fn new(transport: T, session: &Arc<Session<S>>) -> Self {
        Self { transport, unread: Bytes::new(), session: Arc::clone(session) }
    }

    /// Gives bytes back that were read from here; they are read again.
    pub(super) fn put_back(&mut self, unread: Bytes) {
        // No bytes may still hold a buffer.
        self.unread = if unread.is_empty() { Bytes::new() } else { unread };
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    pub(super) fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    pub(super) fn into_transport(self) -> T {
        self.transport
    }
}

impl<T: AsyncRead + Unpin, S> AsyncRead for Noting<T, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.unread.is_empty() {
            ready!(Pin::new(&mut self.transport).poll_read(cx, buffer))?;
        } else {
            let part = buffer.remaining().min(self.unread.len());
            buffer.put_slice(&self.unread[..part]);
            self.unread.advance(part);
        }
        if buffer.filled().len() > before {
            self.session.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin, S> AsyncWrite for Noting<T, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.session.activity.set_unsent(true);
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.session.activity.set_unsent(true);
        // For the kernel, one short piece is less work than a list of them.
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut joined = [0; SHORT];
        let Some(joined) = joined.get_mut(..length) else {
            return Pin::new(&mut self.transport).poll_write_vectored(cx, slices);
        };
        let mut rest = &mut *joined;
        for slice in slices {
            let (part, behind) = rest.split_at_mut(slice.len());
            part.copy_from_slice(slice);
            rest = behind;
        }
        Pin::new(&mut self.transport).poll_write(cx, joined)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
        // hyper flushes only what it has written as a whole.
        self.session.activity.set_unsent(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.session.activity.is_kept() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
