//! `Forwarded`, `X-Forwarded-*` and `X-Real-IP` of the outgoing request (RFC 7239).
//!
//! All are written from the same facts, so that no two of them tell different stories. What came
//! in is kept only from a trusted peer: its hops as addresses, and the scheme, host and port that
//! the client used. Other parameters of `Forwarded` (`by`, extensions) are not passed on.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::origin::{X_FORWARDED_FOR, elements, hops};
use super::{Origin, Outgoing};

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
        let parameter = |name| elements.iter().rev().find_map(|element| element.parameter(name));
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
pub(super) fn write(headers: &mut HeaderMap, told: Option<Told>, outgoing: &Outgoing<'_>) {
    let origin = &outgoing.origin;
    let nearest = origin.peer.ip().to_canonical();
    let told = told.unwrap_or(Told { hops: Vec::new(), secure: None, host: None, port: None });
    let secure = told.secure.unwrap_or(origin.secure);
    let host = told.host.as_ref().unwrap_or(&outgoing.host);

    let chain = if told.hops.is_empty() { None } else { text_value(chain(&told.hops, nearest)) };
    let client = text_value(origin.client.to_string());
    set(headers, X_FORWARDED_FOR, chain.or_else(|| client.clone()));
    set(headers, X_REAL_IP, client);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme(secure)));
    headers.insert(X_FORWARDED_HOST, host.clone());
    headers.insert(X_FORWARDED_PORT, told.port.unwrap_or_else(|| port_of(host, secure)));

    let mut line = String::with_capacity(96);
    for (index, hop) in told.hops.iter().enumerate() {
        // The scheme and host that were told are those of the first hop.
        let facts = (index == 0).then_some((host, secure));
        element(&mut line, *hop, facts);
    }
    element(&mut line, Some(nearest), Some((&outgoing.host, origin.secure)));
    set(headers, FORWARDED, text_value(line));
}

/// One element per hop; IPv6 in brackets and quotes, for the colon is not a token (RFC 7239 §6).
fn element(line: &mut String, hop: Option<IpAddr>, facts: Option<(&HeaderValue, bool)>) {
    let comma = if line.is_empty() { "" } else { ", " };
    let written = match hop {
        Some(IpAddr::V4(address)) => write!(line, "{comma}for={address}"),
        Some(IpAddr::V6(address)) => write!(line, "{comma}for=\"[{address}]\""),
        None => write!(line, "{comma}for=unknown"),
    };
    let Some((host, secure)) = facts else { return written.expect(STRING) };
    if let Some(host) = host.to_str().ok().filter(|host| is_host(host.as_bytes())) {
        write!(line, ";host=\"{host}\"").expect(STRING);
    }
    write!(line, ";proto={}", scheme(secure)).expect(STRING);
}

fn chain(hops: &[Option<IpAddr>], nearest: IpAddr) -> String {
    let mut line = String::with_capacity(64);
    for hop in hops {
        match hop {
            Some(address) => write!(line, "{address}, ").expect(STRING),
            None => line.push_str("unknown, "),
        }
    }
    write!(line, "{nearest}").expect(STRING);
    line
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

fn text_value(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
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
fn port_of(host: &HeaderValue, secure: bool) -> HeaderValue {
    let host = host.as_bytes();
    let colon = host.iter().rposition(|byte| *byte == b':');
    let port = colon.map(|colon| &host[colon + 1..]).filter(|port| is_port(port));
    let written = port.and_then(|port| HeaderValue::from_bytes(port).ok());
    written.unwrap_or(HeaderValue::from_static(if secure { "443" } else { "80" }))
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const STRING: &str = "writing to a String cannot fail";
