//! A listening socket, of either family, in the hands of one worker.

use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix;
use std::task::{Context, Poll, ready};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::UNIX_PEER;

/// A listening socket before a runtime has it.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener),
}

impl Socket {
    /// The same socket under another descriptor: its queue is one.
    pub(super) fn share(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }

    /// Hands it to the current runtime.
    pub(super) fn open(self) -> io::Result<Door> {
        match self {
            Self::Tcp(socket) => TcpListener::from_std(socket).map(Door::Tcp),
            Self::Unix(socket) => UnixListener::from_std(socket).map(Door::Unix),
        }
    }
}

/// Where a worker accepts.
#[derive(Debug)]
pub(super) enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    /// The next connection, and who made it.
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// A connection that is already there, without waiting for one.
    pub(super) async fn queued(&self) -> Option<(TcpStream, SocketAddr)> {
        poll_fn(|cx| match self.poll_accept(cx) {
            Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        match self {
            Self::Tcp(socket) => socket.poll_accept(cx),
            Self::Unix(socket) => {
                let (stream, _) = ready!(socket.poll_accept(cx))?;
                Poll::Ready(as_tcp(stream).map(|stream| (stream, NOBODY)))
            }
        }
    }

    /// Lets no further connection begin, while those whose handshake is under way still come. Who
    /// begins one now is not refused: its first segment is lost, and it sends it again a second
    /// later, to whoever listens then. Only Linux has this; elsewhere it does nothing.
    pub(super) fn stop_beginnings(&self) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Tcp(socket) => socket2::SockRef::from(socket).attach_filter(&DROP_SYN),
            #[cfg(not(target_os = "linux"))]
            Self::Tcp(_) => Ok(()),
            // Its path leads to the next process already.
            Self::Unix(_) => Ok(()),
        }
    }
}

/// The stream in the type of all others. What is asked of it (to read, to write, to shut down, to
/// say when it is ready) the kernel does for every stream socket alike, so that what serves
/// connections need not know of two kinds; what only TCP has (`TCP_NODELAY`) fails and is not
/// needed.
fn as_tcp(stream: UnixStream) -> io::Result<TcpStream> {
    let descriptor = OwnedFd::from(stream.into_std()?);
    TcpStream::from_std(net::TcpStream::from(descriptor))
}

/// The address of a peer that has none.
const NOBODY: SocketAddr = SocketAddr::new(UNIX_PEER, 0);

/// `tcp[13] & SYN` → drop, else keep. On a listening socket the filter sees segments from the TCP
/// header on.
#[cfg(target_os = "linux")]
const DROP_SYN: [socket2::SockFilter; 4] = [
    // BPF_LD | BPF_B | BPF_ABS: the flags.
    socket2::SockFilter::new(0x30, 0, 0, 13),
    // BPF_JMP | BPF_JSET | BPF_K: is SYN among them?
    socket2::SockFilter::new(0x45, 0, 1, 0x02),
    // BPF_RET | BPF_K: nothing of it.
    socket2::SockFilter::new(0x06, 0, 0, 0),
    // BPF_RET | BPF_K: all of it.
    socket2::SockFilter::new(0x06, 0, 0, u32::MAX),
];

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::TcpStream as Client;
    use std::time::Duration;

    use super::*;

    /// Who connects afterwards is not refused, but has to come again; who came before is there.
    #[tokio::test]
    async fn nobody_new_begins_while_a_successor_takes_over() {
        let door = Door::Tcp(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let Door::Tcp(socket) = &door else { panic!("it is") };
        let address = socket.local_addr().unwrap();
        let _early = Client::connect(address).unwrap();
        door.stop_beginnings().unwrap();
        let late = Client::connect_timeout(&address, Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(door.accept().await.is_ok());
        assert!(door.queued().await.is_none());
    }
}
