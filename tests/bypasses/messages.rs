//! Rows 42 to 44 and 48: messages that two parties read differently.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Harness, ORDERS, h2, raw, within};

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

/// What no limit counts would be free: extensions of chunks, options of `Connection`.
#[tokio::test]
async fn what_is_read_and_thrown_away_is_bounded() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().scope("orders:write").sign();
    let head = format!("Host: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
    let chunks = |count: usize, extension: usize| {
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(extension));
        format!(
            "POST /orders HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
            chunk.repeat(count)
        )
    };
    let answer = raw::exchange(t.address(), chunks(1_000, 10)).await;
    assert_eq!(raw::statuses(&answer), [200]);
    assert_eq!(t.backend.saw_one().body.len(), 1_000);
    t.backend.forget();
    for (count, extension) in [(5, 4_000), (200, 100), (2_000, 4_000)] {
        let answer = raw::exchange(t.address(), chunks(count, extension)).await;
        assert_eq!(raw::statuses(&answer), [400], "{count} of {extension}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/**", "malformed_request").await, 3.0);

    let nominating = |options: &str| {
        let lines = format!("Host: a\r\nAuthorization: Bearer {token}\r\nConnection: close");
        format!("POST /orders HTTP/1.1\r\n{lines}{options}\r\nX-A: 1\r\n\r\n")
    };
    let few = nominating(&", x-a".repeat(63));
    assert_eq!(raw::statuses(&raw::exchange(t.address(), few).await), [200]);
    assert_eq!(t.backend.saw_one().header("x-a"), None);
    t.backend.forget();
    for options in [
        ", x-a".repeat(64),
        ",".repeat(64),
        "\r\nConnection: x-a".repeat(64),
        format!("\r\nConnection: {}", "a,".repeat(15_000)),
    ] {
        let answer = raw::exchange(t.address(), nominating(&options)).await;
        assert_eq!(raw::statuses(&answer), [400], "{}", &options[..20.min(options.len())]);
    }
    t.backend.saw_nothing();
}

/// Pieces of nothing are no body, however many there are.
#[tokio::test]
async fn empty_frames_keep_no_upload_alive() {
    let (_folder, pair, tls) = h2::secured();
    let t = Harness::start(&format!("{tls}{ORDERS}")).await;
    let bearer = format!("Bearer {}", t.token().scope("orders:write").sign());
    let mut frames = h2::Frames::connect(t.address(), &pair).await;
    let head = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "a.example"),
        (":path", "/orders"),
        ("authorization", &bearer),
    ];
    assert!(frames.send(h2::HEADERS, h2::END_HEADERS, 1, &h2::block(&head)).await);
    for _ in 0..200 {
        frames.send(h2::DATA, 0, 1, b"").await;
    }
    let fate = frames.fate(1).await;
    assert!(!matches!(fate, h2::Fate::Answered(200)), "{fate:?}");
    t.backend.saw_nothing();
}

/// RFC 9110 §4.2.5: the library for HTTP/2 cuts a fragment off before anybody sees it. So what is
/// judged and what is forwarded is the target without it, and no backend ever sees one.
#[tokio::test]
async fn a_fragment_over_http_2_reaches_nobody() {
    let (_folder, pair, tls) = h2::secured();
    let t = Harness::start(&format!("{tls}{ORDERS}")).await;
    for (path, expected) in [
        ("/status#/../orders", Some("/status")),
        ("/status?x=1#y?z", Some("/status?x=1")),
        ("/orders/1#/status", None),
        ("/orders#", None),
        ("#/status", None),
    ] {
        t.backend.forget();
        let mut frames = h2::Frames::connect(t.address(), &pair).await;
        let head = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.example"),
            (":path", path),
        ];
        assert!(frames.request(1, &head).await);
        let fate = frames.fate(1).await;
        assert_eq!(fate == h2::Fate::Answered(200), expected.is_some(), "{path}: {fate:?}");
        let targets: Vec<String> = t.backend.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(targets.first().map(String::as_str), expected, "{path}");
    }
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
