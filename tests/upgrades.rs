//! A connection turns to another protocol only where its route says so, behind a token that is
//! good, and behind the backend's own word.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::chaos::Chaos;
use crate::harness::chaos::Step::{Head, Hold, Say, Until};
use crate::harness::h2::{Fate, Frames, fields, secured};
use crate::harness::{Harness, raw, until, within};

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: WebSocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

fn with(backend: &Chaos, route: &str) -> String {
    format!("upstreams: {{ main: {} }}\nroutes: {{ /ws: {route} }}", backend.url())
}

const SOCKET: &str = "{ upgrade: websocket, GET: chat }";

fn asking_for(protocol: &str, token: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    )
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let byte = within(stream.read_u8()).await;
        text.push(byte.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&text))));
    }
    String::from_utf8(text).unwrap()
}

/// HP-11: bytes pass both ways behind 101, until either side ends.
#[tokio::test]
async fn bytes_pass_both_ways_behind_101() {
    let backend =
        Chaos::start(&[Head, Say(ACCEPTED), Say("hello"), Until("from the client"), Say("bye")])
            .await;
    let t = Harness::start(&with(&backend, SOCKET)).await;
    let token = t.token().scope("chat").sign();
    let mut client = TcpStream::connect(t.address()).await.unwrap();
    client.write_all(asking_for("websocket", &token).as_bytes()).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-accept: x\r\n"), "{head}");
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(read_until(&mut client, "hello").await, "hello");
    client.write_all(b"from the client").await.unwrap();
    let mut rest = String::new();
    within(client.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "bye");

    let [sent] = &backend.heads()[..] else { panic!("{:?}", backend.heads()) };
    assert!(sent.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"), "{sent}");
    assert!(sent.contains("\r\nsec-websocket-key: "), "{sent}");
    assert!(!sent.contains("uthorization"), "{sent}");
    let line = t.logged(&raw::field(&head, "x-request-id")).await;
    assert_eq!((&line["status"], &line["decision"]), (&101.into(), &"allow".into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&15.into(), &8.into()));
}

/// What comes behind the head is not forwarded before the backend has turned.
#[tokio::test]
async fn nothing_is_forwarded_before_the_backend_turns() {
    const REFUSAL: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let backend = Chaos::start(&[Head, Say(REFUSAL), Head, Say(REFUSAL)]).await;
    let t = Harness::start(&with(&backend, SOCKET)).await;
    let token = t.token().scope("chat").sign();
    let smuggled = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = asking_for("websocket", &token) + smuggled;
    assert_eq!(raw::statuses(&raw::exchange(t.address(), request).await), [403, 404]);
    assert_eq!(backend.heads().len(), 1);
}

/// A request with a body asks for nothing but its answer, or its body would reach the backend before
/// the 101, and the client would never hear of it.
#[tokio::test]
async fn a_request_with_a_body_is_no_upgrade() {
    const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let backend = Chaos::start(&[Head, Say(PLAIN)]).await;
    let t = Harness::start(&with(&backend, SOCKET)).await;
    let token = t.token().scope("chat").sign();
    for (seen, framing, body) in [
        (1, "Content-Length: 5", "hello"),
        (2, "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        (3, "Transfer-Encoding: chunked", "0\r\n\r\n"),
    ] {
        let head = asking_for("websocket", &token).replacen(
            "Host: a",
            &format!("Host: a\r\n{framing}"),
            1,
        );
        let answer = raw::exchange(t.address(), head + body).await;
        assert_eq!(raw::statuses(&answer), [200], "{framing}: {answer}");
        let heads = backend.heads();
        assert_eq!(heads.len(), seen, "{heads:?}");
        assert!(!heads[seen - 1].to_lowercase().contains("upgrade"), "{heads:?}");
    }
    // A backend that turns all the same was not asked to.
    backend.plays(&[Head, Say(ACCEPTED), Hold]);
    let head =
        asking_for("websocket", &token).replacen("Host: a", "Host: a\r\nContent-Length: 2", 1);
    assert_eq!(raw::statuses(&raw::exchange(t.address(), head + "hi").await), [502]);
    assert_eq!(t.metric("scopegate_upstream_errors_total", &[]).await, 1.0);
}

/// Over HTTP/2 there is no `Upgrade` at all (RFC 9113 §8.6).
#[tokio::test]
async fn nothing_turns_over_http_2() {
    let (_folder, pair, tls) = secured();
    let backend = Chaos::start(&[Head, Say(ACCEPTED), Hold]).await;
    let t = Harness::start(&format!("{tls}{}", with(&backend, SOCKET))).await;
    let token = t.token().scope("chat").sign();
    let bearer = format!("Bearer {token}");
    for field in [("connection", "upgrade"), ("upgrade", "websocket")] {
        let mut frames = Frames::connect(t.address(), &pair).await;
        let fields = fields("/ws", &[("authorization", &bearer), field]);
        assert!(frames.request(1, &fields).await);
        let fate = frames.fate(1).await;
        assert!(!matches!(fate, Fate::Answered(0..=399)), "{fate:?}");
    }
    assert!(backend.heads().is_empty(), "{:?}", backend.heads());
}

/// HP-11: a refusal comes before anything is forwarded.
#[tokio::test]
async fn tokens_are_checked_first() {
    let backend = Chaos::start(&[Head, Say(ACCEPTED), Hold]).await;
    let t = Harness::start(&with(&backend, SOCKET)).await;
    let other = t.token().scope("other").sign();
    for (token, status, reason) in
        [("none", 401, "malformed_token"), (&*other, 403, "missing_scope")]
    {
        let answer = raw::exchange(t.address(), asking_for("websocket", token)).await;
        assert_eq!(raw::statuses(&answer), [status], "{answer}");
        assert!(!raw::field(&answer, "www-authenticate").is_empty(), "{answer}");
        assert_eq!(t.denials("/ws", reason).await, 1.0);
    }
    assert_eq!(backend.accepted(), 0);
}

/// HP-11: other protocols, and routes that allow none, see an ordinary request.
#[tokio::test]
async fn what_is_not_allowed_is_an_ordinary_request() {
    const SERVED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let backend = Chaos::start(&[Head, Say(SERVED)]).await;
    let t = Harness::start(&with(&backend, SOCKET)).await;
    let token = t.token().scope("chat").sign();
    for protocol in ["h2c", "tls/1.0", "websocket, h2c", "websocket\r\nUpgrade: h2c", "x"] {
        let answer = raw::exchange(t.address(), asking_for(protocol, &token)).await;
        assert_eq!(raw::statuses(&answer), [200], "{protocol}: {answer}");
    }
    t.rewrite(&with(&backend, "{ GET: chat }"));
    t.server.reload().await.expect("the file is good");
    let answer = raw::exchange(t.address(), asking_for("websocket", &token)).await;
    assert_eq!(raw::statuses(&answer), [200], "{answer}");
    assert_eq!(backend.heads().len(), 6);
    for head in backend.heads() {
        assert!(!head.contains("pgrade") && !head.contains("http2-settings"), "{head}");
    }
}

/// HP-11: a backend that turns to what nobody asked for is not believed.
#[tokio::test]
async fn another_protocol_than_the_one_asked_for_is_502() {
    let other = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let none = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    for answer in [other, none] {
        let script: &'static [_] = Box::leak(Box::new([Head, Say(answer), Hold]));
        let backend = Chaos::start(script).await;
        let t = Harness::start(&with(&backend, SOCKET)).await;
        let token = t.token().scope("chat").sign();
        let answer = raw::exchange(t.address(), asking_for("websocket", &token)).await;
        assert_eq!(raw::statuses(&answer), [502], "{answer}");
        until("the backend's connection is closed", async || backend.open() == 0).await;
    }
}

/// A client that goes away takes the backend's connection with it.
#[tokio::test]
async fn a_client_that_goes_away_ends_the_backends_connection() {
    let backend = Chaos::start(&[Head, Say(ACCEPTED), Hold]).await;
    let t = Harness::start(&with(&backend, SOCKET)).await;
    let token = t.token().scope("chat").sign();
    let mut client = TcpStream::connect(t.address()).await.unwrap();
    client.write_all(asking_for("websocket", &token).as_bytes()).await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(backend.open(), 1);
    drop(client);
    until("the backend's connection is closed", async || backend.open() == 0).await;
}

/// A tunnel on which nothing moves ends with the upstream's idle timeout.
#[tokio::test]
async fn a_silent_tunnel_ends_with_the_idle_timeout() {
    let backend = Chaos::start(&[Head, Say(ACCEPTED), Hold]).await;
    let yaml = format!(
        "upstreams: {{ main: {{ targets: [{}], timeout: {{ idle: 300ms }} }} }}\n\
         routes: {{ /ws: {SOCKET} }}",
        backend.url()
    );
    let t = Harness::start(&yaml).await;
    let token = t.token().scope("chat").sign();
    let mut client = TcpStream::connect(t.address()).await.unwrap();
    client.write_all(asking_for("websocket", &token).as_bytes()).await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    let mut rest = Vec::new();
    drop(within(client.read_to_end(&mut rest)).await);
    assert!(rest.is_empty());
    until("the backend's connection is closed", async || backend.open() == 0).await;
}
