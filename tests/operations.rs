//! A gateway can be changed and stopped while it works, and nobody who calls it notices.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use scopegate::config::Drain;
use tokio::net::TcpStream;

use crate::harness::chaos::{Chaos, Step::*};
use crate::harness::command::BINARY;
use crate::harness::issuer::Behaviour;
use crate::harness::process::{self, Process};
use crate::harness::{Backend, Call, Harness, Issuer, until, within};

/// A configuration whose `/flip` is open or closed; the rest says the same in other words.
fn version(open: bool) -> String {
    let (flip, timeout) = if open { ("read", "30s") } else { ("admin", "20s") };
    format!(
        "upstreams: {{ main: {{ targets: [{{backend}}], timeout: {{ response: {timeout} }} }} }}
routes:
  /flip: {{ GET: {flip} }}
  /always: {{ GET: read, timeout: {timeout} }}
  /never: {{ GET: admin }}
  /open: {{ public: true }}
  /only-{open}: {{ public: true }}"
    )
}

/// What a loop of requests over one connection saw.
#[derive(Default)]
struct Load {
    requests: AtomicUsize,
    wrong: std::sync::Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Load {
    /// Asks for the paths in turn until told to stop, at most as often as is good for a test.
    async fn run(self: Arc<Self>, address: std::net::SocketAddr, token: String) {
        let mut sender = connect(address).await;
        let expected = [("/always", 200), ("/never", 403), ("/open", 200), ("/flip", 0)];
        for (path, expected) in expected.into_iter().cycle().take(MOST) {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let status = get(&mut sender, path, &token).await;
            self.requests.fetch_add(1, Ordering::Relaxed);
            let right = status == Ok(expected) || expected == 0 && matches!(status, Ok(200 | 403));
            if !right {
                self.wrong.lock().unwrap().push(format!("{path}: {status:?}"));
                return;
            }
        }
    }
}

const MOST: usize = 20_000;

async fn connect(address: std::net::SocketAddr) -> SendRequest<Empty<Bytes>> {
    over(TcpStream::connect(address).await.unwrap()).await
}

async fn over(stream: TcpStream) -> SendRequest<Empty<Bytes>> {
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn get(
    sender: &mut SendRequest<Empty<Bytes>>,
    path: &str,
    token: &str,
) -> Result<u16, String> {
    let request = http::Request::get(path).header("host", "a");
    let request = request.header("authorization", format!("Bearer {token}"));
    let exchange = async {
        sender.ready().await?;
        let response = sender.send_request(request.body(Empty::new()).unwrap()).await?;
        let status = response.status().as_u16();
        response.into_body().collect().await.map(|_| status)
    };
    within(exchange).await.map_err(|error: hyper::Error| error.to_string())
}

/// AZ-11: under load, each request is judged by the policy before or the one after, and none
/// fails; from the moment at which the reload has succeeded, by the one after.
#[tokio::test]
async fn reloads_under_load_make_no_wrong_decision_and_lose_no_request() {
    let t = Harness::start(&version(true)).await;
    let token = t.token().scope("read").sign();
    let load = Arc::new(Load::default());
    let loops: Vec<_> =
        (0..4).map(|_| tokio::spawn(Arc::clone(&load).run(t.address(), token.clone()))).collect();
    for turn in 0..20 {
        let open = turn % 2 == 1;
        t.rewrite(&version(open));
        t.server.reload().await.expect("the file is good");
        let status = t.get("/flip").bearer(&token).send().await.status();
        assert_eq!(status, if open { 200 } else { 403 }, "turn {turn}");
        let before = load.requests.load(Ordering::Relaxed);
        until("some load", async || load.requests.load(Ordering::Relaxed) > before + 20).await;
        assert!(load.wrong.lock().unwrap().is_empty(), "{:?}", load.wrong);
    }
    load.stop.store(true, Ordering::Relaxed);
    for one in loops {
        one.await.unwrap();
    }
    assert!(load.wrong.lock().unwrap().is_empty(), "{:?}", load.wrong);
    assert!(t.backend.seen().iter().all(|seen| seen.target != "/never"));
    let accepted = [("result", "accepted")];
    assert_eq!(t.metric("scopegate_config_reloads_total", &accepted).await, 20.0);
    assert_eq!(t.metric("scopegate_http_requests_total", &[("code", "0")]).await, 0.0);
}

/// A policy with one issuer and this leeway.
fn with_leeway(leeway: &str) -> String {
    format!(
        "issuers: {{ main: {{ url: '{{issuer}}', audience: https://api.example.com, leeway: {leeway} }} }}
routes: {{ /r: {{ GET: read }} }}"
    )
}

/// AZ-11: an issuer whose settings change has keys before it is asked.
#[tokio::test]
async fn a_changed_issuer_is_ready_before_it_judges() {
    let t = Harness::start(&with_leeway("30s")).await;
    let token = t.token().scope("read").sign();
    for leeway in ["10s", "20s", "30s"] {
        t.rewrite(&with_leeway(leeway));
        t.server.reload().await.expect("the file is good");
        assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200);
    }
    assert_eq!(t.backend.seen().len(), 3);
}

/// Settings of an issuer that say nothing of its keys change while its key server is down, and the
/// keys are carried over: no token is answered 503.
#[tokio::test]
async fn keys_are_carried_over_while_the_issuer_is_down() {
    let t = Harness::start(&with_leeway("30s")).await;
    let token = t.token().scope("read").sign();
    t.issuer.behave(Behaviour::Broken(500, Bytes::new()));
    t.rewrite(&with_leeway("10s"));
    t.server.reload().await.expect("the file is good");
    assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200);
    // Keys of an issuer of another name are not: whose they are is what a name says.
    t.rewrite(&with_leeway("10s").replace("main:", "other:"));
    t.server.reload().await.expect("the file is good");
    assert_eq!(t.get("/r").bearer(&token).send().await.status(), 503);
    assert_eq!(t.backend.seen().len(), 1);
}

/// A new issuer's keys are there before the policy that asks for them: until then the one before
/// answers, and the wait for an issuer that hangs has an end.
#[tokio::test]
async fn the_old_policy_judges_until_the_new_one_can() {
    let t = Harness::start("routes: { /r: { GET: read } }").await;
    let token = t.token().scope("read").sign();
    let hangs = Chaos::start(&[Head, Hold]).await;
    t.rewrite(&format!(
        "issuers: {{ main: {{ url: '{{issuer}}', audience: https://api.example.com }}, new: {{ url: {}, audience: a }} }}
routes: {{ /r: {{ GET: read }}, /new: {{ public: true }} }}",
        hangs.url()
    ));
    let reloading = t.server.reload();
    let meanwhile = async {
        until("the question", async || !hangs.heads().is_empty()).await;
        assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200);
        assert_eq!(t.get("/new").send().await.status(), 404);
    };
    let (reloaded, ()) = tokio::join!(within(reloading), meanwhile);
    assert_eq!(reloaded.expect("the file is good").added, 1);
    assert_eq!(t.get("/new").send().await.status(), 200);
    assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200);
}

/// Reloads that follow each other closely for some seconds: what is answered fits one policy as a
/// whole, never a mix of two, and nothing is lost. Each policy says in a header which it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_fit_one_policy_as_a_whole() {
    let yaml = |turn: usize| {
        let (even, odd) =
            if turn.is_multiple_of(2) { ("read", "admin") } else { ("admin", "read") };
        format!(
            "identity_headers: {{ X-Turn: \"{}\" }}
routes: {{ /even: {{ GET: {even} }}, /odd: {{ GET: {odd} }}, /issuer: {{ GET: read }} }}",
            ["even", "odd"][turn % 2]
        )
    };
    let t = Harness::start(&yaml(0)).await;
    let token = t.token().scope("read").sign();
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let (address, token) = (t.address(), token.clone());
            tokio::spawn(async move {
                let mut sender = connect(address).await;
                for path in ["/even", "/odd", "/issuer"].into_iter().cycle().take(MOST) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let status = get(&mut sender, path, &token).await;
                    assert!(matches!(status, Ok(200 | 403)), "{path}: {status:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let began = std::time::Instant::now();
    let mut turn = 0;
    while began.elapsed() < Duration::from_secs(3) {
        turn += 1;
        t.rewrite(&yaml(turn));
        t.server.reload().await.expect("the file is good");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for one in loops {
        within(one).await.unwrap();
    }
    assert!(turn >= 10 && answered.load(Ordering::Relaxed) > 200, "{turn} {answered:?}");
    // What let a request through and what named the caller is one policy.
    for seen in t.backend.seen() {
        let turn = seen.header("x-turn").unwrap();
        assert!(seen.target == "/issuer" || seen.target == format!("/{turn}"), "{seen:?}");
    }
    assert_eq!(t.metric("scopegate_http_requests_total", &[("code", "503")]).await, 0.0);
}

/// AZ-11, decision 9: a file that cannot be used changes nothing, and says so.
#[tokio::test]
async fn a_bad_file_leaves_the_old_policy_in_force() {
    let t = Harness::start("routes: { /r: { GET: read } }").await;
    let token = t.token().scope("read").sign();
    let good = t.metric("scopegate_config_last_reload_success_timestamp_seconds", &[]).await;
    let bad = [
        "routes: { /r: { public: true }, /new: { GET: [a, b] } }",
        "routes: { /r: { public: true, upstreem: x } }",
        "routes: { /r: {",
        "routes: { /r: { public: true } }\ntls: { cert: /nowhere/x.crt, key: /nowhere/x.key }",
        "issuers: { main: { url: '{issuer}', audience: x }, new: { url: https://x.example, audience: x, jwks: /nowhere.json } }
routes: { /r: { public: true }, /new: { public: true } }",
        "",
    ];
    for (count, yaml) in bad.iter().enumerate() {
        t.rewrite(yaml);
        let refused = t.server.reload().await.expect_err(yaml);
        assert!(!refused.problems.is_empty() && !refused.summary.is_empty());
        assert_eq!(t.get("/r").send().await.status(), 401, "{yaml}");
        assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200, "{yaml}");
        assert_eq!(t.metric("scopegate_config_last_reload_successful", &[]).await, 0.0);
        let rejected = t.metric("scopegate_config_reloads_total", &[("result", "rejected")]).await;
        assert_eq!(rejected, (count + 1) as f64);
    }
    let since = t.metric("scopegate_config_last_reload_success_timestamp_seconds", &[]).await;
    assert_eq!(since, good);
    // What was never in force is not shown either.
    for name in ["scopegate_decisions_total", "scopegate_issuer_up", "scopegate_tokens_total"] {
        let series = t.series(name).await;
        assert!(!series.iter().any(|line| line.contains("new\"")), "{series:?}");
    }
    t.rewrite("routes: { /r: { public: true } }");
    t.server.reload().await.expect("the file is good again");
    assert_eq!(t.get("/r").send().await.status(), 200);
    assert_eq!(t.metric("scopegate_config_last_reload_successful", &[]).await, 1.0);
}

/// A file of routes that is cut short or swapped while it is read must not leave its paths to a
/// wider route that asks for less.
#[tokio::test]
async fn an_include_that_became_empty_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.yaml");
    std::fs::write(&file, "routes: { /admin/**: { allow: { role: admin } } }").unwrap();
    let included = folder.path().join("*.yaml");
    let yaml = format!(
        "include: {:?}\nroutes: {{ /**: {{ allow: {{ token: any }} }} }}",
        included.display().to_string()
    );
    let t = Harness::start(&yaml).await;
    let token = t.token().sign();
    let mut changes =
        ["", "# nothing yet\n", "---\n", "routes:\n", "{}", "routes: ~"].map(Some).to_vec();
    changes.push(None);
    for (count, text) in changes.into_iter().enumerate() {
        match text {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let refused = t.server.reload().await.expect_err("nothing is included");
        assert!(refused.problems.contains("scopegate help E0"), "{}", refused.problems);
        assert_eq!(t.get("/admin/x").bearer(&token).send().await.status(), 403, "{text:?}");
        let rejected = t.metric("scopegate_config_reloads_total", &[("result", "rejected")]).await;
        assert_eq!(rejected, (count + 1) as f64);
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("/admin/**", "missing_role").await, 7.0);

    std::fs::write(&file, "routes: {}").unwrap();
    t.server.reload().await.expect("it says that it has none");
    assert_eq!(t.get("/admin/x").bearer(&token).send().await.status(), 200);
}

/// A request goes on by the policy that it began with, and leaves no series of a route that is
/// gone behind.
#[tokio::test]
async fn what_is_removed_serves_its_requests_and_is_shown_no_more() {
    let slow =
        Chaos::start(&[Head, Wait, Say("HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\n\r\ndone")])
            .await;
    let yaml = |more: &str, route: &str| {
        format!(
            "upstreams: {{ main: '{{backend}}'{more} }}\nroutes: {{ /stays: {{ upstream: main, public: true }}{route} }}"
        )
    };
    let t = Harness::start(&yaml(
        &format!(", gone: {}", slow.url()),
        ", /gone: { upstream: gone, public: true }",
    ))
    .await;
    assert_eq!(t.get("/stays").send().await.status(), 200);
    let waiting = tokio::spawn(t.get("/gone").send());
    until("the request", async || slow.heads().len() == 1).await;
    t.rewrite(&yaml("", ""));
    let reloaded = t.server.reload().await.expect("the file is good");
    assert_eq!((reloaded.added, reloaded.removed, reloaded.changed), (0, 1, 0));
    assert_eq!(t.get("/gone").send().await.status(), 404);
    slow.go();
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status().as_u16(), &*answer.text()), (202, "done"));
    assert_eq!(t.logged(answer.header("x-request-id")).await["route"], "/gone");
    let shown = Call::new(t.admin(), "GET", "/metrics").send().await.text();
    let gone: Vec<_> = shown.lines().filter(|line| line.contains("gone\"")).collect();
    assert!(gone.is_empty(), "{gone:?}");
    let stays = [("route", "/stays"), ("code", "200")];
    assert_eq!(t.metric("scopegate_http_requests_total", &stays).await, 1.0);
}

/// Series that the configuration makes known are there before anything happens to them.
#[tokio::test]
async fn known_series_begin_at_zero() {
    let t = Harness::start("routes: { /r: { GET: read }, /open: { public: true } }").await;
    let known = [
        ("scopegate_decisions_total", "route=\"/r\""),
        ("scopegate_decisions_total", "route=\"/open\""),
        ("scopegate_http_body_bytes_total", "direction=\"in\",route=\"/r\""),
        ("scopegate_tokens_total", "issuer=\"main\",result=\"valid\""),
        ("scopegate_tokens_total", "issuer=\"main\",result=\"bad_signature\""),
        ("scopegate_upstream_errors_total", "reason=\"refused\",upstream=\"main\""),
        ("scopegate_upstream_errors_total", "reason=\"timeout\",upstream=\"main\""),
        ("scopegate_upstream_connections", "state=\"idle\",upstream=\"main\""),
        ("scopegate_config_reloads_total", "result=\"accepted\""),
        ("scopegate_config_reloads_total", "result=\"rejected\""),
        ("scopegate_http_requests_in_flight", "listener="),
        ("scopegate_connections", "listener="),
        ("scopegate_token_cache_requests_total", "result=\"hit\""),
        ("scopegate_token_cache_requests_total", "result=\"miss\""),
        ("scopegate_overhead_seconds_count", ""),
    ];
    for (name, labels) in known {
        let series = t.series(name).await;
        let line = series.iter().find(|line| line.contains(labels));
        let line = line.unwrap_or_else(|| panic!("no {name} {labels}: {series:?}"));
        assert!(line.ends_with(" 0"), "{line}");
    }
}

/// Draining under load: whoever gets a connection gets an answer.
#[tokio::test]
async fn a_drain_under_load_loses_no_request() {
    let t = Harness::start(OPEN).await;
    let (address, answered) = (t.address(), Arc::new(AtomicUsize::new(0)));
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                for _ in 0..MOST {
                    let Ok(stream) = TcpStream::connect(address).await else { return };
                    assert_eq!(get(&mut over(stream).await, "/r", "").await, Ok(200));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    until("some load", async || answered.load(Ordering::Relaxed) > 50).await;
    let drain = Drain { delay: Duration::from_millis(200), timeout: Duration::from_secs(10) };
    let before = answered.load(Ordering::Relaxed);
    assert_eq!(within(t.server.shutdown(drain)).await.cut, 0);
    for one in loops {
        within(one).await.unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > before + 10);
    assert_eq!(answered.load(Ordering::Relaxed), t.backend.seen().len());
}

/// HP-20: who waits when the time of the drain is over is told so, and others are served to the end.
#[tokio::test]
async fn what_is_not_answered_when_the_drain_ends_is_503_draining() {
    let stuck = Chaos::start(&[Head, Hold]).await;
    let t = Harness::start(&format!("upstreams: {{ main: {} }}\n{OPEN}", stuck.url())).await;
    let waiting = tokio::spawn(t.get("/r").send());
    until("the request", async || stuck.heads().len() == 1).await;
    let drain = Drain { delay: Duration::ZERO, timeout: Duration::from_millis(100) };
    assert_eq!(within(t.server.shutdown(drain)).await.cut, 1);
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (503, "draining"));
    assert_eq!((answer.header("retry-after"), answer.header("connection")), ("1", "close"));
    let lines = t.log();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(
        lines.contains("\"status\":503,\"decision\":\"deny\",\"reason\":\"draining\""),
        "{lines}"
    );
    until("the backend's connection to end", async || stuck.open() == 0).await;
}

/// The real binary between an issuer and a backend.
async fn start(yaml: &str, backend: &str, issuer: &Issuer) -> Process {
    Process::start(&whole(yaml, backend, issuer)).await
}

fn whole(yaml: &str, backend: &str, issuer: &Issuer) -> String {
    format!(
        "listen: 127.0.0.1:0
admin: 127.0.0.1:0
issuer: {}
audience: https://api.example.com
upstream: {backend}
{yaml}",
        issuer.url()
    )
}

const OPEN: &str = "routes: { /r: { public: true } }";

/// A signal that comes while the gateway starts is heeded once it runs: SIGHUP, which ends whoever
/// does not catch it, is a reload.
#[tokio::test]
async fn a_signal_during_the_start_does_not_end_it() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    // Reading it waits until the test writes.
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let (log, written) = std::io::pipe().unwrap();
    let child = std::process::Command::new(BINARY)
        .args(["serve", "-c"])
        .arg(&file)
        .stdout(std::process::Stdio::null())
        .stderr(written)
        .spawn();
    let mut gateway = process::Running::new(child.unwrap());
    let status = format!("/proc/{}/status", gateway.id());
    let caught = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        // SIGHUP is number 1, the lowest bit.
        u64::from_str_radix(line.trim(), 16).unwrap() & 1 == 1
    };
    until("the signal to be caught", async || caught()).await;
    gateway.signal("HUP");
    let yaml = whole(OPEN, &backend.url(), &issuer);
    let mut lines = std::io::BufReader::new(log).lines().map_while(Result::ok);
    let reloaded = tokio::task::spawn_blocking(move || {
        for said in ["gateway.yaml · 1 route", "the configuration was reloaded"] {
            std::fs::write(&file, &yaml).unwrap();
            assert!(lines.any(|line| line.contains(said)), "not {said}");
        }
    });
    within(reloaded).await.unwrap();
    assert!(gateway.is_running());
}

/// Whoever connects to the administration and says nothing keeps nobody out, not even for a moment.
#[tokio::test]
async fn silent_connections_do_not_silence_the_administration() {
    let t = Harness::start(OPEN).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        for _ in 0..70 {
            held.push(TcpStream::connect(t.admin()).await.unwrap());
        }
        assert_eq!(Call::new(t.admin(), "GET", "/livez").send().await.status(), 200);
        assert_eq!(Call::new(t.admin(), "GET", "/readyz").send().await.status(), 200);
    }
}

/// `scopegate health` and `scopegate reload` say in words and exit codes how the gateway is.
#[tokio::test]
async fn health_and_reload_ask_the_running_gateway() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let gateway = start(OPEN, &backend.url(), &issuer).await;
    let admin = gateway.admin.to_string();
    let health = async || {
        let output = process::run(&["health", "--admin", &admin]).await;
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    until("the keys", async || health().await == (Some(0), "ready\n".into())).await;

    std::fs::write(gateway.file(), whole("routes: { /r: [a, b] }", &backend.url(), &issuer))
        .unwrap();
    let rejected = process::run(&["reload", "--admin", &admin]).await;
    assert_eq!(rejected.status.code(), Some(1));
    let said = String::from_utf8(rejected.stdout).unwrap();
    assert!(said.starts_with("rejected: ") && said.contains("still running"), "{said}");
    assert!(String::from_utf8(rejected.stderr).unwrap().contains("gateway.yaml:6:"));
    assert_eq!(Call::new(gateway.proxy, "GET", "/r").send().await.status(), 200);

    let closed = "routes: { /r: { GET: read }, /new: { public: true } }";
    std::fs::write(gateway.file(), whole(closed, &backend.url(), &issuer)).unwrap();
    let accepted = process::run(&["reload", "--admin", &admin]).await;
    assert_eq!(accepted.status.code(), Some(0));
    let said = String::from_utf8(accepted.stdout).unwrap();
    assert!(said.contains("1 route added, 0 removed, 1 changed"), "{said}");
    assert_eq!(Call::new(gateway.proxy, "GET", "/r").send().await.status(), 401);

    std::fs::write(gateway.file(), whole(OPEN, &backend.url(), &issuer)).unwrap();
    gateway.signal("HUP");
    until("the reload", async || {
        Call::new(gateway.proxy, "GET", "/r").send().await.status() == 200
    })
    .await;
    drop(gateway);
    assert_eq!(health().await.0, Some(4));
    let unreachable = process::run(&["reload", "--admin", &admin]).await;
    assert_eq!(unreachable.status.code(), Some(4));
}

/// SIGTERM: not ready at once, accepting for `drain.delay`, then only what is under way.
#[tokio::test]
async fn sigterm_lets_requests_finish() {
    let issuer = Issuer::start().await;
    let slow = Chaos::start(&[
        Head,
        Wait,
        Say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone"),
    ])
    .await;
    let yaml = format!("drain: {{ delay: 2s, timeout: 20s }}\n{OPEN}");
    let mut gateway = start(&yaml, &slow.url(), &issuer).await;
    let readyz = async || Call::new(gateway.admin, "GET", "/readyz").send().await;
    until("the keys", async || readyz().await.status() == 200).await;
    let idle = connect(gateway.proxy).await;
    let running = tokio::spawn(Call::new(gateway.proxy, "GET", "/r").send());
    until("the request", async || slow.heads().len() == 1).await;

    gateway.signal("TERM");
    until("not ready", async || readyz().await.status() == 503).await;
    assert!(readyz().await.text().contains("[-] drain failed: the gateway is stopping"));
    assert_eq!(Call::new(gateway.admin, "GET", "/livez").send().await.status(), 200);
    // Load balancers need a moment to notice: until then new requests are as welcome as ever.
    let late = tokio::spawn(Call::new(gateway.proxy, "GET", "/r").send());
    until("the late request", async || slow.heads().len() == 2).await;
    slow.go();
    assert_eq!(within(running).await.unwrap().text(), "done");

    until("no more connections", async || TcpStream::connect(gateway.proxy).await.is_err()).await;
    assert!(gateway.is_running());
    until("the idle connection's end", async || idle.is_closed()).await;
    slow.go();
    let late = within(late).await.unwrap();
    assert_eq!((late.status().as_u16(), &*late.text()), (200, "done"));
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(gateway.log().contains("\"message\":\"stopped\""), "{}", gateway.log());
    assert_eq!(gateway.access_log().matches("\"status\":200").count(), 2);
}

/// What takes longer than `drain.timeout` is cut, and its client sees that.
#[tokio::test]
async fn sigterm_cuts_what_does_not_finish() {
    let issuer = Issuer::start().await;
    let stuck = Chaos::start(&[Head, Say("HTTP/1.1 200 OK\r\n\r\nhalf"), Hold]).await;
    let yaml = format!("drain: {{ timeout: 200ms }}\n{OPEN}");
    let mut gateway = start(&yaml, &stuck.url(), &issuer).await;
    let mut sender = connect(gateway.proxy).await;
    let request = http::Request::get("/r").header("host", "a").body(Empty::new()).unwrap();
    let response = within(sender.send_request(request)).await.unwrap();
    gateway.signal("TERM");
    assert!(within(response.into_body().collect()).await.is_err());
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(gateway.log().contains("before all requests had finished"), "{}", gateway.log());
    // The record of a request that was cut is written too.
    assert_eq!(gateway.access_log().matches("\"cut\":true").count(), 1, "{}", gateway.access_log());
}

/// A second signal is not asked to be patient.
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let yaml = format!("drain: {{ delay: 1h }}\n{OPEN}");
    let mut gateway = start(&yaml, &backend.url(), &issuer).await;
    gateway.signal("TERM");
    let readyz = async || Call::new(gateway.admin, "GET", "/readyz").send().await.text();
    until("not ready", async || readyz().await.contains("drain")).await;
    gateway.signal("INT");
    assert_eq!(gateway.ended().await.code(), Some(0));
}
