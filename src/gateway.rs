//! Answering one request: every stage in order, each refusal a response, one record.

mod body;
mod options;
mod term;
mod unread;
mod websocket;

pub use body::Body;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderValue, Method, Request, Response, request};
use prometheus::IntGauge;

use crate::authenticate::Lease;
use crate::authorize::Permit;
use crate::clock::Now;
use crate::config::{Limits, Mode, UNIX_PEER};
use crate::cors;
use crate::forward::Origin;
use crate::identity::Caller;
use crate::listen::Received;
use crate::overload::Load;
use crate::policy::{Access, Found, Policy, Shared};
use crate::record::{AccessLog, Record, Sink, request_id, timing};
use crate::rejection::{Asked, Rejection, TooLarge, is_grpc};
use crate::target::Target;
use term::{Term, while_it_holds};
use unread::Unread;

/// The other end of a client's connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; [`UNIX_PEER`] if it came over a unix socket.
    pub address: SocketAddr,
    /// The address without its port, as fields write it.
    pub ip: HeaderValue,
    /// The TLS version, such as `1.3`; `None` for plaintext.
    pub tls: Option<&'static str>,
    /// Requests under way on this listener.
    pub in_flight: IntGauge,
    /// Requests under way on this connection, if it can carry more than one.
    pub streams: Option<Arc<AtomicU32>>,
}

/// Answers requests by the policy in force.
#[derive(Debug)]
pub struct Gateway {
    policy: ArcSwap<Policy>,
    sink: Arc<Sink>,
    load: Arc<Load>,
    /// Whether nothing is waited for any more.
    closing: AtomicBool,
}

impl Peer {
    /// The peer of a connection. What is written for each of its requests is written here once.
    #[must_use]
    pub fn new(address: SocketAddr, tls: Option<&'static str>, in_flight: IntGauge) -> Self {
        // What RFC 7239 §6.2 has for a peer without an address, as those of unix sockets are.
        let unknown = HeaderValue::from_static("unknown");
        if address.ip() == UNIX_PEER {
            return Self { address, ip: unknown, tls, in_flight, streams: None };
        }
        let ip = HeaderValue::try_from(address.ip().to_canonical().to_string());
        // Addresses are made of visible ASCII.
        Self { address, ip: ip.unwrap_or(unknown), tls, in_flight, streams: None }
    }

    /// Whether it has as much under way as one connection may while there is little room.
    fn has_its_share(&self) -> bool {
        self.streams.as_ref().is_some_and(|streams| streams.load(Ordering::Relaxed) > SHARE)
    }
}

impl Gateway {
    /// A gateway that enforces `policy` and writes each request's record to `log`, if there is one.
    #[must_use]
    pub fn new(policy: Arc<Policy>, shared: &Shared, log: Option<AccessLog>) -> Self {
        let sink = Sink::new(shared.clock.clone(), shared.metrics.clone(), log);
        let closing = AtomicBool::new(false);
        Self { policy: ArcSwap::new(policy), sink: Arc::new(sink), load: Arc::default(), closing }
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// How much is under way.
    #[must_use]
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Whether there is little room left for requests or memory.
    #[must_use]
    pub fn is_strained(&self) -> bool {
        self.load.is_strained(&self.policy.load().ceilings)
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.policy.load().limits
    }

    /// Puts another policy in force; requests under way finish by the one they began with.
    pub fn replace(&self, policy: Arc<Policy>) {
        self.policy.store(policy);
    }

    /// Answers one request. Never fails: a refusal is a response. Leaves exactly one record.
    pub async fn handle(
        &self,
        peer: &Peer,
        head: Box<request::Parts>,
        body: Received,
    ) -> Response<Body> {
        let policy = self.policy.load_full();
        let mut record = Record::start(&self.sink, peer, &head);
        let body = Unread::new(body);
        let result = {
            let process = pin!(self.process(&policy, peer, &head, body, &mut record));
            self.in_time(process).await
        };
        seal(&policy, &head, result, record)
    }

    /// Stops waiting: a request that has to is answered with `Draining` when it is polled next.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Answers what is no request, or did not become one in time. Leaves one record, of a request
    /// without method and target.
    #[must_use]
    pub fn refuse(&self, peer: &Peer, rejection: Rejection) -> Response<Body> {
        let policy = self.policy.load_full();
        let head = nothing().into_parts().0;
        let mut record = Record::start(&self.sink, peer, &head);
        record.came_from(peer.address.ip().to_canonical());
        seal(&policy, &head, Err(rejection), record)
    }

    /// The outcome, unless the gateway closes before there is one.
    async fn in_time<T>(
        &self,
        mut process: Pin<&mut impl Future<Output = Result<T, Rejection>>>,
    ) -> Result<T, Rejection> {
        poll_fn(|cx| {
            let polled = process.as_mut().poll(cx);
            if polled.is_pending() && self.closing.load(Ordering::Relaxed) {
                return Poll::Ready(Err(Rejection::Draining));
            }
            polled
        })
        .await
    }

    async fn process(
        &self,
        policy: &Policy,
        peer: &Peer,
        head: &request::Parts,
        body: Unread,
        record: &mut Record,
    ) -> Result<Response<Body>, Rejection> {
        let now = record.started;
        let secure = peer.tls.is_some();
        let origin = Origin::of(peer.address, secure, &head.headers, &policy.trusted_proxies);
        record.came_from(origin.client);
        record.trace = policy.traced(&head.headers, &origin);
        policy.flood.as_ref().map_or(Ok(()), |flood| flood.take(origin.client))?;
        self.load.admit(&policy.ceilings, || peer.has_its_share() && !origin.trusted)?;
        count_fields(&head.headers, policy.limits.headers)?;
        if Target::is_whole_server(&head.method, &head.uri, head.version, &head.headers)? {
            return Ok(options::of_server().map(Body::whole));
        }
        let hops = options::hops_left(head)?;
        let target = Target::of(&head.method, &head.uri, head.version, &head.headers)?;
        record.target = Some(target.clone());
        if let Some(doors) = policy.logouts.at(target.path()) {
            // Boxed, for it is seldom: what a future holds is part of every connection.
            let answer = Box::pin(doors.answer(head, body.read(), origin.client, now)).await?;
            return Ok(answer.map(Body::whole));
        }
        let route = policy.locate(&target).inspect(|route| record.matched(route));
        if let Some(answer) = preflight(policy, head, record) {
            return Ok(answer.map(Body::whole));
        }
        let found = route?.access(&head.method)?;
        let permit = pin!(admit(policy, found, head, &target, origin, now, record)).await?;
        let plan = policy.plan_of(permit.caller());
        let quota = permit.spend(plan, origin.client)?;
        record.spent(plan.map(|plan| plan.name()), quota.remaining());
        let mut response = if hops == Some(0) {
            record.answered_here = true;
            options::of_route(permit.route()).map(Body::whole)
        } else {
            let lessened = hops.map(|hops| options::one_hop_less(head, hops));
            let head = lessened.as_ref().unwrap_or(head);
            let body = body.read();
            pin!(forward(policy, &permit, &target, origin, head, body, record)).await?
        };
        quota.annotate(response.headers_mut());
        Ok(response)
    }
}

/// A request of which nothing is known.
fn nothing() -> Request<()> {
    let mut request = Request::new(());
    // A token that is no method: logs show it as it is, and metrics count it among the others.
    *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
    request
}

/// Refuses a head of more than `most` field lines. HTTP/1.1 never gets here with one; the library
/// for HTTP/2 bounds their bytes alone.
fn count_fields(headers: &HeaderMap, most: usize) -> Result<(), Rejection> {
    if headers.len() > most {
        return Err(Rejection::RequestTooLarge(TooLarge::Fields));
    }
    Ok(())
}

/// The answer to a browser that asks what its scripts may send, if that is for the gateway to say.
fn preflight(
    policy: &Policy,
    head: &request::Parts,
    record: &mut Record,
) -> Option<Response<Bytes>> {
    let cors = policy.cors_of(record.route())?;
    if !cors::is_preflight(head) {
        return None;
    }
    let (answer, word) = cors.preflight(head, record.route().map(|route| &route.allow));
    record.preflight = Some(word);
    Some(answer)
}

/// Finds out who calls and judges it; on a route that only reports, a refusal is noted instead.
async fn admit<'p>(
    policy: &Policy,
    found: Found<'p>,
    head: &request::Parts,
    target: &Target,
    origin: Origin,
    now: Now,
    record: &mut Record,
) -> Result<Permit<'p>, Rejection> {
    let admitted = match pin!(identify(policy, found, head, target, now)).await {
        Ok(caller) => {
            record.identity = caller.identity().cloned();
            let plan = policy.plan_of(&caller).map(|plan| plan.name());
            record.called_by(policy.client_label(&caller), plan);
            found.authorize(caller, target, origin.client, now)
        }
        Err(rejection) => Err(rejection),
    };
    admitted.or_else(|rejection| {
        let (permit, rejection) = found.tolerate(rejection, record.identity.as_ref())?;
        record.tolerated(rejection);
        Ok(permit)
    })
}

/// Sends a permitted request on, for as long as its token holds if it has no end of its own.
async fn forward(
    policy: &Policy,
    permit: &Permit<'_>,
    target: &Target,
    origin: Origin,
    head: &request::Parts,
    body: Received,
    record: &mut Record,
) -> Result<Response<Body>, Rejection> {
    let (is_endless, began) = (body.is_endless(), record.started.monotonic);
    let lease = |expires| lease(policy, permit, target, head, expires);
    let sending = pin!(permit.forward(policy, target, origin, head, body, record));
    let holding = while_it_holds(sending, policy.clock(), began, || lease(is_endless));
    let sent = pin!(holding).await?;
    let (head, body) = Term::of(sent, is_endless, lease);
    Ok(head.map(|()| Body::upstream(body)))
}

/// What this request goes on by, if it goes on. A route that only reports ends none.
fn lease(
    policy: &Policy,
    permit: &Permit<'_>,
    target: &Target,
    head: &request::Parts,
    expires: bool,
) -> Option<Lease> {
    let is_enforced = permit.route().mode == Mode::Enforce;
    let identity = permit.caller().identity().filter(|_| is_enforced)?;
    policy.authenticator().lease(&head.headers, target.query(), identity, expires)
}

async fn identify(
    policy: &Policy,
    found: Found<'_>,
    head: &request::Parts,
    target: &Target,
    now: Now,
) -> Result<Caller, Rejection> {
    let scrutiny = found.route().scrutiny;
    let authenticator = policy.authenticator();
    let identify = pin!(authenticator.identify_with(scrutiny, &head.headers, target.query(), now));
    match found.access() {
        Access::Open => Ok(Caller::Anonymous),
        Access::Restricted(_) => identify.await,
        Access::Optional => match identify.await {
            Err(Rejection::MissingToken) => Ok(Caller::Anonymous),
            other => other,
        },
    }
}

/// Turns the outcome into a response; the record ends with its body, or here if that is whole.
fn seal(
    policy: &Policy,
    head: &request::Parts,
    result: Result<Response<Body>, Rejection>,
    mut record: Box<Record>,
) -> Response<Body> {
    let mut response = match result {
        Ok(response) => response,
        Err(rejection) => {
            let request_id = record.request_id.to_str().unwrap_or_default();
            let operation = record.target.as_ref().map(|target| (record.method(), target.path()));
            let asked = Asked { request_id, operation, grpc: is_grpc(head) };
            let response = policy.answers.answer(&rejection, asked);
            let is_head = record.method() == Method::HEAD;
            record.refused(rejection);
            let response = if is_head { without_body(response) } else { response };
            response.map(Body::whole)
        }
    };
    response.headers_mut().insert(request_id::NAME, record.request_id.clone());
    annotate(policy, &head.headers, &record, response.headers_mut());
    record.answered(response.status().as_u16());
    if policy.server_timing {
        response.headers_mut().append(timing::NAME, record.timing());
    }
    response.body_mut().record(record);
    response
}

/// Adds what every answer says, a refusal or a backend's, if it is configured.
fn annotate(policy: &Policy, asked: &HeaderMap, record: &Record, answer: &mut HeaderMap) {
    if let Some(hsts) = policy.hsts.as_ref().filter(|_| record.is_secure()) {
        answer.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if let Some(cors) = policy.cors_of(record.route()) {
        cors.annotate(asked, answer);
    }
}

/// An answer to HEAD tells of a body and has none (RFC 9110 §9.3.2). The library for HTTP/2 would
/// send it all the same, and clients end the stream with an error.
fn without_body(mut response: Response<Bytes>) -> Response<Bytes> {
    let length = response.body().len();
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response.map(|_| Bytes::new())
}

/// The requests that one connection may have under way however little room there is.
const SHARE: u32 = 8;
