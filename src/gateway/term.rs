//! How long a request may go on that has no end of its own: as long as the token holds that it was
//! admitted with.
//!
//! A message that ends by itself was permitted as a whole. A tunnel, a stream of events, a call of
//! gRPC or an upload of any length may go on for days, long after its caller's access was taken
//! away. So it is watched from the moment on at which it is forwarded: until the answer's head comes
//! by the request itself ([`while_it_holds`]), and from there on by a task of its own ([`Term`]), which
//! is not held up by a client that reads nothing.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::body::Polled;
use super::websocket::Boundary;
use crate::authenticate::Lease;
use crate::clock::{Clock, LOOK_EVERY};
use crate::forward::UpstreamBody;
use crate::rejection::Rejection;

/// Waits for the head of an answer, from `began` on by the monotonic clock, while the caller's token
/// holds. `lease` is asked for when it has taken long: most answers come before. Whatever it waits
/// for wakes it often enough. It is asked before anything more is sent.
///
/// # Errors
/// As `forwarding`, and `Token` when the lease is over.
pub(super) async fn while_it_holds<T>(
    mut forwarding: Pin<&mut impl Future<Output = Result<T, Rejection>>>,
    clock: &Clock,
    began: Duration,
    lease: impl Fn() -> Option<Lease>,
) -> Result<T, Rejection> {
    let (mut next_look, mut has_begun) = (began + LOOK_EVERY, false);
    poll_fn(|cx| {
        if std::mem::replace(&mut has_begun, true) && clock.monotonic() >= next_look {
            next_look = clock.monotonic() + LOOK_EVERY;
            if let Some(Err(lapsed)) = lease().map(|lease| lease.check(clock.now())) {
                return Poll::Ready(Err(lapsed));
            }
        }
        forwarding.as_mut().poll(cx)
    })
    .await
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

/// What the client is told at the end; `None` where it cannot be told in the stream.
pub(super) type LastWords = Option<Frame<Bytes>>;

/// An answer that ends with its term, and the request that may still be sent beside it.
pub(super) struct Term {
    course: Arc<Mutex<Course>>,
    watchman: AbortHandle,
}

/// Where it stands.
struct Course {
    /// `None` when the term is over.
    body: Option<UpstreamBody>,
    stream: Stream,
    /// Whoever sends the body on.
    waiting: Option<Waker>,
}

impl Term {
    /// Puts an answer under the term of its token, if it or its request has no end of its own.
    /// `lease` makes the lease; its argument is whether `exp` ends it.
    ///
    /// # Errors
    /// The body as it was, of an answer that ends by itself, or that no token admitted.
    pub(super) fn of(
        answer: Response<UpstreamBody>,
        is_endless: bool,
        lease: impl FnOnce(bool) -> Option<Lease>,
    ) -> (Response<()>, Result<Self, UpstreamBody>) {
        let stream = Stream::of(&answer);
        let uploads = answer.body().is_uploading();
        let (head, body) = answer.into_parts();
        let head = Response::from_parts(head, ());
        let expires = stream.is_some() || is_endless;
        let Some(lease) = (stream.is_some() || uploads).then(|| lease(expires)).flatten() else {
            return (head, Err(body));
        };
        let stream = stream.unwrap_or(Stream::Other);
        let course = Course { body: Some(body), stream, waiting: None };
        let course = Arc::new(Mutex::new(course));
        let watchman = tokio::spawn(watch(lease, Arc::downgrade(&course))).abort_handle();
        (head, Ok(Self { course, watchman }))
    }

    /// The next frame of the backend's; `Err` when the term is over.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Polled, LastWords>> {
        let mut course = lock(&self.course);
        let Course { body, stream, waiting } = &mut *course;
        let Some(body) = body else { return Poll::Ready(Err(stream.last_words())) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
            *waiting = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if let Some(Ok(frame)) = &frame {
            stream.passed(frame.data_ref().map_or(&[], |data| data));
        }
        Poll::Ready(Ok(frame))
    }

    /// Whether the backend has said all.
    pub(super) fn is_end_stream(&self) -> bool {
        lock(&self.course).body.as_ref().is_some_and(UpstreamBody::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        lock(&self.course).body.as_ref().map_or_else(SizeHint::default, UpstreamBody::size_hint)
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.watchman.abort();
    }
}

/// Takes answer and request away when the lease is over, whether or not anybody asks for more.
async fn watch(lease: Lease, course: Weak<Mutex<Course>>) {
    let clock = lease.clock().clone();
    loop {
        let now = clock.now();
        if lease.check(now).is_err() {
            break;
        }
        clock.sleep(lease.next_look(now)).await;
    }
    let Some(course) = course.upgrade() else { return };
    let (body, waiting) = {
        let mut course = lock(&course);
        (course.body.take(), course.waiting.take())
    };
    // It closes the backend's connection or stream.
    drop(body);
    if let Some(waiting) = waiting {
        waiting.wake();
    }
}

fn lock(course: &Mutex<Course>) -> MutexGuard<'_, Course> {
    course.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream {
    /// Notes what is passed on.
    fn passed(&mut self, data: &[u8]) {
        if let Self::WebSocket(boundary) = self {
            boundary.pass(data);
        }
    }

    fn last_words(&self) -> LastWords {
        match self {
            Self::WebSocket(boundary) => {
                boundary.is_here().then(|| Frame::data(Bytes::from_static(&POLICY_VIOLATION)))
            }
            Self::Grpc => {
                let status = (GRPC_STATUS, HeaderValue::from_static(UNAUTHENTICATED));
                Some(Frame::trailers(HeaderMap::from_iter([status])))
            }
            Self::Other => None,
        }
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Term").field("stream", &lock(&self.course).stream).finish_non_exhaustive()
    }
}

/// A close frame with the code 1008 (RFC 6455 §5.5.1, §7.4.1).
const POLICY_VIOLATION: [u8; 4] = [0x88, 2, 0x03, 0xf0];
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const UNAUTHENTICATED: &str = "16";
