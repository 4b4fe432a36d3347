//! One stream: the task that the library makes of it, and the end of those whose client does not
//! read.
//!
//! The library asks a body for its next part once the client has room for the one before. A client
//! that gives a stream no window is never waited for twice: neither the body nor the connection
//! learns of it, and a connection on which anything else moves would keep the stream for ever.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::Service;
use super::session::Session;

/// Runs the streams of one connection.
pub(super) struct Streams<S>(pub(super) Arc<Session<S>>);

impl<S> Clone for Streams<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Service, F> Executor<F> for Streams<S>
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let session = Arc::clone(&self.0);
        tokio::spawn(Stream { future, unread: Unread { session, since: None, alarm: None } });
    }
}

/// What a poll of a stream did with its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Step {
    /// Nothing.
    #[default]
    None,
    /// A part of it is there for the client to read.
    Offered,
    /// That part was taken, and the next is waited for.
    Taken,
}

/// Notes what became of the answer of the stream that is being polled.
pub(super) fn note(step: Step) {
    LAST.set(step);
}

thread_local! {
    /// The last step of the stream that this thread polls. It is told this way since the library
    /// stands between the body and the task.
    static LAST: Cell<Step> = const { Cell::new(Step::None) };
}

pin_project_lite::pin_project! {
    struct Stream<F, S> {
        #[pin]
        future: F,
        unread: Unread<S>,
    }
}

impl<F: Future<Output = ()>, S: Service> Future for Stream<F, S> {
    type Output = ();

    /// Ready when the stream has ended; when nobody reads it too, and dropping it resets it.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        LAST.set(Step::None);
        if this.future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        this.unread.heed(LAST.take());
        this.unread.poll(cx)
    }
}

/// How long an answer has waited for its reader.
struct Unread<S> {
    session: Arc<Session<S>>,
    since: Option<Instant>,
    /// Set once an answer had to wait, and then only when it fires: most never do.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S: Service> Unread<S> {
    fn heed(&mut self, step: Step) {
        match step {
            Step::None => {}
            Step::Offered => self.since = Some(Instant::now()),
            Step::Taken => self.since = None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(since) = self.since else { return Poll::Pending };
        let due = since + self.session.idle_timeout;
        let next = || due.min(Instant::now() + LOOK_EVERY);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(next())));
        loop {
            ready!(alarm.as_mut().poll(cx));
            let waited = since.elapsed();
            let is_strained = || self.session.service.is_strained();
            if waited >= self.session.idle_timeout || (waited >= PATIENCE && is_strained()) {
                self.session.activity.give_up();
                return Poll::Ready(());
            }
            alarm.as_mut().reset(next());
        }
    }
}

/// How often an unread answer is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long an answer may wait for its reader while there is little room for others.
const PATIENCE: Duration = Duration::from_secs(3);
