//! HTTP that stays on this machine: small servers, and requests to them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::config::is_loopback;

/// An answer whose body is in memory.
pub type Answer = Response<Full<Bytes>>;

/// A listening socket that other machines cannot reach. There is no other way to make one than
/// [`Loopback::bind`], so whatever serves on it stays on this machine.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
}

impl Loopback {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the address is not a loopback address; else what the
    /// system says.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        refuse_elsewhere(address)?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until the future is dropped, which closes all connections.
    pub(super) async fn serve<A, F>(self, answer: A)
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= MOST_CONNECTIONS {
                connections.join_next().await;
            }
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, answer.clone()));
                }
                // Out of file descriptors, mostly: waiting lets connections end.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

/// Reads a whole body, up to 1 MiB within 10 s.
///
/// # Errors
/// If it is larger, slower or broken off.
pub(super) async fn read(body: Incoming) -> io::Result<Bytes> {
    let whole = Limited::new(body, MOST_BYTES).collect();
    let whole = tokio::time::timeout(PATIENCE, whole).await.map_err(|_| slow())?;
    Ok(whole.map_err(io::Error::other)?.to_bytes())
}

/// Sends one request to a server on this machine and reads the whole answer.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if the address is not a loopback address; else why there is no
/// complete answer: nothing listens, or it is not HTTP, over 1 MiB, or later than 10 s.
pub async fn ask(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> io::Result<Response<Bytes>> {
    refuse_elsewhere(address)?;
    tokio::time::timeout(PATIENCE, exchange(address, request)).await.map_err(|_| slow())?
}

async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> io::Result<Response<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(io::Error::other)?;
    let answer = async {
        let (head, body) =
            sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        Ok(Response::from_parts(head, read(body).await?))
    };
    let driver = async {
        // How the connection ends tells nothing that the answer does not.
        drop(connection.await);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = driver => match never {},
    }
}

async fn connection<A, F>(stream: TcpStream, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // A client that goes away is its own business.
    drop(served);
}

fn refuse_elsewhere(address: SocketAddr) -> io::Result<()> {
    if is_loopback(address.ip()) {
        return Ok(());
    }
    let sentence = format!("{address} is not a loopback address: the demo stays on this machine");
    Err(io::Error::new(io::ErrorKind::InvalidInput, sentence))
}

fn slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no complete message within 10 s")
}

const MOST_CONNECTIONS: usize = 256;
const MOST_BYTES: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);
/// hyper counts the wait for the next request as reading its head. The gateway keeps idle
/// connections to the API for 60 s; it must be the one to close them.
const IDLE: Duration = Duration::from_secs(90);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_bound_off_loopback() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            let error = Loopback::bind(address.parse().unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address}");
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_off_loopback() {
        let request = Request::new(Full::default());
        let error = ask("192.0.2.1:80".parse().unwrap(), request).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn a_closed_port_is_an_error() {
        let listener = Loopback::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        drop(listener);
        let error = ask(address, Request::new(Full::default())).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
