//! One request and its response.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderValue, Response, StatusCode};

use super::alarm::Alarm;
use super::balance::Occupied;
use super::connection::Connection;
use super::http2::{self, Way};
use super::pool::Shard;
use super::request_body::Stage;
use super::response_body::{Stream, UpstreamBody, give_back, whole};
use super::response_head::{Coding, Head};
use super::sending::{Broken, Sending};
use super::tls::TlsFault;
use super::{Forwarded, hop, upgrade};
use crate::clock::LOOK_EVERY;
use crate::rejection::{Late, Rejection, Unreachable};

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
    pub(super) fn rejection(self) -> Rejection {
        match self {
            Self::Dns => Rejection::UpstreamUnreachable(Unreachable::Dns),
            Self::Refused => Rejection::UpstreamUnreachable(Unreachable::Refused),
            Self::Reset => Rejection::UpstreamUnreachable(Unreachable::Reset),
            Self::Tls(_) => Rejection::UpstreamUnreachable(Unreachable::Tls),
            Self::NoHealthy => Rejection::NoHealthyUpstream,
            Self::Protocol => Rejection::UpstreamProtocol,
            Self::Timeout => Rejection::UpstreamTimeout(Late::Answering),
        }
    }

    /// The same, if it came before there was a connection.
    pub(super) fn unconnected(self) -> Rejection {
        match self {
            Self::Timeout => Rejection::UpstreamTimeout(Late::Connecting),
            Self::Dns
            | Self::NoHealthy
            | Self::Protocol
            | Self::Refused
            | Self::Reset
            | Self::Tls(_) => self.rejection(),
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
    /// The head, of a request that may be sent again though a backend has seen it.
    pub(super) again: Option<Bytes>,
    /// How often it was tried.
    pub(super) tries: u32,
    /// How many of the tries were retries.
    pub(super) retries: u32,
    /// Whether the answer has a head alone (RFC 9110 §9.3.2).
    pub(super) asks_for_head: bool,
    /// The protocol that the connection may turn to.
    pub(super) upgrade: Option<HeaderValue>,
    /// Replaces the upstream's response timeout.
    pub(super) timeout: Option<Duration>,
    /// Whether the client takes trailers; only HTTP/2 backends hear of it.
    pub(super) takes_trailers: bool,
}

/// What became of a request.
pub(super) struct Sent {
    /// How often it was tried.
    pub(super) tries: u32,
    pub(super) result: Result<Forwarded, Rejection>,
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
    Http1(Box<Connection>),
    Http2(Box<http2::Rest>),
}

/// Why one try came to nothing.
pub(super) enum Miss {
    /// The connection ended after the request was begun, and nothing of an answer had come. It was
    /// used before, or not.
    Cut { used: bool },
    /// The target cannot be used now. Nothing was sent.
    Down(Fault),
    /// The backend's fault, after something may have been sent.
    Fault(Fault),
    /// The client's fault, or a bound of the upstream.
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
    /// target while it is certain that nothing of it was sent, and again as far as [`retry`] allows.
    ///
    /// Times: `connect_timeout` bounds resolving and connecting, and each wait for a bound of the
    /// upstream. `timeout` (or the upstream's `response_timeout`) bounds the wait for the head,
    /// counted from sending or from the last byte of the request body that moved. A client that
    /// stalls its own upload is given `idle_timeout`.
    ///
    /// # Errors
    /// `BodyTooLarge`, `MalformedRequest` (the body broke off or stalled), `NoHealthyUpstream`,
    /// `UpstreamOverloaded`, `UpstreamProtocol`, `UpstreamTimeout`, `UpstreamUnreachable`.
    ///
    /// [`retry`]: super::retry
    pub(super) async fn send(mut self) -> Sent {
        let answer = self.answer().await;
        let tries = self.tries;
        let result = match answer {
            Ok((answer, occupied)) => self.answered(answer, occupied),
            Err(rejection) => Err(rejection),
        };
        Sent { tries, result }
    }

    /// Sends over a connection that rests, if there is one and it is wanted, else over a new one.
    pub(super) async fn attempt(&mut self, target: usize, resting: bool) -> Result<Answer, Miss> {
        self.tries += 1;
        if let Some(way) = resting.then(|| self.shard.way(target)).flatten() {
            return self.travel(way, true, self.began).await;
        }
        // Boxed, as all that is seldom: what a future holds is moved and kept with each request.
        let (way, used) = Box::pin(self.shard.open(target)).await?;
        self.travel(way, used, self.now()).await.map_err(|missed| match missed {
            // It accepts connections and closes them at once.
            Miss::Stale if !used => Miss::Down(Fault::Reset),
            missed @ (Miss::Cut { .. }
            | Miss::Down(_)
            | Miss::Fault(_)
            | Miss::Refused(_)
            | Miss::Stale
            | Miss::Unseen) => missed,
        })
    }

    async fn travel(&mut self, way: Way, used: bool, started: Duration) -> Result<Answer, Miss> {
        match way {
            Way::Http1(connection) => self.exchange(connection, used, started).await,
            Way::Http2(lane) => Box::pin(self.exchange_http2(lane, used, started)).await,
        }
    }

    /// Sends the request and waits for the head of the answer, as long as the one whose turn it is
    /// may take.
    async fn exchange(
        &mut self,
        mut connection: Box<Connection>,
        used: bool,
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
                        Poll::Ready(ended) => {
                            let fault = ended.err().map_or(Fault::Reset, |e| Fault::of_read(&e));
                            let silent = interim == 0 && connection.input.is_empty();
                            let cut = silent && fault == Fault::Reset;
                            let miss = if cut { Miss::Cut { used } } else { Miss::Fault(fault) };
                            return Poll::Ready(Err(miss));
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
        let body = &self.sending.body;
        let (stage, moved) = body.progress();
        let (until, late) = match stage {
            Stage::Starving => {
                (body.patience(started, backend.idle_timeout()), Miss::Refused(STALLED))
            }
            Stage::Cut | Stage::Done | Stage::Moving | Stage::TooLarge => {
                (moved.max(started).saturating_add(response), Miss::Fault(Fault::Timeout))
            }
        };
        let left = until.saturating_sub(now);
        if left.is_zero() {
            return Err(late);
        }
        // Whose turn it is may change meanwhile, and with it the limit; and who waits for this is
        // to look now and then whether its caller's token still holds.
        let may_change = stage != Stage::Done;
        let left = if may_change { left.min(response).min(backend.idle_timeout()) } else { left };
        Ok(left.min(LOOK_EVERY))
    }

    /// The answer, as far as it may be passed on.
    fn answered(mut self, answer: Answer, occupied: Occupied) -> Result<Forwarded, Rejection> {
        let Answer { mut head, rest, started } = answer;
        let answered = self.now();
        let turned = self.turned(&head);
        let coding = if turned { Ok(Coding::UntilClose) } else { head.coding(self.asks_for_head) };
        let coding = coding.map_err(|fault| self.count(fault).rejection())?;
        let took = answered.saturating_sub(started);
        self.shard.backend.counters().answered(head.status, took.as_secs_f64());
        let nominated = hop::strip_response(&mut head.headers);
        let (target, body) = match rest {
            Rest::Http1(mut connection) => {
                let target = self.shard.label(connection.target);
                let reusable = head.keeps_alive && coding != Coding::UntilClose;
                let body = match whole(&mut connection.input, coding) {
                    Some(body) => {
                        // Whoever sends an empty body on may never poll it.
                        give_back(self.shard, connection, reusable, &self.sending, answered);
                        UpstreamBody::whole(body)
                    }
                    None => UpstreamBody::streaming(Stream {
                        connection,
                        reusable,
                        coding,
                        sending: self.sending,
                        shard: Arc::clone(self.shard),
                        _occupied: occupied,
                        nominated,
                        moved: answered,
                    }),
                };
                (target, body)
            }
            Rest::Http2(rest) => {
                let (target, shard) = (self.shard.label(rest.target()), Arc::clone(self.shard));
                let download = rest.download(coding, self.sending.body, shard, answered, occupied);
                (target, UpstreamBody::shared(download))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        if let Some(protocol) = self.upgrade.filter(|_| turned) {
            response.headers_mut().insert(UPGRADE, protocol);
        }
        Ok(Forwarded { response, target, waited: answered.saturating_sub(self.began) })
    }

    /// Whether the connection turns to the protocol that was asked for.
    fn turned(&mut self, head: &Head) -> bool {
        let asked_for =
            self.upgrade.as_ref().filter(|_| head.status == StatusCode::SWITCHING_PROTOCOLS);
        let turned = asked_for.is_some_and(|asked_for| {
            self.sending.is_done() && upgrade::is_accepted(&head.headers, asked_for)
        });
        if turned {
            self.sending.turn();
        }
        turned
    }

    pub(super) fn count(&self, fault: Fault) -> Fault {
        self.shard.backend.counters().failed(fault);
        fault
    }

    pub(super) fn now(&self) -> Duration {
        self.shard.backend.clock().monotonic()
    }
}

const BROKE_OFF: Rejection = Rejection::MalformedRequest("the body broke off");
const STALLED: Rejection = Rejection::MalformedRequest("the body stalled");
/// Interim answers in front of one answer (RFC 9110 §15.2).
pub(super) const MOST_INTERIM: usize = 100;
