//! Addresses, networks and URLs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::Uri;
use http::uri::Authority;
use ipnet::{IpNet, Ipv4Net};
use rustls_pki_types::ServerName;

use super::reading::Fault;
use super::{TargetAddress, UpstreamTarget, is_loopback};

/// `127.0.0.1:8443` or `[::1]:8443`.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, Fault> {
    text.parse().map_err(|_| {
        let digits = text.trim_start_matches(':');
        let what = "is not an address and a port";
        match digits.parse::<u16>() {
            Ok(port) => Fault::new("E008", what, format!("did you mean `0.0.0.0:{port}`?")),
            Err(_) => Fault::new("E008", what, "expected an IP address, such as `127.0.0.1:8443`"),
        }
    })
}

/// What stands for the address of a peer that has none, since it came over a unix socket. No packet
/// comes from it (RFC 1122 §3.2.1.3), and what fields of requests say of it is not believed.
pub const UNIX_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// `10.0.0.0/8`, one address, or `unix` for the peers of unix sockets. IPv4-mapped networks are
/// read as IPv4, as the addresses are that they are compared with (RFC 4291 §2.5.5.2).
pub(super) fn parse_network(text: &str) -> Result<IpNet, Fault> {
    if text == "unix" {
        return Ok(IpNet::from(UNIX_PEER));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return one_address(address.to_canonical());
    }
    let network: IpNet = text.parse().map_err(|_| {
        Fault::new("E008", "is not a network", "expected `10.0.0.0/8`, `2001:db8::/32`, an address")
    })?;
    if network.addr() != network.network() {
        let label = format!("did you mean `{}`?", network.trunc());
        return Err(Fault::new("E008", "has bits behind its mask", label));
    }
    canonical(network)
}

fn one_address(address: IpAddr) -> Result<IpNet, Fault> {
    if address.is_unspecified() {
        let fault = Fault::new("E008", "is nobody's address", "expected a network, or an address");
        return Err(fault.help(
            "`0.0.0.0/0` is all of IPv4, `::/0` all of IPv6, `unix` the peers of unix sockets",
        ));
    }
    Ok(IpNet::from(address))
}

/// A network in the family of the addresses that it is compared with. `::/0` is all of IPv6 and
/// nothing else, as everywhere. Of another network that holds the mapped addresses among others
/// nobody can say whether it was meant to hold IPv4, and under `not` either reading can open.
fn canonical(network: IpNet) -> Result<IpNet, Fault> {
    let IpNet::V6(six) = network else { return Ok(network) };
    if let Some(four) = six.addr().to_ipv4_mapped()
        && let Some(bits) = six.prefix_len().checked_sub(MAPPED_BITS)
        && let Ok(four) = Ipv4Net::new(four, bits)
    {
        return Ok(IpNet::V4(four));
    }
    if six.prefix_len() > 0 && six.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()) {
        let label = "addresses in `::ffff:0:0/96` are taken as IPv4";
        let fault = Fault::new("E008", "is neither IPv4 nor IPv6 alone", label);
        return Err(fault.help("write the network of IPv4, such as `10.0.0.0/8`, and that of IPv6"));
    }
    Ok(network)
}

/// What stands before the bits of IPv4 in a mapped address.
const MAPPED_BITS: u8 = 96;

/// An absolute URL of a server, without user, query or fragment.
pub(super) fn parse_url(text: &str) -> Result<Uri, Fault> {
    let fault = |what: &'static str, label: &'static str| Fault::new("E022", what, label);
    if text.contains('#') {
        return Err(fault("has a fragment", "`#` and what follows has no meaning here"));
    }
    let uri: Uri =
        text.parse().map_err(|_| fault("is not a URL", "expected `https://host/path`"))?;
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Err(fault("is not an absolute URL", "expected `https://...`"));
    }
    let authority = uri.authority().map_or("", Authority::as_str);
    if authority.contains('@') {
        return Err(fault("has a user in it", "credentials do not belong into a URL"));
    }
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err(fault("has no host", "expected `https://host/path`"));
    }
    // `Uri` keeps a port that is no port, and says that there is none.
    if authority.len() > host.len() && uri.port_u16().is_none() {
        return Err(fault("has no valid port", "expected 1 to 65535"));
    }
    if uri.query().is_some() {
        return Err(fault("has a query", "expected a URL without `?`"));
    }
    Ok(uri)
}

/// Whether a URL is read in plaintext over a network: `http` to a host that is not this one.
pub(super) fn is_exposed(url: &Uri) -> bool {
    if url.scheme_str() != Some("http") {
        return false;
    }
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(address) => !is_loopback(address),
        Err(_) => !host.eq_ignore_ascii_case("localhost"),
    }
}

/// `http://host:port` or `https://host:port` with nothing behind it, or `unix:/path`.
pub(super) fn parse_target(text: &str) -> Result<UpstreamTarget, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return parse_socket(path);
    }
    let url = parse_url(text)?;
    if !matches!(url.path(), "" | "/") {
        return Err(Fault::new("E022", "has a path", "expected `http://host:port` alone"));
    }
    let tls = url.scheme_str() == Some("https");
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    if port == 0 {
        return Err(Fault::new("E022", "has port 0", "expected the backend's port"));
    }
    if tls && ServerName::try_from(host.as_str()).is_err() {
        let label = "no certificate can be for it: expected a DNS name or an address";
        return Err(Fault::new("E022", "has a host without a valid name", label));
    }
    Ok(UpstreamTarget { address: TargetAddress::Tcp { host, port, tls }, weight: 1 })
}

/// The path of a unix socket. The kernel has room for 107 bytes of it.
fn parse_socket(path: &str) -> Result<UpstreamTarget, Fault> {
    let fault = |what: &'static str, label: &'static str| Err(Fault::new("E022", what, label));
    if !path.starts_with('/') || path.ends_with('/') || path.starts_with("//") {
        return fault("has no absolute path", "expected `unix:/run/app.sock`");
    }
    if path.len() > 107 {
        return fault("has a path that is too long", "sockets have paths of up to 107 bytes");
    }
    Ok(UpstreamTarget { address: TargetAddress::Unix(path.into()), weight: 1 })
}

/// The base URL that clients use, without a trailing slash.
pub(super) fn parse_public_url(text: &str) -> Result<String, Fault> {
    parse_url(text)?;
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_have_ports() {
        assert!(parse_address("127.0.0.1:0").is_ok());
        assert!(parse_address("[::]:8443").is_ok());
        assert_eq!(parse_address(":8443").unwrap_err().label, "did you mean `0.0.0.0:8443`?");
        assert!(parse_address("localhost:8443").is_err());
    }

    #[test]
    fn networks_have_no_bits_behind_the_mask() {
        assert_eq!(parse_network("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert!(parse_network("10.0.0.0/8").is_ok());
        assert!(parse_network("unix").unwrap().contains(&UNIX_PEER));
        assert_eq!(parse_network("10.1.0.0/8").unwrap_err().label, "did you mean `10.0.0.0/8`?");
        assert!(parse_network("10.0.0.0/33").is_err());
    }

    #[test]
    fn mapped_networks_are_ipv4() {
        let shown = |text: &str| parse_network(text).map(|network| network.to_string());
        for (text, expected) in [
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:c000:200/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2000::/3", "2000::/3"),
            ("::1", "::1/128"),
            ("64:ff9b::/96", "64:ff9b::/96"),
        ] {
            assert_eq!(shown(text), Ok(expected.to_owned()), "{text}");
        }
        for text in ["::/1", "::/80", "::ffff:0:0/95", "::fffe:0:0/95", "::ffff:192.0.2.1/120"] {
            assert_eq!(parse_network(text).unwrap_err().code, "E008", "{text}");
        }
        for text in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(parse_network(text).unwrap_err().what, "is nobody's address", "{text}");
        }
    }

    proptest! {
        /// Whatever network is accepted, an address and its mapped form are in it or are not.
        #[test]
        fn an_address_is_in_a_network_however_it_is_written(bits in any::<u32>(), prefix in 0u8..=32) {
            let address = Ipv4Addr::from(bits);
            let four = Ipv4Net::new(address, prefix).unwrap().trunc();
            let mapped = format!("{}/{}", four.addr().to_ipv6_mapped(), prefix + MAPPED_BITS);
            let read = parse_network(&mapped).unwrap();
            prop_assert_eq!(read, IpNet::V4(four));
            prop_assert!(read.contains(&IpAddr::V6(address.to_ipv6_mapped()).to_canonical()));
        }
    }

    #[test]
    fn urls_are_absolute_and_bare() {
        assert!(parse_url("https://id.example.com/realms/prod").is_ok());
        for text in [
            "id.example.com",
            "/x",
            "https://",
            "https://u:p@h/",
            "https://h/?q",
            "https://h/#f",
            "ftp://h/",
            "https://h:/",
            "https://a b/",
            "",
        ] {
            assert_eq!(parse_url(text).unwrap_err().code, "E022", "{text}");
        }
    }

    #[test]
    fn plaintext_is_for_loopback() {
        let exposed = |text: &str| is_exposed(&parse_url(text).unwrap());
        assert!(exposed("http://id.example.com/"));
        assert!(exposed("http://10.0.0.1/"));
        assert!(exposed("http://localhost.example.com/"));
        assert!(!exposed("http://127.0.0.1:8082/"));
        assert!(!exposed("http://[::1]/"));
        assert!(!exposed("http://localhost:8082"));
        assert!(!exposed("https://id.example.com/"));
    }

    #[test]
    fn targets_are_host_and_port() {
        let url = |text: &str| parse_target(text).unwrap().address.url();
        assert_eq!(url("http://[::1]:3000/"), "http://[::1]:3000");
        assert_eq!(url("http://Orders"), "http://orders:80");
        assert_eq!(url("https://orders"), "https://orders:443");
        assert_eq!(url("https://10.0.0.1:8443"), "https://10.0.0.1:8443");
        assert_eq!(url("unix:/run/x"), "unix:/run/x");
        assert!(parse_target("https://orders").unwrap().address.is_secured());
        for text in ["unix:run/x", "unix:", "unix:/", "unix://run/x", "https://a_b..c"] {
            assert_eq!(parse_target(text).unwrap_err().code, "E022", "{text}");
        }
        assert!(parse_target(&format!("unix:/{}", "x".repeat(107))).is_err());
        assert_eq!(parse_target("http://orders/v1").unwrap_err().code, "E022");
        assert_eq!(parse_target("http://orders:0").unwrap_err().code, "E022");
        assert_eq!(parse_target("http://orders:99999").unwrap_err().code, "E022");
    }
}
