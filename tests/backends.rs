//! Whatever a backend does, its clients get a clear answer in a bounded time, nobody else notices,
//! and the next request starts from a clean connection.

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

/// A fault, and what becomes of it: the client's status and reason, the metric's reason.
type Case = (&'static str, Script, u16, &'static str, &'static str);

const CLOSES: (u16, &str, &str) = (502, "upstream_unreachable", "reset");
const NOT_HTTP: (u16, &str, &str) = (502, "upstream_protocol", "reset");
const LATE: (u16, &str, &str) = (504, "upstream_timeout", "timeout");

const fn case(name: &'static str, script: Script, end: (u16, &'static str, &'static str)) -> Case {
    (name, script, end.0, end.1, end.2)
}

const BEFORE_THE_BODY: &[Case] = &[
    case("closes at once", &[], CLOSES),
    case("resets at once", &[Reset], CLOSES),
    case("resets at the request", &[Head, Reset], CLOSES),
    case("closes at the request", &[Head], CLOSES),
    case("closes within its head", &[Head, Say("HTTP/1.1 200 OK\r\nconte")], CLOSES),
    case("hangs before its head", &[Head, Hold], LATE),
    case("hangs within its head", &[Head, Say("HTTP/1.1 200 OK\r\n"), Hold], LATE),
    case("interim answers for ever", &[Head, SayForever("HTTP/1.1 103 Hints\r\n\r\n")], NOT_HTTP),
    case(
        "a head without end",
        &[Head, Say("HTTP/1.1 200 OK\r\n"), SayForever("a: b\r\n")],
        NOT_HTTP,
    ),
    case("garbage", &[Head, Say("\u{1}\u{2}\r\n\r\n"), Hold], NOT_HTTP),
    case("an answer without a head", &[Head, Say("hello\r\n\r\n"), Hold], NOT_HTTP),
    case("a TLS alert", &[Head, Say("\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}"), Hold], NOT_HTTP),
    case("another protocol", &[Head, Say("SSH-2.0-OpenSSH_9.2\r\n"), Hold], NOT_HTTP),
    case("HTTP/2", &[Head, Say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Hold], NOT_HTTP),
    case("no status", &[Head, Say("HTTP/1.1 \r\n\r\n"), Hold], NOT_HTTP),
    case("a folded line", &[Head, Say("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n"), Hold], NOT_HTTP),
    case("a blank in a name", &[Head, Say("HTTP/1.1 200 OK\r\na : b\r\n\r\n"), Hold], NOT_HTTP),
    case(
        "a length that is none",
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n")],
        NOT_HTTP,
    ),
    case(
        "two lengths",
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")],
        NOT_HTTP,
    ),
    case(
        "a length and chunks",
        &[
            Head,
            Say(
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
        ],
        NOT_HTTP,
    ),
    case(
        "a coding that nobody asked for",
        &[Head, Say("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")],
        NOT_HTTP,
    ),
    case(
        "a change of protocol",
        &[
            Head,
            Say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
            Hold,
        ],
        NOT_HTTP,
    ),
    case(
        "what only a proxy asks for",
        &[Head, Say("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n")],
        NOT_HTTP,
    ),
];

/// HP-20: each fault before the body ends in its status and reason, in the answer, the log and the
/// metrics, while other upstreams serve as ever; the next request finds a clean connection.
#[tokio::test]
async fn a_fault_before_the_body_is_an_answer_with_a_reason() {
    let chaos = Chaos::start(&[]).await;
    let t = beside(&chaos).await;
    for (name, script, status, reason, error) in BEFORE_THE_BODY {
        let errors = async || {
            let labels = [("upstream", "bad"), ("reason", *error)];
            t.metric("scopegate_upstream_errors_total", &labels).await
        };
        chaos.plays(script);
        let (accepted, before, began) = (chaos.accepted(), errors().await, Instant::now());
        let (answer, good) = tokio::join!(t.get("/bad/x").send(), t.get("/good/x").send());
        assert_eq!(answer.status(), *status, "{name}");
        assert_eq!(answer.reason(), *reason, "{name}");
        assert!(began.elapsed() < Duration::from_secs(5), "{name}");
        assert_eq!(good.status(), 200, "{name}");
        assert_eq!(errors().await - before, 1.0, "{name}");
        assert_eq!(chaos.accepted() - accepted, 1, "{name} was tried again");
        let line = t.logged(answer.header("x-request-id")).await;
        assert_eq!(line["reason"], *reason, "{name}");
        assert_eq!(line["upstream"], "bad", "{name}");
        assert_clean(&t, &chaos, name).await;
    }
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

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";

const WITHIN_THE_BODY: &[(&str, Script, &str)] = &[
    (
        "less than announced",
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfirst")],
        "reset",
    ),
    ("no last chunk", &[Head, Say(CHUNKED)], "reset"),
    ("a reset between chunks", &[Head, Say(CHUNKED), Wait, Reset], "reset"),
    ("a chunk without a size", &[Head, Say(CHUNKED), Say("x\r\n"), Hold], "reset"),
    ("a chunk cut short", &[Head, Say(CHUNKED), Say("ff\r\nhalf")], "reset"),
    (
        "a reset instead of an end",
        &[Head, Say("HTTP/1.1 200 OK\r\n\r\nfirst"), Wait, Reset],
        "reset",
    ),
    ("silence", &[Head, Say(CHUNKED), Hold], "timeout"),
];

/// HP-19: what breaks off within its body is never presented as complete.
#[tokio::test]
async fn a_fault_within_the_body_is_seen_by_the_client() {
    let chaos = Chaos::start(&[]).await;
    let t = beside(&chaos).await;
    for (name, script, error) in WITHIN_THE_BODY {
        chaos.plays(script);
        let labels = [("upstream", "bad"), ("reason", *error)];
        let before = t.metric("scopegate_upstream_errors_total", &labels).await;
        let mut client = Client::ask(&t, "GET /bad/x").await;
        client.until("first").await;
        chaos.go();
        assert!(client.rest_breaks_off().await, "{name}: {}", client.received());
        let errors = t.metric("scopegate_upstream_errors_total", &labels).await;
        assert_eq!(errors - before, 1.0, "{name}");
        let line = t.logged(&client.field("x-request-id")).await;
        assert_eq!((&line["status"], &line["cut"]), (&200.into(), &true.into()), "{name}");
        assert_eq!(t.get("/good/x").send().await.status(), 200, "{name}");
        assert_clean(&t, &chaos, name).await;
    }
}

/// SM-12: what a backend says behind its answer is not the answer to the next request.
#[tokio::test]
async fn bytes_behind_an_answer_are_nobodys() {
    let chaos = Chaos::start(&[]).await;
    let t = beside(&chaos).await;
    let poisoned: [Script; 2] = [
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Say(EVIL), Hold],
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Wait, Say(EVIL), Hold],
    ];
    for script in poisoned {
        chaos.plays(script);
        assert_eq!(t.get("/bad/x").send().await.text(), "ok");
        chaos.go();
        assert_clean(&t, &chaos, "an answer that nobody asked for").await;
    }
}

const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";

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

    /// Reads to the end; whether it came before the answer's own.
    async fn rest_breaks_off(&mut self) -> bool {
        while within(self.stream.read_buf(&mut self.received)).await.is_ok_and(|read| read > 0) {}
        let text = self.received();
        let chunked =
            text.contains("transfer-encoding: chunked") && text.ends_with("\r\n0\r\n\r\n");
        let sized = text.contains("content-length: 9") && text.ends_with("123456789");
        !chunked && !sized
    }
}
