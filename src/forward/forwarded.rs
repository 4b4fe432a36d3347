//! `Forwarded`, `X-Forwarded-*` and `X-Real-IP` of the outgoing request (RFC 7239).
//!
//! All are written from the same facts, so that no two of them tell different stories. What came
//! in is kept only from a trusted peer: its hops as addresses, and the scheme, host and port that
//! the client used. Other parameters of `Forwarded` (`by`, extensions) are not passed on.

use std::net::IpAddr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::origin::{X_FORWARDED_FOR, elements, hops};
use super::{Origin, Outgoing};
use crate::http1::fields::{begin, line};

/// What a trusted peer told of the way to it.
pub(super) struct Told {
    hops: Vec<Option<IpAddr>>,
    secure: Option<bool>,
    host: Option<HeaderValue>,
    port: Option<HeaderValue>,
}

impl Told {
    /// Reads the fields before they are stripped; `None` if the peer is not trusted.
    pub(super) fn read(headers: &HeaderMap, origin: &Origin) -> Option<Self> {
        if !origin.trusted {
            return None;
        }
        // `Forwarded` beside `X-Forwarded-For` may be the client's own: see `Origin::of`.
        // The right-most element is the trusted peer's; those before it may be anyone's.
        let beside = headers.contains_key(X_FORWARDED_FOR);
        let elements = if beside { Vec::new() } else { elements(headers) };
        let parameter = |name| elements.last().and_then(|element| element.parameter(name));
        let proto = single(headers, &X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        let host = single(headers, &X_FORWARDED_HOST).map(HeaderValue::as_bytes);
        let port = single(headers, &X_FORWARDED_PORT).filter(|port| is_port(port.as_bytes()));
        Some(Self {
            hops: hops(headers),
            secure: proto.or_else(|| parameter("proto")).and_then(is_https),
            host: host.or_else(|| parameter("host")).and_then(host_value),
            port: port.cloned(),
        })
    }
}

/// Writes the fields: for this hop alone, or behind what a trusted peer told.
pub(super) fn write(out: &mut Vec<u8>, told: Option<Told>, outgoing: &Outgoing<'_>) {
    match told {
        None => write_own(out, outgoing),
        Some(told) => write_behind(out, &told, outgoing),
    }
}

/// This hop is the first that anybody vouches for: the client is the peer, whose address is at
/// hand as text.
fn write_own(out: &mut Vec<u8>, outgoing: &Outgoing<'_>) {
    let secure = outgoing.origin.secure;
    line(out, &X_FORWARDED_FOR, outgoing.peer_ip.as_bytes());
    line(out, &X_REAL_IP, outgoing.peer_ip.as_bytes());
    line(out, &X_FORWARDED_PROTO, scheme(secure));
    line(out, &X_FORWARDED_HOST, outgoing.host.as_bytes());
    line(out, &X_FORWARDED_PORT, port_of(outgoing.host.as_bytes(), secure));
    begin(out, &FORWARDED);
    own_element(out, outgoing);
    out.extend_from_slice(b"\r\n");
}

fn write_behind(out: &mut Vec<u8>, told: &Told, outgoing: &Outgoing<'_>) {
    let origin = &outgoing.origin;
    let secure = told.secure.unwrap_or(origin.secure);
    let host = told.host.as_ref().unwrap_or(&outgoing.host).as_bytes();
    let nearest = origin.peer.ip().to_canonical();
    // The peer's own text: one of a unix socket has no address.
    let client = match origin.client == nearest {
        true => outgoing.peer_ip.to_str().unwrap_or("unknown").to_owned(),
        false => origin.client.to_string(),
    };
    let chain = if told.hops.is_empty() { client.clone() } else { chain(&told.hops, outgoing) };
    let port = told.port.as_ref().map_or(port_of(host, secure), HeaderValue::as_bytes);
    line(out, &X_FORWARDED_FOR, chain.as_bytes());
    line(out, &X_REAL_IP, client.as_bytes());
    line(out, &X_FORWARDED_PROTO, scheme(secure));
    line(out, &X_FORWARDED_HOST, host);
    line(out, &X_FORWARDED_PORT, port);

    begin(out, &FORWARDED);
    for (index, hop) in told.hops.iter().enumerate() {
        let text = hop.map(|address| address.to_string());
        node(out, hop.zip(text.as_deref().map(str::as_bytes)));
        // The scheme and host that were told are those of the first hop.
        if index == 0 {
            facts(out, host, secure);
        }
        out.extend_from_slice(b", ");
    }
    own_element(out, outgoing);
    out.extend_from_slice(b"\r\n");
}

/// The element of this hop.
fn own_element(out: &mut Vec<u8>, outgoing: &Outgoing<'_>) {
    let nearest = outgoing.origin.peer.ip().to_canonical();
    node(out, Some((nearest, outgoing.peer_ip.as_bytes())));
    facts(out, outgoing.host.as_bytes(), outgoing.origin.secure);
}

/// Begins an element; IPv6 in brackets and quotes, for the colon is not a token (RFC 7239 §6).
fn node(out: &mut Vec<u8>, hop: Option<(IpAddr, &[u8])>) {
    let parts: [&[u8]; 3] = match hop {
        Some((IpAddr::V4(_), address)) => [b"for=", address, b""],
        Some((IpAddr::V6(_), address)) => [b"for=\"[", address, b"]\""],
        None => [b"for=unknown", b"", b""],
    };
    parts.into_iter().for_each(|part| out.extend_from_slice(part));
}

fn facts(out: &mut Vec<u8>, host: &[u8], secure: bool) {
    if is_host(host) {
        let parts: [&[u8]; 3] = [b";host=\"", host, b"\""];
        parts.into_iter().for_each(|part| out.extend_from_slice(part));
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(scheme(secure));
}

fn chain(hops: &[Option<IpAddr>], outgoing: &Outgoing<'_>) -> String {
    let mut line = String::with_capacity(64);
    for hop in hops {
        let hop = hop.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        line.extend([hop.as_str(), ", "]);
    }
    line.push_str(outgoing.peer_ip.to_str().unwrap_or("unknown"));
    line
}

/// The field's value if it has exactly one line.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

fn is_https(proto: &[u8]) -> Option<bool> {
    let is = |name: &str| proto.eq_ignore_ascii_case(name.as_bytes());
    if is("https") { Some(true) } else { is("http").then_some(false) }
}

fn host_value(host: &[u8]) -> Option<HeaderValue> {
    is_host(host).then(|| HeaderValue::from_bytes(host).ok()).flatten()
}

/// Letters, digits and what hosts and ports are made of: nothing that ends a quoted string.
fn is_host(host: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(byte);
    !host.is_empty() && host.iter().all(allowed)
}

fn is_port(port: &[u8]) -> bool {
    std::str::from_utf8(port)
        .is_ok_and(|text| text.parse::<u16>().is_ok() && !text.starts_with('+'))
}

/// The port behind a host's last colon, else the scheme's.
fn port_of(host: &[u8], secure: bool) -> &[u8] {
    let colon = host.iter().rposition(|byte| *byte == b':');
    let port = colon.map(|colon| &host[colon + 1..]).filter(|port| is_port(port));
    port.unwrap_or(if secure { b"443" } else { b"80" })
}

fn scheme(secure: bool) -> &'static [u8] {
    if secure { b"https" } else { b"http" }
}

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
