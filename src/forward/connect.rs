//! Opening a socket to a target.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::exchange::Fault;

/// Resolves the name and tries its addresses in turn, all within `limit`. Each address may use an
/// equal share of the time, so that one that swallows packets does not use up that of the others.
///
/// # Errors
/// `Dns`, `Timeout`, or `Refused` for whatever else a connect can end in.
pub(super) async fn open(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Fault> {
    let attempt = async {
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
    };
    timeout(limit, attempt).await.unwrap_or(Err(Fault::Timeout))
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Heads and small bodies are written whole; waiting to merge them only adds latency.
    stream.set_nodelay(true)?;
    Ok(stream)
}
