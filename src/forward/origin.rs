//! Where a request came from, by the word of trusted proxies.

use std::net::{IpAddr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

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
    ///
    /// `X-Forwarded-For` is read when it is there, `Forwarded` only without it. Most proxies keep
    /// the first and pass the second on as the client wrote it, so that a client behind them could
    /// choose its own address if `Forwarded` won. A proxy that keeps only `Forwarded` must drop
    /// its clients' `X-Forwarded-For`.
    ///
    /// IPv4-mapped IPv6 addresses are taken as IPv4, in the peer's address too.
    #[must_use]
    pub fn of(peer: SocketAddr, secure: bool, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let nearest = peer.ip().to_canonical();
        let believed = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
        if !believed(nearest) {
            return Self { peer, client: nearest, trusted: false, secure };
        }
        let mut client = nearest;
        for hop in hops(headers).into_iter().rev() {
            let Some(address) = hop else { break };
            client = address;
            if !believed(address) {
                break;
            }
        }
        Self { peer, client, trusted: true, secure }
    }
}

/// The hops that the forwarding fields name, the client's first; `None` stands for what is not an
/// address. Empty list members are none at all (RFC 9110 §5.6.1.2).
///
/// Of very many, those nearest to the gateway: what is left of them the client wrote, and each is
/// told on in two fields that are longer than `x,`.
pub(super) fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    if !headers.contains_key(X_FORWARDED_FOR) {
        return elements(headers).iter().map(|element| element.node()).collect();
    }
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let members = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    nearest(members.collect()).into_iter().map(address).collect()
}

/// The elements of all `Forwarded` lines (RFC 7239 §4), the nearest of them.
pub(super) fn elements(headers: &HeaderMap) -> Vec<Element<'_>> {
    let lines = headers.get_all(FORWARDED).iter();
    let members = lines.flat_map(|line| split_unquoted(line.as_bytes(), b','));
    let members = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    nearest(members.collect()).into_iter().map(Element).collect()
}

fn nearest<T>(mut all: Vec<T>) -> Vec<T> {
    all.split_off(all.len().saturating_sub(MOST_HOPS))
}

/// One element of `Forwarded`: what one proxy said.
pub(super) struct Element<'h>(&'h [u8]);

impl Element<'_> {
    /// The `for` parameter, if it is an address.
    fn node(&self) -> Option<IpAddr> {
        self.parameter("for").and_then(address)
    }

    /// The value of a parameter without its quotes. A value with escapes in it is taken as absent:
    /// no address, scheme or host needs one.
    pub(super) fn parameter(&self, name: &str) -> Option<&[u8]> {
        split_unquoted(self.0, b';').into_iter().find_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
            key.eq_ignore_ascii_case(name.as_bytes()).then(|| unquoted(value)).flatten()
        })
    }
}

/// Splits at `separator` outside of quoted strings (RFC 9110 §5.6.4). A quote that is never closed
/// makes everything one piece: who wrote it may have meant to swallow what a proxy appended.
fn split_unquoted(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let pieces = text.split(|byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'\\' if quoted && !was_escaped => escaped = true,
            b'"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        !quoted && *byte == separator
    });
    let pieces: Vec<&[u8]> = pieces.collect();
    if quoted { vec![text] } else { pieces }
}

fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let inner = match value.strip_prefix(b"\"") {
        Some(rest) => rest.strip_suffix(b"\"")?,
        None => value,
    };
    let plain = !inner.is_empty() && !inner.iter().any(|byte| matches!(byte, b'"' | b'\\'));
    plain.then_some(inner)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let plain = bare.unwrap_or(text).parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let address = plain.or_else(with_port).map(|address| address.to_canonical());
    // No packet comes from there; within the gateway it stands for peers of unix sockets.
    address.filter(|address| !address.is_unspecified())
}

/// More than there are proxies between any client and a gateway.
const MOST_HOPS: usize = 50;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(peer: &str, lines: &[(&'static str, &str)], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let peer = SocketAddr::new(peer.parse().unwrap(), 4000);
        Origin::of(peer, false, &headers, &trusted).client.to_string()
    }

    /// FW-06, bypasses 15 and 45: nobody is trusted by default.
    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        let lines = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(client("9.9.9.9", &lines, &[]), "9.9.9.9");
        assert_eq!(client("9.9.9.9", &lines, &["10.0.0.0/8"]), "9.9.9.9");
    }

    /// FW-07: the right-most hop that is not trusted, over all lines.
    #[test]
    fn the_walk_goes_from_the_right_to_the_first_untrusted_hop() {
        let ten = ["10.0.0.0/8"];
        let one_line = [("x-forwarded-for", "1.1.1.1, 10.0.0.1")];
        assert_eq!(client("10.0.0.2", &one_line, &ten), "1.1.1.1");
        assert_eq!(client("10.0.0.2", &one_line, &["10.0.0.2/32"]), "10.0.0.1");
        let spoofed = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1,10.0.0.1")];
        assert_eq!(client("10.0.0.2", &spoofed, &ten), "1.1.1.1");
        assert_eq!(client("10.0.0.2", &[], &ten), "10.0.0.2");
    }

    /// FW-07: garbage stops the walk.
    #[test]
    fn garbage_ends_the_walk_at_the_hop_that_reported_it() {
        let ten = ["10.0.0.0/8"];
        let garbage = [("x-forwarded-for", "1.1.1.1, unknown, 10.0.0.1")];
        assert_eq!(client("10.0.0.2", &garbage, &ten), "10.0.0.1");
        assert_eq!(client("10.0.0.2", &[("x-forwarded-for", "a\u{e9}")], &ten), "10.0.0.2");
        assert_eq!(client("10.0.0.2", &[("forwarded", "for=_hidden")], &ten), "10.0.0.2");
    }

    /// FW-06, RFC 7239 §6: quoted IPv6 with and without a port.
    #[test]
    fn forwarded_is_read_when_it_stands_alone() {
        let ten = ["10.0.0.0/8"];
        let v6 = [("forwarded", r#"for="[2001:db8::1]:47011";proto=https, For=10.0.0.1"#)];
        assert_eq!(client("10.0.0.2", &v6, &ten), "2001:db8::1");
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.1.1.1")];
        assert_eq!(client("10.0.0.2", &both, &ten), "1.1.1.1");
    }

    /// FW-07: an open quote in a client's element, which would swallow the proxy's, makes both
    /// garbage.
    #[test]
    fn an_open_quote_names_nobody() {
        let ten = ["10.0.0.0/8"];
        let open = [("forwarded", r#"for=6.6.6.6;by="x, for=1.1.1.1"#)];
        assert_eq!(client("10.0.0.2", &open, &ten), "10.0.0.2");
        let closed = [("forwarded", r#"for=6.6.6.6;by="x, y\", z", for=1.1.1.1"#)];
        assert_eq!(client("10.0.0.2", &closed, &ten), "1.1.1.1");
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(client("::ffff:9.9.9.9", &[], &[]), "9.9.9.9");
        let line = [("x-forwarded-for", "::ffff:1.1.1.1")];
        assert_eq!(client("::ffff:10.0.0.2", &line, &["10.0.0.0/8"]), "1.1.1.1");
    }
}
