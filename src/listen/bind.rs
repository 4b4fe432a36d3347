//! Binding addresses, once for each worker, and saying who has them if that fails.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::owner::owner_of;

/// An address cannot be listened on, or the threads for it cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("cannot listen on {address}: in use{by}\nhelp: {flag} {other}")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// ` by process 4121 (node)`, or nothing if it cannot be found out.
        by: String,
        /// The option that changes it.
        flag: &'static str,
        /// An address that may be free.
        other: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {cause}{}", help(cause, flag))]
    Refused {
        /// The address.
        address: SocketAddr,
        /// The option that changes it.
        flag: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// No thread, or no runtime for it.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

/// The sockets of one worker, one for each address.
pub(super) type Set = Vec<TcpListener>;

/// Binds every address `workers` times.
pub(super) fn bind(
    addresses: &[SocketAddr],
    workers: usize,
    flag: &'static str,
) -> Result<Vec<Set>, ListenError> {
    let mut sets: Vec<Set> = (0..workers).map(|_| Vec::with_capacity(addresses.len())).collect();
    for &address in addresses {
        let only_v6 = addresses.iter().any(|other| is_v4_twin(*other, address));
        probe(address, only_v6).map_err(|cause| explain(address, flag, cause))?;
        let mut address = address;
        for set in &mut sets {
            let socket = listen(address, only_v6).map_err(|cause| explain(address, flag, cause))?;
            // The first socket picks the port for all.
            address = socket.local_addr()?;
            set.push(socket);
        }
    }
    Ok(sets)
}

/// The addresses that the sockets have, with ports.
pub(super) fn bound_addresses(sets: &[Set]) -> Result<Vec<SocketAddr>, ListenError> {
    let first = sets.first().map(Vec::as_slice).unwrap_or_default();
    Ok(first.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?)
}

/// Binds without `SO_REUSEPORT`, which fails if anybody listens there. With it, a second gateway
/// of the same user would silently get half of the connections.
fn probe(address: SocketAddr, only_v6: bool) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    socket(address, only_v6)?.bind(&address.into())
}

fn listen(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = socket(address, only_v6)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Connections of a gateway that has just ended do not keep the port.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Whether `v6`, which takes IPv4 connections too where the system lets it, must leave them to
/// `other`.
fn is_v4_twin(other: SocketAddr, v6: SocketAddr) -> bool {
    v6.is_ipv6() && other.is_ipv4() && other.port() == v6.port()
}

fn explain(address: SocketAddr, flag: &'static str, cause: io::Error) -> ListenError {
    if cause.kind() != io::ErrorKind::AddrInUse {
        return ListenError::Refused { address, flag, cause };
    }
    let by = owner_of(address).map(|owner| format!(" by {owner}")).unwrap_or_default();
    let port = address.port();
    let other = SocketAddr::new(address.ip(), port.checked_add(10).unwrap_or(port - 10));
    ListenError::InUse { address, by, flag, other }
}

fn help(cause: &io::Error, flag: &str) -> String {
    let why = if cause.kind() == io::ErrorKind::PermissionDenied {
        "ports below 1024 need CAP_NET_BIND_SERVICE"
    } else if cause.kind() == io::ErrorKind::AddrNotAvailable {
        "this machine has no such address"
    } else {
        return String::new();
    };
    format!("\nhelp: {why}; {flag} takes another")
}

/// Whether a listener on `bound` gets the connections made to `address`.
pub(super) fn covers(bound: SocketAddr, address: SocketAddr) -> bool {
    let everywhere = |ip: IpAddr| ip.is_unspecified();
    bound.port() == address.port()
        && (bound.ip().to_canonical() == address.ip().to_canonical()
            || everywhere(bound.ip())
            || everywhere(address.ip()))
}

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn workers_share_the_port_that_the_first_takes() {
        let sets = bind(&[loopback(), loopback()], 3, "--listen").unwrap();
        let addresses = bound_addresses(&sets).unwrap();
        assert_eq!(addresses.len(), 2);
        assert_ne!(addresses[0], addresses[1]);
        for set in &sets {
            let of_set: Vec<_> = set.iter().map(|socket| socket.local_addr().unwrap()).collect();
            assert_eq!(of_set, addresses);
        }
    }

    #[test]
    fn a_port_in_use_is_refused_and_its_owner_named() {
        let first = bind(&[loopback()], 2, "--listen").unwrap();
        let address = bound_addresses(&first).unwrap()[0];
        let error = bind(&[address], 2, "--listen").unwrap_err().to_string();
        let own = std::process::id();
        let start = format!("cannot listen on {address}: in use by process {own} (");
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains("\nhelp: --listen 127.0.0.1:"), "{error}");
    }

    #[test]
    fn a_foreign_address_is_refused_with_help() {
        let error = bind(&["192.0.2.1:0".parse().unwrap()], 1, "--listen").unwrap_err().to_string();
        assert!(error.contains("this machine has no such address"), "{error}");
    }
}
