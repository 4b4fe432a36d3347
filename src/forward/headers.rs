//! The head of the outgoing request, edited in place.
//!
//! The order is the security: first everything that a client must not say is taken away, then what
//! the gateway says is added, so that no nomination and no alias can touch it.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, Entry, HOST, TRANSFER_ENCODING, VIA};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Version, request};

use super::forwarded::{self, Told};
use super::request_body::Framing;
use super::{Outgoing, hop, query};
use crate::rejection::Rejection;

/// Turns the head that a client sent into the one that the backend gets.
///
/// # Errors
/// `MalformedRequest` if the request has passed this gateway too often.
pub(super) fn rewrite(
    parts: &mut request::Parts,
    outgoing: &Outgoing<'_>,
    framing: Framing,
) -> Result<(), Rejection> {
    let headers = &mut parts.headers;
    let told = Told::read(headers, &outgoing.origin);
    take_away(headers, outgoing);
    add_via(headers, parts.version)?;
    frame(headers, framing);
    join_cookies(headers);
    forwarded::write(headers, told, outgoing);
    headers.insert(HOST, outgoing.host.clone());
    headers.insert(X_REQUEST_ID, outgoing.request_id.clone());
    for (name, value) in outgoing.identity.iter().flat_map(|identity| &identity.headers) {
        headers.insert(name.clone(), value.clone());
    }
    parts.uri = query::target(outgoing.path_and_query.clone());
    // Own version on each side (RFC 9112 §2.3), and no trace of the client's connection.
    parts.version = Version::HTTP_11;
    parts.extensions = Extensions::new();
    Ok(())
}

/// Removes what is for this gateway alone and what only this gateway may say. A DPoP proof goes
/// with the token that it proves.
fn take_away(headers: &mut HeaderMap, outgoing: &Outgoing<'_>) {
    hop::strip_request(headers);
    outgoing.scrub.strip(headers);
    if !outgoing.keep_authorization {
        headers.remove(AUTHORIZATION);
        headers.remove(DPOP);
    }
}

/// Writes the framing from the body as it was read, whatever the fields said (RFC 9112 §6.3).
/// hyper would send a GET of unknown length without its body unless it is told to send chunks.
fn frame(headers: &mut HeaderMap, framing: Framing) {
    match framing {
        Framing::Empty if headers.contains_key(CONTENT_LENGTH) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Framing::Empty => {}
        Framing::Exact(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::Chunked => {
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// HTTP/2 clients may send a cookie in crumbs; HTTP/1.1 has one line (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    join(headers, COOKIE, b"; ");
}

/// Says by which protocol the request came (RFC 9110 §7.6.3), and ends loops.
fn add_via(headers: &mut HeaderMap, received: Version) -> Result<(), Rejection> {
    let ours = match received {
        Version::HTTP_2 => "2.0 scopegate",
        Version::HTTP_10 => "1.0 scopegate",
        _ => "1.1 scopegate",
    };
    let lines = headers.get_all(VIA).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if members.filter(|member| is_ours(member)).count() >= MOST_PASSES {
        return Err(Rejection::MalformedRequest("the request has passed this gateway too often"));
    }
    headers.append(VIA, HeaderValue::from_static(ours));
    join(headers, VIA, b", ");
    Ok(())
}

fn is_ours(member: &[u8]) -> bool {
    let mut words = member.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(PSEUDONYM.as_bytes()))
}

/// Makes one line of several.
fn join(headers: &mut HeaderMap, name: HeaderName, separator: &[u8]) {
    let Entry::Occupied(mut lines) = headers.entry(name) else { return };
    if lines.iter().nth(1).is_none() {
        return;
    }
    let values: Vec<&[u8]> = lines.iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::try_from(values.join(separator)) {
        lines.insert(joined);
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const DPOP: HeaderName = HeaderName::from_static("dpop");
const PSEUDONYM: &str = "scopegate";
const MOST_PASSES: usize = 10;
