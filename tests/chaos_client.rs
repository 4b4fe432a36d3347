//! A client that does wrong at every stage of a connection. Each ends in a bounded time, with a
//! record that says why where there was a request, and leaves nothing behind: no connection, no
//! request under way, no connection to a backend that is still used for it.
//!
//! `cargo test --test main chaos_client -- --nocapture` prints what became of each case.

mod cases;

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpStream;

use crate::harness::chaos::{
    self, Chaos,
    Step::{Deaf, Echo},
};
use crate::harness::client::Call;
use crate::harness::process::Process;
use crate::harness::rude::{self, Ended, Heard};
use crate::harness::tls::{self, Pair};
use crate::harness::{raw, until, within};
use cases::{CASES, Case, Door};

/// BR-10, SM-01 to SM-13, TL-04: every case of the table, one after another, against the real binary.
#[tokio::test]
async fn a_client_that_does_wrong_harms_nobody_else() {
    let t = Tested::start().await;
    t.assert_others_are_served("warm").await;
    let before = [t.plain.memory("VmRSS"), t.secure.memory("VmRSS")];
    println!("| The client | What came of it |\n|---|---|");
    for case in CASES {
        let outcome = t.try_one(case).await;
        println!("| {} | {outcome} |", case.name);
    }
    let after = [t.plain.memory("VmHWM"), t.secure.memory("VmHWM")];
    let growth = std::iter::zip(before, after).map(|(before, most)| most - before);
    let growth = growth.max().unwrap();
    println!("\nMemory: {:.1} MiB more at most", growth as f64 / f64::from(1 << 20));
    assert!(growth < MOST_GROWTH, "{growth} bytes");
}

/// The gateway with and without TLS, in front of the same backends.
struct Tested {
    plain: Process,
    secure: Process,
    pair: Pair,
    /// Answers as it should.
    good: Chaos,
    /// Does what the case says.
    odd: Chaos,
    /// The issuer's address refuses connections for as long as this lives.
    _down: socket2::Socket,
    _folder: tempfile::TempDir,
}

impl Tested {
    async fn start() -> Self {
        let (down, refuses) = chaos::down();
        let (good, odd) = (Chaos::start(&[Echo]).await, Chaos::start(&[Echo]).await);
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::write(folder.path(), "a", &["localhost"]);
        let timeout = "timeout: { connect: 2s, response: 2s, idle: 500ms }";
        let yaml = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nissuer: {refuses}\naudience: a
limits: {{ header_timeout: 400ms, idle_timeout: 500ms, body: 1MiB }}
upstreams:
  good: {{ targets: ['{good}'], {timeout} }}
  odd: {{ targets: ['{odd}'], {timeout} }}
routes:
  /good/**: {{ upstream: good, GET: {{ public: true }}, POST: {{ public: true }} }}
  /odd/**: {{ upstream: odd, GET: {{ public: true }}, POST: {{ public: true }} }}\n",
            good = good.url(),
            odd = odd.url()
        );
        let plain = Process::start(&yaml).await;
        let secure = Process::start(&format!("{yaml}tls: {}\n", pair.yaml())).await;
        Self { plain, secure, pair, good, odd, _down: down, _folder: folder }
    }

    fn behind(&self, door: Door) -> &Process {
        match door {
            Door::Plain => &self.plain,
            Door::Handshake | Door::Tls => &self.secure,
        }
    }

    /// Says what came of it, once all that is to hold for every case holds.
    async fn try_one(&self, case: &Case) -> String {
        let process = self.behind(case.door);
        let (records, seen) = (process.records().len(), self.seen());
        let failed = handshakes(process).await;
        self.odd.plays(case.backend);
        let began = Instant::now();
        let heard = within(self.play(case)).await;
        if case.door == Door::Handshake {
            until(case.name, async || handshakes(process).await > failed).await;
        }
        self.assert_quiet(process, case).await;
        let took = began.elapsed();
        assert!(took < AT_MOST, "{} took {took:?}", case.name);
        self.assert_heard(&heard, case);
        let records = self.assert_recorded(process, records, case).await;
        assert_eq!(self.seen() - seen, case.reaches, "{} reached the backend", case.name);
        let failed = handshakes(process).await - failed;
        assert_eq!(failed > 0.0, case.door == Door::Handshake, "{}", case.name);
        self.assert_others_are_served(case.name).await;
        format!("{}; {}, {} ms", told(&records, failed > 0.0), ended(heard.end), took.as_millis())
    }

    async fn play(&self, case: &Case) -> Heard {
        let before = self.seen();
        let seen = || self.seen() > before;
        let address = self.behind(case.door).proxy;
        if case.door != Door::Tls {
            let stream = TcpStream::connect(address).await.unwrap();
            return rude::play(stream, case.script, seen).await;
        }
        let client = tls::Client::trusting(&[&self.pair]);
        rude::play(client.connect(address, "localhost").await.unwrap(), case.script, seen).await
    }

    /// Requests that reached either backend.
    fn seen(&self) -> usize {
        self.good.heads().len() + self.odd.heads().len()
    }

    /// No connection of the client, no request under way, and none of the backends' connections in
    /// use: the good one's rest, the odd one's are closed.
    async fn assert_quiet(&self, process: &Process, case: &Case) {
        let gauges = [
            ("scopegate_connections", vec![]),
            ("scopegate_http_requests_in_flight", vec![]),
            ("scopegate_upstream_connections", vec![("state", "active")]),
            ("scopegate_upstream_connections", vec![("upstream", "odd"), ("state", "idle")]),
        ];
        for (gauge, labels) in gauges {
            let what = format!("{gauge} after {}", case.name);
            until(&what, async || process.metric(gauge, &labels).await == 0.0).await;
        }
        until(case.name, async || self.odd.open() == 0).await;
    }

    fn assert_heard(&self, heard: &Heard, case: &Case) {
        if heard.end == Ended::Left || matches!(case.script.last(), Some(Deaf)) {
            return;
        }
        let expected: Vec<u16> = case.records.iter().map(|record| record.0).collect();
        let expected: Vec<u16> = expected.into_iter().filter(|status| *status != 0).collect();
        let interim = [100];
        let mut found = raw::statuses(&heard.text);
        found.retain(|status| !interim.contains(status));
        assert_eq!(found, expected, "{}: {}", case.name, heard.text);
    }

    /// The records are those of the case, and no others.
    async fn assert_recorded(&self, process: &Process, before: usize, case: &Case) -> Vec<Value> {
        let count = case.records.len();
        until(case.name, async || process.records().len() >= before + count).await;
        let records = process.records().split_off(before);
        let found: Vec<_> = records.iter().map(read).collect();
        assert_eq!(found, case.records, "{}: {records:?}", case.name);
        records
    }

    /// Somebody else has an own answer through each door, and leaves a record of it.
    async fn assert_others_are_served(&self, name: &str) {
        let path = format!("/good/{}", fastrand::u64(..));
        let answer = Call::new(self.plain.proxy, "GET", &path).send().await;
        assert_eq!((answer.status().as_u16(), &*answer.text()), (200, &*path), "{name}");
        self.plain.logged(answer.header("x-request-id")).await;
    }
}

/// Status, reason, and whether the body was cut.
fn read(line: &Value) -> (u16, &str, bool) {
    let reason = line["reason"].as_str().unwrap_or_default();
    (line["status"].as_u64().unwrap_or_default() as u16, reason, line["cut"] == true)
}

async fn handshakes(process: &Process) -> f64 {
    process.metric("scopegate_connections_refused_total", &[("reason", "handshake")]).await
}

fn told(records: &[Value], no_handshake: bool) -> String {
    if records.is_empty() {
        let what = if no_handshake { "counted as `handshake`" } else { "no request, no record" };
        return what.to_owned();
    }
    let one = |line: &Value| {
        let (status, reason, cut) = read(line);
        let reason = if reason.is_empty() { String::new() } else { format!(" `{reason}`") };
        format!("{status}{reason}{}", if cut { ", cut" } else { "" })
    };
    records.iter().map(one).collect::<Vec<_>>().join(", then ")
}

fn ended(end: Ended) -> &'static str {
    match end {
        Ended::Closed => "closed",
        Ended::Reset => "reset",
        Ended::Left => "it left",
    }
}

/// How long a case may take: the timeouts are half a second, and lingering takes two at most.
const AT_MOST: Duration = Duration::from_secs(8);
/// Bytes that either process may grow by at most.
const MOST_GROWTH: u64 = 16 << 20;
