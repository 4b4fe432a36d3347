//! One request and its response.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::balance::{Load, Occupied};
use super::connection::Connection;
use super::pool::Shard;
use super::request_body::Stage;
use super::response_body::{Stream, UpstreamBody};
use super::response_head::{Coding, Head};
use super::sending::{Broken, Sending};
use super::{Forwarded, hop};
use crate::config::RetryOn;
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
}

impl Fault {
    fn rejection(self) -> Rejection {
        match self {
            Self::Dns | Self::Refused | Self::Reset => Rejection::UpstreamUnreachable,
            Self::NoHealthy => Rejection::NoHealthyUpstream,
            Self::Protocol => Rejection::UpstreamProtocol,
            Self::Timeout => Rejection::UpstreamTimeout,
        }
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
    /// Replaces the upstream's response timeout.
    pub(super) timeout: Option<Duration>,
}

/// What became of a request.
pub(super) struct Sent {
    /// How often it was tried.
    pub(super) tries: u32,
    pub(super) result: Result<Forwarded, Rejection>,
}

/// A head, and where the rest comes from.
struct Answer {
    head: Head,
    connection: Connection,
    /// When the request was begun on this connection, on the monotonic clock.
    started: Duration,
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
}

/// Where a request has been so far.
struct Course {
    /// The targets that failed.
    tried: Vec<usize>,
    /// How many connections were closed while they rested.
    stale: usize,
    /// The target of which a resting connection was closed as the request was sent on it: a new one
    /// is opened, once.
    raced: Option<usize>,
    /// Whether it may be tried where it failed before.
    granted: bool,
    last: Fault,
}

impl Default for Course {
    fn default() -> Self {
        Self { tried: Vec::new(), stale: 0, raced: None, granted: false, last: Fault::NoHealthy }
    }
}

impl Course {
    /// Goes on to another target.
    fn failed(&mut self, target: usize) {
        self.raced = None;
        self.tried.push(target);
    }

    /// Goes on to another target if there is one, else to the same.
    fn again(&mut self, target: usize) {
        self.granted = true;
        self.failed(target);
    }
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
        let result = self.answer().await;
        let tries = self.tries;
        let result = result.and_then(|(answer, occupied)| self.answered(answer, occupied));
        Sent { tries, result }
    }

    async fn answer(&mut self) -> Result<(Answer, Occupied), Rejection> {
        let backend = &self.shard.backend;
        let admitted = backend.bounds().admit(backend.connect_timeout()).await;
        let mut permit = admitted.map_err(|setting| backend.overloaded(setting))?;
        if let Some(retries) = backend.retries() {
            retries.earn(self.began);
        }
        let mut course = Course::default();
        while let Some(target) = self.next(&mut course) {
            let load = Load::on(self.shard, target);
            let resting = course.stale < MOST_STALE && course.raced.is_none();
            match self.attempt(target, resting).await {
                Ok(answer) if self.is_not_good_enough(&answer, target) => course.again(target),
                Ok(answer) => {
                    return Ok((answer, Occupied { _load: load, _permit: permit.take() }));
                }
                Err(miss) => self.miss(miss, target, &mut course)?,
            }
        }
        Err(self.exhausted(course.last))
    }

    /// The target to try next. Where every one has failed, the first may be tried again if that is
    /// granted.
    fn next(&mut self, course: &mut Course) -> Option<usize> {
        let next = course.raced.or_else(|| self.shard.pick(&course.tried));
        if next.is_some() || course.tried.is_empty() {
            return next;
        }
        if !std::mem::take(&mut course.granted) && !self.is_sent_again(RetryOn::Connect) {
            return None;
        }
        course.tried.clear();
        self.shard.pick(&course.tried)
    }

    /// Whether an answer is dropped and the request sent again. A target that answers 502, 503 or
    /// 504 has failed either way.
    fn is_not_good_enough(&mut self, answer: &Answer, target: usize) -> bool {
        let status = answer.head.status.as_u16();
        let failed = (502..=504).contains(&status);
        self.shard.backend.judge(target, !failed);
        if !failed || !self.is_sent_again(RetryOn::Status(status)) {
            return false;
        }
        let took = self.now().saturating_sub(answer.started);
        self.shard.backend.counters().answered(answer.head.status, took.as_secs_f64());
        true
    }

    /// Notes why a try came to nothing.
    ///
    /// # Errors
    /// What is answered, if there is to be no other try.
    fn miss(&mut self, miss: Miss, target: usize, course: &mut Course) -> Result<(), Rejection> {
        match miss {
            Miss::Refused(rejection) => Err(rejection),
            Miss::Stale => {
                course.stale += 1;
                self.tries -= 1;
                Ok(())
            }
            Miss::Down(fault) => {
                course.last = self.blame(target, fault);
                course.failed(target);
                Ok(())
            }
            // A backend may close a connection that rests at any time. What it closes so it has not
            // begun to serve (RFC 9112 §9.3.1).
            Miss::Cut { used: true } if course.raced.is_none() && self.can_rewind() => {
                self.rewind();
                self.shard.backend.counters().retried(true);
                course.raced = Some(target);
                Ok(())
            }
            Miss::Cut { .. } => {
                let fault = self.blame(target, Fault::Reset);
                if !self.is_sent_again(RetryOn::Reset) {
                    return Err(fault.rejection());
                }
                course.again(target);
                Ok(())
            }
            Miss::Fault(fault) => Err(self.blame(target, fault).rejection()),
        }
    }

    /// Whether the request is sent again after `event`: it can be, it is to be, and the budget is
    /// not used up.
    fn is_sent_again(&mut self, event: RetryOn) -> bool {
        let Some(retries) = self.shard.backend.retries() else { return false };
        // Where nothing connects, nothing was sent.
        let can_be = event == RetryOn::Connect || self.can_rewind();
        if !can_be || !retries.covers(event, self.retries) {
            return false;
        }
        let allowed = retries.spend(self.now());
        self.shard.backend.counters().retried(allowed);
        if allowed {
            self.retries += 1;
            self.rewind();
        }
        allowed
    }

    /// Whether the request could be sent once more though a backend has seen it.
    fn can_rewind(&self) -> bool {
        self.again.is_some() && self.sending.body.is_untouched()
    }

    /// Makes the request ready to be sent once more. Only for one whose answer will not be used: it
    /// goes on being sent while its answer is passed on.
    fn rewind(&mut self) {
        if let Some(head) = &self.again {
            self.sending.rewind(head);
        }
    }

    /// Counts a fault of the target.
    fn blame(&self, target: usize, fault: Fault) -> Fault {
        self.shard.backend.judge(target, false);
        self.count(fault)
    }

    /// What is answered when no target is left: with one target, what was wrong with it.
    fn exhausted(&self, last: Fault) -> Rejection {
        let several = self.shard.backend.targets().len() != 1;
        if several { self.count(Fault::NoHealthy).rejection() } else { last.rejection() }
    }

    /// Sends over a connection that rests, if there is one and it is wanted, else over a new one.
    async fn attempt(&mut self, target: usize, resting: bool) -> Result<Answer, Miss> {
        self.tries += 1;
        if let Some(connection) = resting.then(|| self.shard.take(target)).flatten() {
            return self.exchange(connection, true, self.began).await;
        }
        let (connection, used) = self.shard.open(target).await?;
        self.exchange(connection, used, self.now()).await.map_err(|missed| match missed {
            // It accepts connections and closes them at once.
            Miss::Stale if !used => Miss::Down(Fault::Reset),
            missed @ (Miss::Cut { .. }
            | Miss::Down(_)
            | Miss::Fault(_)
            | Miss::Refused(_)
            | Miss::Stale) => missed,
        })
    }

    /// Sends the request and waits for the head of the answer, as long as the one whose turn it is
    /// may take.
    async fn exchange(
        &mut self,
        mut connection: Connection,
        used: bool,
        started: Duration,
    ) -> Result<Answer, Miss> {
        connection.wake_after(started, self.left(started, started)?);
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
                        Poll::Ready(Ok(0) | Err(_)) => {
                            let silent = interim == 0 && connection.input.is_empty();
                            let cut = Miss::Cut { used };
                            let miss = if silent { cut } else { Miss::Fault(Fault::Reset) };
                            return Poll::Ready(Err(miss));
                        }
                        Poll::Pending => return self.poll_late(&mut connection, started, cx),
                    },
                }
            }
        });
        Ok(Answer { head: head.await?, connection, started })
    }

    /// Goes on sending. A backend that takes no more may have answered before.
    fn poll_send(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Result<(), Miss> {
        let Poll::Ready(Err(broken)) = self.sending.poll(&mut connection.socket, cx) else {
            return Ok(());
        };
        match broken {
            Broken::Socket => Ok(()),
            Broken::Unsent => Err(Miss::Stale),
            Broken::Body if self.sending.body.progress().0 == Stage::TooLarge => {
                Err(Miss::Refused(Rejection::BodyTooLarge(self.sending.body.limit())))
            }
            Broken::Body => Err(Miss::Refused(BROKE_OFF)),
        }
    }

    /// Ready when somebody has let the other wait for too long.
    fn poll_late(
        &self,
        connection: &mut Connection,
        started: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head, Miss>> {
        loop {
            ready!(connection.poll_alarm(cx));
            let now = self.now();
            connection.wake_after(now, self.left(started, now)?);
        }
    }

    /// How long after `now` it must be looked at who has let the other wait.
    fn left(&self, started: Duration, now: Duration) -> Result<Duration, Miss> {
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
    fn answered(self, answer: Answer, occupied: Occupied) -> Result<Forwarded, Rejection> {
        let Answer { mut head, connection, started } = answer;
        let answered = self.now();
        let coding = head.coding(self.asks_for_head);
        let coding = coding.map_err(|fault| self.count(fault).rejection())?;
        let took = answered.saturating_sub(started);
        self.shard.backend.counters().answered(head.status, took.as_secs_f64());
        let target = self.shard.label(connection.target);
        let body = UpstreamBody::new(Stream {
            connection,
            reusable: head.keeps_alive && coding != Coding::UntilClose,
            coding,
            sending: self.sending,
            shard: Arc::clone(self.shard),
            _occupied: occupied,
            nominated: hop::strip_response(&mut head.headers),
            moved: answered,
        });
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(Forwarded { response, target, waited: answered.saturating_sub(self.began) })
    }

    fn count(&self, fault: Fault) -> Fault {
        self.shard.backend.counters().failed(fault);
        fault
    }

    fn now(&self) -> Duration {
        self.shard.backend.clock().monotonic()
    }
}

const BROKE_OFF: Rejection = Rejection::MalformedRequest("the body broke off");
const STALLED: Rejection = Rejection::MalformedRequest("the body stalled");
/// After so many connections that were closed while they rested, a new one is opened.
const MOST_STALE: usize = 3;
/// Interim answers in front of one answer (RFC 9110 §15.2).
const MOST_INTERIM: usize = 100;
