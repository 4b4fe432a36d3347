//! Sending a permitted request to its backend.
//!
//! `prepare` writes the head of the request (`request_head`). `course` tries one target after the
//! other: `balance` chooses by what `health` and `eject` have found, and `retry` says what may be
//! sent again. `exchange` takes a connection of this thread's pool or opens one (`pool`, `breaker`,
//! `resolve`, `connect`), sends (`sending`), and waits for the head of the response
//! (`response_head`). The response's body streams through [`UpstreamBody`], which gives the
//! connection back at its end.
//!
//! The HTTP/1.1 towards backends is written here, on the connection that is used and in the task of
//! the request: a library's client drives each connection in a task of its own, and hands every
//! message over twice. HTTP/2 shares its connections between requests (`http2`), so there each has
//! a task.
//!
//! Five rules carry the security of this module:
//!
//! - Of what the client sent, only what passes is copied (`hop`, [`Scrub`]), and then what is ours is
//!   added: nothing that a client sends can remove or shadow what the gateway says.
//! - Framing is written anew from the body as it was read (RFC 9112 §6.3): what a backend sees as
//!   one request is what was authorised as one request.
//! - A request that is not idempotent is sent at most once: it goes to another connection or target
//!   only when nothing of it was written. One that is idempotent is sent again if nothing of an
//!   answer has come and nothing of its body was taken (RFC 9110 §9.2.2): once if a connection that
//!   rested was closed (RFC 9112 §9.3.1), more often only where `retry` asks for it.
//! - What a backend says is refused if two parsers could read it in two ways (RFC 9112 §6.3).
//! - A connection is used again only after both messages on it ended cleanly.

mod alarm;
mod balance;
mod breaker;
mod connect;
mod connection;
mod counters;
mod course;
mod eject;
mod exchange;
mod forwarded;
mod health;
mod hop;
mod http2;
mod origin;
mod permit;
mod pool;
mod query;
mod request_body;
mod request_head;
mod resolve;
mod response_body;
mod response_head;
mod retry;
mod scrub;
mod sending;
mod socket;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod unchecked;
mod upgrade;
mod upstream;

pub use origin::Origin;
pub use resolve::Resolver;
pub use response_body::{BodyError, UpstreamBody};
pub use scrub::Scrub;
pub use upstream::Upstream;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, request};

use crate::identity::Identity;
use crate::rejection::{Rejection, is_grpc};
use crate::trace::Trace;
use exchange::Call;
use request_body::{RequestBody, Source};
use sending::Sending;

/// What is known of a permitted request besides its fields and body.
#[derive(Debug)]
pub struct Outgoing<'r> {
    /// Where it goes.
    pub upstream: &'r Arc<Upstream>,
    /// The canonical path and query, with the route's prefix stripped.
    pub path_and_query: PathAndQuery,
    /// The validated host that the client asked for, with its port if any. The backend sees it as
    /// `Host`, so that links and cookies that it makes fit the address that clients know.
    pub host: HeaderValue,
    /// Who calls.
    pub identity: Option<&'r Identity>,
    /// Where it came from.
    pub origin: Origin,
    /// The address of the connection's peer, as fields write it.
    pub peer_ip: HeaderValue,
    /// What is stripped.
    pub scrub: &'r Scrub,
    /// Whether the backend sees the caller's token.
    pub keep_authorization: bool,
    /// The protocol that the connection is to turn to, if the route allows it.
    pub upgrade: Option<HeaderValue>,
    /// Replaces the upstream's response timeout.
    pub timeout: Option<Duration>,
    /// The most bytes that the body may have.
    pub body_limit: u64,
    /// The request's id.
    pub request_id: HeaderValue,
    /// Its place in a trace, if the gateway takes part.
    pub trace: Option<Arc<Trace>>,
}

impl Outgoing<'_> {
    /// The bytes that the backend gets for a head without a body.
    ///
    /// # Errors
    /// `UpstreamUnreachable` if the request has passed this gateway too often.
    pub fn head(&self, parts: &request::Parts) -> Result<Vec<u8>, Rejection> {
        request_head::write(parts, self, request_body::Framing::Empty)
    }
}

/// A response's head, its body still to come, and what was seen on the way.
#[derive(Debug)]
pub(crate) struct Forwarded {
    /// Scrubbed of hop-by-hop fields.
    pub response: Response<UpstreamBody>,
    /// The target that answered, as `host:port`.
    pub target: Arc<str>,
    /// The time that connecting, sending and the wait for the response's head took.
    pub waited: Duration,
}

/// Makes a request ready to be sent at `now`, on the monotonic clock: writes the head that the
/// backend gets and wraps the body, without polling it. A client that expects `100 Continue` hears
/// it only once the request is on a connection (RFC 9110 §10.1.1). Trailers of the request are
/// dropped: nothing that was authorised can change behind the head (RFC 9110 §6.5.1).
///
/// # Errors
/// `BodyTooLarge` by the length that is announced; `UpstreamUnreachable` if the request has passed
/// this gateway too often.
fn prepare<'r>(
    parts: &request::Parts,
    source: Source,
    outgoing: &Outgoing<'r>,
    now: Duration,
) -> Result<Call<'r>, Rejection> {
    let shard = outgoing.upstream.shard();
    let mut body = RequestBody::new(source, outgoing.body_limit, shard.backend.clock(), now)?;
    if outgoing.upgrade.is_some() {
        body.may_turn();
    }
    // Its messages come when there are any, on a connection that other requests use, too.
    if shard.backend.may_speak_http2() && is_grpc(parts) {
        body.may_take_its_time();
    }
    let head = Bytes::from(request_head::write(parts, outgoing, body.framing())?);
    Ok(Call {
        shard,
        began: now,
        again: retry::is_idempotent(&parts.method).then(|| head.clone()),
        sending: Sending::new(head, body),
        tries: 0,
        retries: 0,
        asks_for_head: parts.method == Method::HEAD,
        upgrade: outgoing.upgrade.clone(),
        timeout: outgoing.timeout,
        takes_trailers: shard.lines.is_some() && hop::takes_trailers(&parts.headers),
    })
}
