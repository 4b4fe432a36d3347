//! Whatever arrives on a socket gets a clear answer or a closed connection, and nothing that two
//! parsers could read as different requests reaches the backend.

use crate::harness::{Harness, ORDERS, raw};

async fn statuses(t: &Harness, request: impl AsRef<[u8]>) -> Vec<u16> {
    raw::statuses(&raw::exchange(t.address(), request).await)
}

const OPEN: &str = "routes: { /**: { GET: { public: true }, POST: { public: true } } }";

/// HP-12, SM-05: hosts.
#[tokio::test]
async fn a_request_names_exactly_one_valid_host() {
    let t = Harness::start(OPEN).await;
    let requests = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    ];
    for request in requests {
        assert_eq!(statuses(&t, request).await, [400], "{request}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("-", "malformed_request").await, requests.len() as f64);
}

/// HP-13: absolute-form with another authority than Host.
#[tokio::test]
async fn an_absolute_target_must_agree_with_host() {
    let t = Harness::start("routes: { a/x: { GET: read }, b/x: { public: true } }").await;
    let request = |target: &str, host: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    assert_eq!(statuses(&t, request("http://b/x", "a")).await, [400]);
    assert_eq!(statuses(&t, request("http://a/x", "b")).await, [400]);
    assert_eq!(statuses(&t, request("ftp://b/x", "b")).await, [400]);
    assert_eq!(statuses(&t, request("http://user@b/x", "b")).await, [400]);
    t.backend.saw_nothing();
    assert_eq!(statuses(&t, request("http://b/x", "b")).await, [200]);
    assert_eq!(t.backend.saw_one().target, "/x");
}

/// SM-01: CL and TE together are one refused request, and the connection ends.
#[tokio::test]
async fn content_length_and_transfer_encoding_are_not_both_believed() {
    let t = Harness::start(OPEN).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n0\r\n\r\n{smuggled}");
        assert_eq!(statuses(&t, request).await, [400], "{fields}");
    }
    t.backend.saw_nothing();
}

/// SM-02, SM-03, SM-04.
#[tokio::test]
async fn obscure_framing_is_refused() {
    let t = Harness::start(OPEN).await;
    let fields = [
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: 5, 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Content-Length: 5\r\nContent-Length: 6",
    ];
    for field in fields {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\nhello");
        let answered = statuses(&t, request).await;
        assert_eq!(answered, [400], "{field}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(statuses(&t, old).await, [400]);
    assert_eq!(t.denials("-", "malformed_request").await, fields.len() as f64 + 1.0);
    t.backend.saw_nothing();
}

/// SM-05, SM-08.
#[tokio::test]
async fn malformed_heads_are_refused() {
    let t = Harness::start(OPEN).await;
    let heads = [
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\u{7f}: b\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    ];
    for head in heads {
        let answered = statuses(&t, head).await;
        assert_eq!(answered, [400], "{head:?}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("-", "malformed_request").await, heads.len() as f64);
}

/// PD-01, OB-03: what never became a request is answered, counted and logged like one.
#[tokio::test]
async fn what_is_no_request_leaves_a_record() {
    let t = Harness::start(OPEN).await;
    let answer = raw::exchange(t.address(), "GET / HTTP/1.1\nHost: a\nX-Key: s3cret\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.contains("a line does not end with CR and LF"), "{answer}");
    let id = raw::field(&answer, "x-request-id");
    let line = t.logged(&id).await;
    assert_eq!((&line["method"], &line["path"]), (&"-".into(), &serde_json::Value::Null));
    assert_eq!((&line["status"], &line["reason"]), (&400.into(), &"malformed_request".into()));
    assert_eq!(line["client_ip"], "127.0.0.1");
    assert!(!t.log().contains("s3cret"));
}

/// SM-06: a head with bare line feeds is refused.
#[tokio::test]
async fn bare_line_feeds_are_refused() {
    let t = Harness::start(ORDERS).await;
    for request in [
        "GET /status HTTP/1.1\nHost: a\n\n",
        "GET /status HTTP/1.1\r\nHost: a\nX-Auth-Subject: root\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a\r\n\nX: y\r\n\r\n",
    ] {
        assert_eq!(statuses(&t, request).await, [400], "{request:?}");
    }
    t.backend.saw_nothing();
}

/// SM-07.
#[tokio::test]
async fn broken_chunks_are_refused() {
    let t = Harness::start(OPEN).await;
    let endless = format!("5;x={}\r\nhello\r\n", "y".repeat(1 << 20));
    let broken = ["11111111111111111\r\n", "-1\r\n", "0x5\r\nhello\r\n", "5\r\nhelloX", "g\r\n"];
    for chunk in broken.into_iter().chain([&*endless]) {
        t.backend.forget();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
        );
        let answered = statuses(&t, request).await;
        assert_eq!(answered, [400], "{:?}", &chunk[..chunk.len().min(40)]);
        t.backend.saw_nothing();
    }
}

/// PA-09, bypass 3: a fragment is refused.
#[tokio::test]
async fn a_fragment_never_reaches_the_backend() {
    let t = Harness::start("routes: { /admin: { GET: admin }, /**: { public: true } }").await;
    let answered = statuses(&t, "GET /admin#x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answered, [400]);
    t.backend.saw_nothing();
}

/// HP-05, HP-06: no tunnel, and nothing is echoed.
#[tokio::test]
async fn connect_and_trace_are_refused() {
    let t = Harness::start("routes: { /**: { allow: { token: any } } }").await;
    let connect = "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n";
    assert_eq!(statuses(&t, connect).await, [400]);
    let trace = "TRACE / HTTP/1.1\r\nHost: a\r\nX-Secret: s\r\nConnection: close\r\n\r\n";
    let answer = raw::exchange(t.address(), trace).await;
    assert_eq!(raw::statuses(&answer), [405]);
    assert!(!answer.contains("X-Secret"));
    t.backend.saw_nothing();
}

/// HP-24: `OPTIONS *` asks for the server, which is the gateway: no route has a say, none is told of,
/// and nothing is forwarded. `*` is no target of any other method.
#[tokio::test]
async fn options_for_the_server_is_answered_here() {
    let t = Harness::start("routes: { /**: { OPTIONS: read, GET: { public: true } } }").await;
    let ask =
        |line: &str, fields: &str| format!("{line} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
    let answer = raw::exchange(t.address(), ask("OPTIONS *", "Host: a\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n") && !answer.contains("\r\nallow:"), "{answer}");
    let line = t.logged(&raw::field(&answer, "x-request-id")).await;
    assert_eq!((&line["method"], &line["decision"]), (&"OPTIONS".into(), &"-".into()));
    assert_eq!(statuses(&t, ask("OPTIONS *", "Host: a\r\nMax-Forwards: 3\r\n")).await, [204]);
    let told = [("route", "-"), ("method", "OPTIONS"), ("code", "204")];
    assert_eq!(t.metric("scopegate_http_requests_total", &told).await, 2.0);
    let refused = [
        ask("GET *", "Host: a\r\n"),
        ask("HEAD *", "Host: a\r\n"),
        ask("POST *", "Host: a\r\n"),
        ask("OPTIONS *", ""),
        ask("OPTIONS *", "Host: a\r\nHost: b\r\n"),
        ask("OPTIONS *", "Host: a b\r\n"),
        ask("OPTIONS */x", "Host: a\r\n"),
        ask("OPTIONS **", "Host: a\r\n"),
        ask("OPTIONS *?x", "Host: a\r\n"),
    ];
    for request in &refused {
        let answered = statuses(&t, request).await;
        assert_eq!(answered, [400], "{request}");
    }
    assert_eq!(t.denials("-", "malformed_request").await, refused.len() as f64);
    // Absolute-form names a resource even without a path, and its route is asked.
    assert_eq!(statuses(&t, ask("OPTIONS http://a", "Host: a\r\n")).await, [401]);
    t.backend.saw_nothing();
}

/// HP-05: OPTIONS goes no further than it may, and nowhere without its route's leave.
#[tokio::test]
async fn max_forwards_of_options_is_heeded() {
    let t = Harness::start("routes: { /r: { GET: read, OPTIONS: read } }").await;
    let token = t.token().scope("read").sign();
    let ask = |hops: &str| t.call("OPTIONS", "/r").header("max-forwards", hops);
    assert_eq!(ask("0").send().await.status(), 401);
    let here = ask("0").bearer(&token).send().await;
    assert_eq!((here.status().as_u16(), here.header("allow")), (204, "GET, HEAD, OPTIONS"));
    assert_eq!(t.line(&here).await["decision"], "allow");
    for wrong in ["x", "-1", "1, 2"] {
        let answer = ask(wrong).bearer(&token).send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (400, "malformed_request"));
    }
    let twice = ask("3").header("max-forwards", "3").bearer(&token).send().await;
    assert_eq!(twice.status(), 400);
    t.backend.saw_nothing();
    for (hops, sent) in [("3", "2"), ("1", "0"), ("99999999999999999999", "18446744073709551614")] {
        assert_eq!(ask(hops).bearer(&token).send().await.status(), 200);
        assert_eq!(t.backend.saw_one().header("max-forwards"), Some(sent));
        t.backend.forget();
    }
    // Other methods may ignore the field (RFC 9110 §7.6.2).
    let get = t.get("/r").bearer(&token).header("max-forwards", "0").send().await;
    assert_eq!(get.status(), 200);
    assert_eq!(t.backend.saw_one().header("max-forwards"), Some("0"));
}

/// HP-23: oversize heads.
#[tokio::test]
async fn oversize_heads_are_refused() {
    let t = Harness::start(OPEN).await;
    let request = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n")
    };
    assert_eq!(statuses(&t, request(&format!("/{}", "x".repeat(8000)), "")).await, [200]);
    assert_eq!(statuses(&t, request(&format!("/{}", "x".repeat(20_000)), "")).await, [414]);
    let many = "X: y\r\n".repeat(150);
    assert_eq!(statuses(&t, request("/", &many)).await, [431]);
    for size in [70 << 10, 100_000, 1 << 20] {
        let big = format!("X: {}\r\n", "y".repeat(size));
        assert_eq!(statuses(&t, request("/", &big)).await, [431], "{size}");
    }
    assert_eq!(t.backend.seen().len(), 1);
}

/// HP-08: what follows a refused request's head is its body, never a request.
#[tokio::test]
async fn the_body_of_a_refused_request_is_not_a_request() {
    let t = Harness::start(ORDERS).await;
    let inner = "GET /status HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = format!(
        "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    assert_eq!(statuses(&t, request).await, [401]);
    t.backend.saw_nothing();
}

/// HP-07, bypass 48: a refusal comes without 100 and without reading the body.
#[tokio::test]
async fn a_refusal_does_not_ask_for_the_body() {
    let t = Harness::start(ORDERS).await;
    let request = "POST /orders HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                   Content-Length: 1000000000\r\n\r\n";
    assert_eq!(statuses(&t, request).await, [401]);
    t.backend.saw_nothing();
}

/// SM-12, CL.0: a body on GET keeps its framing.
#[tokio::test]
async fn a_body_on_get_stays_a_body() {
    let t = Harness::start(OPEN).await;
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    assert_eq!(statuses(&t, request).await, [200]);
    let seen = t.backend.saw_one();
    assert_eq!((seen.target.as_str(), seen.body.len()), ("/", inner.len()));
}

/// The body limit is counted while streaming.
#[tokio::test]
async fn bodies_over_the_limit_are_413_however_they_are_framed() {
    let t = Harness::start(&format!("limits: {{ body: 1KiB }}\n{OPEN}")).await;
    let sized = t.call("POST", "/").body(vec![b'x'; 2000]).send().await;
    assert_eq!((sized.status().as_u16(), sized.reason().as_str()), (413, "body_too_large"));
    t.backend.saw_nothing();
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    assert_eq!(statuses(&t, request).await, [413]);
    // What follows a body that is given up is never read as a request.
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}\
         GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    assert_eq!(statuses(&t, request).await, [413]);
    t.backend.saw_nothing();
    assert_eq!(t.call("POST", "/").body(vec![b'x'; 1024]).send().await.status(), 200);
}
