//! Turning a connection to another protocol (RFC 9110 §7.8), such as WebSocket (RFC 6455).
//!
//! The head of such a request is judged like any other. What follows it is forwarded only behind
//! the backend's 101, and from there on as it is: the client's bytes are the request's body, the
//! backend's are the answer's, and either may end first.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version, request};
use http_body::Body as _;

use crate::http1::fields::have_member;
use crate::listen::Received;

/// The protocol that a request asks for, if it is one of `allowed`. A request for several, or for
/// any other, is an ordinary request: `Upgrade` may be ignored. So is one with a body: it would flow
/// to the backend before the 101, and whose bytes follow which is then anybody's guess.
pub(super) fn asked_for(
    head: &request::Parts,
    body: &Received,
    allowed: &[String],
) -> Option<HeaderValue> {
    if allowed.is_empty() || head.method != Method::GET || head.version != Version::HTTP_11 {
        return None;
    }
    if !body.is_end_stream() {
        return None;
    }
    let protocol = only(&head.headers)?;
    let listed = allowed.iter().any(|one| is(protocol, one.as_bytes()));
    (listed && have_member(&head.headers, &CONNECTION, b"upgrade")).then(|| protocol.clone())
}

/// Whether the backend turns to the protocol that was asked for.
pub(super) fn is_accepted(headers: &HeaderMap, asked_for: &HeaderValue) -> bool {
    only(headers).is_some_and(|protocol| is(protocol, asked_for.as_bytes()))
}

fn only(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(UPGRADE).iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

fn is(protocol: &HeaderValue, name: &[u8]) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(name)
}
