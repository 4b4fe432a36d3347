//! One request and its response.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;

use super::alarm::Alarm;
use super::connection::Connection;
use super::http2::{self, Way};
use super::pool::Shard;
use super::request_body::Stage;
use super::response_body::{Stream, UpstreamBody};
use super::response_head::{Coding, Head};
use super::sending::{Broken, Sending};
use super::tls::TlsFault;
use super::{Forwarded, hop};
use crate::rejection::Rejection;

/// What a backend can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its name has no address.
    Dns,
    /// None of several targets can be connected to.
    NoHealthy,
    /// It answered something that is not HTTP, or not an answer to this request.
    Protocol,
    /// It cannot be connected to.
    Refused,
    /// It closed the connection before the head of its answer.
    Reset,
    /// It took too long to connect or to answer.
    Timeout,
    /// It could not be made sure over TLS that it is the backend.
    Tls(TlsFault),
}

impl Fault {
    fn rejection(self) -> Rejection {
        match self {
            Self::Dns | Self::Refused | Self::Reset | Self::Tls(_) => {
                Rejection::UpstreamUnreachable
            }
            Self::NoHealthy => Rejection::NoHealthyUpstream,
            Self::Protocol => Rejection::UpstreamProtocol,
            Self::Timeout => Rejection::UpstreamTimeout,
        }
    }

    /// What broke a connection before the answer.
    pub(super) fn of_read(error: &io::Error) -> Self {
        TlsFault::of(error).map_or(Self::Reset, Self::Tls)
    }

    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Dns => "the name cannot be resolved",
            Self::NoHealthy => "no server can be reached",
            Self::Protocol => "the answer is not HTTP",
            Self::Refused => "connection refused",
            Self::Reset => "connection reset",
            Self::Timeout => "timed out",
            Self::Tls(fault) => fault.words(),
        }
    }
}

/// A request that is being forwarded.
pub(super) struct Call<'r> {
    pub(super) shard: &'r Arc<Shard>,
    /// When it was ready to be sent, on the monotonic clock.
    pub(super) began: Duration,
    pub(super) sending: Sending,
    /// Whether the answer has a head alone (RFC 9110 §9.3.2).
    pub(super) asks_for_head: bool,
    /// Replaces the upstream's response timeout.
    pub(super) timeout: Option<Duration>,
    /// Whether the client takes trailers; only HTTP/2 backends hear of it.
    pub(super) takes_trailers: bool,
}

/// A head, and where the rest comes from.
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) rest: Rest,
    /// When the request was begun on this connection, on the monotonic clock.
    pub(super) started: Duration,
}

/// Where the rest of an answer comes from.
pub(super) enum Rest {
    Http1(Connection),
    Http2(Box<http2::Rest>),
}

/// Why one try came to nothing.
pub(super) enum Miss {
    /// The target cannot be used now. Nothing was sent.
    Down(Fault),
    /// The backend's fault, after something may have been sent.
    Fault(Fault),
    /// The client's fault.
    Refused(Rejection),
    /// The connection was closed while it rested. Nothing was sent.
    Stale,
    /// The backend says that it has not looked at the request, all of which is still here.
    Unseen,
}

impl Call<'_> {
    /// The count of the body's bytes sent so far; `None` if there is no body.
    pub(super) fn sent(&self) -> Option<Arc<AtomicU64>> {
        self.sending.body.sent().cloned()
    }

    /// Sends the request and waits for the head of its response; on another connection or to another
    /// target only while it is certain that nothing of it was sent.
    ///
    /// Times: `connect_timeout` bounds resolving and connecting. `timeout` (or the upstream's
    /// `response_timeout`) bounds the wait for the head, counted from sending or from the last byte
    /// of the request body that moved. A client that stalls its own upload is given
    /// `idle_timeout`.
    ///
    /// # Errors
    /// `BodyTooLarge`, `MalformedRequest` (the body broke off or stalled), `NoHealthyUpstream`,
    /// `UpstreamProtocol`, `UpstreamTimeout`, `UpstreamUnreachable`.
    pub(super) async fn send(mut self) -> Result<Forwarded, Rejection> {
        let (mut down, mut stale, mut last) = (Vec::new(), 0, Fault::NoHealthy);
        while let Some(target) = self.shard.pick(&down) {
            match self.attempt(target, stale < MOST_STALE).await {
                Ok(answer) => return self.answered(answer),
                Err(Miss::Fault(fault)) => return Err(self.count(fault).rejection()),
                Err(Miss::Refused(rejection)) => return Err(rejection),
                Err(Miss::Stale) => stale += 1,
                Err(Miss::Unseen) if stale < MOST_STALE => stale += 1,
                Err(Miss::Unseen) => {
                    last = self.count(Fault::Reset);
                    down.push(target);
                }
                Err(Miss::Down(fault)) => {
                    last = self.count(fault);
                    down.push(target);
                }
            }
        }
        Err(self.exhausted(last))
    }

    /// What is answered when no target is left: with one target, what was wrong with it.
    fn exhausted(&self, last: Fault) -> Rejection {
        let several = self.shard.backend.targets().len() != 1;
        if several { self.count(Fault::NoHealthy).rejection() } else { last.rejection() }
    }

    /// Sends over a connection that rests, if there is one and it is wanted, else over a new one.
    async fn attempt(&mut self, target: usize, resting: bool) -> Result<Answer, Miss> {
        if let Some(way) = resting.then(|| self.shard.way(target)).flatten() {
            return self.travel(way, self.began).await;
        }
        let way = self.shard.open(target).await.map_err(Miss::Down)?;
        self.travel(way, self.now()).await.map_err(|missed| match missed {
            // It accepts connections and closes them at once.
            Miss::Stale => Miss::Down(Fault::Reset),
            missed @ (Miss::Down(_) | Miss::Fault(_) | Miss::Refused(_) | Miss::Unseen) => missed,
        })
    }

    async fn travel(&mut self, way: Way, started: Duration) -> Result<Answer, Miss> {
        match way {
            Way::Http1(connection) => self.exchange(connection, started).await,
            Way::Http2(lane) => self.exchange_http2(lane, started).await,
        }
    }

    /// Sends the request and waits for the head of the answer, as long as the one whose turn it is
    /// may take.
    async fn exchange(
        &mut self,
        mut connection: Connection,
        started: Duration,
    ) -> Result<Answer, Miss> {
        let left = self.left(started, started)?;
        connection.alarm.wake_after(self.shard.backend.clock(), started, left);
        let mut interim = 0;
        let head = poll_fn(|cx| {
            self.poll_send(&mut connection, cx)?;
            loop {
                match Head::take(&mut connection.input).map_err(Miss::Fault)? {
                    Some(head) if head.is_interim() && interim < MOST_INTERIM => interim += 1,
                    Some(head) if head.is_interim() => {
                        return Poll::Ready(Err(Miss::Fault(Fault::Protocol)));
                    }
                    Some(head) => return Poll::Ready(Ok(head)),
                    None => match connection.poll_fill(cx) {
                        Poll::Ready(Ok(1..)) => {}
                        Poll::Ready(Ok(0)) => {
                            return Poll::Ready(Err(Miss::Fault(Fault::Reset)));
                        }
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(Err(Miss::Fault(Fault::of_read(&error))));
                        }
                        Poll::Pending => return self.poll_late(&mut connection.alarm, started, cx),
                    },
                }
            }
        });
        let head = head.await?;
        Ok(Answer { head, rest: Rest::Http1(connection), started })
    }

    /// Goes on sending. A backend that takes no more may have answered before.
    fn poll_send(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Result<(), Miss> {
        let Poll::Ready(Err(broken)) = self.sending.poll(&mut connection.socket, cx) else {
            return Ok(());
        };
        match broken {
            Broken::Socket => Ok(()),
            Broken::Unsent => Err(Miss::Stale),
            Broken::Body => Err(self.broke_off()),
        }
    }

    /// The client's body ended early, or is too large.
    pub(super) fn broke_off(&self) -> Miss {
        let body = &self.sending.body;
        let too_large = body.progress().0 == Stage::TooLarge;
        Miss::Refused(if too_large { Rejection::BodyTooLarge(body.limit()) } else { BROKE_OFF })
    }

    /// Ready when somebody has let the other wait for too long.
    pub(super) fn poll_late<T>(
        &self,
        alarm: &mut Alarm,
        started: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Miss>> {
        loop {
            ready!(alarm.poll(cx));
            let now = self.now();
            alarm.wake_after(self.shard.backend.clock(), now, self.left(started, now)?);
        }
    }

    /// How long after `now` it must be looked at who has let the other wait.
    pub(super) fn left(&self, started: Duration, now: Duration) -> Result<Duration, Miss> {
        let backend = &self.shard.backend;
        let response = self.timeout.unwrap_or(backend.response_timeout());
        let (stage, moved) = self.sending.body.progress();
        let (limit, late) = match stage {
            Stage::Starving => (backend.idle_timeout(), Miss::Refused(STALLED)),
            Stage::Cut | Stage::Done | Stage::Moving | Stage::TooLarge => {
                (response, Miss::Fault(Fault::Timeout))
            }
        };
        let left = moved.max(started).saturating_add(limit).saturating_sub(now);
        if left.is_zero() {
            return Err(late);
        }
        // Whose turn it is may change meanwhile, and with it the limit.
        let may_change = stage != Stage::Done;
        Ok(if may_change { left.min(response).min(backend.idle_timeout()) } else { left })
    }

    /// The answer, as far as it may be passed on.
    fn answered(self, answer: Answer) -> Result<Forwarded, Rejection> {
        let Answer { mut head, rest, started } = answer;
        let answered = self.now();
        let coding = head.coding(self.asks_for_head);
        let coding = coding.map_err(|fault| self.count(fault).rejection())?;
        let took = answered.saturating_sub(started);
        self.shard.backend.counters().answered(head.status, took.as_secs_f64());
        let nominated = hop::strip_response(&mut head.headers);
        let shard = Arc::clone(self.shard);
        let (target, body) = match rest {
            Rest::Http1(connection) => {
                let target = shard.label(connection.target);
                let stream = Stream {
                    connection,
                    reusable: head.keeps_alive && coding != Coding::UntilClose,
                    coding,
                    sending: self.sending,
                    shard,
                    nominated,
                    moved: answered,
                };
                (target, UpstreamBody::new(stream))
            }
            Rest::Http2(rest) => {
                let target = shard.label(rest.target());
                let download = rest.download(coding, self.sending.body, shard, answered);
                (target, UpstreamBody::shared(download))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(Forwarded { response, target, waited: answered.saturating_sub(self.began) })
    }

    fn count(&self, fault: Fault) -> Fault {
        self.shard.backend.counters().failed(fault);
        fault
    }

    pub(super) fn now(&self) -> Duration {
        self.shard.backend.clock().monotonic()
    }
}

const BROKE_OFF: Rejection = Rejection::MalformedRequest("the body broke off");
const STALLED: Rejection = Rejection::MalformedRequest("the body stalled");
/// After so many connections that were closed while they rested, a new one is opened.
const MOST_STALE: usize = 3;
/// Interim answers in front of one answer (RFC 9110 §15.2).
pub(super) const MOST_INTERIM: usize = 100;
