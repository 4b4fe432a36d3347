//! Closing a connection so that the client still gets to read the last answer.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::http1::End;

/// A stream of bytes over a TCP socket.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The socket below.
    fn socket(&mut self) -> &mut TcpStream;

    /// Ready when the socket has something to read, or an error to tell.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_read_ready(cx)
    }
}

impl Transport for TcpStream {
    fn socket(&mut self) -> &mut TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn socket(&mut self) -> &mut TcpStream {
        self.get_mut().0
    }
}

/// Closes an HTTP/1.1 connection as its end asks for.
pub(super) async fn close(mut transport: Box<dyn Transport>, end: End) {
    match end {
        End::Cut => drop(transport.socket().set_zero_linger()),
        End::Gone => {}
        End::Said => {
            if matches!(timeout(PATIENCE, transport.shutdown()).await, Ok(Ok(()))) {
                linger(transport.socket()).await;
            }
        }
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

/// How long a client may take for what it should do at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a closed connection is still read from.
const LINGER: Duration = Duration::from_secs(2);

/// How many bytes are read from it: more than a fast line carries before the client has the answer.
const LINGER_BYTES: usize = 16 << 20;
