//! Rows 42 to 44 and 48: messages that two parties read differently.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Harness, ORDERS, raw, within};

const SMUGGLED: &str = "GET /orders/1 HTTP/1.1\r\nHost: a\r\nX-Auth-Subject: root\r\n\r\n";

/// CVE-2026-2833, CVE-2026-2835 (Pingora).
#[tokio::test]
async fn row_42_no_request_hides_in_another() {
    let t = Harness::start(ORDERS).await;
    let hosts = [
        format!(
            "POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
        ),
        format!(
            "POST /status HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{SMUGGLED}"
        ),
        format!(
            "POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        ),
        format!(
            "GET /status HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        ),
        format!(
            "GET /status HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{SMUGGLED}"
        ),
        format!(
            "GET /status HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n{SMUGGLED}"
        ),
        format!(
            "GET /status HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
        ),
        format!(
            "GET /status HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;x=\"\n\"\r\n\r\n{SMUGGLED}"
        ),
        format!("GET /status HTTP/1.1\nHost: a\n\n{SMUGGLED}"),
        format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n{SMUGGLED}"),
    ];
    for request in hosts {
        t.backend.forget();
        let answer = raw::exchange(t.address(), &request).await;
        for seen in t.backend.seen() {
            assert_eq!(seen.target, "/status", "{request}");
            assert_eq!(seen.header("upgrade"), None);
            assert_eq!(seen.header("x-auth-subject"), None);
        }
        let passed = raw::statuses(&answer).iter().filter(|status| **status == 200).count();
        assert!(passed <= 1, "{request}\n{answer}");
        assert!(!answer.contains(" 101 "), "{answer}");
    }
}

/// CVE-2021-40346, CVE-2021-39240, CVE-2021-39241, CVE-2021-39242 (HAProxy).
#[tokio::test]
async fn row_43_odd_heads_are_refused() {
    let t = Harness::start("routes: { a/x: { GET: read }, b/x: { public: true } }").await;
    let heads = [
        format!("GET /x HTTP/1.1\r\nHost: b\r\n{}: 1\r\n\r\n", "X".repeat(70_000)),
        format!("GET /x HTTP/1.1\r\nHost: b\r\nContent-Length0{}: 1\r\n\r\n", "a".repeat(65_536)),
        "GET /x /x HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(),
        "GE T /x HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(),
        "GET\0 /x HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(),
        "G(T /x HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(),
        "GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(),
        "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http://b@a/x HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(),
        "GET b:80/x HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(),
    ];
    for head in heads {
        let answer = raw::exchange(t.address(), &head).await;
        let statuses = raw::statuses(&answer);
        let start = &head[..head.len().min(60)];
        assert!(matches!(statuses[..], [] | [400 | 405 | 431]), "{start}: {statuses:?}");
    }
    t.backend.saw_nothing();
}

/// CVE-2026-73552 (Envoy): bytes that are not text decide nothing.
#[tokio::test]
async fn row_44_bytes_beyond_ascii_match_nothing() {
    let t = Harness::start(
        "routes: { a/x: { public: true }, /x: { GET: read }, /y: { public: optional } }",
    )
    .await;
    let send = async |line: &str, field: &[u8]| {
        let request =
            [line.as_bytes(), b" HTTP/1.1\r\nConnection: close\r\n", field, b"\r\n\r\n"].concat();
        raw::statuses(&raw::exchange(t.address(), request).await)
    };
    assert_eq!(send("GET /x", b"Host: a\xff").await, [400]);
    assert_eq!(send("GET /x", b"Host: \xe2\x93\x90").await, [400]);
    assert_eq!(send("GET /x", b"Host: b\r\nAuthorization: Bearer \xff").await, [400]);
    assert_eq!(send("GET /y", b"Host: b\r\nAuthorization: Bearer \xff").await, [400]);
    assert_eq!(send("GET /x", b"Host: b\r\nAuthorization: B\xe9arer x").await, [401]);
    assert_eq!(send("GET /\u{ff}", b"Host: a").await, [400]);
    t.backend.saw_nothing();
}

/// heimdall#3424, GHSA-q83h-524g-xf6h: a refusal reads no body.
#[tokio::test]
async fn row_48_a_refusal_does_not_wait_for_the_body() {
    let t = Harness::start(ORDERS).await;
    for framing in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(t.address()).await.unwrap();
        let head = format!("POST /orders HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = within(raw::read_all(&mut stream)).await;
        assert_eq!(raw::statuses(&answer), [401], "{framing}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.backend.connections(), 0);
}
