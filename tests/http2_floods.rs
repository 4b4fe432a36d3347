//! SM-13: what one HTTP/2 connection may do ends that connection, or costs it and nobody else.
//!
//! The gateway runs as a process of its own, so that its memory can be looked at.

use std::path::Path;
use std::time::Duration;

use crate::harness::Backend;
use crate::harness::chaos::{Chaos, Step::*};
use crate::harness::h2::{self, Fate, Frames, Http2, block, empty, fields, request};
use crate::harness::socket::{Service, Start};
use crate::harness::tls::Pair;
use crate::harness::until;

/// A gateway and what it was before anybody attacked it.
struct Target {
    service: Service,
    address: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    pair: Pair,
    before: u64,
    _folder: tempfile::TempDir,
}

impl Target {
    async fn start(upstream: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::write(folder.path(), "a", &["a.example"]);
        let yaml = config(&pair, upstream);
        let start = Start { words: &["--workers", "1"], ..Start::default() };
        let mut service = Service::start(folder.path(), &yaml, start);
        let address = service.address("proxy http").await;
        let admin = service.address("admin http").await;
        let mut target = Self { service, address, admin, pair, before: 0, _folder: folder };
        // What a first connection costs once is no leak.
        target.serves().await;
        target.before = target.service.memory("VmRSS");
        target
    }

    async fn frames(&self) -> Frames {
        Frames::connect(self.address, &self.pair).await
    }

    /// Somebody else is served.
    async fn serves(&self) {
        let mut client = Http2::connect(self.address, &self.pair).await;
        let answer = client.send(request("GET", "/good").body(empty()).unwrap()).await;
        assert_eq!(answer.status(), 200);
    }

    /// It has not grown by much, and nothing of the attack is left.
    async fn is_well(&self) {
        self.serves().await;
        let grown = self.service.memory("VmHWM").saturating_sub(self.before) >> 20;
        assert!(grown < 16, "{grown} MiB");
        until("the requests to end", async || {
            let metrics =
                crate::harness::Call::new(self.admin, "GET", "/metrics").send().await.text();
            let open = |line: &&str| line.starts_with("scopegate_http_requests_in_flight{");
            metrics.lines().filter(open).all(|line| line.ends_with(" 0"))
        })
        .await;
    }
}

fn config(pair: &Pair, upstream: &str) -> String {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/keys.json");
    format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntls: {}\nupstream: {upstream}\nlogs: {{ access: off }}\n\
         issuers: {{ main: {{ url: https://id.example, audience: a, jwks: {} }} }}\n\
         limits: {{ header_timeout: 2s, idle_timeout: 2s }}\n\
         routes: {{ /**: {{ GET: {{ public: true }}, POST: {{ public: true }} }}, /closed: {{ GET: read }} }}\n",
        pair.yaml(),
        keys.display()
    )
}

/// Sends a frame over and over; returns how many went out before the connection ended.
async fn flood(frames: &mut Frames, most: usize, frame: (u8, u8, u32, &[u8])) -> usize {
    let (kind, flags, stream, payload) = frame;
    let mut sent = 0;
    while sent < most && frames.send(kind, flags, stream, payload).await {
        sent += 1;
    }
    sent
}

/// CVE-2023-44487: streams that are reset as soon as they are begun, of requests that are refused
/// and of such that reach a backend.
#[tokio::test]
async fn rapid_reset() {
    let slow = Chaos::start(&[Head, Serve]).await;
    slow.plays(&[Serve]);
    let target = Target::start(&slow.url()).await;
    for path in ["/closed", "/x"] {
        let mut frames = target.frames().await;
        let head = block(&fields(path, &[]));
        let mut stream = 1;
        while stream < 40_000 {
            let begun =
                frames.send(h2::HEADERS, h2::END_STREAM | h2::END_HEADERS, stream, &head).await;
            if !begun || !frames.send(h2::RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await {
                break;
            }
            stream += 2;
        }
        assert!(matches!(frames.fate(stream).await, Fate::Gone(_)), "{path}: {stream}");
        target.is_well().await;
    }
}

/// CVE-2024-27316: a head that never ends, in large pieces and in empty ones.
#[tokio::test]
async fn continuation_flood() {
    let backend = Backend::start().await;
    let target = Target::start(&backend.url()).await;
    let large = block(&[("x", &"y".repeat(8 << 10))]);
    for more in [large.as_slice(), &[]] {
        let mut frames = target.frames().await;
        frames.send(h2::HEADERS, 0, 1, &block(&fields("/x", &[]))).await;
        let sent = flood(&mut frames, 100_000, (h2::CONTINUATION, 0, 1, more)).await;
        assert!(sent < 100_000, "{} bytes each", more.len());
        target.is_well().await;
    }
}

/// CVE-2019-9515, CVE-2019-9512: settings and pings whose acknowledgements nobody reads are not
/// kept without bound.
#[tokio::test]
async fn settings_and_ping_flood() {
    let backend = Backend::start().await;
    let target = Target::start(&backend.url()).await;
    for (kind, payload) in [(h2::SETTINGS, &[][..]), (h2::PING, &[7; 8][..])] {
        let mut frames = target.frames().await;
        let flooding = flood(&mut frames, 200_000, (kind, 0, 0, payload));
        // Acknowledgements fill the socket, and then the gateway reads no more.
        drop(tokio::time::timeout(Duration::from_secs(4), flooding).await);
        target.is_well().await;
    }
}

/// CVE-2019-9518: frames of nothing, without an end.
#[tokio::test]
async fn empty_data() {
    let backend = Backend::start().await;
    let target = Target::start(&backend.url()).await;
    let mut frames = target.frames().await;
    let mut head = fields("/x", &[]);
    head[0].1 = "POST";
    frames.send(h2::HEADERS, h2::END_HEADERS, 1, &block(&head)).await;
    flood(&mut frames, 50_000, (h2::DATA, 0, 1, &[])).await;
    drop(frames);
    target.is_well().await;
}

/// CVE-2016-6581: a few bytes that stand for a long field, many times in a head.
#[tokio::test]
async fn hpack_bomb() {
    let backend = Backend::start().await;
    let target = Target::start(&backend.url()).await;
    let mut frames = target.frames().await;
    // A field of 4 KiB goes into the table (RFC 7541 §6.2.1), and is named 16000 times by its index.
    let value = "y".repeat(4000);
    let mut head = block(&fields("/x", &[]));
    let mut entry = block(&[("x", &value)]);
    entry[0] = 0x40;
    head.extend(entry);
    assert!(head.len() < 16 << 10);
    frames.send(h2::HEADERS, 0, 1, &head).await;
    frames.send(h2::CONTINUATION, h2::END_HEADERS, 1, &[0xbe; 16_000]).await;
    frames.send(h2::DATA, h2::END_STREAM, 1, &[]).await;
    // 431 has no index of its own.
    let fate = frames.fate(1).await;
    assert!(matches!(fate, Fate::Answered(0) | Fate::Reset(_) | Fate::Gone(_)), "{fate:?}");
    assert_eq!(backend.seen().len(), 1, "only the first, good request");
    target.is_well().await;
}

/// CVE-2019-9517, CVE-2019-9511: many large answers are asked for and no window is given for them.
#[tokio::test]
async fn zero_window() {
    let backend = Backend::start().await;
    let target = Target::start(&backend.url()).await;
    let reply = crate::harness::Reply { body: vec![b'x'; 4 << 20].into(), ..Default::default() };
    backend.reply(reply);
    let mut frames = target.frames().await;
    // SETTINGS_INITIAL_WINDOW_SIZE of 0.
    frames.send(h2::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    for number in 0..90 {
        frames.request(number * 2 + 1, &fields("/x", &[])).await;
    }
    until("the requests", async || backend.seen().len() >= 90).await;
    backend.reply(crate::harness::Reply::default());
    // Nobody reads: the idle timeout ends it.
    while frames.next().await.is_some() {}
    target.is_well().await;
}
