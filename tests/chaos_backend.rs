//! A backend that does wrong at every stage of an exchange. Whatever it does, its client has an
//! answer with a reason or a body that is seen to be cut, in a bounded time; and nothing of it is
//! left for the next request.
//!
//! `cargo test --test main chaos_backend -- --nocapture` prints what became of each case.

mod cases;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::{JoinSet, LocalSet};

use crate::harness::chaos::{self, Chaos, Step::Echo};
use crate::harness::client::{Call, Outcome};
use crate::harness::process::Process;
use crate::harness::until;
use cases::{CASES, Case, Client, End};

/// HP-18, HP-19, HP-20, SM-12: every case of the table against the real binary; the large ones at the
/// end and one by one, for the memory that they take.
#[tokio::test]
async fn a_backend_that_does_wrong_harms_one_request_and_no_other() {
    let t = Arc::new(Tested::start().await);
    let (large, small): (Vec<_>, Vec<_>) =
        CASES.iter().enumerate().partition(|(_, case)| case.is_large());
    let (mut rows, mut lanes, here) = (BTreeMap::new(), JoinSet::new(), LocalSet::new());
    for lane in 0..LANES {
        let cases: Vec<_> = small.iter().skip(lane).step_by(LANES).copied().collect();
        let t = Arc::clone(&t);
        lanes.spawn_local_on(async move { t.try_all(cases).await }, &here);
    }
    while let Some(lane) = here.run_until(lanes.join_next()).await {
        rows.extend(lane.unwrap());
    }
    let before = t.process.memory("VmRSS");
    rows.extend(t.try_all(large).await);
    let (after, most) = (t.process.memory("VmRSS"), t.process.memory("VmHWM"));
    println!("| The backend | What came of it |\n|---|---|");
    rows.values().for_each(|row| println!("{row}"));
    println!(
        "\nMemory: {} before the large ones, {} after, {} at most",
        mib(before),
        mib(after),
        mib(most)
    );
    assert!(most.saturating_sub(before) < MOST_GROWTH, "{} to {}", mib(before), mib(most));
}

/// The gateway, with an upstream for each case.
struct Tested {
    process: Process,
    backends: Vec<Chaos>,
    /// What refuses or queues connections for as long as it lives.
    _sockets: Vec<socket2::Socket>,
}

impl Tested {
    async fn start() -> Self {
        let (down, refuses) = chaos::down();
        let (mut sockets, queues) = chaos::full().await;
        sockets.push(down);
        let (mut backends, mut upstreams, mut routes) = (Vec::new(), String::new(), String::new());
        for (number, case) in CASES.iter().enumerate() {
            let chaos = Chaos::start(case.script).await;
            let url = match case.end {
                End::Refused(_, _, "refused") => refuses.clone(),
                End::Refused(_, _, "timeout") if case.script.is_empty() => queues.clone(),
                _ => chaos.url(),
            };
            backends.push(chaos);
            let timeout = "{ connect: 1s, response: 1s, idle: 1s }";
            upstreams += &format!("  u{number}: {{ targets: ['{url}'], timeout: {timeout} }}\n");
            let open = "GET: { public: true }, POST: { public: true }";
            routes += &format!("  /c{number}/**: {{ upstream: u{number}, {open} }}\n");
        }
        let yaml = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nissuer: {refuses}\naudience: a\n\
             limits: {{ body: 64MiB }}\nupstreams:\n{upstreams}routes:\n{routes}"
        );
        Self { process: Process::start(&yaml).await, backends, _sockets: sockets }
    }

    /// A row for each case.
    async fn try_all(&self, cases: Vec<(usize, &Case)>) -> BTreeMap<usize, String> {
        let mut rows = BTreeMap::new();
        for (number, case) in cases {
            let outcome = self.try_one(number, case).await;
            rows.insert(number, format!("| {} | {outcome} |", case.name));
        }
        rows
    }

    /// Says what came of it, once all that is to hold for every case holds.
    async fn try_one(&self, number: usize, case: &Case) -> String {
        let (name, began) = (case.name, Instant::now());
        let accepted = self.backends[number].accepted();
        let outcome = self.ask(number, case).await;
        let took = began.elapsed();
        assert!(took < case.at_most(), "{name} took {took:?}");
        self.assert_end(&outcome, case);
        let error = self.assert_counted(number, case).await;
        let id = outcome.head.headers["x-request-id"].to_str().unwrap();
        let line = self.process.logged(id).await;
        self.assert_recorded(&line, number, case);
        let next = self.assert_clean(number, case, accepted).await;
        format!("{}{error}, {}; {next}", told(&outcome, &line), spent(took))
    }

    async fn ask(&self, number: usize, case: &Case) -> Outcome {
        let chaos = &self.backends[number];
        let path = format!("/c{number}/bad");
        let call = |method| Call::new(self.process.proxy, method, &path);
        match case.client {
            Client::Gets => call("GET").outcome(u64::MAX, || chaos.go()).await,
            Client::Heads => call("HEAD").outcome(u64::MAX, || chaos.go()).await,
            Client::Leaves(most) => call("GET").outcome(most, || chaos.go()).await,
            Client::Uploads(length) => {
                call("POST").body(vec![b'x'; length]).outcome(u64::MAX, || chaos.go()).await
            }
        }
    }

    fn assert_end(&self, outcome: &Outcome, case: &Case) {
        let (name, status) = (case.name, outcome.head.status.as_u16());
        let text = String::from_utf8_lossy(&outcome.body);
        match case.end {
            End::Refused(expected, reason, _) => {
                let problem: Value = serde_json::from_str(&text).unwrap_or_default();
                let found = (status, problem["reason"].as_str(), outcome.whole);
                assert_eq!(found, (expected, Some(reason), true), "{name}: {text}");
            }
            End::Whole(expected, body) => {
                assert_eq!((status, &*text, outcome.whole), (expected, body, true), "{name}");
            }
            End::Large(length) => {
                assert_eq!((status, outcome.length, outcome.whole), (200, length, true), "{name}");
            }
            End::Cut(begin, _) => {
                assert_eq!((status, &*text, outcome.whole), (200, begin, false), "{name}");
            }
            End::Left => assert_eq!((status, outcome.whole), (200, false), "{name}"),
        }
    }

    /// The upstream's errors: one with the reason that the case has, if it has one.
    async fn assert_counted(&self, number: usize, case: &Case) -> String {
        let upstream = format!("u{number}");
        let errors = "scopegate_upstream_errors_total";
        let of = async |labels: &[(&str, &str)]| self.process.metric(errors, labels).await;
        let all = || async { of(&[("upstream", &upstream)]).await };
        let Some(reason) = case.end.error() else {
            assert_eq!(all().await, 0.0, "{}", case.name);
            return String::new();
        };
        let counted = of(&[("upstream", &upstream), ("reason", reason)]).await;
        assert_eq!((counted, all().await), (1.0, 1.0), "{} is no {reason}", case.name);
        format!(", error `{reason}`")
    }

    fn assert_recorded(&self, line: &Value, number: usize, case: &Case) {
        assert_eq!(line["upstream"], format!("u{number}"), "{}: {line}", case.name);
        assert_eq!(line["route"], format!("/c{number}/**"), "{}: {line}", case.name);
        let reason =
            if let End::Refused(_, reason, _) = case.end { reason.into() } else { Value::Null };
        assert_eq!(line["reason"], reason, "{}: {line}", case.name);
        let cut = matches!(case.end, End::Cut(..) | End::Left);
        assert_eq!(line["cut"] == true, cut, "{}: {line}", case.name);
    }

    /// The requests behind it are answered at once, on new connections, with their own answers. No
    /// connection of the case is left; those of the others rest.
    async fn assert_clean(&self, number: usize, case: &Case, accepted: usize) -> String {
        let chaos = &self.backends[number];
        if case.is_unreachable() {
            self.assert_resting(number, case, 0).await;
            return "no connection".to_owned();
        }
        assert!(chaos.accepted() - accepted <= 1, "{} was tried again", case.name);
        let (accepted, heads) = (chaos.accepted(), chaos.heads().len());
        chaos.plays(&[Echo]);
        // It may still say what it has to say, now that nobody wants it.
        chaos.go();
        until(case.name, async || chaos.is_spent()).await;
        for next in 0..NEXT {
            let path = format!("/c{number}/next-{next}");
            let answer = Call::new(self.process.proxy, "GET", &path).send().await;
            assert_eq!((answer.status().as_u16(), answer.text()), (200, path), "{}", case.name);
        }
        assert_eq!(chaos.heads().len() - heads, NEXT, "{}", case.name);
        let opened = chaos.accepted() - accepted;
        assert!((1..=NEXT).contains(&opened), "{}: {opened}", case.name);
        self.assert_resting(number, case, opened).await;
        format!("next {NEXT} on {opened} new")
    }

    /// At most so many connections are left, and none is in use.
    async fn assert_resting(&self, number: usize, case: &Case, most: usize) {
        let upstream = format!("u{number}");
        let connections = async |state| {
            let labels = [("upstream", &*upstream), ("state", state)];
            self.process.metric("scopegate_upstream_connections", &labels).await
        };
        until(case.name, async || {
            let open = self.backends[number].open();
            open <= most
                && connections("active").await == 0.0
                && connections("idle").await == open as f64
        })
        .await;
    }
}

fn told(outcome: &Outcome, line: &Value) -> String {
    let status = outcome.head.status.as_u16();
    match line["reason"].as_str() {
        Some(reason) => format!("{status} `{reason}`"),
        None if outcome.whole => format!("{status}, {} bytes", outcome.length),
        None => format!("{status}, cut after {} bytes", outcome.length),
    }
}

fn spent(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Good requests behind each case.
const NEXT: usize = 3;
/// Cases at the same time.
const LANES: usize = 6;
/// Bytes that the process may grow by at most while bodies of 1 GiB pass through it.
const MOST_GROWTH: u64 = 16 << 20;
