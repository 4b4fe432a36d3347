//! Opening a socket to a target.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::exchange::Fault;
use super::socket::Socket;
use super::tls::TlsFault;
use super::upstream::Backend;
use crate::config::TargetAddress;

impl Backend {
    /// Opens a socket to the target: TCP, a unix socket, or TLS with the handshake done. The caller
    /// bounds the time.
    ///
    /// # Errors
    /// `Dns`, `Timeout`, `Tls`, or `Refused` for whatever else a connect can end in.
    pub(super) async fn open(&self, target: usize) -> Result<Socket, Fault> {
        let (host, secured) = match &self.targets()[target].address {
            TargetAddress::Unix(path) => {
                let opened = UnixStream::connect(path).await;
                return opened.map(Socket::Unix).map_err(|_| Fault::Refused);
            }
            TargetAddress::Tcp { host, tls, .. } => (host, *tls),
        };
        let addresses = self.addresses(target).await?;
        let stream = open(&addresses, self.connect_timeout()).await?;
        if !secured {
            return Ok(Socket::Tcp(stream));
        }
        // Whatever is missing, `https` never becomes plaintext.
        let handshakes = self.handshakes().ok_or(Fault::Tls(TlsFault::Handshake))?;
        handshakes.with(host, stream).await.map_err(Fault::Tls)
    }
}

/// Tries the addresses in turn. Each may use an equal share of `limit`, so that one that swallows
/// packets does not use up the time of the others.
///
/// # Errors
/// `Timeout`, `Reset`, or `Refused` for whatever else a connect can end in.
async fn open(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, Fault> {
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut fault = Fault::Dns;
    for address in addresses {
        match timeout(share, dial(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            // Accepted, and closed before that was noticed here.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                fault = Fault::Reset;
            }
            Ok(Err(_)) => fault = Fault::Refused,
            Err(_) => fault = Fault::Timeout,
        }
    }
    Err(fault)
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Heads and small bodies are written whole; waiting to merge them only adds latency.
    stream.set_nodelay(true)?;
    Ok(stream)
}
