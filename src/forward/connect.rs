//! Opening a socket to a target.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::exchange::Fault;
use super::socket::Socket;
use super::tls::{Handshakes, TlsFault};
use crate::config::UpstreamTarget;

/// Opens a socket within `limit`: TCP, a unix socket, or TLS with the handshake done.
///
/// # Errors
/// `Dns`, `Timeout`, `Tls`, or `Refused` for whatever else a connect can end in.
pub(super) async fn open(
    target: &UpstreamTarget,
    handshakes: Option<&Handshakes>,
    limit: Duration,
) -> Result<Socket, Fault> {
    let attempt = async {
        let (host, stream, secured) = match target {
            UpstreamTarget::Unix(path) => {
                let opened = UnixStream::connect(path).await;
                return opened.map(Socket::Unix).map_err(|_| Fault::Refused);
            }
            UpstreamTarget::Tcp { host, port, tls } => {
                (host, open_tcp(host, *port, limit).await?, *tls)
            }
        };
        if !secured {
            return Ok(Socket::Tcp(stream));
        }
        // Whatever is missing, `https` never becomes plaintext.
        let handshakes = handshakes.ok_or(Fault::Tls(TlsFault::Handshake))?;
        handshakes.with(host, stream).await.map_err(Fault::Tls)
    };
    timeout(limit, attempt).await.unwrap_or(Err(Fault::Timeout))
}

/// Resolves the name and tries its addresses in turn. Each address may use an equal share of
/// `limit`, so that one that swallows packets does not use up that of the others.
async fn open_tcp(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Fault> {
    let addresses: Vec<SocketAddr> =
        lookup_host((host, port)).await.map_err(|_| Fault::Dns)?.collect();
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut fault = Fault::Dns;
    for address in addresses {
        match timeout(share, dial(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
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
