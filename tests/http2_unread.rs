//! SM-13: answers that a client asks for and does not read cost its own connection, and take
//! nobody's place.

use std::time::{Duration, Instant};

use crate::harness::chaos::{Chaos, Step::*};
use crate::harness::h2::{self, Frames, Http2, block, empty, fields, request, secured};
use crate::harness::socket::{Service, Start};
use crate::harness::tls::Pair;
use crate::harness::{Backend, Harness, Reply, scrape, until, within};

const ROUTES: &str = "routes: { /**: { GET: { public: true } }, /closed: { GET: read } }";

/// A connection that gives no stream a window (`SETTINGS_INITIAL_WINDOW_SIZE`, RFC 9113 §6.5.2).
async fn unreading(address: std::net::SocketAddr, pair: &Pair) -> Frames {
    let mut frames = Frames::connect(address, pair).await;
    assert!(frames.send(h2::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await);
    frames
}

async fn start(limits: &str, routes: &str) -> (Harness, Pair, tempfile::TempDir) {
    let (folder, pair, tls) = secured();
    let t = Harness::start(&format!("{tls}limits: {{ {limits} }}\n{routes}")).await;
    (t, pair, folder)
}

async fn under_way(t: &Harness) -> f64 {
    t.metric("scopegate_http_requests_in_flight", &[]).await
}

/// Refusals are recorded and over once they are made: neither their places nor what came with their
/// requests are kept for whoever does not read them.
#[tokio::test]
async fn refusals_take_no_place_and_no_memory() {
    const CONNECTIONS: usize = 10;
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntls: {}\nupstream: {}\nlimits: {{ idle_timeout: 600s, requests: 200 }}\n\
         issuers: {{ main: {{ url: https://id.example, audience: a, jwks: {}/examples/keys.json }} }}\n{ROUTES}\n",
        pair.yaml(),
        backend.url(),
        env!("CARGO_MANIFEST_DIR")
    );
    let start = Start { words: &["--workers", "1"], ..Start::default() };
    let mut service = Service::start(folder.path(), &yaml, start);
    let address = service.address("proxy http").await;
    let admin = service.address("admin http").await;
    let before = service.memory("VmRSS");
    let agent = "u".repeat(55_000);
    let head = block(&fields("/closed", &[("user-agent", &agent)]));
    let mut unread = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut frames = unreading(address, &pair).await;
        for number in 0..100 {
            send_large(&mut frames, number * 2 + 1, &head).await;
        }
        unread.push(frames);
    }
    let refused = [("route", "/closed"), ("reason", "missing_token")];
    until("the refusals", async || {
        scrape::sum(admin, "scopegate_decisions_total", &refused).await
            == (CONNECTIONS * 100) as f64
    })
    .await;
    assert_eq!(scrape::sum(admin, "scopegate_http_requests_in_flight", &[]).await, 0.0);
    backend.saw_nothing();
    let grown = service.memory("VmRSS").saturating_sub(before) >> 20;
    assert!(grown < 32, "{grown} MiB of the 52 MiB that came are held");
    let mut other = Http2::connect(address, &pair).await;
    assert_eq!(other.send(request("GET", "/x").body(empty()).unwrap()).await.status(), 200);
}

/// A head of several frames.
async fn send_large(frames: &mut Frames, stream: u32, head: &[u8]) {
    let (first, rest) = head.split_at(16 << 10);
    assert!(frames.send(h2::HEADERS, h2::END_STREAM, stream, first).await);
    let mut pieces = rest.chunks(16 << 10).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { h2::END_HEADERS } else { 0 };
        assert!(frames.send(h2::CONTINUATION, flags, stream, piece).await);
    }
}

/// A stream has its own time, whatever else the connection does: it is reset, and the connection
/// goes on.
#[tokio::test]
async fn one_unread_answer_ends_with_the_idle_timeout() {
    let (t, pair, _folder) = start("idle_timeout: 1s", ROUTES).await;
    let mut frames = unreading(t.address(), &pair).await;
    let began = Instant::now();
    assert!(frames.request(1, &fields("/unread", &[])).await);
    let mut head = fields("/moving", &[]);
    head[0].1 = "HEAD";
    let (mut stream, mut reset) = (1, None);
    // An answer without a body needs no window.
    while reset.is_none() {
        assert!(began.elapsed() < Duration::from_secs(15), "it is kept");
        stream += 2;
        assert!(frames.request(stream, &head).await);
        loop {
            let frame = frames.next().await.expect("the connection goes on");
            match (frame.kind, frame.stream) {
                (h2::RST_STREAM, 1) => reset = Some(frame.payload),
                (h2::HEADERS, answered) if answered == stream => break,
                _ => {}
            }
        }
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    // CANCEL.
    assert_eq!(reset.unwrap(), 8_u32.to_be_bytes());
    until("the record", async || under_way(&t).await == 0.0).await;
    let line = || t.log().lines().find(|line| line.contains("/unread")).map(str::to_owned);
    until("the log line", async || line().is_some()).await;
    assert!(line().unwrap().contains(r#""status":200"#));
}

/// A large answer of which a little is read at first.
#[tokio::test]
async fn an_answer_that_is_read_in_part_ends_too() {
    let (t, pair, _folder) = start("idle_timeout: 1s", ROUTES).await;
    t.backend.reply(Reply { body: vec![b'x'; 100 << 10].into(), ..Reply::default() });
    let mut frames = unreading(t.address(), &pair).await;
    assert!(frames.request(1, &fields("/unread", &[])).await);
    assert!(frames.send(8, 0, 1, &1_u32.to_be_bytes()).await);
    let mut read = 0;
    loop {
        let frame = frames.next().await.expect("the connection goes on");
        match frame.kind {
            h2::DATA => read += frame.payload.len(),
            h2::RST_STREAM => break,
            _ => {}
        }
    }
    assert_eq!(read, 1);
    let line = || t.log().lines().find(|line| line.contains("/unread")).map(str::to_owned);
    until("the log line", async || line().is_some()).await;
    assert!(line().unwrap().contains(r#""cut":true"#), "{}", t.log());
    assert_eq!(under_way(&t).await, 0.0);
}

/// Whoever asks again and again in order not to read loses the connection.
#[tokio::test]
async fn a_hundred_unread_answers_end_the_connection() {
    let slow = Chaos::start(&[Head, Hold]).await;
    let routes = format!(
        "upstreams: {{ slow: {}, good: '{{backend}}' }}\n\
         routes: {{ /slow: {{ upstream: slow, public: true }}, /**: {{ upstream: good, public: true }} }}",
        slow.url()
    );
    let (t, pair, _folder) = start("idle_timeout: 1s", &routes).await;
    let mut frames = unreading(t.address(), &pair).await;
    // It keeps the connection from being idle.
    assert!(frames.request(1, &fields("/slow", &[])).await);
    for number in 1..100 {
        assert!(frames.request(number * 2 + 1, &fields("/x", &[])).await);
    }
    let mut resets = 0;
    while resets < 99 {
        let frame = frames.next().await.expect("not yet");
        resets += usize::from(frame.kind == h2::RST_STREAM);
    }
    assert!(frames.request(201, &fields("/x", &[])).await);
    while frames.next().await.is_some() {}
    until("the connection to end", async || slow.open() == 0 && under_way(&t).await == 0.0).await;
}

/// While there is little room, one connection has a share of it, others are served, and what is not
/// read is not waited for.
#[tokio::test]
async fn unread_answers_make_room_for_others() {
    let (t, pair, _folder) = start("idle_timeout: 600s, requests: 24", ROUTES).await;
    let mut many = unreading(t.address(), &pair).await;
    for number in 0..20 {
        assert!(many.request(number * 2 + 1, &fields("/x", &[])).await);
    }
    // Half of the places, and the rest of its requests are refused.
    until("the refusals", async || t.denials("-", "overloaded").await == 8.0).await;
    assert_eq!(under_way(&t).await, 12.0);
    assert_eq!(t.backend.seen().len(), 12);
    let mut few = unreading(t.address(), &pair).await;
    for number in 0..8 {
        assert!(few.request(number * 2 + 1, &fields("/x", &[])).await);
    }
    until("their share", async || t.backend.seen().len() == 20).await;
    let mut other = Http2::connect(t.address(), &pair).await;
    let answer = within(other.send(request("GET", "/x").body(empty()).unwrap())).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(t.denials("-", "overloaded").await, 8.0);
    // More than half of the places are taken: answers are given up long before the idle timeout.
    until("room", async || under_way(&t).await < 20.0).await;
    until("half of it", async || under_way(&t).await <= 12.0).await;
}
