//! A client of the administration, for the commands that ask a running gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::answer::GUARD;
use crate::config::{Listen, Secret};

/// The gateway could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("no gateway answers at {address}: {reason}")]
pub struct Unreachable {
    /// Where it was looked for.
    pub address: Listen,
    /// Why, in words.
    pub reason: String,
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// If nobody listens there, does not answer in time, or does not speak HTTP.
pub async fn ask(
    address: &Listen,
    method: Method,
    path: &str,
) -> Result<(StatusCode, String), Unreachable> {
    send(address, method, path, None, Bytes::new()).await
}

/// Sends one request with a body of JSON and, if there is one, the secret of the administration.
///
/// # Errors
/// As [`ask`].
pub async fn send(
    address: &Listen,
    method: Method,
    path: &str,
    secret: Option<&Secret>,
    body: Bytes,
) -> Result<(StatusCode, String), Unreachable> {
    let address = reachable(address);
    let unreachable = |reason: String| Unreachable { address: address.clone(), reason };
    match timeout(ANSWER_WITHIN, exchange(&address, method, path, secret, body)).await {
        Ok(answered) => answered.map_err(|error| unreachable(error.to_string())),
        Err(_) => Err(unreachable("it did not answer in time".to_owned())),
    }
}

type Sender = http1::SendRequest<Full<Bytes>>;

type Fault = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    address: &Listen,
    method: Method,
    path: &str,
    secret: Option<&Secret>,
    body: Bytes,
) -> Result<(StatusCode, String), Fault> {
    let (mut sender, connection) = timeout(CONNECT_WITHIN, connect(address)).await??;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host(address))
        .header(GUARD, "1")
        .body(Full::new(body))?;
    if let Some(secret) = secret {
        let mut value = HeaderValue::try_from(format!("Bearer {}", secret.reveal()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST).collect().await?.to_bytes();
    connection.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// A connection and the task that drives it, which ends with the exchange; its error is the
/// exchange's.
async fn connect(address: &Listen) -> Result<(Sender, JoinHandle<hyper::Result<()>>), Fault> {
    match address {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            Ok((sender, tokio::spawn(connection)))
        }
        Listen::Unix(socket) => {
            let stream = UnixStream::connect(&socket.path).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            Ok((sender, tokio::spawn(connection)))
        }
        Listen::Systemd(_) => {
            Err("only the service manager knows where that is: `--admin` takes an address or unix:"
                .into())
        }
    }
}

fn host(address: &Listen) -> String {
    match address {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(_) | Listen::Systemd(_) => "localhost".to_owned(),
    }
}

/// Where a listener can be reached from this machine: one on all addresses, on loopback.
fn reachable(listen: &Listen) -> Listen {
    let Listen::Tcp(address) = listen else { return listen.clone() };
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    Listen::Tcp(SocketAddr::new(ip, address.port()))
}

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes.
const LARGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Check, Desk, Operations, Refused, Reloaded, Setup, reserve};
    use super::*;
    use crate::record::metrics::Metrics;

    struct Stub(Metrics);

    impl Operations for Stub {
        fn metrics(&self) -> &Metrics {
            &self.0
        }

        fn checks(&self) -> Vec<Check> {
            Vec::new()
        }

        fn revocation_desk(&self) -> Option<Desk> {
            None
        }

        async fn reload(&self) -> Result<Reloaded, Refused> {
            Ok(Reloaded { took_ms: 1, added: 0, removed: 0, changed: 0, notes: Vec::new() })
        }
    }

    #[tokio::test]
    async fn asks_a_listener_over_a_socket() {
        let operations = Arc::new(Stub(Metrics::default()));
        let folder = tempfile::tempdir().unwrap();
        let unix = format!("unix:{}", folder.path().join("admin.sock").display());
        for listen in ["0.0.0.0:0", &unix] {
            asks(&listen.parse().unwrap(), &operations).await;
        }
    }

    async fn asks(listen: &Listen, operations: &Arc<Stub>) {
        let (inherited, listen) = (Arc::default(), listen.clone());
        let setup = Setup { listen: listen.clone(), inherited, takeover: false };
        let listeners = reserve(&setup).unwrap().open(operations).unwrap();
        let address =
            &listeners.addresses().first().map_or(listen, |address| Listen::Tcp(*address));
        let (status, body) = ask(address, Method::GET, "/readyz").await.unwrap();
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ready\n"));
        let (status, _) = ask(address, Method::POST, "/reload").await.unwrap();
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error =
            ask(&Listen::Tcp(address), Method::GET, "/readyz").await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("no gateway answers at {address}: ")), "{error}");
    }
}
