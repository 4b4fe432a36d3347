//! HTTP/1.1 towards clients (RFC 9112).
//!
//! It is written here and not taken from a library for the same reasons as the one towards backends:
//! what is lenient in a library is how requests are smuggled, a refused head is to leave a record
//! like every refused request, and a request is answered in the task of its connection without being
//! handed over.
//!
//! A connection waits for a head (`head`), has the request answered and sends the answer (`turn`,
//! `answer`), and begins again. While it is idle, only the socket and a timer are left of it.

mod answer;
mod body;
mod head;
mod turn;
mod watch;
mod wire;

pub(super) use body::Body;

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::watch::Receiver;

use super::close::{Transport, close};
use super::{Phase, Service};
use crate::config::Limits;
use crate::gateway::Peer;
use crate::rejection::Rejection;
use head::Head;
use watch::Watch;
use wire::Shared;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// An answer was cut short. A reset tells so even where its end is the connection's (RFC 9112
    /// §9.8); without it the client would take the part for the whole.
    Cut,
    /// The client has gone, or left a request half said.
    Gone,
    /// All was said that is to be said here.
    Said,
}

/// Serves one connection to its end.
pub(super) async fn serve<S: Service>(
    service: &S,
    peer: &Peer,
    transport: Box<dyn Transport>,
    limits: &Limits,
    phase: Receiver<Phase>,
) {
    let now = Instant::now();
    let mut connection = Connection {
        service,
        peer,
        limits,
        wire: Shared::new(transport),
        watch: Watch::new(phase, now + limits.header_timeout),
        awaits: Some((Awaits::First, now)),
        last_call: None,
    };
    let mut patience = Duration::ZERO;
    let end = loop {
        // Boxed: an idle connection gives back its buffers and all else that serving takes.
        if let Err(end) = Box::pin(connection.work(patience)).await {
            break end;
        }
        let idle = Instant::now();
        if let Err(end) = connection.rest().await {
            break end;
        }
        patience = if idle.elapsed() < BUSY { BUSY } else { Duration::ZERO };
    };
    tracing::debug!(peer = %peer.address, ?end, "a connection ended");
    if let Some(transport) = connection.wire.end() {
        close(transport, end).await;
    }
}

/// What a connection has while it is idle.
struct Connection<'a, S> {
    service: &'a S,
    peer: &'a Peer,
    limits: &'a Limits,
    wire: Shared,
    watch: Watch,
    /// What the client is waited for, and since when; `None` while it is not.
    awaits: Option<(Awaits, Instant)>,
    /// Until when a client may begin a request after all, while the listeners drain.
    last_call: Option<Instant>,
}

/// What a client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    /// The beginning of its first request.
    First,
    /// The rest of a head.
    Head,
    /// The beginning of its next request.
    Next,
}

/// What comes of waiting for a request.
enum Next {
    Request(Head),
    Refused(Rejection),
    Rest,
    End(End),
}

/// What comes of waiting for too long.
enum Late {
    End(End),
    /// A head did not end.
    Head,
    Rest,
}

impl<S: Service> Connection<'_, S> {
    /// Serves requests until none has come for as long as `patience`.
    async fn work(&mut self, patience: Duration) -> Result<(), End> {
        loop {
            let next = poll_fn(|cx| self.poll_next(patience, cx)).await;
            match next {
                Next::Request(head) => {
                    self.awaits = None;
                    self.turn(head).await?;
                }
                Next::Refused(rejection) => return Err(self.refuse(rejection).await),
                Next::Rest => return Ok(()),
                Next::End(end) => return Err(end),
            }
        }
    }

    /// Waits until the client sends something, or for the connection's end. All that came before
    /// was understood, so only the socket can bring more.
    async fn rest(&mut self) -> Result<(), End> {
        self.wire.lock().release();
        poll_fn(|cx| {
            if self.wire.lock().poll_readable(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_late(false, None, cx) {
                Poll::Ready(Late::End(end)) => Poll::Ready(Err(end)),
                Poll::Ready(Late::Head | Late::Rest) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn poll_next(&mut self, patience: Duration, cx: &mut Context<'_>) -> Poll<Next> {
        let mut wire = self.wire.lock();
        loop {
            match Head::take(&mut wire.input, self.limits) {
                Ok(Some(head)) => return Poll::Ready(Next::Request(head)),
                Ok(None) => {}
                Err(rejection) => return Poll::Ready(Next::Refused(rejection)),
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) if wire.input.is_empty() => {
                    return Poll::Ready(Next::End(End::Said));
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::End(End::Gone)),
                Poll::Pending => break,
            }
        }
        let has_begun = !wire.input.is_empty();
        drop(wire);
        self.poll_late(has_begun, Some(patience), cx).map(|late| match late {
            Late::End(end) => Next::End(end),
            Late::Head => Next::Refused(Rejection::RequestTimeout),
            Late::Rest => Next::Rest,
        })
    }

    /// Ready when the client has been waited for long enough.
    fn poll_late(
        &mut self,
        has_begun: bool,
        patience: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<Late> {
        let (awaits, since) = self.awaits_now(has_begun);
        let (limit, late) = match (awaits, patience) {
            (Awaits::First, _) => (self.limits.header_timeout, Late::End(End::Said)),
            (Awaits::Head, _) => (self.limits.header_timeout, Late::Head),
            (Awaits::Next, Some(patience)) => (patience.min(self.limits.idle_timeout), Late::Rest),
            (Awaits::Next, None) => (self.limits.idle_timeout, Late::End(End::Said)),
        };
        let mut due = since + limit;
        match self.watch.phase(cx) {
            Phase::Serving => {}
            Phase::Draining if awaits != Awaits::Next => {
                // Who has just connected, or is just sending a head, gets a moment to be answered.
                let last = *self.last_call.get_or_insert_with(|| Instant::now() + LAST_CALL);
                due = due.min(last);
            }
            Phase::Draining | Phase::Closed => return Poll::Ready(Late::End(End::Said)),
        }
        let rests_at_once = matches!(late, Late::Rest) && limit.is_zero();
        if rests_at_once || self.watch.poll_due(due, cx).is_ready() {
            return Poll::Ready(if self.last_call.is_some() { Late::End(End::Said) } else { late });
        }
        Poll::Pending
    }

    /// What is waited for. Further bytes of a head win no time.
    fn awaits_now(&mut self, has_begun: bool) -> (Awaits, Instant) {
        let now = match self.awaits {
            Some((Awaits::First | Awaits::Next, _)) if has_begun => (Awaits::Head, Instant::now()),
            Some(awaits) => awaits,
            None if has_begun => (Awaits::Head, Instant::now()),
            None => (Awaits::Next, Instant::now()),
        };
        self.awaits = Some(now);
        now
    }

    /// Says why there will be no request, and ends the connection: where the next one would begin
    /// is not known.
    async fn refuse(&mut self, rejection: Rejection) -> End {
        self.wire.lock().left = body::Left::Broken;
        let response = self.service.refuse(self.peer, rejection);
        let asked = turn::Asked::NOTHING;
        match self.send(response, asked).await {
            Ok(()) => End::Said,
            Err(end) => end,
        }
    }
}

/// A connection whose requests come sooner after each other than this stays ready for the next. Any
/// other gives back what serving takes as soon as it is idle, so that of many connections, few have
/// it at the same time.
const BUSY: Duration = Duration::from_millis(250);

/// How long a client may take to begin a request while the listeners drain.
const LAST_CALL: Duration = Duration::from_secs(1);
