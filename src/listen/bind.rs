//! Binding addresses, once for each worker, and saying who has them if that fails.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

use socket2::{Domain, Protocol, Socket as NewSocket, Type};

use super::Setup;
use super::accept::Ending;
use super::door::Socket;
use super::owner::owner_of;
use super::unix::{self, Fault, SocketFile};
use crate::config::{Listen, UnixSocket};

/// An address cannot be listened on, or the threads for it cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("cannot listen on {place}: in use{by}\nhelp: {flag} {other}")]
    InUse {
        /// Where.
        place: String,
        /// ` by process 4121 (node)`, or nothing if it cannot be found out.
        by: String,
        /// The option that changes it.
        flag: &'static str,
        /// A place that may be free.
        other: String,
    },
    /// A file that is no socket is in the way.
    #[error(
        "cannot listen on {place}: there is a file that is not a socket\nhelp: {flag} takes another"
    )]
    NotASocket {
        /// Where.
        place: String,
        /// The option that changes it.
        flag: &'static str,
    },
    /// The service manager passed no socket of this name.
    #[error(
        "cannot listen on systemd:{name}: the service manager passed no socket of this name\n\
         help: {passed}; `FileDescriptorName={name}` in the socket unit names one"
    )]
    NotPassed {
        /// The name.
        name: String,
        /// What was passed, in words.
        passed: String,
    },
    /// What the service manager passed by this name cannot accept connections.
    #[error(
        "cannot listen on systemd:{name}: what was passed is not a listening stream socket\n\
         help: the socket unit needs `ListenStream=` and `Accept=no`"
    )]
    Unfit {
        /// The name.
        name: String,
    },
    /// Anything else.
    #[error("cannot listen on {place}: {cause}{}", help(cause, flag))]
    Refused {
        /// Where.
        place: String,
        /// The option that changes it.
        flag: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// No thread, or no runtime for it.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

/// Where connections are accepted, now that it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address, with the port that was taken for 0.
    Tcp(SocketAddr),
    /// The path of a unix socket; empty if it has none.
    Unix(PathBuf),
}

impl Place {
    /// The address, if it has one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The sockets of one worker, each with the index of its listener.
pub(super) type Set = Vec<(usize, Socket)>;

/// Everything that was bound.
pub(super) struct Bound {
    /// One for each worker.
    pub(super) sets: Vec<Set>,
    /// Where, in the order of the setup.
    pub(super) places: Vec<Place>,
    /// The addresses that this process alone has bound.
    pub(super) own: Vec<SocketAddr>,
    /// What becomes of each listener's sockets.
    pub(super) endings: Vec<Ending>,
    /// The files that were made for it.
    pub(super) files: Vec<SocketFile>,
    /// The option that changes the addresses.
    flag: &'static str,
}

/// Binds every place of the setup for each of `workers`; nobody can connect to them yet.
pub(super) fn bind(setup: &Setup, workers: usize) -> Result<Bound, ListenError> {
    let sets = (0..workers).map(|_| Vec::with_capacity(setup.addresses.len())).collect();
    let mut bound = Bound {
        sets,
        places: Vec::new(),
        own: Vec::new(),
        endings: Vec::new(),
        files: Vec::new(),
        flag: setup.flag,
    };
    for (index, listen) in setup.addresses.iter().enumerate() {
        match listen {
            Listen::Tcp(address) => bound.tcp(setup, index, *address)?,
            Listen::Unix(socket) => bound.unix(setup, index, socket)?,
            Listen::Systemd(name) => bound.inherited(setup, index, name)?,
        }
    }
    Ok(bound)
}

impl Bound {
    /// Lets clients connect. Whoever else listens shares with this process from here on, and what
    /// is queued here is lost if it ends: so it comes last, when nothing else can fail.
    pub(super) fn listen(&mut self) -> Result<(), ListenError> {
        for (index, socket) in self.sets.iter().flatten() {
            match socket {
                Socket::Tcp(socket) if self.endings.get(*index) == Some(&Ending::Closes) => {
                    let address = socket.local_addr()?;
                    let listening = socket2::SockRef::from(socket).listen(BACKLOG);
                    listening.map_err(|cause| explain(address, self.flag, cause))?;
                }
                Socket::Tcp(_) | Socket::Unix(_) => {}
            }
        }
        for file in &mut self.files {
            let placed = file.place();
            placed.map_err(|cause| explain_file(file, self.flag, cause))?;
        }
        Ok(())
    }

    fn tcp(&mut self, setup: &Setup, index: usize, address: SocketAddr) -> Result<(), ListenError> {
        let flag = setup.flag;
        let only_v6 = setup.addresses.iter().any(|other| is_v4_twin(other, address));
        if !setup.takeover {
            probe(address, only_v6).map_err(|cause| explain(address, flag, cause))?;
        }
        let mut address = address;
        for set in &mut self.sets {
            let socket = reserve(address, only_v6, setup.takeover)
                .map_err(|cause| explain(address, flag, cause))?;
            // The first socket picks the port for all.
            address = socket.local_addr()?;
            set.push((index, Socket::Tcp(socket)));
        }
        self.places.push(Place::Tcp(address));
        self.own.push(address);
        self.endings.push(Ending::Closes);
        Ok(())
    }

    fn unix(
        &mut self,
        setup: &Setup,
        index: usize,
        socket: &UnixSocket,
    ) -> Result<(), ListenError> {
        let opened = unix::listen(socket, setup.takeover);
        let (listener, file) = opened.map_err(|fault| explain_unix(socket, setup.flag, fault))?;
        self.share(index, &Socket::Unix(listener))?;
        self.files.push(file);
        self.endings.push(Ending::Closes);
        Ok(())
    }

    fn inherited(&mut self, setup: &Setup, index: usize, name: &str) -> Result<(), ListenError> {
        for socket in setup.inherited.find(name)? {
            self.share(index, &socket)?;
        }
        self.endings.push(Ending::Stays);
        Ok(())
    }

    /// Gives every worker the same socket: there is one queue, and whoever is free takes from it.
    fn share(&mut self, index: usize, socket: &Socket) -> io::Result<()> {
        for set in &mut self.sets {
            set.push((index, socket.share()?));
        }
        self.places.push(match socket {
            Socket::Tcp(socket) => Place::Tcp(socket.local_addr()?),
            Socket::Unix(socket) => {
                let address = socket.local_addr()?;
                Place::Unix(address.as_pathname().map(PathBuf::from).unwrap_or_default())
            }
        });
        Ok(())
    }
}

/// Binds without `SO_REUSEPORT`, which fails if anybody listens there. With it, a second gateway
/// of the same user would silently get half of the connections.
fn probe(address: SocketAddr, only_v6: bool) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    socket(address, only_v6)?.bind(&address.into())
}

/// A socket that keeps the address, so that it is known before anything else changes that this
/// process can have it. Beside another gateway it does not listen yet: whoever connected would be
/// lost if this one could not start. Alone it does, for only that shows others that it is taken.
fn reserve(address: SocketAddr, only_v6: bool, takeover: bool) -> io::Result<TcpListener> {
    let socket = socket(address, only_v6)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    if !takeover {
        socket.listen(BACKLOG)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, only_v6: bool) -> io::Result<NewSocket> {
    let domain = Domain::for_address(address);
    let socket = NewSocket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Connections of a gateway that has just ended do not keep the port.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Whether `v6`, which takes IPv4 connections too where the system lets it, must leave them to
/// `other`.
fn is_v4_twin(other: &Listen, v6: SocketAddr) -> bool {
    match other {
        Listen::Tcp(other) => v6.is_ipv6() && other.is_ipv4() && other.port() == v6.port(),
        Listen::Unix(_) | Listen::Systemd(_) => false,
    }
}

fn explain(address: SocketAddr, flag: &'static str, cause: io::Error) -> ListenError {
    let place = address.to_string();
    if cause.kind() != io::ErrorKind::AddrInUse {
        return ListenError::Refused { place, flag, cause };
    }
    let by = owner_of(address).map(|owner| format!(" by {owner}")).unwrap_or_default();
    let port = address.port();
    let other = SocketAddr::new(address.ip(), port.checked_add(10).unwrap_or(port - 10));
    ListenError::InUse { place, by, flag, other: other.to_string() }
}

fn explain_file(file: &SocketFile, flag: &'static str, cause: io::Error) -> ListenError {
    ListenError::Refused { place: format!("unix:{}", file.path().display()), flag, cause }
}

fn explain_unix(socket: &UnixSocket, flag: &'static str, fault: Fault) -> ListenError {
    let place = format!("unix:{}", socket.path.display());
    match fault {
        Fault::InUse(owner) => {
            let by = owner.map(|owner| format!(" by {owner}")).unwrap_or_default();
            let other = format!("{place}.2");
            ListenError::InUse { place, by, flag, other }
        }
        Fault::NotASocket => ListenError::NotASocket { place, flag },
        Fault::Io(cause) => ListenError::Refused { place, flag, cause },
    }
}

fn help(cause: &io::Error, flag: &str) -> String {
    let why = if cause.kind() == io::ErrorKind::PermissionDenied {
        "ports below 1024 need CAP_NET_BIND_SERVICE, sockets a directory that this user may write"
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
    use crate::record::metrics::Metrics;

    fn setup(addresses: &[SocketAddr]) -> Setup {
        let addresses = addresses.iter().copied().map(Listen::Tcp).collect();
        Setup::new(addresses, "--listen", Metrics::default())
    }

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn address(bound: &Bound) -> SocketAddr {
        match bound.places[0] {
            Place::Tcp(address) => address,
            Place::Unix(_) => panic!("it is no unix socket"),
        }
    }

    #[test]
    fn workers_share_the_port_that_the_first_takes() {
        let bound = bind(&setup(&[loopback(), loopback()]), 3).unwrap();
        assert_eq!(bound.places.len(), 2);
        assert_ne!(bound.places[0], bound.places[1]);
        for set in &bound.sets {
            let places = set.iter().map(|(_, socket)| match socket {
                Socket::Tcp(socket) => Place::Tcp(socket.local_addr().unwrap()),
                Socket::Unix(_) => panic!("it is no unix socket"),
            });
            assert_eq!(places.collect::<Vec<_>>(), bound.places);
        }
    }

    #[test]
    fn a_port_in_use_is_refused_and_its_owner_named() {
        let first = bind(&setup(&[loopback()]), 2).unwrap();
        let address = address(&first);
        let error = bind(&setup(&[address]), 2).err().unwrap().to_string();
        let own = std::process::id();
        let start = format!("cannot listen on {address}: in use by process {own} (");
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains("\nhelp: --listen 127.0.0.1:"), "{error}");
    }

    #[test]
    fn a_port_is_shared_with_a_gateway_that_is_to_be_replaced() {
        let first = bind(&setup(&[loopback()]), 2).unwrap();
        let again = Setup { takeover: true, ..setup(&[address(&first)]) };
        assert_eq!(bind(&again, 2).unwrap().places, first.places);
        let foreign = TcpListener::bind(loopback()).unwrap();
        let taken = Setup { takeover: true, ..setup(&[foreign.local_addr().unwrap()]) };
        let error = bind(&taken, 1).err().unwrap().to_string();
        assert!(error.contains("in use by process"), "{error}");
    }

    #[test]
    fn a_foreign_address_is_refused_with_help() {
        let foreign = setup(&["192.0.2.1:0".parse().unwrap()]);
        let error = bind(&foreign, 1).err().unwrap().to_string();
        assert!(error.contains("this machine has no such address"), "{error}");
    }

    #[test]
    fn a_socket_that_was_not_passed_is_named() {
        let absent = Setup { addresses: vec![Listen::Systemd("web".into())], ..setup(&[]) };
        let error = bind(&absent, 1).err().unwrap().to_string();
        assert!(error.contains("systemd:web") && error.contains("it passed none"), "{error}");
    }
}
