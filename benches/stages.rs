//! What each stage of a request costs: nanoseconds and allocations.
//!
//! `cargo bench --bench stages`. Times are the median of eleven rounds on one thread; allocations
//! are counted exactly. Compare figures of one run with each other, not across machines.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a benchmark prints, and may stop where it fails"
)]

#[path = "../tests/harness/keys.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod keys;
#[path = "../tests/harness/token.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod token;

use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use http::{HeaderMap, Request, request};
use scopegate::authenticate::Verdicts;
use scopegate::authorize::Permit;
use scopegate::clock::Clock;
use scopegate::config::{Variables, load_text};
use scopegate::forward::{Origin, Outgoing};
use scopegate::identity::Caller;
use scopegate::policy::{Policy, Shared};
use scopegate::record::metrics::Metrics;
use scopegate::revoke::Revocations;
use scopegate::target::Target;

use keys::Key;
use token::Token;

const ISSUER: &str = "https://id.example.com";
const ROUNDS: usize = 11;

fn main() {
    let rsa = Key::rsa("rsa", jsonwebtoken::Algorithm::RS256);
    let ec = Key::es256("ec");
    let bench = Bench::new(&[&rsa, &ec], 0);
    let many = Bench::new(&[&rsa, &ec], 10_000);
    println!("{:<28} {:>12} {:>14}", "stage", "ns", "allocations");
    let head = head(&sized_token(&rsa, 0));
    let target = || Target::of(&head.method, &head.uri, head.version, &head.headers).unwrap();
    let known = target();
    let route = || bench.policy.locate(&known).unwrap().access(&head.method).unwrap();
    let origin = || Origin::of(peer(), true, &head.headers, &[]);
    let caller = || bench.identify(&head.headers);
    let found = route();
    let client = origin().client;
    let now = bench.shared.clock.now();
    let identified = caller();
    let judge = || found.authorize(black_box(identified.clone()), &known, client, now).unwrap();
    let permit = judge();

    report("target", measure(2000, &target));
    report("route", measure(2000, &route));
    let among_many = || many.policy.locate(&known).unwrap().access(&head.method).unwrap();
    report("route among 10 000", measure(2000, &among_many));
    report("verdict hit", measure(2000, &caller));
    bench.report_miss("verdict miss RS256", &rsa);
    bench.report_miss("verdict miss ES256", &ec);
    report("authorize", measure(2000, &judge));
    let spend =
        |permit: &Permit<'_>| permit.spend(bench.policy.plan_of(permit.caller()), client).unwrap();
    report("limit", measure(2000, &|| spend(&permit)));
    report("head", bench.head(&head, &permit));
    let hot = || {
        let target = target();
        let found = bench.policy.locate(&target).unwrap().access(&head.method).unwrap();
        let permit = found.authorize(caller(), &target, client, now).unwrap();
        spend(&permit)
    };
    report("target to limit, on a hit", measure(2000, &hot));
}

/// The median time of a round's iteration, and the allocations of one.
#[derive(Clone, Copy)]
struct Cost {
    nanos: f64,
    allocations: u64,
}

fn report(stage: &str, cost: Cost) {
    println!("{stage:<28} {:>12.0} {:>14}", cost.nanos, cost.allocations);
}

fn measure<T>(iterations: u32, operation: &impl Fn() -> T) -> Cost {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..iterations {
                black_box(operation());
            }
            started.elapsed().as_secs_f64() * 1e9 / f64::from(iterations)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let counted = allocation_counter::measure(|| drop(black_box(operation())));
    Cost { nanos: rounds[ROUNDS / 2], allocations: counted.count_total }
}

struct Bench {
    policy: Arc<Policy>,
    shared: Shared,
    _keys: tempfile::TempDir,
}

impl Bench {
    fn new(keys: &[&Key], more_routes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let jwks =
            serde_json::json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() });
        let file = folder.path().join("keys.json");
        std::fs::write(&file, jwks.to_string()).unwrap();
        let text = config(file.to_str().unwrap(), more_routes);
        let loaded = load_text("bench.yaml", &text, &Variables::default());
        let problems = loaded.problems.render(&loaded.sources, false);
        let config = loaded.config.unwrap_or_else(|| panic!("{problems}"));
        let metrics = Metrics::default();
        let verdicts = Arc::new(Verdicts::new(10_000, &metrics));
        let clock = Clock::default();
        let revocations = Arc::new(Revocations::none(&clock, &metrics));
        let shared = Shared { clock, metrics, verdicts, revocations };
        let policy = Policy::compile(&config, &loaded.sources, None, &shared);
        let policy = Arc::new(policy.unwrap_or_else(|_| panic!("it compiles")));
        Self { policy, shared, _keys: folder }
    }

    fn identify(&self, headers: &HeaderMap) -> Caller {
        let now = self.shared.clock.now();
        let identified = pin!(self.policy.authenticator().identify(headers, None, now));
        match identified.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(caller) => caller.unwrap(),
            Poll::Pending => panic!("static keys need no waiting"),
        }
    }

    /// A token that was never seen, on each call.
    fn report_miss(&self, stage: &str, key: &Key) {
        let heads: Vec<_> = (0..ROUNDS * 200 + 1).map(|n| head(&sized_token(key, n + 1))).collect();
        let mut fresh = heads.iter();
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let started = Instant::now();
                for head in fresh.by_ref().take(200) {
                    black_box(self.identify(&head.headers));
                }
                started.elapsed().as_secs_f64() * 1e9 / 200.0
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        let last = fresh.next().unwrap();
        let counted = allocation_counter::measure(|| drop(self.identify(&last.headers)));
        report(stage, Cost { nanos: rounds[ROUNDS / 2], allocations: counted.count_total });
    }

    /// Rewriting a head, without the cost of copying it for each iteration.
    fn head(&self, head: &request::Parts, permit: &Permit<'_>) -> Cost {
        let target = Target::of(&head.method, &head.uri, head.version, &head.headers).unwrap();
        measure(2000, &|| {
            let outgoing = Outgoing {
                upstream: &self.policy.upstreams()[0],
                path_and_query: target.path_and_query().clone(),
                host: target.host_field().clone(),
                identity: permit.caller().identity().map(AsRef::as_ref),
                origin: Origin::of(peer(), true, &head.headers, &[]),
                peer_ip: http::HeaderValue::from_static("127.0.0.1"),
                scrub: self.policy.scrub(),
                keep_authorization: false,
                timeout: None,
                upgrade: None,
                body_limit: 1 << 20,
                request_id: http::HeaderValue::from_static("01K3F9ZZZZZZZZZZZZZZZZZZZZ"),
            };
            outgoing.head(head).unwrap()
        })
    }
}

fn config(keys: &str, more_routes: usize) -> String {
    let more = (0..more_routes).map(|n| format!("  /orders/r{n}/**: {{ GET: orders:read }}\n"));
    let common = format!(
        "issuers: {{ main: {{ url: {ISSUER}, audience: https://api.example.com, jwks: {keys} }} }}
upstream: http://127.0.0.1:3000
plans: {{ large: {{ rate: 1000000/s }} }}
default_plan: large
routes:
  /orders/**: {{ GET: orders:read, POST: orders:write }}
  /orders/export: {{ POST: orders:export }}
  /status: {{ public: true }}
"
    );
    common + &more.collect::<String>()
}

/// A token of about 1.3 KB with RS256, distinct for each `number`.
fn sized_token(key: &Key, number: usize) -> String {
    let roles: Vec<_> = (0..12).map(|role| format!("role-number-{role}")).collect();
    Token::new(key, ISSUER)
        .scope("openid profile orders:read orders:write")
        .claim("jti", format!("token-{number}"))
        .claim("realm_access", serde_json::json!({ "roles": roles }))
        .sign()
}

fn head(token: &str) -> request::Parts {
    let request = Request::get("/orders/42?expand=lines")
        .header("host", "api.example.com")
        .header("user-agent", "bench/1.0")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, br")
        .header("authorization", format!("Bearer {token}"));
    request.body(()).unwrap().into_parts().0
}

fn peer() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 40_000))
}
