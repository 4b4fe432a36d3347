//! The least that a forwarder on hyper can do: one connection to the backend for each client's, no
//! header touched, nothing checked. It shows what of a gateway's cost is HTTP's own.

use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// Listens and forwards from now on.
pub async fn start(listen: SocketAddr, to: SocketAddr) {
    let listener = TcpListener::bind(listen).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream, to));
        }
    });
}

async fn serve(stream: TcpStream, to: SocketAddr) {
    let Ok(backend) = TcpStream::connect(to).await else { return };
    backend.set_nodelay(true).unwrap();
    let (sender, connection) = handshake::<_, Incoming>(TokioIo::new(backend)).await.unwrap();
    tokio::spawn(connection);
    let sender = tokio::sync::Mutex::new(sender);
    let service = service_fn(|request| forward(&sender, request));
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new());
    drop(server.serve_connection(TokioIo::new(stream), service).await);
}

async fn forward(
    sender: &tokio::sync::Mutex<SendRequest<Incoming>>,
    request: http::Request<Incoming>,
) -> hyper::Result<http::Response<Incoming>> {
    let mut sender = sender.lock().await;
    sender.ready().await?;
    sender.send_request(request).await
}
