//! How long answers are used, and for what.

use std::time::Duration;

use serde_json::json;

use super::OPAQUE;
use crate::harness::token::unix_now;
use crate::harness::{Call, Harness, Traces, until};

async fn status(t: &Harness) -> u16 {
    t.with_opaque().await.status().as_u16()
}

/// IN-06: an answer is used for its time, and that is the time that a revocation takes.
#[tokio::test]
async fn a_good_answer_is_used_for_a_while() {
    for (settings, seconds) in [("", 60), ("cache: 10s", 10)] {
        let t = Harness::introspecting(settings).await;
        t.knows(&json!({}));
        assert_eq!((status(&t).await, status(&t).await, t.asked()), (200, 200, 1));
        t.issuer.introspection.revokes(OPAQUE);
        t.clock.advance(Duration::from_secs(seconds - 2));
        assert_eq!((status(&t).await, t.asked()), (200, 1));
        t.clock.advance(Duration::from_secs(2));
        assert_eq!((status(&t).await, t.asked()), (401, 2));
        let hits = t.metric("scopegate_token_cache_requests_total", &[("result", "hit")]).await;
        assert_eq!(hits, 2.0);
    }
}

/// IN-06: never past `exp`, and without the leeway that a clock's skew gets.
#[tokio::test]
async fn an_answer_ends_with_its_token() {
    let t = Harness::introspecting("").await;
    t.knows(&json!({ "exp": unix_now() + 3 }));
    assert_eq!((status(&t).await, t.asked()), (200, 1));
    t.issuer.introspection.revokes(OPAQUE);
    t.clock.advance(Duration::from_secs(4));
    assert_eq!((status(&t).await, t.asked()), (401, 2));
    // Somebody sets the wall clock.
    let t = Harness::introspecting("").await;
    t.knows(&json!({ "exp": unix_now() + 30 }));
    assert_eq!((status(&t).await, t.asked()), (200, 1));
    t.issuer.introspection.revokes(OPAQUE);
    t.clock.advance_wall(Duration::from_secs(31));
    assert_eq!((status(&t).await, t.asked()), (401, 2));
}

/// IN-06: 0 asks for every request.
#[tokio::test]
async fn caches_can_be_off() {
    let t = Harness::introspecting("cache: 0s, negative_cache: 0s").await;
    t.knows(&json!({}));
    assert_eq!((status(&t).await, status(&t).await, t.asked()), (200, 200, 2));
    t.issuer.introspection.revokes(OPAQUE);
    assert_eq!((status(&t).await, status(&t).await, t.asked()), (401, 401, 4));
    t.knows(&json!({}));
    assert_eq!((status(&t).await, t.asked()), (200, 5));
}

/// IN-09: bad answers are used, too, and briefly.
#[tokio::test]
async fn a_bad_answer_is_used_for_a_moment() {
    let t = Harness::introspecting("").await;
    assert_eq!((status(&t).await, status(&t).await, t.asked()), (401, 401, 1));
    t.knows(&json!({}));
    assert_eq!((status(&t).await, t.asked()), (401, 1));
    t.clock.advance(Duration::from_secs(5));
    assert_eq!((status(&t).await, t.asked()), (200, 2));
    let inactive = [("issuer", "main"), ("result", "token_inactive")];
    assert_eq!(t.metric("scopegate_tokens_total", &inactive).await, 3.0);
}

/// That nothing is known is not remembered of a token.
#[tokio::test]
async fn no_answer_is_not_kept() {
    let t = Harness::introspecting("").await;
    t.knows(&json!({}));
    t.issuer.introspection.breaks(200, "<html>");
    t.is_unknown(OPAQUE, "no answer").await;
    t.issuer.introspection.recovers();
    assert_eq!((status(&t).await, t.asked()), (200, 2));
}

/// IN-08, bypass 26: an answer says what a token is, and each route what it wants.
#[tokio::test]
async fn what_a_route_wants_is_judged_each_time() {
    let t = Harness::introspecting("").await;
    t.knows(&json!({}));
    assert_eq!(status(&t).await, 200);
    t.backend.forget();
    let refused = t.call("DELETE", "/orders/1").bearer(OPAQUE).send().await;
    assert_eq!((refused.status().as_u16(), refused.reason()), (403, "missing_scope".to_owned()));
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("scope=\"orders:write\""), "{challenge}");
    t.backend.saw_nothing();
    assert_eq!(t.asked(), 1);
}

/// CVE-2026-33496: a reload with other settings knows nothing of what the old ones found.
#[tokio::test]
async fn other_settings_ask_again() {
    let yaml = |audience: &str| {
        format!(
            "issuers: {{ main: {{ url: '{{issuer}}', audience: {audience}, client_id: gw, \
             introspection: '{{issuer}}/introspect', client_secret: s }} }}\n{}",
            super::ROUTES
        )
    };
    let t = Harness::start(&yaml("https://api.example.com")).await;
    t.knows(&json!({}));
    assert_eq!(status(&t).await, 200);
    t.rewrite(&yaml("https://other.example.com"));
    t.server.reload().await.unwrap();
    let refused = t.with_opaque().await;
    assert_eq!(t.line(&refused).await["reason"], "wrong_audience");
    assert_eq!(t.asked(), 2);
}

/// IN-07, OB-01: tokens and secrets are in no log and no metric, whatever happens to them.
#[tokio::test]
async fn neither_token_nor_secret_is_shown() {
    let traces = Traces::start();
    let t = Harness::introspecting("").await;
    t.knows(&json!({ "secret_claim": "cl4im" }));
    let mut seen = vec![t.with_opaque().await.text()];
    for body in ["{\"active\":true,\"sub\":\"cl4im\"", "{\"active\":\"cl4im\"}"] {
        t.issuer.introspection.breaks(200, body);
        seen.push(t.get("/orders/1").bearer("gw_t0ken").send().await.text());
    }
    t.issuer.introspection.breaks(500, "cl4im");
    seen.push(t.get("/orders/1").bearer("gw_t0ken").send().await.text());
    until("four lines", async || t.log().lines().count() == 4).await;
    let traces = traces.end();
    seen.extend([t.log(), traces.clone()]);
    for path in ["/metrics", "/readyz?verbose"] {
        seen.push(Call::new(t.admin(), "GET", path).send().await.text());
    }
    assert!(traces.contains("tokens cannot be introspected"), "{}", traces);
    for text in &seen {
        for secret in [OPAQUE, "gw_t0ken", "s3cret", "Z3c6czNjcmV0", "cl4im"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}
