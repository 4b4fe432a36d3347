//! With a real server in front: what a client sees on its socket.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::*;

/// Sends `request` through a server in front of `backend` and reads until the server closes.
async fn through(backend: &Backend, request: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sender = Arc::new(Sender::to(&[backend.port]));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let sender = Arc::clone(&sender);
            async move {
                let (parts, body) = request.into_parts();
                let forwarded = super::super::send(parts, body, sender.outgoing()).await.unwrap();
                Ok::<_, Infallible>(forwarded.response)
            }
        });
        let server = hyper::server::conn::http1::Builder::new();
        drop(server.serve_connection(TokioIo::new(stream), service).await);
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = client.read_to_end(&mut answer);
    drop(tokio::time::timeout(Duration::from_secs(10), read).await.expect("the server closes"));
    String::from_utf8_lossy(&answer).into()
}

/// HP-19, HP-21, HP-24: a real body in, a real body out, on one backend connection.
#[tokio::test]
async fn requests_pass_and_share_a_backend_connection() {
    let backend = Backend::start(&[&[Serve]]).await;
    let requests = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Auth-Subject: root\r\n\r\n\
        GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = through(&backend, requests).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answer}");
    assert_eq!((backend.connections(), backend.requests()), (1, 3));
    let seen = backend.text(0);
    assert!(seen.contains("content-length: 3\r\n") && !seen.contains("root"), "{seen}");
}

/// HP-19: the client of a truncated response sees its connection closed before the end.
#[tokio::test]
async fn a_client_sees_that_a_body_was_cut() {
    static CUT: &[Step] =
        &[Read, Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), Close];
    let backend = Backend::start(&[CUT]).await;
    let answer = through(&backend, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.contains("half") && !answer.contains("\r\n0\r\n"), "{answer}");
}

/// HP-07: `100 Continue` is sent when the request is on its way to the backend.
#[tokio::test]
async fn a_client_that_expects_to_continue_is_told_to() {
    let backend = Backend::start(&[&[Serve]]).await;
    let request = "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\
        Connection: close\r\n\r\nabc";
    let answer = through(&backend, request).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
}
