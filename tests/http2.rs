//! HTTP/2 is the same API by other means: the same decisions, the same limits, and nothing that
//! the translation to HTTP/1.1 could turn into something else.

use std::time::Duration;

use http::HeaderValue;
use http_body_util::BodyExt;
use scopegate::config::Drain;
use serde_json::Value;

use crate::harness::chaos::{Chaos, Step::*};
use crate::harness::h2::{self, Fate, Frames, Http2, block, empty, fields, full, request, secured};
use crate::harness::{Harness, ORDERS, until, within};

const OPEN: &str = "routes: { /**: { GET: { public: true }, POST: { public: true } } }";

fn reason(answer: &http::Response<bytes::Bytes>) -> (u16, String) {
    let problem: Value = serde_json::from_slice(answer.body()).unwrap();
    (answer.status().as_u16(), problem["reason"].as_str().unwrap().to_owned())
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// BR-01, AZ-04, HP-16: refusals look as they do over HTTP/1.1.
#[tokio::test]
async fn refusals_have_the_same_shape() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + ORDERS)).await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let anonymous = client.send(request("GET", "/orders/1").body(empty()).unwrap()).await;
    assert_eq!(reason(&anonymous), refused(401, "missing_token"));
    let challenge = &anonymous.headers()["www-authenticate"];
    assert!(challenge.to_str().unwrap().starts_with("Bearer"), "{challenge:?}");
    assert_eq!(anonymous.headers()["content-type"], "application/problem+json");
    assert_eq!(anonymous.headers()["cache-control"], "no-store");
    assert!(anonymous.headers().contains_key("x-request-id"));
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
        assert!(!anonymous.headers().contains_key(name), "{name}");
    }
    let bearer = format!("Bearer {}", t.token().sign());
    let with = |method, path| request(method, path).header("authorization", &bearer);
    let method = client.send(with("BREW", "/orders/1").body(empty()).unwrap()).await;
    assert_eq!(reason(&method), refused(405, "method_refused"));
    assert_eq!(method.headers()["allow"], "GET, HEAD, POST, PUT, PATCH, DELETE");
    let missing = client.send(with("POST", "/orders").body(full("x")).unwrap()).await;
    assert_eq!(reason(&missing), refused(403, "missing_scope"));
    let nothing = client.send(with("GET", "/nothing").body(empty()).unwrap()).await;
    assert_eq!(reason(&nothing), refused(404, "no_route"));
    let head = client.send(request("HEAD", "/orders/1").body(empty()).unwrap()).await;
    assert_eq!((head.status().as_u16(), head.body().len()), (401, 0));
    assert_ne!(head.headers()["content-length"], "0");
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/**", "missing_token").await, 2.0);
    // All of this left the connection as good as new.
    let good = client.send(with("GET", "/orders/1").body(empty()).unwrap()).await;
    assert_eq!((good.status().as_u16(), &**good.body()), (200, &b"hello"[..]));
    let line = t.logged(good.headers()["x-request-id"].to_str().unwrap()).await;
    assert_eq!((&line["protocol"], &line["tls"]), (&"HTTP/2".into(), &"1.3".into()));
}

/// HP-04, HP-14, HP-15, HP-24: an HTTP/1.1 backend gets one host, one cookie line and no trace of
/// HTTP/2 but in `Via`.
#[tokio::test]
async fn a_request_is_translated() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + OPEN)).await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let sent = request("POST", "/x?y=z").header("cookie", "a=1").header("cookie", "b=2; c=3");
    let answer = client.send(sent.header("te", "trailers").body(full("hello")).unwrap()).await;
    assert_eq!(answer.status(), 200);
    let seen = t.backend.saw_one();
    assert_eq!((&*seen.method, &*seen.target, &*seen.body), ("POST", "/x?y=z", &b"hello"[..]));
    assert_eq!(seen.header("host"), Some("a.example"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2; c=3"));
    assert_eq!(seen.header("via"), Some("2.0 scopegate"));
    assert_eq!(seen.header("content-length"), Some("5"));
    assert_eq!(seen.header("te"), None);
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert!(seen.headers.keys().all(|name| !name.as_str().starts_with(':')));
}

/// HP-14, SM-09, SM-10 (RFC 9113 §8.2, §8.3): what is malformed reaches nobody, and harms no other stream.
#[tokio::test]
async fn malformed_requests_reach_nobody() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + OPEN)).await;
    let x = |more: &'static [(&'static str, &'static str)]| fields("/x", more);
    let without = |name: &str| -> Vec<_> {
        fields("/x", &[]).into_iter().filter(|(other, _)| *other != name).collect()
    };
    let requests = [
        x(&[("host", "b.example")]),
        x(&[("host", "a.example"), ("host", "b.example")]),
        x(&[("connection", "close")]),
        x(&[("connection", "x-auth-subject")]),
        x(&[("keep-alive", "timeout=5")]),
        x(&[("proxy-connection", "close")]),
        x(&[("transfer-encoding", "chunked")]),
        x(&[("upgrade", "h2c")]),
        x(&[("te", "gzip")]),
        x(&[("X-Upper", "1")]),
        x(&[("x y", "1")]),
        x(&[("x:y", "1")]),
        x(&[("", "1")]),
        x(&[("x", "a\r\nx-auth-subject: root")]),
        x(&[("x", "a\0")]),
        x(&[("content-length", "5")]),
        x(&[(":path", "/y")]),
        x(&[(":status", "200")]),
        x(&[("x", "1"), (":late", "1")]),
        fields("x", &[]),
        fields("", &[]),
        fields("*", &[]),
        fields("/x\r\nx-auth-subject: root", &[]),
        fields("/x y", &[]),
        fields("http://b.example/x", &[]),
        without(":method"),
        without(":path"),
        without(":scheme"),
        without(":authority"),
        vec![(":method", "GET"), (":scheme", "ftp"), (":authority", "a.example"), (":path", "/x")],
        vec![
            (":method", "G T"),
            (":scheme", "https"),
            (":authority", "a.example"),
            (":path", "/x"),
        ],
        vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "u@a.example"),
            (":path", "/x"),
        ],
        vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.example/y"),
            (":path", "/x"),
        ],
        vec![
            (":method", "GET /y HTTP/1.1\r\nx:"),
            (":scheme", "https"),
            (":authority", "a.example"),
            (":path", "/x"),
        ],
        vec![
            (":method", "GET"),
            (":scheme", "https://b.example/"),
            (":authority", "a.example"),
            (":path", "/x"),
        ],
        vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.example\r\nx: y"),
            (":path", "/x"),
        ],
        vec![(":method", "CONNECT"), (":authority", "127.0.0.1:22")],
        vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", "a.example"),
            (":path", "/x"),
        ],
    ];
    for request in requests {
        let mut frames = Frames::connect(t.address(), &pair).await;
        frames.request(1, &request).await;
        let fate = frames.fate(1).await;
        let refused = matches!(fate, Fate::Answered(400) | Fate::Reset(1) | Fate::Gone(Some(1)));
        assert!(refused, "{request:?}: {fate:?}");
        if !matches!(fate, Fate::Gone(_)) {
            frames.request(3, &fields("/x", &[("cookie", "good=1")])).await;
            assert_eq!(frames.fate(3).await, Fate::Answered(200), "after {request:?}");
        }
    }
    let seen = t.backend.seen();
    let good = |seen: &crate::harness::Seen| seen.header("cookie") == Some("good=1");
    assert!(seen.iter().all(good), "{seen:?}");
}

/// HP-06 (RFC 8441): nobody was told that CONNECT may be extended, and who tries is refused at once,
/// on a route that turns connections of HTTP/1.1 as well; no tunnel, and no stream that hangs.
#[tokio::test]
async fn an_extended_connect_is_refused_at_once() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&format!(
        "{tls}routes: {{ /ws: {{ upgrade: websocket, public: true }}, /x: {{ public: true }} }}"
    ))
    .await;
    let mut frames = Frames::connect(t.address(), &pair).await;
    let ask: Vec<_> = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https")]
        .into_iter()
        .chain([(":authority", "a.example"), (":path", "/ws"), ("sec-websocket-version", "13")])
        .collect();
    // The stream stays open on this side, as that of a tunnel does.
    frames.send(h2::HEADERS, h2::END_HEADERS, 1, &block(&ask)).await;
    let fate = frames.fate(1).await;
    assert!(matches!(fate, Fate::Answered(400) | Fate::Reset(1)), "{fate:?}");
    t.backend.saw_nothing();
    assert_eq!(t.backend.connections(), 0);
    frames.request(3, &fields("/x", &[])).await;
    assert_eq!(frames.fate(3).await, Fate::Answered(200));
}

/// HP-24, PA-09: `OPTIONS *` is answered here, and a fragment is no part of what is judged, nor of
/// what is forwarded.
#[tokio::test]
async fn odd_targets_are_read_as_over_http1() {
    let (_folder, pair, tls) = secured();
    let routes = "routes: { /**: { OPTIONS: read, GET: { public: true } }, /admin: { GET: read } }";
    let t = Harness::start(&format!("{tls}{routes}")).await;
    let mut star = fields("*", &[]);
    star[0].1 = "OPTIONS";
    let mut frames = Frames::connect(t.address(), &pair).await;
    frames.request(1, &star).await;
    assert_eq!(frames.fate(1).await, Fate::Answered(204));
    t.backend.saw_nothing();
    frames.request(3, &fields("/admin#/x", &[])).await;
    // 401 has no index of its own.
    let fate = frames.fate(3).await;
    assert!(matches!(fate, Fate::Answered(0 | 400) | Fate::Reset(1)), "{fate:?}");
    t.backend.saw_nothing();
    frames.request(5, &fields("/x#/../admin", &[])).await;
    if frames.fate(5).await == Fate::Answered(200) {
        assert_eq!(t.backend.saw_one().target, "/x");
    }
}

/// SM-09 (RFC 9113 §8.1.1): a body that is not as long as was said ends its stream, and no backend
/// takes what came for the whole; so does a field behind it that is none.
#[tokio::test]
async fn malformed_bodies_reach_nobody_whole() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + OPEN)).await;
    for (length, body, trailer) in [
        (Some("5"), "few", None),
        (Some("5"), "many more", None),
        (None, "hello", Some(("x", "a\r\nb"))),
        (None, "hello", Some(("connection", "close"))),
    ] {
        let mut frames = Frames::connect(t.address(), &pair).await;
        post(&mut frames, length, body, trailer).await;
        let fate = frames.fate(1).await;
        let refused = matches!(fate, Fate::Answered(400) | Fate::Reset(1) | Fate::Gone(Some(1)));
        assert!(refused, "{body} {trailer:?}: {fate:?}");
    }
    t.backend.saw_nothing();
}

/// SM-09, HP-10 (RFC 9113 §8.1): a pseudo-field behind a body says nothing to anybody. The library
/// takes it out of the trailers without a word, and all the rest of them is dropped here.
#[tokio::test]
async fn a_pseudo_field_behind_a_body_goes_nowhere() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + OPEN)).await;
    let mut frames = Frames::connect(t.address(), &pair).await;
    post(&mut frames, None, "hello", Some((":path", "/admin"))).await;
    if frames.fate(1).await == Fate::Answered(200) {
        let seen = t.backend.saw_one();
        assert_eq!((&*seen.target, &*seen.body), ("/x", &b"hello"[..]));
        assert!(seen.headers.values().all(|value| value != "/admin"), "{:?}", seen.headers);
    }
}

/// `POST /x` on the first stream, with a length or none, and one trailer or none.
async fn post(
    frames: &mut Frames,
    length: Option<&str>,
    body: &str,
    trailer: Option<(&str, &str)>,
) {
    let mut head = fields("/x", &[]);
    head[0].1 = "POST";
    head.extend(length.map(|length| ("content-length", length)));
    frames.send(h2::HEADERS, h2::END_HEADERS, 1, &block(&head)).await;
    let end = if trailer.is_none() { h2::END_STREAM } else { 0 };
    frames.send(h2::DATA, end, 1, body.as_bytes()).await;
    if let Some(trailer) = trailer {
        let flags = h2::END_STREAM | h2::END_HEADERS;
        frames.send(h2::HEADERS, flags, 1, &block(&[trailer])).await;
    }
}

/// RFC 9113 §8.3.1: a host that is the authority's, written another way, is no contradiction.
#[tokio::test]
async fn a_host_that_agrees_is_no_contradiction() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + OPEN)).await;
    let mut frames = Frames::connect(t.address(), &pair).await;
    frames.request(1, &fields("/x", &[("host", "A.example")])).await;
    assert_eq!(frames.fate(1).await, Fate::Answered(200));
    let seen = t.backend.saw_one();
    assert!(seen.header("host").unwrap().eq_ignore_ascii_case("a.example"));
}

/// HP-10: trailers of a request are dropped.
#[tokio::test]
async fn trailers_of_a_request_are_dropped() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + OPEN)).await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let trailers = [("x-auth-subject", "root"), ("x-sum", "1"), ("host", "b.example")];
    let trailers = trailers.map(|(name, value)| {
        (http::HeaderName::from_static(name), HeaderValue::from_static(value))
    });
    let trailers = std::future::ready(Some(Ok(http::HeaderMap::from_iter(trailers))));
    let body = full("hello").with_trailers(trailers).boxed();
    let answer = client.send(request("POST", "/x").body(body).unwrap()).await;
    assert_eq!(answer.status(), 200);
    let seen = t.backend.saw_one();
    assert_eq!(&*seen.body, b"hello");
    assert_eq!(seen.header("host"), Some("a.example"));
    for name in ["x-auth-subject", "x-sum", "trailer"] {
        assert_eq!(seen.header(name), None);
    }
}

/// HP-10, HP-16: an answer loses what belongs to the backend's connection, and keeps its trailers.
#[tokio::test]
async fn an_answer_is_translated() {
    let (_folder, pair, tls) = secured();
    let chaos = Chaos::start(&[
        Head,
        Say("HTTP/1.1 200 OK\r\nconnection: keep-alive, x-foo\r\nkeep-alive: timeout=5\r\n"),
        Say("x-foo: 1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ntransfer-encoding: chunked\r\n"),
        Say(
            "trailer: grpc-status\r\n\r\n2\r\nhi\r\n0\r\ngrpc-status: 0\r\nset-cookie: c=3\r\n\r\n",
        ),
    ])
    .await;
    let yaml = format!("{tls}upstreams: {{ main: {} }}\n{OPEN}", chaos.url());
    let t = Harness::start(&yaml).await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let answer = client.begin(request("GET", "/x").body(empty()).unwrap()).await.unwrap();
    for name in ["connection", "keep-alive", "x-foo", "transfer-encoding"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().cloned().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = within(answer.into_body().collect()).await.unwrap();
    let trailers = body.trailers().unwrap();
    assert_eq!((trailers.len(), &trailers["grpc-status"]), (1, &HeaderValue::from_static("0")));
    let line = t.logged(&id).await;
    assert_eq!((&line["bytes_out"], &line["cut"]), (&2.into(), &Value::Null));
}

/// HP-19: a body that breaks off ends its stream with a reset, and no other.
#[tokio::test]
async fn a_body_that_breaks_off_resets_its_stream() {
    let (_folder, pair, tls) = secured();
    let chaos = Chaos::start(&[
        Head,
        Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        Reset,
    ])
    .await;
    let t = Harness::start(&format!(
        "{tls}upstreams: {{ good: '{{backend}}', bad: {} }}
routes: {{ /bad: {{ upstream: bad, public: true }}, /good: {{ upstream: good, public: true }} }}",
        chaos.url()
    ))
    .await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let broken = client.begin(request("GET", "/bad").body(empty()).unwrap()).await;
    // The reset may overtake the head.
    if let Ok(answer) = broken {
        assert!(within(answer.into_body().collect()).await.is_err());
    }
    let good = client.send(request("GET", "/good").body(empty()).unwrap()).await;
    assert_eq!(good.status(), 200);
}

/// One connection's streams do not wait for each other.
#[tokio::test]
async fn a_slow_stream_blocks_no_other() {
    let (_folder, pair, tls) = secured();
    let slow =
        Chaos::start(&[Head, Wait, Say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await;
    let t = Harness::start(&format!(
        "{tls}upstreams: {{ good: '{{backend}}', slow: {} }}
routes: {{ /slow: {{ upstream: slow, public: true }}, /good: {{ upstream: good, public: true }} }}",
        slow.url()
    ))
    .await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let mut other = client.clone();
    let waiting =
        tokio::spawn(
            async move { other.send(request("GET", "/slow").body(empty()).unwrap()).await },
        );
    until("the slow request", async || slow.heads().len() == 1).await;
    for _ in 0..20 {
        let good = client.send(request("GET", "/good").body(empty()).unwrap()).await;
        assert_eq!(good.status(), 200);
    }
    assert!(!waiting.is_finished());
    slow.go();
    assert_eq!(within(waiting).await.unwrap().status(), 200);
}

/// A drain lets the streams that are open finish, says good-bye and takes no more.
#[tokio::test]
async fn a_drain_lets_streams_finish() {
    let (_folder, pair, tls) = secured();
    let slow =
        Chaos::start(&[Head, Wait, Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]).await;
    let t = Harness::start(&format!("{tls}upstreams: {{ main: {} }}\n{OPEN}", slow.url())).await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let mut other = client.clone();
    let waiting =
        tokio::spawn(async move { other.send(request("GET", "/x").body(empty()).unwrap()).await });
    until("the slow request", async || slow.heads().len() == 1).await;
    slow.plays(&[Serve]);
    let drain = Drain { delay: Duration::ZERO, timeout: Duration::from_secs(10) };
    let drained = t.server.shutdown(drain);
    let meanwhile = async {
        until("the good-bye", async || {
            client.begin(request("GET", "/y").body(empty()).unwrap()).await.is_err()
        })
        .await;
        slow.go();
        within(waiting).await.unwrap()
    };
    let (drained, answer) = tokio::join!(within(drained), meanwhile);
    assert_eq!((drained.cut, &**answer.body()), (0, &b"ok"[..]));
}

/// HP-23: as many fields as the file says, and as many bytes of them, over HTTP/2 too.
#[tokio::test]
async fn heads_have_the_same_limits() {
    let (_folder, pair, tls) = secured();
    let yaml = format!("{tls}limits: {{ headers: 20, header_bytes: 16KiB }}\n{OPEN}");
    let t = Harness::start(&yaml).await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let with = |count: usize| {
        let names = (0..count).map(|index| format!("x-{index}"));
        names.fold(request("GET", "/x"), |request, name| request.header(name, "y"))
    };
    assert_eq!(client.send(with(20).body(empty()).unwrap()).await.status(), 200);
    t.backend.forget();
    let many = client.send(with(21).body(empty()).unwrap()).await;
    assert_eq!(reason(&many), refused(431, "request_too_large"));
    // Lines of one name count like others.
    let crumbs = (0..21).fold(request("GET", "/x"), |request, _| request.header("cookie", "a=1"));
    let crumbs = client.send(crumbs.body(empty()).unwrap()).await;
    assert_eq!(reason(&crumbs), refused(431, "request_too_large"));
    assert_eq!(t.denials("-", "request_too_large").await, 2.0);
    let big = request("GET", "/x").header("x", "y".repeat(20 << 10)).body(empty()).unwrap();
    let big = client.begin(big).await;
    assert!(big.is_err() || big.is_ok_and(|answer| answer.status() == 431));
    t.backend.saw_nothing();
    let good = client.send(with(1).body(empty()).unwrap()).await;
    assert_eq!(good.status(), 200);
}

/// HP-23: a body over the limit is 413, announced or not, and the connection goes on.
#[tokio::test]
async fn bodies_have_the_same_limit() {
    let (_folder, pair, tls) = secured();
    let chaos = Chaos::start(&[Head, Hold]).await;
    let yaml =
        format!("{tls}limits: {{ body: 1KiB }}\nupstreams: {{ main: {} }}\n{OPEN}", chaos.url());
    let t = Harness::start(&yaml).await;
    let mut client = Http2::connect(t.address(), &pair).await;
    let sized = client.send(request("POST", "/x").body(full(vec![b'x'; 2000])).unwrap()).await;
    assert_eq!(reason(&sized), refused(413, "body_too_large"));
    assert_eq!(chaos.accepted(), 0);
    let streamed = h2::streamed(vec![b'x'; 2000]);
    let streamed = client.send(request("POST", "/x").body(streamed).unwrap()).await;
    assert_eq!(reason(&streamed), refused(413, "body_too_large"));
    assert_eq!(chaos.accepted(), 1);
    until("the backend's connection to end", async || chaos.open() == 0).await;
    chaos.plays(&[Serve]);
    let good = client.send(request("POST", "/x").body(full("x")).unwrap()).await;
    assert_eq!(good.status(), 200);
}

/// CVE-2023-44487: opening and resetting streams over and over ends the connection, not the gateway.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let (_folder, pair, tls) = secured();
    let slow = Chaos::start(&[Head, Hold]).await;
    let yaml = format!("{tls}upstreams: {{ main: {} }}\n{OPEN}", slow.url());
    let t = Harness::start(&yaml).await;
    let mut frames = Frames::connect(t.address(), &pair).await;
    let head = block(&fields("/x", &[]));
    let mut stream = 1;
    for _ in 0..RESETS {
        let begun = frames.send(h2::HEADERS, h2::END_STREAM | h2::END_HEADERS, stream, &head).await;
        if !begun || !frames.send(h2::RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await {
            break;
        }
        stream += 2;
    }
    assert!(matches!(frames.fate(stream).await, Fate::Gone(Some(11) | None)));
    // What was begun for them has ended, and others are served.
    until("the streams to end", async || slow.open() == 0).await;
    until("the requests to end", async || {
        t.metric("scopegate_http_requests_in_flight", &[]).await == 0.0
    })
    .await;
    let requests = t.metric("scopegate_http_requests_total", &[]).await;
    assert!(requests < f64::from(RESETS), "{requests}");
    slow.plays(&[Serve]);
    let mut client = Http2::connect(t.address(), &pair).await;
    assert_eq!(client.send(request("GET", "/x").body(empty()).unwrap()).await.status(), 200);
}

const RESETS: u32 = 5_000;

/// SM-12: a frame of nothing is not the end of a body, as a chunk of nothing is.
#[tokio::test]
async fn empty_frames_do_not_end_a_body() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + OPEN)).await;
    let mut frames = Frames::connect(t.address(), &pair).await;
    let mut head = fields("/x", &[]);
    head[0] = (":method", "POST");
    frames.send(h2::HEADERS, h2::END_HEADERS, 1, &block(&head)).await;
    frames.send(h2::DATA, 0, 1, b"GET /smuggled ").await;
    for _ in 0..100 {
        frames.send(h2::DATA, 0, 1, b"").await;
    }
    frames.send(h2::DATA, h2::END_STREAM, 1, b"HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(frames.fate(1).await, Fate::Answered(200));
    let seen = t.backend.saw_one();
    assert_eq!(&*seen.body, b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
}

/// CVE-2024-27316: a head that never ends does.
#[tokio::test]
async fn an_endless_head_ends_the_connection() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + ORDERS)).await;
    let mut frames = Frames::connect(t.address(), &pair).await;
    let more = block(&[("x", &"y".repeat(8 << 10))]);
    frames.send(h2::HEADERS, 0, 1, &block(&fields("/status", &[]))).await;
    let mut sent = 0;
    while sent < 2_000 && frames.send(h2::CONTINUATION, 0, 1, &more).await {
        sent += 1;
    }
    assert!(sent < 2_000);
    assert!(matches!(frames.fate(1).await, Fate::Gone(_)));
    t.backend.saw_nothing();
}

/// RFC 9113 §8.1: a refusal comes before the body, and the stream is not reset behind it: curl 7
/// would lose the answer, and a refused upload look like a broken connection.
#[tokio::test]
async fn a_refused_upload_can_read_why() {
    let (_folder, pair, tls) = secured();
    let t = Harness::start(&(tls + ORDERS)).await;
    let mut frames = Frames::connect(t.address(), &pair).await;
    let mut head = fields("/orders/1", &[("content-length", "4")]);
    head[0].1 = "POST";
    frames.send(h2::HEADERS, h2::END_HEADERS, 1, &block(&head)).await;
    let answered = until_end(&mut frames, 1).await;
    assert_eq!(answered, [h2::HEADERS, h2::DATA]);
    // What is said of other streams meanwhile comes in between, and the rest is still received.
    frames.request(3, &fields("/status", &[])).await;
    assert!(!until_end(&mut frames, 3).await.contains(&h2::RST_STREAM));
    frames.send(h2::DATA, h2::END_STREAM, 1, b"four").await;
    frames.request(5, &fields("/status", &[])).await;
    assert!(!until_end(&mut frames, 5).await.contains(&h2::RST_STREAM));
    assert_eq!(t.denials("/orders/**", "missing_token").await, 1.0);
}

/// The kinds of the frames that come until a stream's answer is complete.
async fn until_end(frames: &mut Frames, stream: u32) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some(frame) = frames.next().await {
        if frame.stream > 0 && frame.kind != h2::SETTINGS {
            kinds.push(frame.kind);
        }
        if frame.stream == stream && frame.flags & h2::END_STREAM != 0 {
            return kinds;
        }
    }
    panic!("the connection ends: {kinds:?}")
}
