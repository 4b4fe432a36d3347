//! What is seen of requests from outside: one record each, counted and logged when the response's
//! body ends, whatever ended it; a whole answer of the gateway's own ends it with its head.

mod access_log;
mod background;
mod batches;
mod by_route;
mod escape;
pub mod exposition;
mod fields;
mod line;
pub mod metrics;
pub(crate) mod request_id;
pub(crate) mod route_metrics;
#[cfg(feature = "otlp")]
mod spans;
mod tally;
mod time;
pub(crate) mod timing;

pub use access_log::AccessLog;
pub(crate) use background::Background;
pub(crate) use batches::Kind as LogKind;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Method, Version, request};
use prometheus::IntGauge;

use crate::clock::{Clock, Now};
use crate::cors::Preflight;
use crate::forward::Upstream;
use crate::gateway::Peer;
use crate::identity::Identity;
use crate::policy::Route;
use crate::rejection::{Reason, Rejection};
use crate::target::Target;
use crate::trace::{Trace, TraceId};

use metrics::Metrics;
use route_metrics::{Outcome, RouteMetrics};

/// A time since 1970, as logs write it (RFC 3339).
pub(crate) fn written_time(at: Duration) -> String {
    time::Timestamp(at).long()
}

/// Where records go.
#[derive(Debug)]
pub(crate) struct Sink {
    clock: Clock,
    metrics: Metrics,
    /// For requests that no route matches.
    unmatched: Arc<RouteMetrics>,
    log: Option<AccessLog>,
}

impl Sink {
    pub(crate) fn new(clock: Clock, metrics: Metrics, log: Option<AccessLog>) -> Self {
        let unmatched = metrics.by_route.of(&"-".into());
        Self { clock, metrics, unmatched, log }
    }
}

/// What happened to one request. Dropping it counts and logs it, so that every way a request can
/// end leaves exactly one record: an answer, a refusal, a client that went away, a panic.
#[derive(Debug)]
pub(crate) struct Record {
    sink: Arc<Sink>,
    pub(crate) started: Now,
    /// When the response's head was ready, on the monotonic clock.
    answered: Option<Duration>,
    pub(crate) request_id: HeaderValue,
    /// The trace that the client named.
    told_trace: Option<TraceId>,
    /// The request's place in its trace, if the gateway takes part.
    pub(crate) trace: Option<Arc<Trace>>,
    method: Method,
    protocol: Version,
    user_agent: Option<Agent>,
    peer: SocketAddr,
    pub(crate) peer_ip: HeaderValue,
    tls: Option<&'static str>,
    in_flight: IntGauge,
    client: Option<IpAddr>,
    pub(crate) target: Option<Target>,
    route: Option<Arc<Route>>,
    pub(crate) identity: Option<Arc<Identity>>,
    /// How it went, if it was a preflight that was answered here.
    pub(crate) preflight: Option<Preflight>,
    /// Whether the gateway answered for the backend what it had permitted.
    pub(crate) answered_here: bool,
    /// Why it was refused.
    refused: Option<Rejection>,
    /// Why it would have been, on a route that only reports.
    would_deny: Option<Rejection>,
    /// The caller's.
    plan: Option<Arc<str>>,
    /// The configured client's id, or `other`.
    client_label: Option<Arc<str>>,
    remaining: Option<u32>,
    forwarded: Option<Forwarded>,
    status: u16,
    pub(crate) bytes_out: u64,
    /// Whether the response's body ended before it was complete.
    pub(crate) cut: bool,
}

/// What is recorded of the backend's part.
#[derive(Debug)]
struct Forwarded {
    upstream: Arc<Upstream>,
    /// When it was the backend's turn, on the monotonic clock.
    began: Duration,
    /// How often it was tried; 0 while it is.
    tries: u32,
    /// What the backend said, once it has.
    answer: Option<Answer>,
    /// The bytes of the request's body that were passed on; `None` if it has none.
    sent: Option<Arc<AtomicU64>>,
}

/// The head of a backend's answer.
#[derive(Debug)]
struct Answer {
    /// The server of the upstream, as `host:port`.
    target: Arc<str>,
    status: u16,
    waited: Duration,
}

impl Record {
    /// A record on the heap: it moves with the response, through every layer that hands it on.
    pub(crate) fn start(sink: &Arc<Sink>, peer: &Peer, request: &request::Parts) -> Box<Self> {
        peer.in_flight.inc();
        let now = sink.clock.now();
        Box::new(Self {
            started: now,
            answered: None,
            request_id: request_id::of(&request.headers, now.unix),
            // Only the log's lines name it.
            told_trace: sink.log.as_ref().and_then(|_| TraceId::told(&request.headers)),
            trace: None,
            method: request.method.clone(),
            protocol: request.version,
            user_agent: request.headers.get(USER_AGENT).map(Agent::of),
            peer: peer.address,
            peer_ip: peer.ip.clone(),
            tls: peer.tls,
            in_flight: peer.in_flight.clone(),
            client: None,
            target: None,
            route: None,
            identity: None,
            preflight: None,
            answered_here: false,
            refused: None,
            would_deny: None,
            plan: None,
            client_label: None,
            remaining: None,
            forwarded: None,
            status: 0,
            bytes_out: 0,
            cut: false,
            sink: Arc::clone(sink),
        })
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    fn trace_id(&self) -> Option<TraceId> {
        self.trace.as_ref().map(|trace| trace.id).or(self.told_trace)
    }

    pub(crate) fn came_from(&mut self, client: IpAddr) {
        self.client = Some(client);
    }

    pub(crate) fn matched(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn route(&self) -> Option<&Route> {
        self.route.as_deref()
    }

    pub(crate) fn tolerated(&mut self, rejection: Rejection) {
        self.would_deny = Some(rejection);
    }

    pub(crate) fn spent(&mut self, plan: Option<&Arc<str>>, remaining: Option<u32>) {
        self.plan = plan.cloned();
        self.remaining = remaining;
    }

    /// Who calls, and by which plan, whether it is let in or not.
    pub(crate) fn called_by(&mut self, client_label: Arc<str>, plan: Option<&Arc<str>>) {
        self.client_label = Some(client_label);
        self.plan = plan.cloned();
    }

    /// The time on the monotonic clock.
    pub(crate) fn now(&self) -> Duration {
        self.sink.clock.monotonic()
    }

    /// The request is the upstream's since `began`, on the monotonic clock. `sent` counts what of
    /// its body was passed on.
    pub(crate) fn forwards(
        &mut self,
        upstream: &Arc<Upstream>,
        began: Duration,
        sent: Option<Arc<AtomicU64>>,
    ) {
        self.forwarded =
            Some(Forwarded { upstream: Arc::clone(upstream), began, tries: 0, answer: None, sent });
    }

    /// How often the request was sent, or tried to be.
    pub(crate) fn tried(&mut self, tries: u32) {
        if let Some(forwarded) = &mut self.forwarded {
            forwarded.tries = tries;
        }
    }

    /// The upstream has answered.
    pub(crate) fn forwarded(&mut self, target: &Arc<str>, status: u16, waited: Duration) {
        if let Some(forwarded) = &mut self.forwarded {
            forwarded.answer = Some(Answer { target: Arc::clone(target), status, waited });
        }
    }

    pub(crate) fn refused(&mut self, rejection: Rejection) {
        if rejection.exceeded().is_some() {
            self.remaining = Some(0);
        }
        self.refused = Some(rejection);
    }

    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
        let forwarded = self.forwarded.as_ref().and_then(Forwarded::answered);
        self.answered = Some(forwarded.unwrap_or_else(|| self.now()));
    }

    /// What was refused, or would have been.
    fn refusal(&self) -> Option<&Rejection> {
        self.refused.as_ref().or(self.would_deny.as_ref())
    }

    /// The limit that is exceeded, else the caller's plan.
    fn counted_by(&self) -> Option<&str> {
        let exceeded = self.refused.as_ref().and_then(Rejection::exceeded);
        exceeded.map(|exceeded| &exceeded.policy).or(self.plan.as_ref()).map(|name| &**name)
    }

    fn outcome(&self) -> Outcome {
        match (&self.refused, self.status) {
            (None, 1..) => Outcome::Ok,
            (Some(_), 429) => Outcome::Limited,
            (Some(_), 400..=499) => Outcome::Denied,
            (_, _) => Outcome::Error,
        }
    }

    /// Whether the policy had its say before the client went away.
    fn is_decided(&self) -> bool {
        let answered_here = self.preflight.is_some() || self.answered_here;
        self.refused.is_some() || self.forwarded.is_some() || answered_here
    }

    /// `deny` for what the policy refused; a backend's failure is no denial. `-` for a request that
    /// was given up before anything was decided.
    fn decision(&self) -> (&'static str, Option<Reason>) {
        let reason = self.refusal().map(Rejection::reason);
        match (&self.refused, reason) {
            (None, _) if !self.is_decided() => ("-", None),
            (Some(_), Some(reason)) if reason.is_the_gateways() => ("deny", Some(reason)),
            (None, Some(reason)) => ("would_deny", Some(reason)),
            (_, reason) => ("allow", reason),
        }
    }

    fn count(&self, total: Duration) {
        let metrics = &self.sink.metrics;
        let route = self.route.as_ref().map_or(&self.sink.unmatched, |route| &route.metrics);
        let outcome = self.outcome();
        route.count_request(&self.method, self.status);
        route.count_duration(outcome, total);
        if self.is_decided() {
            let (decision, reason) = self.decision();
            route.count_decision(decision, reason);
        }
        route.count_bytes(self.bytes_in(), self.bytes_out);
        metrics.overhead.observe(self.overhead(total).as_secs_f64());
        if outcome == Outcome::Limited {
            route.count_limited(self.counted_by().unwrap_or("-"));
        }
        if let Some(client) = &self.client_label {
            let labels = [&**client, self.plan.as_deref().unwrap_or("-"), outcome.as_str()];
            metrics.client_requests.with_label_values(&labels).inc();
        }
        self.in_flight.dec();
    }

    /// The time until the response's head was ready, without the wait for the backend, whether it
    /// answered or not.
    fn overhead(&self, total: Duration) -> Duration {
        let head = self.answered.map_or(total, |at| at.saturating_sub(self.started.monotonic));
        let waited = self.forwarded.as_ref().map_or(Duration::ZERO, |forwarded| {
            forwarded.waited(self.started.monotonic.saturating_add(head))
        });
        head.saturating_sub(waited)
    }

    fn bytes_in(&self) -> u64 {
        let sent = self.forwarded.as_ref().and_then(|forwarded| forwarded.sent.as_ref());
        sent.map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }
}

/// As much of a client's name for itself as a log line shows. A copy: a clone of the field would
/// keep all that came with it in one buffer, which may be the whole head.
#[derive(Debug)]
struct Agent {
    bytes: [u8; USER_AGENT_BYTES],
    length: usize,
}

impl Agent {
    fn of(value: &HeaderValue) -> Self {
        let length = value.len().min(USER_AGENT_BYTES);
        let mut bytes = [0; USER_AGENT_BYTES];
        bytes[..length].copy_from_slice(&value.as_bytes()[..length]);
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Forwarded {
    /// When the backend answered, on the monotonic clock.
    fn answered(&self) -> Option<Duration> {
        self.answer.as_ref().map(|answer| self.began.saturating_add(answer.waited))
    }

    /// How long the backend was waited for, at most until `end` on the monotonic clock.
    fn waited(&self, end: Duration) -> Duration {
        match &self.answer {
            Some(answer) => answer.waited,
            None => end.saturating_sub(self.began),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let total = self.sink.clock.monotonic().saturating_sub(self.started.monotonic);
        self.count(total);
        #[cfg(feature = "otlp")]
        if let Some(trace) = &self.trace {
            self.export(trace, total);
        }
        if let Some(log) = &self.sink.log {
            log.write(self, total);
        }
    }
}

/// How much of a client's name for itself is worth keeping.
const USER_AGENT_BYTES: usize = 256;
