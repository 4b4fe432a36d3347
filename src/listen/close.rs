//! Closing a connection so that the client still gets to read the last answer.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::activity::Late;
use super::driver::{End, PATIENCE};

/// A stream of bytes over a TCP socket.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The socket below.
    fn socket(&mut self) -> &mut TcpStream;
}

impl Transport for TcpStream {
    fn socket(&mut self) -> &mut TcpStream {
        self
    }
}

impl Transport for Box<TlsStream<TcpStream>> {
    fn socket(&mut self) -> &mut TcpStream {
        self.get_mut().0
    }
}

/// Closes an HTTP/1 connection as its end asks for.
pub(super) async fn close<T: Transport>(mut transport: T, end: &End) {
    match end {
        End::Finished(Ok(())) => linger(transport.socket()).await,
        // hyper has answered 400 or 431, or said nothing to a preface of HTTP/2.
        End::Finished(Err(error)) if error.is_parse() => part(&mut transport, b"").await,
        // The response was cut short. A reset tells so even where its end is the connection's
        // (RFC 9112 §9.8); without it the client would take the part for the whole.
        End::Finished(Err(_)) | End::Late(Late::Stalled) | End::Cut => {
            drop(transport.socket().set_zero_linger());
        }
        End::Late(Late::Head) => part(&mut transport, REQUEST_TIMEOUT).await,
        End::Late(Late::Silent | Late::Idle) | End::Idle => part(&mut transport, b"").await,
    }
}

async fn part<T: Transport>(transport: &mut T, last_words: &[u8]) {
    let farewell = async {
        transport.write_all(last_words).await?;
        transport.shutdown().await
    };
    if matches!(timeout(PATIENCE, farewell).await, Ok(Ok(()))) {
        linger(transport.socket()).await;
    }
}

/// Reads and forgets what still comes, within bounds. Closing a socket with unread bytes makes the
/// kernel send a reset, and a reset makes the client's kernel throw away the answer that it has not
/// read yet: a refused upload would look like a broken connection (RFC 9112 §9.6).
async fn linger(socket: &mut TcpStream) {
    let forget = async {
        let mut buffer = vec![0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match socket.read(&mut buffer).await {
                Ok(read) if read > 0 => left = left.saturating_sub(read),
                Ok(_) | Err(_) => return,
            }
        }
    };
    drop(timeout(LINGER, forget).await);
}

/// RFC 9110 §15.5.9. It can be said before a request is complete, so no gateway stage says it.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How long a closed connection is still read from.
const LINGER: Duration = Duration::from_secs(2);

/// How many bytes are read from it.
const LINGER_BYTES: usize = 1 << 20;
