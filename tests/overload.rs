//! More than the machine can bear is refused, in words, before anything falls over.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::chaos::{Chaos, Step::*};
use crate::harness::client::Connection;
use crate::harness::socket::{Service, Start};
use crate::harness::{Backend, Call, Harness, until, within};

const OPEN: &str = "routes: { /**: { public: true } }";

/// `limits.requests`: one too many is 503 with the line of the limit in the log; the administration
/// answers, and so does the gateway once it has less to do.
#[tokio::test]
async fn one_request_too_many_is_503() {
    let slow =
        Chaos::start(&[Head, Wait, Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]).await;
    let yaml = format!("upstreams: {{ main: {} }}\nlimits: {{ requests: 2 }}\n{OPEN}", slow.url());
    let t = Harness::start(&yaml).await;
    let waiting = [tokio::spawn(t.get("/a").send()), tokio::spawn(t.get("/b").send())];
    until("both requests", async || slow.heads().len() == 2).await;

    let refused = t.get("/c").send().await;
    assert_eq!((refused.status().as_u16(), &*refused.reason()), (503, "overloaded"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("www-authenticate"), "");
    let line = t.logged(refused.header("x-request-id")).await;
    assert_eq!(line["reason"], "overloaded");
    let rule = line["rule"].as_str().unwrap();
    assert!(rule.contains("gateway.yaml:"), "{rule}");
    assert_eq!(slow.heads().len(), 2);
    assert_eq!(t.denials("-", "overloaded").await, 1.0);
    assert_eq!(Call::new(t.admin(), "GET", "/readyz").send().await.status(), 200);

    slow.go();
    slow.go();
    until("the waiting ones", async || {
        slow.go();
        waiting.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
    slow.plays(&[Serve]);
    until("room", async || t.get("/d").send().await.status() == 200).await;
}

/// `limits.memory`: above it requests are refused but for a few, and below it they are not.
#[tokio::test]
async fn requests_are_refused_while_memory_is_short() {
    let slow = Chaos::start(&[Head, Hold]).await;
    let upstreams = format!(
        "upstreams: {{ slow: {}, good: '{{backend}}' }}\nroutes: {{ /slow: {{ upstream: slow, public: true }}, /good: {{ upstream: good, public: true }} }}",
        slow.url()
    );
    // Less than this test process holds: the address space of a test program is larger than that.
    let t = Harness::start(&format!("limits: {{ memory: 64MiB }}\n{upstreams}")).await;
    let _ballast = ballast();
    // Few requests are answered all the same.
    assert_eq!(t.get("/good").send().await.status(), 200);
    let waiting: Vec<_> = (0..8).map(|_| tokio::spawn(t.get("/slow").send())).collect();
    until("the requests", async || slow.heads().len() == 8).await;
    until("the refusal", async || t.get("/good").send().await.status() == 503).await;
    let refused = t.get("/good").send().await;
    assert_eq!(&*refused.reason(), "overloaded");
    let line = t.logged(refused.header("x-request-id")).await;
    assert!(line["rule"].as_str().unwrap().contains("gateway.yaml:"), "{line}");
    assert_eq!(Call::new(t.admin(), "GET", "/livez").send().await.status(), 200);

    t.rewrite(&format!("limits: {{ memory: off }}\n{upstreams}"));
    t.server.reload().await.expect("the file is good");
    until("room", async || t.get("/good").send().await.status() == 200).await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Memory that is really held.
fn ballast() -> Vec<u8> {
    (0..96_u32 << 20).map(|at| at as u8).collect()
}

/// `limits.connections_per_peer`: one address has its share, also of a reload's limit; trusted
/// proxies have no share.
#[tokio::test]
async fn one_peer_has_its_share_of_connections() {
    let yaml = |trusted: &str, most: usize| {
        format!("limits: {{ connections_per_peer: {most} }}\ntrusted_proxies: [{trusted}]\n{OPEN}")
    };
    let t = Harness::start(&yaml("", 2)).await;
    let refused =
        async || t.metric("scopegate_connections_refused_total", &[("reason", "peer")]).await;
    let mut kept = vec![Connection::open(t.address()).await, Connection::open(t.address()).await];
    for connection in &mut kept {
        assert_eq!(connection.get("/x", "t").await, 200);
    }
    assert!(!is_served(&t).await);
    assert_eq!(refused().await, 1.0);
    kept.pop();
    until("room for one", async || is_served(&t).await).await;

    t.rewrite(&yaml("", 3));
    t.server.reload().await.expect("the file is good");
    until("room for more", async || is_served(&t).await).await;
    t.rewrite(&yaml("127.0.0.0/8", 1));
    t.server.reload().await.expect("the file is good");
    kept.push(Connection::open(t.address()).await);
    assert!(is_served(&t).await);
}

/// Whether a new connection gets an answer.
async fn is_served(t: &Harness) -> bool {
    let mut stream = TcpStream::connect(t.address()).await.unwrap();
    let asked = b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    drop(stream.write_all(asked).await);
    let mut answer = Vec::new();
    drop(within(stream.read_to_end(&mut answer)).await);
    answer.starts_with(b"HTTP/1.1 200")
}

fn process_config(backend: &str, limits: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstream: {backend}\n\
         issuers: {{ main: {{ url: https://id.example, audience: a, jwks: {}/examples/keys.json }} }}\n\
         {limits}\n{OPEN}\n",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// More connections than descriptors: clients get what is left beside the backends' part, those who
/// are connected are served, and accepting goes on once there is room.
#[tokio::test]
async fn few_descriptors_are_survived() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let yaml = process_config(
        &backend.url(),
        "limits: { header_timeout: 2s, connections_per_peer: 10000 }",
    );
    let start = Start { before: "ulimit -n 200", words: &["--workers", "1"], ..Start::default() };
    let mut service = Service::start(folder.path(), &yaml, start);
    let address = service.address("proxy http").await;
    service
        .says("limits.connections is 10000, but this process may open 200 descriptors: 136")
        .await;
    let mut kept = Connection::open(address).await;
    assert_eq!(kept.get("/x", "t").await, 200);
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(address).await.unwrap());
    }
    for _ in 0..20 {
        assert_eq!(kept.get("/x", "t").await, 200);
    }
    drop(crowd);
    until("room", async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        drop(stream.write_all(b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await);
        let mut answer = Vec::new();
        drop(within(stream.read_to_end(&mut answer)).await);
        answer.starts_with(b"HTTP/1.1 200")
    })
    .await;
}

/// EMFILE itself: taken away while the gateway runs, `accept` fails, and goes on when it is given
/// back; meanwhile who is connected is served.
#[tokio::test]
async fn running_out_of_descriptors_is_survived() {
    if std::process::Command::new("prlimit").arg("--version").output().is_err() {
        return;
    }
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let yaml = process_config(&backend.url(), "");
    let start = Start { words: &["--workers", "1"], ..Start::default() };
    let mut service = Service::start(folder.path(), &yaml, start);
    let address = service.address("proxy http").await;
    let mut kept = Connection::open(address).await;
    assert_eq!(kept.get("/x", "t").await, 200);
    let limit = |most: &str| {
        let words = [format!("--pid={}", service.id()), format!("--nofile={most}:")];
        assert!(std::process::Command::new("prlimit").args(words).status().unwrap().success());
    };
    limit("8");
    let late = TcpStream::connect(address).await.unwrap();
    until("the error", async || service.log().contains("cannot accept connections")).await;
    assert_eq!(kept.get("/x", "t").await, 200);
    limit("1000");
    let mut late = late;
    late.write_all(b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    within(late.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(
        service.log().matches("cannot accept connections").count() <= 2,
        "the log is not flooded"
    );
}

/// The limits have places, and words for what is no limit.
#[test]
fn mistakes_in_limits_are_named() {
    use crate::harness::command::Scopegate;
    let folder = tempfile::tempdir().unwrap();
    for (limit, label) in [
        ("memory: 120%", "E061"),
        ("memory: 1KiB", "E061"),
        ("memory: lots", "E0"),
        ("requests: 0", "E061"),
        ("connections_per_peer: 0", "E061"),
    ] {
        let yaml = process_config("http://127.0.0.1:1", &format!("limits: {{ {limit} }}"));
        std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
        let ran = Scopegate::within(folder.path(), &["check"]).run();
        assert_eq!(ran.code, 1, "{limit}: {}{}", ran.stdout, ran.stderr);
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains(label) && said.contains("gateway.yaml:5:"), "{limit}: {said}");
    }
}
