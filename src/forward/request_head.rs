//! The head of the outgoing request, written anew.
//!
//! The order is the security: of what the client said, only what passes is copied, and then what
//! the gateway says is added, so that no nomination and no alias can touch it.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::{HeaderMap, HeaderValue, Version, request};

use super::forwarded::{self, Told};
use super::hop::{self, Nominated};
use super::request_body::Framing;
use super::{Outgoing, query};
use crate::http1::fields::{begin, line};
use crate::rejection::{Rejection, Unreachable};

/// The bytes that the backend gets for the head that a client sent, with the blank line.
///
/// # Errors
/// `UpstreamUnreachable` if the request has passed this gateway too often.
pub(super) fn write(
    head: &request::Parts,
    outgoing: &Outgoing<'_>,
    framing: Framing,
) -> Result<Vec<u8>, Rejection> {
    let mut out = Vec::with_capacity(ROOM);
    let target = query::without_token(&outgoing.path_and_query);
    // Own version on each side (RFC 9112 §2.3).
    for part in [head.method.as_str(), " ", &target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    line(&mut out, &HOST, outgoing.host.as_bytes());
    pass_on(&mut out, &head.headers, outgoing);
    // HTTP/2 clients may send a cookie in crumbs; HTTP/1.1 has one line (RFC 9113 §8.2.3).
    let cookies = head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    joined(&mut out, &COOKIE, b"; ", cookies);
    add_via(&mut out, &head.headers, head.version)?;
    if let Some(protocol) = &outgoing.upgrade {
        line(&mut out, &CONNECTION, b"upgrade");
        line(&mut out, &UPGRADE, protocol.as_bytes());
    }
    frame(&mut out, framing, head.headers.contains_key(CONTENT_LENGTH));
    forwarded::write(&mut out, Told::read(&head.headers, &outgoing.origin), outgoing);
    line(&mut out, &X_REQUEST_ID, outgoing.request_id.as_bytes());
    for (name, value) in outgoing.trace.iter().flat_map(|trace| trace.fields()) {
        line(&mut out, &name, value.as_bytes());
    }
    if let Some(identity) = outgoing.identity {
        out.extend_from_slice(&identity.headers);
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// Copies what the client says to the backend: not what it says to this gateway alone, nor what
/// only this gateway may say, nor what is written anew.
fn pass_on(out: &mut Vec<u8>, headers: &HeaderMap, outgoing: &Outgoing<'_>) {
    let nominated = Nominated::by(headers);
    for (name, value) in headers {
        let stops = is_written_anew(name)
            || hop::is_for_one_hop(name)
            || nominated.has(name)
            || outgoing.scrub.drops(name, outgoing.origin.trusted)
            || outgoing.trace.as_ref().is_some_and(|trace| trace.replaces(name))
            || (!outgoing.keep_authorization && is_credential(name));
        if !stops {
            line(out, name, value.as_bytes());
        }
    }
}

fn is_written_anew(name: &HeaderName) -> bool {
    [HOST, CONTENT_LENGTH, COOKIE, VIA, CONNECTION, TRANSFER_ENCODING].contains(name)
}

/// A DPoP proof goes with the token that it proves.
fn is_credential(name: &HeaderName) -> bool {
    *name == AUTHORIZATION || *name == DPOP
}

/// Writes the framing from the body as it was read, whatever the fields said (RFC 9112 §6.3).
fn frame(out: &mut Vec<u8>, framing: Framing, said_length: bool) {
    match framing {
        Framing::Empty if said_length => line(out, &CONTENT_LENGTH, b"0"),
        Framing::Empty | Framing::Raw => {}
        Framing::Exact(length) => line(out, &CONTENT_LENGTH, length.to_string().as_bytes()),
        Framing::Chunked => line(out, &TRANSFER_ENCODING, b"chunked"),
    }
}

/// Says by which protocol the request came (RFC 9110 §7.6.3), and ends loops.
fn add_via(out: &mut Vec<u8>, headers: &HeaderMap, received: Version) -> Result<(), Rejection> {
    let ours: &[u8] = match received {
        Version::HTTP_2 => b"2.0 scopegate",
        Version::HTTP_10 => b"1.0 scopegate",
        _ => b"1.1 scopegate",
    };
    let lines = || headers.get_all(VIA).iter().map(HeaderValue::as_bytes);
    let members = lines().flat_map(|line| line.split(|byte| *byte == b','));
    if members.filter(|member| is_ours(member)).count() >= MOST_PASSES {
        return Err(Rejection::UpstreamUnreachable(Unreachable::Loop));
    }
    joined(out, &VIA, b", ", lines().chain([ours]));
    Ok(())
}

fn is_ours(member: &[u8]) -> bool {
    let mut words = member.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(PSEUDONYM.as_bytes()))
}

/// Writes one line with several values, or none.
fn joined<'v>(
    out: &mut Vec<u8>,
    name: &HeaderName,
    separator: &[u8],
    mut values: impl Iterator<Item = &'v [u8]>,
) {
    let Some(first) = values.next() else { return };
    begin(out, name);
    out.extend_from_slice(first);
    for value in values {
        out.extend_from_slice(separator);
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\r\n");
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const DPOP: HeaderName = HeaderName::from_static("dpop");
const PSEUDONYM: &str = "scopegate";
const MOST_PASSES: usize = 10;
/// Bytes that the heads of most requests need.
const ROOM: usize = 1 << 10;
