//! Of several targets, each gets what it can bear.

use std::time::Duration;

use crate::harness::chaos::{self, Chaos, Step::*};
use crate::harness::{Harness, until};

/// A gateway in front of targets, with more keys of the upstream.
async fn before(targets: &str, more: &str) -> Harness {
    Harness::start(&yaml(targets, more)).await
}

fn yaml(targets: &str, more: &str) -> String {
    format!(
        "upstreams: {{ main: {{ targets: [{targets}], {more} }} }}\n\
         routes: {{ /x: {{ GET: {{ public: true }}, POST: {{ public: true }} }} }}"
    )
}

async fn get(t: &Harness, times: usize) {
    for _ in 0..times {
        assert_eq!(t.get("/x").send().await.status(), 200);
    }
}

/// Targets that have nothing to do are used by weight.
#[tokio::test]
async fn requests_are_shared_by_weight() {
    let (one, three) = (Chaos::start(&[Serve]).await, Chaos::start(&[Serve]).await);
    let targets = format!("{}, {{ url: '{}', weight: 3 }}", one.url(), three.url());
    let t = before(&targets, "").await;
    get(&t, 400).await;
    let counts = (one.heads().len(), three.heads().len());
    assert!((99..=101).contains(&counts.0), "{counts:?}");
    assert_eq!(counts.0 + counts.1, 400);
}

/// A target that is slow has requests under way, and the idle one gets the next.
#[tokio::test]
async fn a_slow_target_gets_less() {
    let (slow, idle) = (Chaos::start(&[Head, Hold]).await, Chaos::start(&[Serve]).await);
    let t = before(&format!("{}, {}", slow.url(), idle.url()), "").await;
    let mut waiting = tokio::task::JoinSet::new();
    until("a request at the slow one", async || {
        waiting.spawn(t.get("/x").send());
        until("it to arrive", async || slow.heads().len() + idle.heads().len() >= waiting.len())
            .await;
        !slow.heads().is_empty()
    })
    .await;
    let before = idle.heads().len();
    get(&t, 30).await;
    assert_eq!((slow.heads().len(), idle.heads().len() - before), (1, 30));
}

/// A target that a reload adds gets a tenth of its share at first, and all of it in the end.
#[tokio::test]
async fn a_new_target_starts_slowly() {
    let (old, new) = (Chaos::start(&[Serve]).await, Chaos::start(&[Serve]).await);
    let more = "slow_start: 10m";
    let t = before(&old.url(), more).await;
    get(&t, 1).await;
    t.rewrite(&yaml(&format!("{}, {}", old.url(), new.url()), more));
    t.server.reload().await.expect("the file is good");
    get(&t, 110).await;
    let few = new.heads().len();
    assert!((8..=12).contains(&few), "{few} of 110");
    t.clock.advance(Duration::from_secs(600));
    get(&t, 100).await;
    let half = new.heads().len() - few;
    assert!((49..=51).contains(&half), "{half} of 100");
}

/// A target that fails requests one after the other is left out, and is used again when its time
/// is over. Meanwhile no request fails.
#[tokio::test]
async fn a_failing_target_is_ejected_and_returns() {
    let (bad, good) = (Chaos::start(&[Head, Reset]).await, Chaos::start(&[Serve]).await);
    let more = "ejection: { failures: 3, time: 30s }";
    let t = before(&format!("{}, {}", bad.url(), good.url()), more).await;
    until("the ejection", async || {
        let answer = t.get("/x").send().await;
        let expected = if answer.status() == 200 { "" } else { "upstream_unreachable" };
        assert_eq!(answer.header("content-type").contains("problem"), !expected.is_empty());
        bad.heads().len() == 3
    })
    .await;
    assert_eq!(t.metric("scopegate_upstream_up", &[("upstream", "main")]).await, 1.0);
    assert_eq!(t.metric("scopegate_upstream_ejections_total", &[]).await, 1.0);
    get(&t, 30).await;
    assert_eq!(bad.heads().len(), 3);
    bad.plays(&[Serve]);
    t.clock.advance(Duration::from_secs(31));
    get(&t, 10).await;
    assert!((7..=9).contains(&bad.heads().len()), "{}", bad.heads().len());
    until("it to be shown", async || {
        t.metric("scopegate_upstream_up", &[("upstream", "main")]).await == 2.0
    })
    .await;
}

/// 502, 503 and 504 are failures too; other answers are not.
#[tokio::test]
async fn answers_of_a_gateway_that_fails_are_failures() {
    const ANSWERS: [(chaos::Script, f64); 4] = [
        (&[Head, Say("HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n")], 1.0),
        (&[Head, Say("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")], 1.0),
        (&[Head, Say("HTTP/1.1 504 No\r\ncontent-length: 0\r\n\r\n")], 1.0),
        (&[Head, Say("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")], 0.0),
    ];
    for (script, ejections) in ANSWERS {
        let (bad, good) = (Chaos::start(script).await, Chaos::start(&[Serve]).await);
        let more = "ejection: { failures: 2 }";
        let t = before(&format!("{}, {}", bad.url(), good.url()), more).await;
        for _ in 0..12 {
            t.get("/x").send().await;
        }
        assert_eq!(t.metric("scopegate_upstream_ejections_total", &[]).await, ejections);
        assert_eq!(bad.heads().len() == 2, ejections > 0.0, "{}", bad.heads().len());
    }
}

/// Whatever fails everywhere ejects no more than the share, and one target stays in any case.
#[tokio::test]
async fn never_all_targets_are_ejected() {
    let bad = [Chaos::start(&[Head, Reset]).await, Chaos::start(&[Head, Reset]).await];
    for share in ["50%", "100%"] {
        let more = format!("ejection: {{ failures: 1, max_share: {share} }}");
        let t = before(&format!("{}, {}", bad[0].url(), bad[1].url()), &more).await;
        let before = bad[0].heads().len() + bad[1].heads().len();
        for _ in 0..10 {
            let answer = t.get("/x").send().await;
            assert_eq!(
                (answer.status().as_u16(), &*answer.reason()),
                (502, "upstream_unreachable")
            );
        }
        assert_eq!(bad[0].heads().len() + bad[1].heads().len() - before, 10);
        assert_eq!(t.metric("scopegate_upstream_ejections_total", &[]).await, 1.0);
    }
}

/// A target that is alone is never left out, and `off` leaves out nobody.
#[tokio::test]
async fn one_target_is_better_than_none() {
    let bad = [Chaos::start(&[Head, Reset]).await, Chaos::start(&[Head, Reset]).await];
    let alone = before(&bad[0].url(), "ejection: { failures: 1 }").await;
    let off = before(&format!("{}, {}", bad[0].url(), bad[1].url()), "ejection: off").await;
    for t in [alone, off] {
        for _ in 0..8 {
            assert_eq!(t.get("/x").send().await.status(), 502);
        }
        assert_eq!(t.metric("scopegate_upstream_ejections_total", &[]).await, 0.0);
    }
    assert_eq!(bad[0].heads().len() + bad[1].heads().len(), 16);
}
