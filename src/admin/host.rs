//! The guard against DNS rebinding.

use std::net::{IpAddr, Ipv6Addr};

use http::Request;
use http::header::HOST;
use http::uri::Authority;

/// Whether a request names this listener by an address or as `localhost`. A web page can make a
/// browser resolve its own name to 127.0.0.1 and then read answers as its own, but it cannot make
/// the browser send another name than its own.
pub(super) fn is_ours<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = Authority::try_from(host.as_bytes()) else { return false };
    let target = request.uri().authority();
    is_address(host.host()) && target.is_none_or(|target| is_address(target.host()))
}

fn is_address(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(target: &str, hosts: &[&str]) -> bool {
        let builder = hosts.iter().fold(Request::get(target), |b, host| b.header(HOST, *host));
        is_ours(&builder.body(()).unwrap())
    }

    #[test]
    fn addresses_and_localhost_are_ours() {
        for host in ["127.0.0.1:8081", "localhost", "LOCALHOST:1", "[::1]:8081", "10.1.2.3"] {
            assert!(asks("/", &[host]), "{host}");
        }
        assert!(asks("http://127.0.0.1/metrics", &["127.0.0.1"]));
    }

    #[test]
    fn names_and_nonsense_are_not() {
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "a b"]
        {
            assert!(!asks("/", &[host]), "{host}");
        }
        assert!(!asks("/", &[]));
        assert!(!asks("/", &["localhost", "evil.example"]));
        assert!(!asks("http://evil.example/", &["localhost"]));
    }
}
