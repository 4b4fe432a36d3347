//! Bytes on a socket, for what no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// Sends `bytes`, then reads until the peer closes, or answers and falls silent.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A peer that refuses early may close while we still write.
    drop(stream.write_all(bytes.as_ref()).await);
    within(read_all(&mut stream)).await
}

/// Sends `bytes` and says that no more will come, then reads until the peer closes.
pub async fn exchange_and_close(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    drop(stream.write_all(bytes).await);
    drop(stream.shutdown().await);
    let mut received = Vec::new();
    // A reset after a refusal ends the reading, too.
    drop(within(stream.read_to_end(&mut received)).await);
    received
}

/// Everything that comes until the connection ends, or half a second after the last byte.
pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let silence = Duration::from_millis(if received.is_empty() { 15_000 } else { 500 });
        match tokio::time::timeout(silence, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) | Err(_) => break,
            Ok(Ok(count)) => received.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8_lossy(&received).into_owned()
}

/// The status codes of the responses in `text`, in order.
pub fn statuses(text: &str) -> Vec<u16> {
    let lines = text.split("HTTP/1.").skip(1);
    lines.filter_map(|rest| rest.get(2..5)?.parse().ok()).collect()
}

/// The value of the first field of that name, in lower case, in an answer's text.
pub fn field(text: &str, name: &str) -> String {
    let lines = text.lines().map_while(|line| line.split_once(": ").or(line.split_once(' ')));
    let mut named = lines.filter(|(found, _)| *found == name);
    named.next().map_or_else(String::new, |(_, value)| value.to_owned())
}
