//! Sockets that the service manager opened and passed on (sd_listen_fds(3)): they outlive this
//! process, so that no connection is refused between it and the next.

use std::env;
use std::net::SocketAddr;

use listenfd::ListenFd;
use socket2::SockRef;

use super::bind::ListenError;
use super::door::Socket;
use crate::config::is_loopback;

/// The sockets that were passed, by name.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(String, Passed)>);

/// What was passed under a name.
#[derive(Debug)]
enum Passed {
    Listening(Socket),
    /// A file, a datagram socket, or a socket that does not listen.
    Unfit,
}

impl Inherited {
    /// Takes what was passed to this process and to no other. It changes the environment, so it
    /// must be called before there are other threads; a second call finds nothing.
    #[must_use]
    pub fn from_env() -> Self {
        let for_us = env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok());
        if for_us != Some(std::process::id()) {
            return Self::default();
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut descriptors = ListenFd::from_env();
        let passed = (0..descriptors.len()).map(|index| {
            let name = names.next().unwrap_or(NAMELESS).to_owned();
            (name, adopt(&mut descriptors, index))
        });
        Self(passed.collect())
    }

    /// The sockets of this name; there may be several.
    pub(super) fn find(&self, name: &str) -> Result<Vec<Socket>, ListenError> {
        let named = self.0.iter().filter(|(known, _)| known == name);
        let sockets: Vec<&Passed> = named.map(|(_, passed)| passed).collect();
        if sockets.is_empty() {
            return Err(self.not_passed(name));
        }
        let share = |passed: &&Passed| match passed {
            Passed::Listening(socket) => Ok(socket.share()?),
            Passed::Unfit => Err(ListenError::Unfit { name: name.to_owned() }),
        };
        sockets.iter().map(share).collect()
    }

    /// The addresses of the sockets of this name that other machines may reach.
    #[must_use]
    pub fn exposed(&self, name: &str) -> Option<SocketAddr> {
        let named = self.0.iter().filter(|(known, _)| known == name);
        let addresses = named.filter_map(|(_, passed)| match passed {
            Passed::Listening(Socket::Tcp(socket)) => socket.local_addr().ok(),
            Passed::Listening(Socket::Unix(_)) | Passed::Unfit => None,
        });
        addresses.into_iter().find(|address| !is_loopback(address.ip()))
    }

    fn not_passed(&self, name: &str) -> ListenError {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        let passed = match names.as_slice() {
            [] => "it passed none".to_owned(),
            names => format!("it passed {}", names.join(", ")),
        };
        ListenError::NotPassed { name: name.to_owned(), passed }
    }
}

fn adopt(descriptors: &mut ListenFd, index: usize) -> Passed {
    let tcp = descriptors.take_tcp_listener(index).ok().flatten();
    let socket = match tcp {
        Some(socket) => Some(Socket::Tcp(socket)),
        None => descriptors.take_unix_listener(index).ok().flatten().map(Socket::Unix),
    };
    socket.filter(listens).map_or(Passed::Unfit, Passed::Listening)
}

/// Whether it is a listening socket; from here on one that does not block.
fn listens(socket: &Socket) -> bool {
    let socket = match socket {
        Socket::Tcp(socket) => SockRef::from(socket),
        Socket::Unix(socket) => SockRef::from(socket),
    };
    socket.is_listener().unwrap_or(false) && socket.set_nonblocking(true).is_ok()
}

/// What sd_listen_fds_with_names(3) calls a socket without a name.
const NAMELESS: &str = "unknown";
