//! What many requests cost the issuer.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::{OPAQUE, ROUTES};
use crate::harness::process::Process;
use crate::harness::{Backend, Call, Harness, Issuer, until, within};

async fn in_flight(t: &Harness) -> f64 {
    t.metric("scopegate_http_requests_in_flight", &[]).await
}

/// IN-09: one question for one token, however many requests wait for it.
#[tokio::test]
async fn five_hundred_requests_with_one_token_ask_once() {
    let t = Harness::introspecting("introspection_timeout: 1m").await;
    t.knows(&json!({}));
    t.issuer.introspection.holds();
    let mut calls = JoinSet::new();
    for _ in 0..500 {
        calls.spawn(t.get("/orders/1").bearer(OPAQUE).send());
    }
    until("all to wait", async || in_flight(&t).await >= 500.0).await;
    assert_eq!(t.asked(), 1);
    t.issuer.introspection.releases();
    while let Some(answer) = within(calls.join_next()).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!((t.asked(), t.backend.seen().len()), (1, 500));
    let valid = [("issuer", "main"), ("result", "valid")];
    assert_eq!(t.metric("scopegate_tokens_total", &valid).await, 500.0);
}

/// IN-09: made-up tokens cost the issuer no more than the places that it is given, and those who
/// find none are sent away. Good tokens that are known go on.
#[tokio::test]
async fn random_tokens_ask_no_more_than_there_are_places() {
    let t = Harness::introspecting("introspection_concurrency: 4, introspection_timeout: 1m").await;
    t.knows(&json!({}));
    assert_eq!(t.with_opaque().await.status(), 200);
    t.issuer.introspection.holds();
    let mut calls = JoinSet::new();
    for _ in 0..300 {
        let token = format!("{:032x}", fastrand::u128(..));
        calls.spawn(t.get("/orders/1").bearer(&token).send());
    }
    for _ in 0..296 {
        let answer = within(calls.join_next()).await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), answer.reason()), (503, "auth_unavailable".into()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!((t.asked(), t.issuer.introspection.most()), (1 + 4, 4));
    assert_eq!(t.with_opaque().await.status(), 200);
    t.issuer.introspection.releases();
    while let Some(answer) = within(calls.join_next()).await {
        assert_eq!(answer.unwrap().status(), 401);
    }
    assert_eq!(t.asked(), 5);
    assert_eq!(t.backend.seen().len(), 2);
}

/// A client that gives up takes the answer from nobody.
#[tokio::test]
async fn the_first_who_asks_may_go_away() {
    let t = Harness::introspecting("introspection_timeout: 1m").await;
    t.knows(&json!({}));
    t.issuer.introspection.holds();
    let first = tokio::spawn(t.get("/orders/1").bearer(OPAQUE).send());
    until("the question", async || t.asked() == 1).await;
    let second = tokio::spawn(t.get("/orders/1").bearer(OPAQUE).send());
    until("both to wait", async || in_flight(&t).await >= 2.0).await;
    first.abort();
    until("the first to be gone", async || in_flight(&t).await < 2.0).await;
    t.issuer.introspection.releases();
    assert_eq!(within(second).await.unwrap().status(), 200);
    assert_eq!(t.asked(), 1);
}

/// Nor does it take the answer from who comes later.
#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_kept() {
    let t = Harness::introspecting("introspection_timeout: 1m").await;
    t.knows(&json!({}));
    t.issuer.introspection.holds();
    let only = tokio::spawn(t.get("/orders/1").bearer(OPAQUE).send());
    until("the question", async || t.asked() == 1).await;
    only.abort();
    until("it to be gone", async || in_flight(&t).await == 0.0).await;
    t.issuer.introspection.releases();
    until("the answer", async || t.questions("ok").await == 1.0).await;
    assert_eq!(t.with_opaque().await.status(), 200);
    assert_eq!(t.asked(), 1);
}

/// IN-09: an issuer that fails is left alone for a while, then tried by one question.
#[tokio::test]
async fn a_failing_issuer_is_left_alone_and_tried_again() {
    let t = Harness::introspecting("").await;
    t.knows(&json!({}));
    t.issuer.introspection.breaks(500, "");
    for number in 0..5 {
        t.is_unknown(&format!("t{number}"), "it fails").await;
    }
    assert_eq!(t.asked(), 5);
    let seconds = t.is_unknown(OPAQUE, "a pause").await;
    assert!((4..=6).contains(&seconds), "{seconds}");
    assert_eq!(t.asked(), 5);

    t.clock.advance(Duration::from_secs(5));
    t.is_unknown(OPAQUE, "a trial that fails").await;
    t.is_unknown(OPAQUE, "a pause").await;
    assert_eq!(t.asked(), 6);

    t.issuer.introspection.recovers();
    t.clock.advance(Duration::from_secs(5));
    assert_eq!(t.with_opaque().await.status(), 200);
    t.backend.forget();
    t.refuses([("unknown", "t9".to_owned(), "token_inactive")]).await;
    assert_eq!(t.asked(), 8);
    assert_eq!(t.questions("http_status").await, 6.0);
}

/// Whoever finds a token that upsets the issuer must not silence it for others.
#[tokio::test]
async fn bad_answers_about_one_token_do_not_stop_the_others() {
    let t = Harness::introspecting("").await;
    t.knows(&json!({}));
    t.issuer.introspection.knows("upsetting", json!("<html>"));
    for _ in 0..12 {
        t.is_unknown("upsetting", "nonsense").await;
    }
    assert_eq!(t.with_opaque().await.status(), 200);
    assert_eq!(t.asked(), 13);
}

/// The same in the real process, whose requests are on other threads than its questions; a reload
/// that changes nothing forgets nothing.
#[tokio::test]
async fn all_threads_wait_for_the_same_question() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let endpoint = format!("{}/introspect", issuer.url());
    let t = Process::start(&format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstream: {}\nissuers: {{ main: {{ \
         introspection: '{endpoint}', client_id: gw, client_secret: s3cret, \
         audience: https://api.example.com }} }}\n{ROUTES}",
        backend.url()
    ))
    .await;
    let answer =
        json!({ "active": true, "aud": "https://api.example.com", "scope": "orders:read" });
    issuer.introspection.knows(OPAQUE, answer);
    issuer.introspection.holds();
    let get = || Call::new(t.proxy, "GET", "/orders/1").bearer(OPAQUE).send();
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        calls.spawn(get());
    }
    until("the question", async || issuer.introspection.asked() == 1).await;
    issuer.introspection.releases();
    while let Some(answer) = within(calls.join_next()).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    t.signal("HUP");
    until("the reload", async || t.log().contains("reloaded")).await;
    assert_eq!(within(get()).await.status(), 200);
    assert_eq!(issuer.introspection.asked(), 1);
    until("the first lines", async || t.log().contains("introspection")).await;
    assert!(t.log().contains("warning[A102]") && !t.log().contains("s3cret"), "{}", t.log());
}
