//! What an upstream is given at once is bounded, and so is the queue in front of it.

use std::time::Duration;

use crate::harness::chaos::{Chaos, Script, Step::*};
use crate::harness::{Answer, Harness, until};

async fn before(chaos: &Chaos, more: &str) -> Harness {
    Harness::start(&format!(
        "errors: {{ detail: full }}\n\
         upstreams: {{ main: {{ targets: ['{}'], {more} }} }}\n\
         routes: {{ /x: {{ GET: {{ public: true }}, POST: {{ public: true }} }} }}",
        chaos.url()
    ))
    .await
}

fn assert_overloaded(answer: &Answer, setting: &str) {
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (503, "overloaded"));
    assert!(answer.text().contains(&format!("upstream main has reached its {setting}")));
    assert_eq!(answer.header("retry-after"), "1");
    let status = "scopegate; error=connection_limit_reached; details=\"overloaded\"";
    assert_eq!(answer.header("proxy-status"), status);
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ONE_AT_A_TIME: Script = &[Head, Wait, Say(OK), Head, Say(OK), Head, Say(OK), Hold];

/// Beyond the bound and the queue a request is refused at once; when the first is done, the next is
/// served.
#[tokio::test]
async fn beyond_its_bounds_an_upstream_is_overloaded() {
    for (more, setting) in [
        ("max_connections: 1, max_pending: 0", "max_pending"),
        ("max_requests: 1, max_pending: 0", "max_pending"),
        ("max_connections: 1, timeout: { connect: 50ms }", "max_connections"),
        ("max_requests: 1, timeout: { connect: 50ms }", "max_requests"),
    ] {
        let chaos = Chaos::start(ONE_AT_A_TIME).await;
        let t = before(&chaos, more).await;
        let first = tokio::spawn(t.get("/x").send());
        until("the first request", async || chaos.heads().len() == 1).await;
        let refused = t.call("POST", "/x").body("body").send().await;
        assert_overloaded(&refused, setting);
        assert_eq!(t.denials("/x", "overloaded").await, 1.0);
        let labels = [("upstream", "main"), ("reason", "overloaded")];
        assert_eq!(t.metric("scopegate_upstream_errors_total", &labels).await, 1.0);
        assert_eq!((chaos.heads().len(), chaos.accepted()), (1, 1), "{more}");
        chaos.go();
        assert_eq!(first.await.unwrap().text(), "ok");
        assert_eq!(t.get("/x").send().await.text(), "ok", "{more}");
        assert_eq!(chaos.accepted(), 1);
    }
}

/// Who waits is served when his turn comes, on the connection that becomes free.
#[tokio::test]
async fn a_request_waits_for_its_turn() {
    for more in ["max_connections: 1", "max_requests: 1"] {
        let chaos = Chaos::start(ONE_AT_A_TIME).await;
        let t = before(&chaos, more).await;
        let first = tokio::spawn(t.get("/x").send());
        until("the first request", async || chaos.heads().len() == 1).await;
        let others = [tokio::spawn(t.get("/x").send()), tokio::spawn(t.get("/x").send())];
        until("the others", async || {
            t.metric("scopegate_http_requests_in_flight", &[]).await == 3.0
        })
        .await;
        assert_eq!((chaos.heads().len(), chaos.accepted()), (1, 1));
        chaos.go();
        assert_eq!(first.await.unwrap().text(), "ok");
        for other in others {
            assert_eq!(other.await.unwrap().text(), "ok");
        }
        assert_eq!((chaos.heads().len(), chaos.accepted()), (3, 1), "{more}");
    }
}

/// A connection that breaks gives its place to who waits.
#[tokio::test]
async fn a_broken_connection_frees_its_place() {
    let chaos = Chaos::start(&[Head, Wait, Reset]).await;
    let t = before(&chaos, "max_connections: 1").await;
    let first = tokio::spawn(t.call("POST", "/x").send());
    until("the first request", async || chaos.heads().len() == 1).await;
    let second = tokio::spawn(t.get("/x").send());
    until("the second", async || t.metric("scopegate_http_requests_in_flight", &[]).await == 2.0)
        .await;
    chaos.plays(&[Serve]);
    chaos.go();
    assert_eq!(first.await.unwrap().status(), 502);
    assert_eq!(second.await.unwrap().text(), "good");
}

/// Clients that go away leave the queue, and what they would have got goes to the next.
#[tokio::test]
async fn who_gives_up_waiting_is_passed_over() {
    let chaos = Chaos::start(ONE_AT_A_TIME).await;
    let t = before(&chaos, "max_connections: 1, max_pending: 1, timeout: { connect: 10s }").await;
    let first = tokio::spawn(t.get("/x").send());
    until("the first request", async || chaos.heads().len() == 1).await;
    let in_flight = async || t.metric("scopegate_http_requests_in_flight", &[]).await;
    for _ in 0..3 {
        let gone = tokio::spawn(t.get("/x").send());
        until("it to wait", async || in_flight().await == 2.0).await;
        gone.abort();
        until("it to be gone", async || in_flight().await == 1.0).await;
    }
    let last = tokio::spawn(t.get("/x").send());
    until("the last to wait", async || in_flight().await == 2.0).await;
    assert_overloaded(&t.get("/x").send().await, "max_pending");
    chaos.go();
    assert_eq!(first.await.unwrap().text(), "ok");
    assert_eq!(last.await.unwrap().text(), "ok");
    assert_eq!(chaos.heads().len(), 2);
}

/// Many at once on few connections: all are served, and no more connections are made.
#[tokio::test]
async fn few_connections_serve_many() {
    let chaos = Chaos::start(&[Serve]).await;
    let t = before(&chaos, "max_connections: 3").await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        calls.spawn(t.get("/x").send());
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().text(), "good");
    }
    assert!(chaos.accepted() <= 3, "{}", chaos.accepted());
    assert_eq!(chaos.heads().len(), 100);
    t.clock.advance(Duration::from_secs(120));
    until("the connections to be closed", async || chaos.open() == 0).await;
    assert_eq!(t.get("/x").send().await.text(), "good");
}
