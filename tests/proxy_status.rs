//! `Proxy-Status` (RFC 9209), which says whose an error is, and `Server-Timing`.

use crate::harness::chaos::{Chaos, Step};
use crate::harness::{Answer, Call, Harness, ORDERS, Reply};

fn status(answer: &Answer) -> String {
    answer.header("proxy-status").to_owned()
}

/// RFC 9209 §2.3: the gateway's own refusals. The reason is told where the body tells it.
#[tokio::test]
async fn refusals_say_that_they_are_the_gateways() {
    let t = Harness::start(ORDERS).await;
    let (poor, wrong) = (t.token().sign(), t.token().claim("aud", "other").sign());
    for (call, code, expected) in [
        (t.get("/orders/1"), 401, "http_request_denied; details=\"missing_token\""),
        (t.get("/orders/1").bearer(&wrong), 401, "http_request_denied"),
        (
            t.call("PUT", "/orders/1").bearer(&poor),
            403,
            "http_request_denied; details=\"missing_scope\"",
        ),
        (t.get("/none"), 404, "http_request_denied; details=\"no_route\""),
        (t.call("LOCK", "/orders/1"), 405, "http_request_denied; details=\"method_refused\""),
        (t.get("/a//b"), 400, "http_request_error; details=\"ambiguous_path\""),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.status(), code);
        assert_eq!(status(&answer), format!("scopegate; error={expected}"));
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/**", "missing_scope").await, 1.0);
}

/// PD-02: what a backend's failure was, and nothing of where it is.
#[tokio::test]
async fn failures_of_a_backend_are_told_apart() {
    let chaos = Chaos::start(&[Step::Head]).await;
    let upstreams = format!(
        "upstreams:
  refused: http://127.0.0.1:9
  unknown: http://nowhere.invalid
  reset: {}
",
        chaos.url()
    );
    let routes = "routes:
  /refused: { upstream: refused, public: true }
  /unknown: { upstream: unknown, public: true }
  /reset: { upstream: reset, public: true }
";
    for (errors, known) in [("", true), ("errors: { detail: minimal }\n", false)] {
        let t = Harness::start(&format!("{errors}{upstreams}{routes}")).await;
        for (path, kind) in [
            ("/refused", "connection_refused"),
            ("/unknown", "dns_error"),
            ("/reset", "connection_terminated"),
        ] {
            let answer = t.get(path).send().await;
            assert_eq!(answer.status(), 502, "{path}");
            let details = "; details=\"upstream_unreachable\"";
            let expected = match known {
                true => format!("scopegate; error={kind}{details}"),
                false => "scopegate; error=destination_unavailable".to_owned(),
            };
            assert_eq!(status(&answer), expected, "{path}");
            let all = format!("{:?}{}", answer.headers(), answer.text());
            assert!(!all.contains("127.0.0.1") && !all.contains("nowhere"), "{all}");
        }
    }
}

/// A backend's own errors are its own.
#[tokio::test]
async fn a_backends_own_errors_are_left_alone() {
    let t = Harness::start(ORDERS).await;
    let theirs = "inner; error=destination_not_found";
    t.backend.reply(Reply { status: 503, ..Reply::default() });
    assert_eq!(status(&t.get("/status").send().await), "");
    let headers = vec![("proxy-status", theirs.to_owned())];
    t.backend.reply(Reply { status: 502, headers, ..Reply::default() });
    assert_eq!(status(&t.get("/status").send().await), theirs);
}

/// Off unless it is turned on.
#[tokio::test]
async fn answers_tell_where_the_time_went_if_they_shall() {
    let t = Harness::start(ORDERS).await;
    assert_eq!(t.get("/status").send().await.header("server-timing"), "");

    let t = Harness::start(&format!("server_timing: on\n{ORDERS}")).await;
    let answer = t.get("/status").send().await;
    let parts = timing(&answer);
    let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["auth", "upstream", "total"]);
    assert!(parts[0].1 + parts[1].1 <= parts[2].1 + 0.01, "{parts:?}");
    let refused = timing(&t.get("/orders/1").send().await);
    assert_eq!(
        refused.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["auth", "total"]
    );

    t.backend
        .reply(Reply { headers: vec![("server-timing", "db;dur=3".into())], ..Reply::default() });
    let both = Call::send(t.get("/status")).await;
    assert_eq!(both.headers().get_all("server-timing").iter().count(), 2);
}

/// `name;dur=milliseconds`, one after another.
fn timing(answer: &Answer) -> Vec<(String, f64)> {
    let metrics = answer.header("server-timing").split(", ");
    metrics
        .map(|metric| {
            let (name, took) = metric.split_once(";dur=").expect("a duration");
            (name.to_owned(), took.parse().expect("milliseconds"))
        })
        .collect()
}
