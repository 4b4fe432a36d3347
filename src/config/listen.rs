//! Where to accept connections: an address, a unix socket, or what the service manager passes.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::is_loopback;
use super::network::parse_address;
use super::reading::Fault;

/// A place to accept connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// `unix:/run/gw.sock`, with `|0660` behind it for its mode.
    Unix(UnixSocket),
    /// `systemd:NAME`: the sockets that the service manager passes by this name
    /// (`FileDescriptorName=`).
    Systemd(String),
}

/// A unix socket that the gateway makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// Its absolute path.
    pub path: PathBuf,
    /// Who may connect, as the bits of its file. Default 0660: owner and group.
    pub mode: u32,
}

impl Listen {
    /// Whether it is known that other machines reach it. Of a socket that is passed, only the start
    /// can tell.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        match self {
            Self::Tcp(address) => !is_loopback(address.ip()),
            Self::Unix(_) | Self::Systemd(_) => false,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(socket) => write!(f, "unix:{}", socket.path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_listen(text).map_err(|fault| format!("it {}: {}", fault.what, fault.label))
    }
}

/// `0.0.0.0:8443`, `unix:/run/gw.sock`, `unix:/run/gw.sock|0660` or `systemd:NAME`.
pub(super) fn parse_listen(text: &str) -> Result<Listen, Fault> {
    if let Some(rest) = text.strip_prefix("unix:") {
        return parse_unix(rest).map(Listen::Unix);
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        return parse_name(name).map(|name| Listen::Systemd(name.to_owned()));
    }
    parse_address(text).map(Listen::Tcp)
}

fn parse_unix(text: &str) -> Result<UnixSocket, Fault> {
    let (path, mode) = match text.rsplit_once('|') {
        Some((path, mode)) => (path, parse_mode(mode)?),
        None => (text, DEFAULT_MODE),
    };
    if !path.starts_with('/') || path.ends_with('/') {
        let label = "expected `unix:/run/gw.sock`";
        return Err(Fault::new("E008", "is not an absolute path of a file", label));
    }
    if path.len() > LONGEST_PATH {
        let label = format!("expected at most {LONGEST_PATH} bytes");
        return Err(Fault::new("E008", "has a path that is too long for a socket", label));
    }
    Ok(UnixSocket { path: path.into(), mode })
}

fn parse_mode(text: &str) -> Result<u32, Fault> {
    let digits = text.len() >= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.ok_or_else(|| {
        Fault::new("E008", "has no mode behind `|`", "expected octal digits, such as `|0660`")
    })
}

/// systemd.socket(5): ASCII without control characters and colons, at most 255.
fn parse_name(name: &str) -> Result<&str, Fault> {
    let fits = (1..=255).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Ok(name);
    }
    let label = "expected the `FileDescriptorName=` of a socket unit";
    Err(Fault::new("E008", "has no name of a socket", label))
}

/// The owner and the group of the file may connect.
const DEFAULT_MODE: u32 = 0o660;

/// What the kernel takes, less what the name of a file that becomes the socket has in addition.
const LONGEST_PATH: usize = 90;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_written() {
        for text in ["127.0.0.1:80", "unix:/run/gw.sock", "systemd:web"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        let socket = |text: &str| match text.parse::<Listen>() {
            Ok(Listen::Unix(socket)) => socket,
            other => panic!("{other:?}"),
        };
        assert_eq!(socket("unix:/run/gw.sock").mode, 0o660);
        assert_eq!(socket("unix:/run/gw.sock|0600").mode, 0o600);
        assert_eq!(socket("unix:/run/a|b.sock|666").path, PathBuf::from("/run/a|b.sock"));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let long = format!("unix:/{}", "x".repeat(90));
        for text in [
            "unix:",
            "unix:gw.sock",
            "unix:/run/",
            "unix:/a|",
            "unix:/a|9999",
            "unix:/a|1777",
            "systemd:",
            "systemd:a b",
            "systemd:a:b",
            "localhost:80",
            &long,
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_addresses_are_known_to_be_exposed() {
        assert!("0.0.0.0:1".parse::<Listen>().unwrap().is_exposed());
        for text in ["[::1]:1", "unix:/a", "systemd:a"] {
            assert!(!text.parse::<Listen>().unwrap().is_exposed(), "{text}");
        }
    }
}
