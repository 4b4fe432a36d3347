//! Sending a permitted request to its backend.
//!
//! [`prepare`] rewrites the head of the request (`headers`); [`Delivery::send`] is the one way out: it
//! takes a connection of this thread's pool or opens one (`pool`, `connect`), sends, and waits for the
//! head of the response (`exchange`). The response's body streams through [`UpstreamBody`], which gives the
//! connection back at its end.
//!
//! Four rules carry the security of this module:
//!
//! - Whatever the client sent is taken away first (`hop`, [`Scrub`]), and only then is anything of
//!   ours added: nothing that a client sends can remove or shadow what the gateway says.
//! - Framing is written anew from the body as it was read (RFC 9112 §6.3): what a backend sees as
//!   one request is what was authorised as one request.
//! - A request is sent at most once. It goes to another connection or target only when hyper hands
//!   it back as never having been started (RFC 9110 §9.2.2).
//! - A connection is used again only after both messages on it ended cleanly.

mod connect;
mod counters;
mod exchange;
mod forwarded;
mod headers;
mod hop;
mod origin;
mod permit;
mod pool;
mod query;
mod request_body;
mod response_body;
mod scrub;
#[cfg(test)]
mod tests;
mod upstream;

pub use origin::Origin;
pub use response_body::{BodyError, UpstreamBody};
pub use scrub::Scrub;
pub use upstream::Upstream;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, request};

use crate::identity::Identity;
use crate::rejection::Rejection;
use request_body::{RequestBody, Source};

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

impl Outgoing<'_> {
    /// Turns a head without a body into the one that the backend gets.
    ///
    /// # Errors
    /// `MalformedRequest` if the request has passed this gateway too often.
    pub fn rewrite(&self, parts: &mut request::Parts) -> Result<(), Rejection> {
        headers::rewrite(parts, self, request_body::Framing::Empty)
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

/// A request that is ready to be sent.
struct Delivery<'r> {
    call: exchange::Call<'r>,
    request: Request<RequestBody>,
}

/// Writes the head that the backend gets and wraps the body, without polling it: a client that
/// expects `100 Continue` hears it only once the request is on a connection (RFC 9110 §10.1.1).
/// Trailers of the request are dropped: nothing that was authorised can change behind the head
/// (RFC 9110 §6.5.1).
///
/// # Errors
/// `BodyTooLarge` by the length that is announced; `MalformedRequest` if the request has passed
/// this gateway too often.
fn prepare<'r>(
    mut parts: request::Parts,
    source: Source,
    outgoing: &Outgoing<'r>,
) -> Result<Delivery<'r>, Rejection> {
    let shard = outgoing.upstream.shard();
    let body = RequestBody::new(source, outgoing.body_limit, shard.backend.clock())?;
    headers::rewrite(&mut parts, outgoing, body.framing())?;
    let call = exchange::Call {
        shard,
        began: shard.backend.clock().now().monotonic,
        upload: body.upload(),
        timeout: outgoing.timeout,
        body_limit: outgoing.body_limit,
    };
    Ok(Delivery { call, request: Request::from_parts(parts, body) })
}

impl Delivery<'_> {
    /// The bytes of the body sent so far; `None` if there is no body.
    fn sent(&self) -> Option<Arc<AtomicU64>> {
        self.call.upload.as_ref().map(|upload| Arc::clone(&upload.sent))
    }

    /// Sends the request and waits for the head of its response.
    ///
    /// Times: `connect_timeout` bounds resolving and connecting. `timeout` (or the upstream's
    /// `response_timeout`) bounds the wait for the head, counted from sending or from the last byte
    /// of the request body that moved. A client that stalls its own upload is given
    /// `idle_timeout`.
    ///
    /// # Errors
    /// `BodyTooLarge`, `MalformedRequest` (the body broke off or stalled), `NoHealthyUpstream`,
    /// `UpstreamProtocol`, `UpstreamTimeout`, `UpstreamUnreachable`.
    async fn send(self) -> Result<Forwarded, Rejection> {
        self.call.run(self.request).await
    }
}
