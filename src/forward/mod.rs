//! Sending a permitted request to its backend.

mod permit;

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Response, request};
use http_body::Frame;
use hyper::body::Incoming;
use ipnet::IpNet;

use crate::clock::Clock;
use crate::config;
use crate::identity::Identity;
use crate::record::metrics::Metrics;
use crate::rejection::Rejection;

/// A backend: its targets, connections and metrics.
#[derive(Debug)]
pub struct Upstream {}

impl Upstream {
    /// An upstream without connections.
    #[must_use]
    pub fn new(config: &config::Upstream, clock: &Clock, metrics: &Metrics) -> Self {
        drop((config, clock, metrics));
        todo!()
    }

    /// Whether it was made from the same settings, so that a reload can keep its connections.
    #[must_use]
    pub fn is_made_from(&self, config: &config::Upstream) -> bool {
        drop(config);
        todo!()
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        todo!()
    }

    /// Connects to each target once and closes again: for the lines at start.
    ///
    /// # Errors
    /// The first target that cannot be reached, and why, in words.
    pub async fn probe(&self) -> Result<Duration, String> {
        todo!()
    }
}

/// Which fields of a request never reach a backend; compiled once per policy.
#[derive(Debug)]
pub struct Scrub {}

impl Scrub {
    /// Strips `X-Auth-*`, these names, and all that fold to them.
    #[must_use]
    pub fn new(identity_headers: &[HeaderName]) -> Self {
        drop(identity_headers);
        todo!()
    }
}

/// Where a request came from (RFC 7239).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The connection's peer.
    pub peer: SocketAddr,
    /// The client: the peer, or whom trusted proxies name.
    pub client: IpAddr,
    /// Whether the peer is a trusted proxy.
    pub trusted: bool,
    /// Whether this hop used TLS.
    pub secure: bool,
}

impl Origin {
    /// Reads the forwarding fields if the peer is trusted: the client is the right-most hop that
    /// is not, over all lines; garbage ends the walk.
    #[must_use]
    pub fn of(peer: SocketAddr, secure: bool, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        drop((peer, secure, headers, trusted));
        todo!()
    }
}

/// What is known of a permitted request besides its fields and body.
#[derive(Debug)]
pub struct Outgoing<'r> {
    /// Where it goes.
    pub upstream: &'r Arc<Upstream>,
    /// The canonical path and query, with the route's prefix stripped.
    pub path_and_query: PathAndQuery,
    /// The validated host that the client asked for, with its port if any.
    pub host: HeaderValue,
    /// Who calls.
    pub identity: Option<&'r Identity>,
    /// Where it came from.
    pub origin: Origin,
    /// What is stripped.
    pub scrub: &'r Scrub,
    /// Whether the backend sees the caller's token.
    pub keep_authorization: bool,
    /// Replaces the upstream's response timeout.
    pub timeout: Option<Duration>,
    /// The most bytes that the body may have.
    pub body_limit: u64,
    /// The request's id.
    pub request_id: HeaderValue,
}

/// Sends a request and waits for the head of its response.
///
/// # Errors
/// `BodyTooLarge`, `NoHealthyUpstream`, `UpstreamProtocol`, `UpstreamTimeout`,
/// `UpstreamUnreachable`.
pub async fn send(
    request: request::Parts,
    body: Incoming,
    outgoing: Outgoing<'_>,
) -> Result<Forwarded, Rejection> {
    drop((request, body, outgoing));
    todo!()
}

/// A response's head, its body still to come, and what was seen on the way.
#[derive(Debug)]
pub struct Forwarded {
    /// Scrubbed of hop-by-hop fields.
    pub response: Response<UpstreamBody>,
    /// The target that answered, as `host:port`.
    pub target: Arc<str>,
    /// The time from sending to the response's head.
    pub waited: Duration,
    /// The bytes of the request body sent so far; `None` if it has none.
    pub sent: Option<Arc<std::sync::atomic::AtomicU64>>,
}

/// A response body that gives its connection back to the pool at its end.
#[derive(Debug)]
pub struct UpstreamBody {}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        drop(cx);
        todo!()
    }
}

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The sender broke off.
    #[error("the body was cut short")]
    Cut,
    /// The body exceeds the limit.
    #[error("the body is too large")]
    TooLarge,
    /// Nothing came for too long.
    #[error("the body stalled")]
    Stalled,
}
