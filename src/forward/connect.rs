//! Opening a socket to a target.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::exchange::Fault;

/// Tries the addresses in turn. Each may use an equal share of `limit`, so that one that swallows
/// packets does not use up the time of the others.
///
/// # Errors
/// `Timeout`, `Reset`, or `Refused` for whatever else a connect can end in.
pub(super) async fn open(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, Fault> {
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
