//! Whatever a backend does, its clients get a clear answer in a bounded time, nobody else notices,
//! and the next request starts from a clean connection. Every stage is in `chaos_backend`.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::chaos::{self, Chaos, Script, Step::*};
use crate::harness::{Harness, until, within};

/// A good upstream beside one that is as bad as `chaos` is told to be.
async fn beside(chaos: &Chaos) -> Harness {
    let upstreams = "
upstreams:
  good: '{backend}'
  bad: { targets: ['{bad}'], timeout: { connect: 1s, response: 300ms, idle: 300ms } }
routes:
  /good/**: { upstream: good, public: true }
  /bad/**: { upstream: bad, GET: { public: true }, POST: { public: true } }
";
    Harness::start(&upstreams.replace("{bad}", &chaos.url())).await
}

/// No connection of a fault is left, and the next request is answered on a new one.
async fn assert_clean(t: &Harness, chaos: &Chaos, name: &str) {
    chaos.plays(GOOD);
    let before = chaos.accepted();
    let answer = t.get("/bad/next").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.text()), (200, "good"), "after {name}");
    assert_eq!(chaos.accepted() - before, 1, "after {name}");
    until("the connections to end", async || {
        let open = t.metric("scopegate_upstream_connections", &[("upstream", "bad")]).await;
        open == 0.0 && chaos.open() == 0
    })
    .await;
}

const GOOD: Script =
    &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngood")];

/// HP-09.
#[tokio::test]
async fn interim_answers_are_not_the_answer() {
    let chaos = Chaos::start(&[
        Head,
        Say("HTTP/1.1 100 Continue\r\n\r\n"),
        Say("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"),
        Say("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok"),
    ])
    .await;
    let t = beside(&chaos).await;
    let answer = t.get("/bad/x").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.text()), (201, "ok"));
    assert_eq!(answer.header("link"), "");
}

/// An answer before the upload's end is the answer; half an upload costs the connection.
#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_uploads() {
    let chaos = Chaos::start(&[
        Head,
        Until("part"),
        Say("HTTP/1.1 409 Conflict\r\ncontent-length: 5\r\n\r\nearly"),
        Hold,
    ])
    .await;
    let t = beside(&chaos).await;
    let mut client = Client::connect(&t).await;
    client.send("POST /bad/x HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\npart").await;
    client.until("early").await;
    assert!(client.received().starts_with("HTTP/1.1 409 "), "{}", client.received());
    let line = t.logged(&client.field("x-request-id")).await;
    assert_eq!((&line["status"], &line["bytes_in"]), (&409.into(), &4.into()));
    assert_clean(&t, &chaos, "an early answer").await;
}

/// HP-18: what a backend may have begun is not sent a second time.
#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_repeated() {
    let chaos = Chaos::start(&[Head, Until("body"), Reset]).await;
    let t = beside(&chaos).await;
    let answer = t.call("POST", "/bad/x").body("body").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
    assert_eq!((chaos.accepted(), chaos.heads().len()), (1, 1));
    assert_eq!(t.logged(answer.header("x-request-id")).await["bytes_in"], 4);
}

/// A server that is down costs its own routes 502 and nothing else, and is tried again.
#[tokio::test]
async fn a_server_that_is_down_is_502_until_it_is_up() {
    let (socket, url) = chaos::down();
    let t = Harness::start(&format!(
        "upstreams: {{ good: '{{backend}}', bad: {url} }}
routes: {{ /bad: {{ upstream: bad, public: true }}, /good: {{ upstream: good, public: true }} }}"
    ))
    .await;
    for tries in 1..=3 {
        let answer = t.get("/bad").send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
        assert!(answer.header("proxy-status").contains("error="), "{:?}", answer.headers());
        let refused = [("upstream", "bad"), ("reason", "refused")];
        let count = t.metric("scopegate_upstream_errors_total", &refused).await;
        assert_eq!(count, f64::from(tries));
        assert_eq!(t.get("/good").send().await.status(), 200);
    }
    assert_eq!(t.metric("scopegate_upstream_up", &[("upstream", "bad")]).await, 0.0);
    assert_eq!(t.metric("scopegate_upstream_up", &[("upstream", "good")]).await, 1.0);
    let up = Chaos::listen_on(socket);
    assert_eq!(t.get("/bad").send().await.text(), "good");
    assert_eq!(up.accepted(), 1);
    assert_eq!(t.metric("scopegate_upstream_up", &[("upstream", "bad")]).await, 1.0);
}

/// While a hundred requests wait for one upstream, those to another are answered.
#[tokio::test]
async fn a_slow_upstream_blocks_nobody_else() {
    let chaos = Chaos::start(&[Head, Hold]).await;
    let t = Harness::start(&format!(
        "upstreams: {{ good: '{{backend}}', slow: {} }}
routes: {{ /slow: {{ upstream: slow, public: true }}, /good: {{ upstream: good, public: true }} }}",
        chaos.url()
    ))
    .await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..100 {
        waiting.spawn(t.get("/slow").send());
    }
    until("the slow requests", async || chaos.heads().len() == 100).await;
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(t.get("/good").send().await.status(), 200);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(t.metric("scopegate_http_requests_in_flight", &[]).await, 100.0);
    assert!(waiting.try_join_next().is_none());
    // The clients go away, and with them what was done for them.
    waiting.shutdown().await;
    until("the backend's connections", async || chaos.open() == 0).await;
    until("the requests", async || t.metric("scopegate_http_requests_in_flight", &[]).await == 0.0)
        .await;
    let gone = [("route", "/slow"), ("code", "0")];
    assert_eq!(t.metric("scopegate_http_requests_total", &gone).await, 100.0);
    // The wait for the backend is not the gateway's.
    let longest = t.metric("scopegate_overhead_seconds_bucket", &[("le", "1")]).await;
    assert_eq!(longest, t.metric("scopegate_overhead_seconds_count", &[]).await);
}

/// HP-22: an event is passed on when it comes, not when the answer ends.
#[tokio::test]
async fn events_are_passed_on_at_once() {
    let chaos = Chaos::start(&[
        Head,
        Say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: first\n\n"),
        Wait,
        Say("data: second\n\n"),
    ])
    .await;
    let t = beside(&chaos).await;
    let mut client = Client::ask(&t, "GET /bad/x").await;
    client.until("data: first").await;
    chaos.go();
    client.until("data: second\n\n\r\n0\r\n\r\n").await;
    let line = t.logged(&client.field("x-request-id")).await;
    assert_eq!(line["cut"], serde_json::Value::Null);
}

/// A client of raw bytes.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    async fn connect(t: &Harness) -> Self {
        let stream = TcpStream::connect(t.address()).await.unwrap();
        Self { stream, received: Vec::new() }
    }

    async fn ask(t: &Harness, operation: &str) -> Self {
        let mut client = Self::connect(t).await;
        client.send(&format!("{operation} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        client
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    fn received(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.received)
    }

    /// The value of a field of the answer.
    fn field(&self, name: &str) -> String {
        let start = format!("{name}: ");
        let line = |line: &str| line.strip_prefix(&start).map(str::to_owned);
        self.received().lines().find_map(line).unwrap()
    }

    /// Reads until `text` has come.
    async fn until(&mut self, text: &str) {
        while !self.received().contains(text) {
            let read = within(self.stream.read_buf(&mut self.received)).await.unwrap();
            assert!(read > 0, "no {text:?} in {}", self.received());
        }
    }
}
