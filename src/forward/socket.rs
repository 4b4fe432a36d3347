//! An open socket to a target, of whatever kind.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// A connected socket. An enum and not a trait object: most are plain TCP, which is read and
/// written directly.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed, for it is large.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Whether the other side has neither closed it nor said anything that nobody has read. Costs
    /// no system call unless something has come.
    pub(super) fn is_quiet(&self) -> bool {
        let silent = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        match self {
            Self::Tcp(stream) => stream.try_read(&mut [0]).is_err_and(silent),
            Self::Unix(stream) => stream.try_read(&mut [0]).is_err_and(silent),
            Self::Tls(stream) => {
                let (stream, session) = stream.get_ref();
                let mut byte = [0];
                let mut cx = Context::from_waker(Waker::noop());
                // Nobody waits for this socket now, so nobody's waker is replaced.
                let silent = stream.poll_peek(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending();
                silent && session.wants_read()
            }
        }
    }

    /// Whether a failed write has written nothing. TLS may have sent some of its records.
    pub(super) fn fails_whole(&self) -> bool {
        !self.is_secured()
    }

    /// Whether it is TLS.
    pub(super) fn is_secured(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether HTTP/2 was agreed on in the handshake (RFC 7301).
    pub(super) fn agreed_on_http2(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
