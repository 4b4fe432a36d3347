//! Health checks move requests away from a target that is not well, and back.

use crate::harness::chaos::{Chaos, Step::*};
use crate::harness::{Backend, Harness, Reply, Traces, until};

async fn before(targets: &[String], health: &str) -> Harness {
    let targets = targets.join(", ");
    Harness::start(&format!(
        "upstreams: {{ main: {{ targets: [{targets}], health: {{ {health} }} }} }}\n\
         routes: {{ /x: {{ public: true }} }}"
    ))
    .await
}

async fn up(t: &Harness, count: f64) {
    until("the targets to be seen", async || {
        t.metric("scopegate_upstream_up", &[("upstream", "main")]).await == count
    })
    .await;
}

fn requests(backend: &Backend) -> usize {
    backend.seen().iter().filter(|seen| seen.target == "/x").count()
}

/// Down and up again: each change is logged once, and no request fails.
#[tokio::test]
async fn a_target_goes_down_and_comes_up_without_a_failed_request() {
    let traces = Traces::start();
    let (one, two) = (Backend::start().await, Backend::start().await);
    let t = before(
        &[one.url(), two.url()],
        "path: '/healthz?deep=1', every: 20ms, status: 200-299, unhealthy: 2",
    )
    .await;
    let ill = Reply { status: 404, ..Reply::default() };
    until("both to be asked", async || !one.seen().is_empty() && !two.seen().is_empty()).await;
    assert_eq!(two.seen()[0].target, "/healthz?deep=1");
    assert_eq!(two.seen()[0].header("host"), two.url().strip_prefix("http://"));
    two.reply(ill);
    up(&t, 1.0).await;
    let before = requests(&two);
    for _ in 0..30 {
        assert_eq!(t.get("/x").send().await.status(), 200);
    }
    assert_eq!((requests(&one), requests(&two)), (30, before));
    two.reply(Reply::default());
    up(&t, 2.0).await;
    for _ in 0..10 {
        assert_eq!(t.get("/x").send().await.status(), 200);
    }
    assert_eq!(requests(&two) - before, 5);
    let log = traces.text();
    let times = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!((times("a target is down"), times("a target is up")), (1, 1), "{log}");
    assert!(log.contains("it answers 404"), "{log}");
}

/// A check that finds everybody down is not believed: then all are used.
#[tokio::test]
async fn a_bad_health_check_takes_out_nobody() {
    let (one, two) = (Backend::start().await, Backend::start().await);
    let t = before(&[one.url(), two.url()], "path: /wrong, every: 20ms, status: 204").await;
    assert_eq!(t.get("/x").send().await.status(), 200, "no answer yet counts as up");
    up(&t, 0.0).await;
    let before = (requests(&one), requests(&two));
    for _ in 0..10 {
        assert_eq!(t.get("/x").send().await.status(), 200);
    }
    assert_eq!((requests(&one) - before.0, requests(&two) - before.1), (5, 5));
}

/// Less than the share of `panic` up: the checks do not count.
#[tokio::test]
async fn panic_uses_all_targets() {
    let (one, two) = (Backend::start().await, Backend::start().await);
    two.reply(Reply { status: 404, ..Reply::default() });
    let health = "path: /h, every: 20ms, status: 200, panic: 60%";
    let t = before(&[one.url(), two.url()], health).await;
    up(&t, 1.0).await;
    for _ in 0..10 {
        t.get("/x").send().await;
    }
    assert_eq!((requests(&one), requests(&two)), (5, 5));
}

/// What hangs, closes, or speaks another protocol is down within its time; what answers late with
/// interim answers first is well.
#[tokio::test]
async fn whatever_does_not_answer_is_down() {
    let bad = [
        Chaos::start(&[Head, Hold]).await,
        Chaos::start(&[Reset]).await,
        Chaos::start(&[Head, Say("SSH-2.0\r\n"), Hold]).await,
        Chaos::start(&[Head, Say("HTTP/1.1 200 OK\r\n"), Hold]).await,
    ];
    let good = Chaos::start(&[
        Head,
        Say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
    ])
    .await;
    let mut targets: Vec<String> = bad.iter().map(Chaos::url).collect();
    targets.push(good.url());
    let t = before(&targets, "every: 20ms, timeout: 100ms, unhealthy: 1").await;
    up(&t, 1.0).await;
    let series = t.series("scopegate_upstream_up").await;
    let address = good.url().replace("http://", "");
    assert!(series.iter().any(|line| line.contains(&address) && line.ends_with(" 1")));
    let head = &good.heads()[0];
    assert!(head.starts_with("GET / HTTP/1.1\r\n") && head.contains("connection: close"), "{head}");
}

/// Down by the checks and refusing connections, and nothing else is left: 503, or with one target
/// what is wrong with it.
#[tokio::test]
async fn nothing_left_is_no_healthy_upstream() {
    let (_one, first) = crate::harness::chaos::down();
    let (_two, second) = crate::harness::chaos::down();
    for (targets, status, reason) in [
        (vec![first.clone(), second], 503, "no_healthy_upstream"),
        (vec![first], 502, "upstream_unreachable"),
    ] {
        let t = before(&targets, "every: 20ms, unhealthy: 1").await;
        up(&t, 0.0).await;
        let answer = t.get("/x").send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (status, reason));
    }
}

/// What the checks have found outlives a reload, unless there are no checks any more.
#[tokio::test]
async fn a_reload_forgets_nothing() {
    let (one, two) = (Backend::start().await, Backend::start().await);
    two.reply(Reply { status: 404, ..Reply::default() });
    let yaml = |every: &str| {
        format!(
            "upstreams: {{ main: {{ targets: ['{}', '{}'], health: {{ every: {every} }} }} }}\n\
             routes: {{ /x: {{ public: true }} }}",
            one.url(),
            two.url()
        )
    };
    let t = Harness::start(&yaml("20ms").replace("every: 20ms", "every: 20ms, status: 200")).await;
    up(&t, 1.0).await;
    t.rewrite(&yaml("1h"));
    t.server.reload().await.expect("the file is good");
    assert_eq!(t.metric("scopegate_upstream_up", &[("upstream", "main")]).await, 1.0);
    let before = requests(&two);
    for _ in 0..10 {
        assert_eq!(t.get("/x").send().await.status(), 200);
    }
    assert_eq!(requests(&two), before);
    let unchecked = yaml("1h").replace(", health: { every: 1h }", "");
    assert!(!unchecked.contains("health"));
    t.rewrite(&unchecked);
    t.server.reload().await.expect("the file is good");
    assert_eq!(t.metric("scopegate_upstream_up", &[("upstream", "main")]).await, 2.0);
}
