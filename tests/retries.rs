//! What is sent again, and what never is (HP-18).

use crate::harness::chaos::{self, Chaos, Script, Step::*};
use crate::harness::{Harness, until};

async fn before(targets: &[&Chaos], more: &str) -> Harness {
    let urls: Vec<String> = targets.iter().map(|target| target.url()).collect();
    Harness::start(&yaml(&urls, more)).await
}

fn yaml(urls: &[String], more: &str) -> String {
    format!(
        "upstreams: {{ main: {{ targets: [{}], ejection: off, {more} }} }}\n\
         routes: {{ /x: {{ GET: {{ public: true }}, 'POST, PUT, DELETE, PATCH': {{ public: true }} }} }}",
        urls.join(", ")
    )
}

async fn retries(t: &Harness, result: &str) -> f64 {
    t.metric("scopegate_upstream_retries_total", &[("result", result)]).await
}

const KEPT_THEN_CLOSED: Script =
    &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood"), Head];

/// RFC 9112 §9.3.1: a backend that closes a kept connection as a request comes has not begun to
/// serve it. What is idempotent is sent once more, on a new connection; what is not is 502.
#[tokio::test]
async fn a_kept_connection_that_closes_is_a_race() {
    for (method, status, heads) in
        [("GET", 200, 3), ("PUT", 200, 3), ("DELETE", 200, 3), ("POST", 502, 2), ("PATCH", 502, 2)]
    {
        let chaos = Chaos::start(KEPT_THEN_CLOSED).await;
        let t = before(&[&chaos], "").await;
        assert_eq!(t.get("/x").send().await.text(), "good");
        chaos.plays(&[Serve]);
        let answer = t.call(method, "/x").send().await;
        assert_eq!(answer.status(), status, "{method}");
        assert_eq!(chaos.heads().len(), heads, "{method}");
        assert_eq!(chaos.accepted(), heads - 1, "{method}");
        let line = t.logged(answer.header("x-request-id")).await;
        assert_eq!(line["tries"], heads - 1, "{method}");
        assert_eq!(retries(&t, "sent").await, if heads == 3 { 1.0 } else { 0.0 });
    }
}

/// Once, not for as long as it lasts.
#[tokio::test]
async fn a_race_is_run_once() {
    let chaos = Chaos::start(KEPT_THEN_CLOSED).await;
    let t = before(&[&chaos], "").await;
    assert_eq!(t.get("/x").send().await.status(), 200);
    chaos.plays(&[Head]);
    let answer = t.get("/x").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
    assert_eq!((chaos.heads().len(), chaos.accepted()), (3, 2));
}

/// `retry` sends a request that broke off to the other target, and the client does not notice.
#[tokio::test]
async fn an_idempotent_request_goes_to_another_target() {
    let (bad, good) = (Chaos::start(&[Head, Reset]).await, Chaos::start(&[Serve]).await);
    let t = before(&[&bad, &good], "retry: 1").await;
    let mut tries = 0;
    for _ in 0..10 {
        let answer = t.get("/x").send().await;
        assert_eq!(answer.status(), 200);
        tries += t.logged(answer.header("x-request-id")).await["tries"].as_u64().unwrap();
    }
    let failed = bad.heads().len();
    assert!(failed > 0);
    assert_eq!(good.heads().len(), 10);
    assert_eq!(retries(&t, "sent").await, failed as f64);
    assert_eq!(tries, 10 + failed as u64);
}

/// HP-18: what is not idempotent reaches a backend once, whatever `retry` says, and no byte of a
/// body twice.
#[tokio::test]
async fn no_request_is_processed_twice_and_no_body_is_doubled() {
    const BODY: &str = "the body";
    for (method, body, tries) in [
        ("POST", "", 1),
        ("POST", BODY, 1),
        ("PATCH", BODY, 1),
        ("PUT", BODY, 1),
        ("DELETE", BODY, 1),
        ("PUT", "", 3),
        ("DELETE", "", 3),
        ("GET", "", 3),
    ] {
        let script: Script =
            if body.is_empty() { &[Head, Reset] } else { &[Head, Until(BODY), Reset] };
        let chaos = Chaos::start(script).await;
        let t = before(&[&chaos], "retry: { times: 2, on: [connect, reset, 502, 503, 504] }").await;
        let answer = t.call(method, "/x").body(body).send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
        assert_eq!((chaos.heads().len(), chaos.accepted()), (tries, tries), "{method} {body}");
        let line = t.logged(answer.header("x-request-id")).await;
        assert_eq!((&line["tries"], &line["bytes_in"]), (&tries.into(), &body.len().into()));
    }
}

/// An answer that has begun is the answer.
#[tokio::test]
async fn a_head_that_has_begun_is_not_asked_for_again() {
    let scripts: [Script; 3] = [
        &[Head, Say("HTTP/1.1 200 OK\r\n"), Reset],
        &[Head, Say("HTTP/1.1 103 Early Hints\r\n\r\n"), Reset],
        &[Head, Say("no HTTP\r\n\r\n"), Hold],
    ];
    for script in scripts {
        let chaos = Chaos::start(script).await;
        let t = before(&[&chaos], "retry: 3").await;
        assert_eq!(t.get("/x").send().await.status(), 502);
        assert_eq!(chaos.heads().len(), 1);
    }
}

const BUSY: Script =
    &[Head, Say("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy")];
const IN_TWO_PIECES: Script =
    &[Head, Say("HTTP/1.1 503 Busy\r\ncontent-length: 8\r\n\r\nbusy"), Wait, Say("busy"), Head];

/// 502, 503 and 504 of a backend are retried only where that is asked for.
#[tokio::test]
async fn answers_are_retried_if_asked_for() {
    for (more, method, status, heads) in [
        ("retry: 1", "GET", 503, 1),
        ("retry: { on: [503] }", "GET", 503, 2),
        ("retry: { on: [502, 504] }", "GET", 503, 1),
        ("retry: { on: 503, times: 3 }", "GET", 503, 4),
        ("retry: { on: [503] }", "POST", 503, 1),
    ] {
        let chaos = Chaos::start(BUSY).await;
        let t = before(&[&chaos], more).await;
        let answer = t.call(method, "/x").send().await;
        assert_eq!((answer.status().as_u16(), &*answer.text()), (status, "busy"), "{more}");
        assert_eq!(chaos.heads().len(), heads, "{more} {method}");
        let counted = [("upstream", "main"), ("code", "503")];
        assert_eq!(t.metric("scopegate_upstream_requests_total", &counted).await, heads as f64);
    }
}

/// An answer that might have been retried and is not is the answer: while it is passed on, nothing
/// of the request is sent a second time.
#[tokio::test]
async fn an_answer_that_is_kept_ends_the_sending() {
    for more in ["retry: { on: [502] }", "retry: { on: [503], budget: 0% }"] {
        let chaos = Chaos::start(BUSY).await;
        let t = before(&[&chaos], more).await;
        if more.contains("budget") {
            for _ in 0..30 {
                assert_eq!(t.get("/x").send().await.status(), 503);
            }
            assert_eq!(retries(&t, "sent").await, 30.0);
        }
        chaos.plays(IN_TWO_PIECES);
        let before = chaos.heads().len();
        let waiting = tokio::spawn(t.get("/x").send());
        until("the request", async || chaos.heads().len() > before).await;
        chaos.go();
        assert_eq!(waiting.await.unwrap().text(), "busybusy", "{more}");
        let resting = [("upstream", "main"), ("state", "idle")];
        until("the connection to rest", async || {
            t.metric("scopegate_upstream_connections", &resting).await == 1.0
        })
        .await;
        assert_eq!(chaos.heads().len() - before, 1, "{more}");
    }
}

/// A connection that cannot be made is tried again if that is asked for, for every method.
#[tokio::test]
async fn a_refused_connection_is_tried_again() {
    let (_socket, url) = chaos::down();
    for (more, tries) in [("", 1), ("retry: 2", 3), ("retry: { on: reset }", 1)] {
        let t = Harness::start(&yaml(std::slice::from_ref(&url), more)).await;
        let answer = t.call("POST", "/x").body("body").send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
        let line = t.logged(answer.header("x-request-id")).await;
        assert_eq!((&line["tries"], &line["bytes_in"]), (&tries.into(), &0.into()), "{more}");
        let refused = [("upstream", "main"), ("reason", "refused")];
        assert_eq!(t.metric("scopegate_upstream_errors_total", &refused).await, f64::from(tries));
    }
}

/// The budget: a backend that fails everything is asked a fifth more, and thirty times.
#[tokio::test]
async fn a_storm_of_retries_is_stopped() {
    let chaos = Chaos::start(&[Head, Reset]).await;
    let t = before(&[&chaos], "retry: 3").await;
    for _ in 0..150 {
        assert_eq!(t.get("/x").send().await.status(), 502);
    }
    let sent = retries(&t, "sent").await;
    // Ten seconds may pass meanwhile on a busy machine, and earn a few more.
    assert!((55.0..=65.0).contains(&sent), "{sent}");
    assert_eq!(chaos.heads().len(), 150 + sent as usize);
    assert!(retries(&t, "over_budget").await > 0.0);
}
