//! HTTP/2 to backends: as strict and as bounded as HTTP/1.1, with many requests on a connection.

use std::time::{Duration, Instant};

use crate::harness::authority::Authority;
use crate::harness::chaos::{Chaos, Script, Step::*};
use crate::harness::origin::Origin;
use crate::harness::{Harness, raw, until, within};

const ROUTES: &str = "routes: { /**: { GET: { public: true }, POST: { public: true } } }";

/// A gateway that speaks h2c to these targets.
async fn gateway(targets: &[String]) -> Harness {
    let targets = targets.join("', '");
    Harness::start(&format!(
        "upstreams: {{ main: {{ targets: ['{targets}'], protocol: h2, \
         timeout: {{ connect: 2s, response: 500ms, idle: 500ms }} }} }}\n\
         limits: {{ body: 1MiB }}\n{ROUTES}"
    ))
    .await
}

async fn before(origin: &Origin) -> Harness {
    gateway(&[url(origin)]).await
}

fn url(origin: &Origin) -> String {
    format!("http://{}", origin.address)
}

async fn errors(t: &Harness, reason: &str) -> f64 {
    let labels = [("upstream", "main"), ("reason", reason)];
    t.metric("scopegate_upstream_errors_total", &labels).await
}

/// HP-14, HP-16: `:authority` is the client's host, `:scheme` the link's, and nothing of the
/// client's connection passes.
#[tokio::test]
async fn a_request_is_written_as_http2_has_it() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    let call = t.call("POST", "/a?x=1").host("api.example.com").body("12345");
    let call = call.header("te", "trailers, gzip").header("connection", "x-hop, te");
    let answer = call.header("x-hop", "1").header("cookie", "a=1").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.text()), (200, "hello"));
    let seen = &origin.seen()[0];
    assert_eq!(seen.uri(), "http://api.example.com/a?x=1");
    let headers = seen.headers();
    for name in ["host", "connection", "transfer-encoding", "x-hop", "keep-alive"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["content-length"], "5");
    assert_eq!(headers["cookie"], "a=1");
    assert_eq!(headers["via"], "1.1 scopegate");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    t.get("/a").send().await;
    assert!(!origin.seen()[1].headers().contains_key("te"));
    assert_eq!((origin.seen().len(), origin.connections()), (2, 1));
}

/// RFC 9113 §3.2: over TLS, HTTP/2 is agreed on; `auto` takes what the server has, `h2` nothing else.
#[tokio::test]
async fn over_tls_the_protocol_is_agreed_on() {
    let authority = Authority::new();
    let cases: [(&str, &[&str], u16); 6] = [
        ("h2", &["h2", "http/1.1"], 200),
        ("h2", &["http/1.1"], 502),
        ("h2", &[], 502),
        ("auto", &["h2", "http/1.1"], 200),
        ("auto", &["http/1.1"], 200),
        ("http1", &["h2", "http/1.1"], 200),
    ];
    for (protocol, alpn, status) in cases {
        let origin = Origin::start(Some(authority.signs(&["localhost"]).server(alpn))).await;
        let t = Harness::start(&format!(
            "upstreams: {{ main: {{ targets: ['https://localhost:{}'], protocol: {protocol}, \
             tls: {{ ca: '{}' }} }} }}\n{ROUTES}",
            origin.address.port(),
            authority.file().display(),
        ))
        .await;
        let answers = [t.get("/a").send().await, t.get("/b").send().await];
        for answer in answers {
            assert_eq!(answer.status(), status, "{protocol} {alpn:?}");
        }
        if status == 502 {
            assert_eq!(errors(&t, "tls").await, 2.0);
            assert!(origin.seen().is_empty());
            continue;
        }
        let by_http2 = protocol != "http1" && alpn[0] == "h2";
        let scheme = origin.seen()[0].uri().scheme_str().map(str::to_owned);
        assert_eq!(scheme.as_deref(), by_http2.then_some("https"), "{protocol} {alpn:?}");
        assert_eq!(origin.connections(), 1);
    }
}

/// Unix sockets speak it by prior knowledge too.
#[tokio::test]
async fn unix_sockets_speak_http2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let origin = Origin::on(&path, true);
    let t = gateway(&[format!("unix:{}", path.display())]).await;
    assert_eq!(t.get("/a").host("api.example.com").send().await.text(), "hello");
    assert_eq!(origin.seen()[0].uri(), "http://api.example.com/a");
}

/// Requests share one connection, whichever comes first; none waits for another.
#[tokio::test]
async fn requests_share_a_connection() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    let calls = (0..50).map(|_| tokio::spawn(t.get("/wait").send()));
    let calls: Vec<_> = calls.collect();
    until("all requests", async || origin.seen().len() == 50).await;
    assert_eq!(t.get("/a").send().await.text(), "hello");
    assert_eq!(origin.connections(), 1);
    let working = [("upstream", "main"), ("state", "active")];
    assert_eq!(t.metric("scopegate_upstream_connections", &working).await, 1.0);
    for call in calls {
        origin.go();
        assert_eq!(within(call).await.unwrap().status(), 200);
    }
    let idle = [("upstream", "main"), ("state", "idle")];
    assert_eq!(t.metric("scopegate_upstream_connections", &idle).await, 1.0);
    assert_eq!(t.metric("scopegate_upstream_connections", &working).await, 0.0);
    // The idle timeout closes it.
    until("the end", async || t.metric("scopegate_upstream_connections", &idle).await == 0.0).await;
}

/// HP-23: the body's limit counts while it streams, and the backend never sees its end.
#[tokio::test]
async fn a_body_that_grows_too_large_is_refused() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    let whole = t.call("POST", "/sink").body(vec![b'x'; 1 << 20]).send().await;
    assert_eq!(whole.text(), (1 << 20).to_string());
    let mut request =
        b"POST /sink HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..17 {
        request.extend_from_slice(b"10000\r\n");
        request.extend_from_slice(&vec![b'x'; 0x10000]);
        request.extend_from_slice(b"\r\n");
    }
    let text = raw::exchange(t.address(), &request).await;
    assert_eq!(raw::statuses(&text), [413], "{text}");
    assert_eq!(t.get("/a").send().await.text(), "hello");
    assert_eq!(origin.connections(), 1);
}

/// HP-10, HP-21: trailers pass behind the body, but for what has no business there.
#[tokio::test]
async fn a_body_and_its_trailers_come_back() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    let body = vec![b'x'; 900_000];
    let answer = t.call("POST", "/echo").body(body.clone()).send().await;
    assert_eq!(answer.text().len(), body.len());
    assert_eq!(origin.bytes(), body.len());
    assert_eq!(t.call("POST", "/empty").body("x").send().await.status(), 204);
    let head = t.call("HEAD", "/a").send().await;
    assert_eq!((head.status().as_u16(), &*head.text()), (200, ""));
}

/// A fault of the backend, and what becomes of it: status, reason, the metric's reason.
#[tokio::test]
async fn faults_before_the_body_are_told() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    for (path, status, reason, metric) in [
        ("/reset", 502, "upstream_unreachable", "reset"),
        ("/hang", 504, "upstream_timeout", "timeout"),
        ("/hints", 502, "upstream_protocol", "reset"),
        ("/fields", 502, "upstream_protocol", "reset"),
        ("/lengths", 502, "upstream_protocol", "reset"),
    ] {
        let before = errors(&t, metric).await;
        let began = Instant::now();
        let answer = t.get(path).send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (status, reason), "{path}");
        assert!(began.elapsed() < Duration::from_secs(5), "{path}");
        assert_eq!(errors(&t, metric).await, before + 1.0, "{path}");
        assert_eq!(t.get("/a").send().await.text(), "hello", "{path}");
    }
    assert_eq!(t.get("/interim").send().await.text(), "hello");
}

/// HP-19: a body that is shorter or longer than announced, reset, or that never goes on, is cut.
#[tokio::test]
async fn faults_within_the_body_cut_it() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    for path in ["/short", "/long", "/half", "/nothing"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut read = Box::pin(raw::exchange(t.address(), head));
        let seen = || origin.seen().iter().any(|request| request.uri().path() == path);
        let text = tokio::select! {
            text = &mut read => text,
            () = until("the request", async || seen()) => {
                origin.go();
                read.await
            }
        };
        assert!(!text.contains("\r\n0\r\n"), "{path}: {text}");
        let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
        assert!(text.starts_with("HTTP/1.1 502") || body.len() < 10, "{path}: {text}");
        assert_eq!(t.get("/a").send().await.text(), "hello", "{path}");
    }
    assert!(errors(&t, "reset").await >= 3.0);
}

/// What a server that is none says, and how soon its clients hear of it.
#[tokio::test]
async fn what_is_not_http2_is_refused() {
    const SETTINGS: &str = "\0\0\0\x04\0\0\0\0\0";
    let cases: &[(&str, Script, u16, &str)] = &[
        ("HTTP/1.1", &[Say("HTTP/1.1 400 Bad Request\r\n\r\n"), Hold], 502, "upstream_protocol"),
        ("closes at once", &[], 502, "upstream_unreachable"),
        ("resets", &[Until("SM\r\n\r\n"), Reset], 502, "upstream_unreachable"),
        ("says nothing", &[Hold], 504, "upstream_timeout"),
        ("only settings", &[Say(SETTINGS), Hold], 504, "upstream_timeout"),
        ("settings for ever", &[Until("SM\r\n\r\n"), SayForever(SETTINGS)], 504, ""),
        (
            "pings for ever",
            &[Until("SM\r\n\r\n"), Say(SETTINGS), SayForever("\0\0\x08\x06\0\0\0\0\0abcdefgh")],
            504,
            "",
        ),
        (
            "an unknown stream",
            &[Say(SETTINGS), Say("\0\0\x01\0\0\0\0\0\x07x"), Hold],
            502,
            "upstream_protocol",
        ),
        ("a frame too large", &[Say(SETTINGS), Say("\x7f\0\0\0\0\0\0\0\x01"), Hold], 502, ""),
        (
            "a push",
            &[
                Until("SM\r\n\r\n"),
                Say(SETTINGS),
                Say("\0\0\x04\x05\x04\0\0\0\x01\0\0\0\x02"),
                Hold,
            ],
            502,
            "upstream_protocol",
        ),
    ];
    for (case, script, status, reason) in cases {
        let chaos = Chaos::start(script).await;
        let t = gateway(&[chaos.url()]).await;
        let began = Instant::now();
        let answer = t.get("/a").send().await;
        if !reason.is_empty() {
            assert_eq!((answer.status().as_u16(), &*answer.reason()), (*status, *reason), "{case}");
        }
        assert!(answer.status().is_server_error(), "{case}");
        assert!(began.elapsed() < Duration::from_secs(5), "{case}");
        // Nothing is left of it.
        until("the end of its connections", async || chaos.open() == 0).await;
    }
}

/// HP-18, RFC 9113 §6.8, §8.7: what the backend never looked at goes to another connection; a body
/// that has gone does not go twice.
#[tokio::test]
async fn only_what_was_not_looked_at_is_sent_again() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    origin.leaves(1);
    assert_eq!(t.get("/a").send().await.text(), "hello");
    assert_eq!((origin.seen().len(), origin.connections()), (1, 2));
    origin.refuses(1);
    assert_eq!(t.get("/b").send().await.text(), "hello");
    assert_eq!((origin.seen().len(), origin.connections()), (2, 2));
    origin.refuses(1);
    let answer = t.call("POST", "/c").body("once").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
    assert_eq!(origin.seen().len(), 2);
    origin.refuses(1000);
    assert_eq!(t.get("/d").send().await.status(), 502);
    assert_eq!(origin.seen().len(), 2);
    origin.refuses(0);
    // A reset says nothing about what was done.
    assert_eq!(t.get("/reset").send().await.status(), 502);
    assert_eq!(origin.seen().len(), 3);
}

/// A backend that says goodbye finishes what it has, and what comes then takes a new connection.
#[tokio::test]
async fn a_goodbye_ends_no_request() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    let waits = tokio::spawn(t.get("/wait").send());
    until("the request", async || origin.seen().len() == 1).await;
    assert_eq!(t.get("/goodbye").send().await.text(), "hello");
    until("a new connection", async || {
        assert_eq!(t.get("/a").send().await.text(), "hello");
        origin.connections() == 2
    })
    .await;
    origin.go();
    assert_eq!(within(waits).await.unwrap().text(), "hello");
}

/// SM-12: a backend that has heard enough answers; its client gets the answer.
#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    let head = "POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nx";
    let text = raw::exchange(t.address(), head).await;
    assert!(raw::statuses(&text)[0] == 413 && text.contains("enough"), "{text}");
    assert_eq!(t.get("/a").send().await.text(), "hello");
}

/// A client that goes away ends its stream and nothing else.
#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let origin = Origin::start(None).await;
    let t = before(&origin).await;
    let working = [("upstream", "main"), ("state", "active")];
    for _ in 0..20 {
        let count = origin.seen().len();
        let gone = tokio::spawn(t.get("/hang").send());
        until("the request", async || origin.seen().len() > count).await;
        gone.abort();
    }
    until("rest", async || t.metric("scopegate_upstream_connections", &working).await == 0.0).await;
    assert_eq!(t.get("/a").send().await.text(), "hello");
}

/// A server that does not even answer pings is given up long before the time for its answer.
#[tokio::test]
async fn a_server_that_answers_no_ping_is_given_up() {
    let chaos = Chaos::start(&[Say("\0\0\0\x04\0\0\0\0\0"), Hold]).await;
    let t = Harness::start(&format!(
        "upstreams: {{ main: {{ targets: ['{}'], protocol: h2, \
         timeout: {{ response: 1m, idle: 400ms }} }} }}\n{ROUTES}",
        chaos.url()
    ))
    .await;
    let answer = t.get("/a").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (504, "upstream_timeout"));
    assert_eq!(errors(&t, "timeout").await, 1.0);
}

/// A connection whose server has died silently is not used again.
#[tokio::test]
async fn a_dead_connection_is_not_used_for_ever() {
    let chaos = Chaos::start(&[Hold]).await;
    let t = gateway(&[chaos.url()]).await;
    for _ in 0..3 {
        assert_eq!(t.get("/a").send().await.status(), 504);
    }
    assert_eq!(chaos.accepted(), 3);
    until("the end of its connections", async || chaos.open() == 0).await;
}

async fn bounded(origin: &Origin, more: &str) -> Harness {
    let url = url(origin);
    let yaml = format!("upstreams: {{ main: {{ targets: ['{url}'], protocol: h2, {more} }} }}");
    Harness::start(&format!("{yaml}\n{ROUTES}")).await
}

/// Where there may be no more connections, a request waits for a stream to end, of any thread.
#[tokio::test]
async fn beyond_the_bound_a_request_waits_for_a_stream() {
    let origin = Origin::start(None).await;
    let t = bounded(&origin, "max_connections: 1, timeout: { connect: 10s }").await;
    let mut waiting: Vec<_> = (0..100).map(|_| tokio::spawn(t.get("/wait").send())).collect();
    until("all streams to be used", async || origin.seen().len() == 100).await;
    let late = ["/a", "/b", "/c"].map(|path| tokio::spawn(t.get(path).send()));
    origin.go();
    for late in late {
        assert_eq!(within(late).await.unwrap().text(), "hello");
    }
    assert_eq!(origin.connections(), 1);
    while !waiting.is_empty() {
        origin.go();
        waiting.retain(|one| !one.is_finished());
        tokio::task::yield_now().await;
    }
    let connections = |state| [("upstream", "main"), ("state", state)];
    let idle = t.metric("scopegate_upstream_connections", &connections("idle")).await;
    assert_eq!(idle, 1.0);
}

/// Whoever finds neither a stream nor room in the queue is refused at once.
#[tokio::test]
async fn beyond_the_queue_a_request_is_refused() {
    let origin = Origin::start(None).await;
    let t = bounded(&origin, "max_connections: 1, max_pending: 0").await;
    assert_eq!(t.get("/a").send().await.text(), "hello");
    let waiting: Vec<_> = (0..100).map(|_| tokio::spawn(t.get("/wait").send())).collect();
    until("all streams to be used", async || origin.seen().len() == 101).await;
    let refused = t.get("/a").send().await;
    assert_eq!((refused.status().as_u16(), &*refused.reason()), (503, "overloaded"));
    assert_eq!(errors(&t, "overloaded").await, 1.0);
    assert_eq!(origin.seen().len(), 101);
    drop(waiting);
}

/// A stream that is reset is sent again where `retry` asks for it; a POST never is.
#[tokio::test]
async fn retries_are_those_of_http1() {
    let origin = Origin::start(None).await;
    let t = bounded(&origin, "retry: 1").await;
    assert_eq!(t.get("/reset").send().await.status(), 502);
    assert_eq!(origin.seen().len(), 2);
    assert_eq!(t.call("POST", "/reset").send().await.status(), 502);
    assert_eq!((origin.seen().len(), origin.connections()), (3, 1));
}

/// Health checks speak what requests speak.
#[tokio::test]
async fn health_checks_speak_http2() {
    let origin = Origin::start(None).await;
    let t = bounded(&origin, "health: { path: '/healthz?deep=1', every: 20ms }").await;
    until("two checks", async || origin.seen().len() >= 2).await;
    let seen = &origin.seen()[0];
    let authority = url(&origin);
    assert_eq!(seen.uri().to_string(), format!("{authority}/healthz?deep=1"));
    assert_eq!(seen.headers()["user-agent"], "scopegate-health");
    assert_eq!(t.metric("scopegate_upstream_up", &[("upstream", "main")]).await, 1.0);
}
