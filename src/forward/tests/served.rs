//! With a real server in front: what a client sees on its socket.

use std::convert::Infallible;

use http::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;
use crate::listen::Received;

async fn answer(
    sender: Arc<Sender>,
    request: Request<Incoming>,
) -> Result<Response<UpstreamBody>, Infallible> {
    let (parts, body) = request.into_parts();
    let (outgoing, now) = (sender.outgoing(), sender.clock.monotonic());
    let call = prepare(&parts, Source::Client(Received::Http2(body)), &outgoing, now).unwrap();
    Ok(call.send().await.result.unwrap().response)
}

/// Sends `request` through a server in front of `backend` and reads until the server closes.
async fn through(backend: &Backend, request: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sender = Arc::new(Sender::to(&[backend.port]));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request| answer(Arc::clone(&sender), request));
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
    assert_eq!(answer.matches("\r\ndate: ").count(), 3, "HP-24: added when missing");
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

/// HP-15, HP-16, HP-24, SM-12: HTTP/2 in, HTTP/1.1 out, with and without bodies and lengths.
#[tokio::test]
async fn http2_requests_reach_the_backend_as_http1() {
    let backend = Backend::start(&[&[Serve]]).await;
    let sender = Arc::new(Sender::to(&[backend.port]));
    let (client, server) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let service = service_fn(move |request| answer(Arc::clone(&sender), request));
        let server_builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(server_builder.serve_connection(TokioIo::new(server), service).await);
    });
    let io = TokioIo::new(client);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);

    let (pieces, unknown) = Script::fed(None);
    feed(&pieces, "ab");
    feed(&pieces, "c");
    drop(pieces);
    for (method, body) in
        [("POST", Script::full("abc")), ("PUT", unknown), ("GET", Script::empty())]
    {
        let request = Request::builder().method(method).uri("https://a/").header("cookie", "a=1");
        let request = request.header("cookie", "b=2").body(body).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
    let seen = backend.text(0);
    assert_eq!((backend.connections(), backend.requests()), (1, 3), "{seen}");
    assert_eq!(seen.matches("cookie: a=1; b=2\r\n").count(), 3, "{seen}");
    assert_eq!(seen.matches("via: 2.0 scopegate\r\n").count(), 3, "{seen}");
    assert_eq!(seen.matches("content-length: 3\r\n").count(), 1, "{seen}");
    assert_eq!(seen.matches("transfer-encoding: chunked\r\n").count(), 1, "{seen}");
    assert!(seen.trim_end().rsplit("GET ").next().unwrap().starts_with("/orders/1?x=1 HTTP/1.1"));
}
