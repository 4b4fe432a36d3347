//! One request and its response.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::pool::{Connection, Shard};
use super::request_body::{RequestBody, Stage, Upload};
use super::response_body::{Lease, UpstreamBody};
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
    pub(super) upload: Option<Arc<Upload>>,
    /// Replaces the upstream's response timeout.
    pub(super) timeout: Option<Duration>,
    /// In bytes.
    pub(super) body_limit: u64,
}

/// Why one try came to nothing.
enum Miss {
    /// The target cannot be used now. Nothing was sent; here is the request.
    Down(Fault, Box<Request<RequestBody>>),
    /// The backend's fault, after something may have been sent.
    Fault(Fault),
    /// The client's fault.
    Refused(Rejection),
    /// The connection was closed while it rested. Nothing was sent; here is the request.
    Stale(Box<Request<RequestBody>>),
}

impl Call<'_> {
    /// Sends the request, on another connection or to another target only while it is certain that
    /// nothing of it was sent.
    pub(super) async fn run(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Forwarded, Rejection> {
        let (mut down, mut stale, mut last) = (Vec::new(), 0, Fault::NoHealthy);
        while let Some(target) = self.shard.pick(&down) {
            request = match self.attempt(target, stale < MOST_STALE, request).await {
                Ok(forwarded) => return Ok(forwarded),
                Err(Miss::Fault(fault)) => return Err(self.count(fault).rejection()),
                Err(Miss::Refused(rejection)) => return Err(rejection),
                Err(Miss::Stale(unsent)) => {
                    stale += 1;
                    *unsent
                }
                Err(Miss::Down(fault, unsent)) => {
                    last = self.count(fault);
                    down.push(target);
                    *unsent
                }
            };
        }
        Err(self.exhausted(last))
    }

    /// What is answered when no target is left: with one target, what was wrong with it.
    fn exhausted(&self, last: Fault) -> Rejection {
        let several = self.shard.backend.targets().len() != 1;
        if several { self.count(Fault::NoHealthy).rejection() } else { last.rejection() }
    }

    /// Sends over a connection that rests, if there is one and it is wanted, else over a new one.
    async fn attempt(
        &self,
        target: usize,
        resting: bool,
        request: Request<RequestBody>,
    ) -> Result<Forwarded, Miss> {
        if let Some(connection) = resting.then(|| self.shard.take(target)).flatten() {
            return self.exchange(connection, target, request).await;
        }
        let connection = match self.shard.open(target).await {
            Ok(connection) => connection,
            Err(fault) => return Err(Miss::Down(fault, Box::new(request))),
        };
        self.exchange(connection, target, request).await.map_err(|missed| match missed {
            // It accepts connections and closes them at once.
            Miss::Stale(unsent) => Miss::Down(Fault::Reset, unsent),
            missed @ (Miss::Down(..) | Miss::Fault(_) | Miss::Refused(_)) => missed,
        })
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        target: usize,
        request: Request<RequestBody>,
    ) -> Result<Forwarded, Miss> {
        let started = self.now();
        let answer = self.head(connection.send(request), started).await?;
        let answered = self.now();
        let (mut parts, incoming) = answer.into_parts();
        check(parts.status, &mut parts.headers).map_err(Miss::Fault)?;
        let took = answered.saturating_sub(started);
        self.shard.backend.counters().answered(parts.status, took.as_secs_f64());
        let nominated = hop::strip_response(&mut parts.headers);
        // A connection that once spoke HTTP/1.0 could not carry a chunked request.
        let lease = Lease { connection, reusable: parts.version == Version::HTTP_11 };
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let body = UpstreamBody::new(incoming, lease, self.upload.clone(), self.shard, nominated);
        Ok(Forwarded {
            response: Response::from_parts(parts, body),
            target: self.shard.label(target),
            waited: answered.saturating_sub(self.began),
        })
    }

    /// Waits for the head of the answer, as long as the one whose turn it is may take.
    async fn head(
        &self,
        answer: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
        started: Duration,
    ) -> Result<Response<Incoming>, Miss> {
        let mut answer = pin!(answer);
        let mut timer = pin!(tokio::time::sleep(self.left(started)?));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(|error| self.miss(error)),
                () = &mut timer => timer.set(tokio::time::sleep(self.left(started)?)),
            }
        }
    }

    /// The time until it must be looked at who has let the other wait.
    fn left(&self, started: Duration) -> Result<Duration, Miss> {
        let backend = &self.shard.backend;
        let response = self.timeout.unwrap_or(backend.response_timeout());
        let Some(upload) = &self.upload else {
            return self.until(started.saturating_add(response)).ok_or(Miss::Fault(Fault::Timeout));
        };
        let (stage, moved) = upload.progress();
        let since = moved.max(started);
        let left = if stage == Stage::Starving {
            self.until(since.saturating_add(backend.idle_timeout()))
                .ok_or(Miss::Refused(STALLED))?
        } else {
            self.until(since.saturating_add(response)).ok_or(Miss::Fault(Fault::Timeout))?
        };
        // Whose turn it is may change meanwhile, and with it the limit.
        Ok(left.min(response).min(backend.idle_timeout()))
    }

    /// The time until `deadline`; `None` if it has passed.
    fn until(&self, deadline: Duration) -> Option<Duration> {
        Some(deadline.saturating_sub(self.now())).filter(|left| !left.is_zero())
    }

    /// Reads hyper's error: whose fault it was, and whether anything was sent.
    fn miss(&self, mut error: TrySendError<Request<RequestBody>>) -> Miss {
        if let Some(request) = error.take_message() {
            return Miss::Stale(Box::new(request));
        }
        match self.upload.as_ref().map(|upload| upload.progress().0) {
            Some(Stage::TooLarge) => Miss::Refused(Rejection::BodyTooLarge(self.body_limit)),
            Some(Stage::Cut) => Miss::Refused(BROKE_OFF),
            Some(Stage::Moving | Stage::Starving | Stage::Done) | None => {
                let protocol = error.error().is_parse();
                Miss::Fault(if protocol { Fault::Protocol } else { Fault::Reset })
            }
        }
    }

    fn count(&self, fault: Fault) -> Fault {
        self.shard.backend.counters().failed(fault);
        fault
    }

    fn now(&self) -> Duration {
        self.shard.backend.clock().now().monotonic
    }
}

/// Refuses answers that the client could read in another way than hyper did (RFC 9112 §6.3), a
/// change of protocol that was not asked for, and 407, which only a proxy may say (RFC 9110
/// §15.5.8). What is left says its length once or not at all.
fn check(status: StatusCode, headers: &mut HeaderMap) -> Result<(), Fault> {
    let unexpected = [StatusCode::SWITCHING_PROTOCOLS, StatusCode::PROXY_AUTHENTICATION_REQUIRED];
    if unexpected.contains(&status) {
        return Err(Fault::Protocol);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = |line: &HeaderValue| line.as_bytes().eq_ignore_ascii_case(b"chunked");
        let alone = codings.next().is_some_and(chunked) && codings.next().is_none();
        if !alone || headers.contains_key(CONTENT_LENGTH) {
            return Err(Fault::Protocol);
        }
    }
    check_length(status, headers)
}

/// RFC 9110 §8.6: equal lengths are one, unequal ones are none, and 204 has none.
fn check_length(status: StatusCode, headers: &mut HeaderMap) -> Result<(), Fault> {
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
        return Ok(());
    }
    let lines = headers.get_all(CONTENT_LENGTH).iter();
    let mut members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let Some(first) = members.next().map(<[u8]>::trim_ascii) else { return Ok(()) };
    let digits = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    let mut count = 1;
    let equal = members.all(|member| {
        count += 1;
        member.trim_ascii() == first
    });
    if !digits || !equal {
        return Err(Fault::Protocol);
    }
    if count > 1 {
        let one = HeaderValue::from_bytes(first).map_err(|_| Fault::Protocol)?;
        headers.insert(CONTENT_LENGTH, one);
    }
    Ok(())
}

const BROKE_OFF: Rejection = Rejection::MalformedRequest("the body broke off");
const STALLED: Rejection = Rejection::MalformedRequest("the body stalled");
/// After so many connections that were closed while they rested, a new one is opened.
const MOST_STALE: usize = 3;
