//! What answers mean, and what does not count as one.

use std::time::Duration;

use serde_json::{Value, json};

use super::OPAQUE;
use crate::harness::token::unix_now;
use crate::harness::{Backend, Harness, Issuer, until, within};

/// IN-03: what the issuer calls inactive is 401.
#[tokio::test]
async fn an_inactive_token_is_refused() {
    let t = Harness::introspecting("").await;
    t.refuses([("unknown", OPAQUE.to_owned(), "token_inactive")]).await;
    assert_eq!((t.asked(), t.questions("ok").await), (1, 1.0));
}

/// IN-03: only the JSON boolean is an answer. All else tells nothing, and least of all "yes".
#[tokio::test]
async fn what_is_not_an_answer_is_no_answer() {
    let t = Harness::introspecting("").await;
    for active in [json!("true"), json!(1), json!("false"), json!(0), json!([true]), json!({})] {
        t.knows(&json!({ "active": active }));
        t.is_unknown(OPAQUE, &active.to_string()).await;
    }
    t.knows(&json!({ "active": null }));
    t.is_unknown(OPAQUE, "no `active`").await;
    for body in [
        r#"{"active":null}"#,
        r#"{"active":true"#,
        r#"{"active":false,"active":true,"aud":"https://api.example.com","scope":"orders:read"}"#,
        "true",
        "[]",
        "",
        "<!DOCTYPE html><title>Log in</title>",
        "eyJhbGciOiJub25lIn0.eyJhY3RpdmUiOnRydWV9.",
    ] {
        t.issuer.introspection.knows(OPAQUE, Value::from(body));
        t.is_unknown(OPAQUE, body).await;
    }
    assert_eq!(t.questions("invalid").await, t.asked() as f64);
}

/// AZ-07: oidc-provider's answers about machines' tokens name no subject. What has a session is no
/// machine's all the same, and nobody knows whose.
#[tokio::test]
async fn an_answer_without_a_subject_is_a_machines_where_the_preset_says_so() {
    for (session, kind) in [(json!(null), "client"), (json!("s1"), "unknown")] {
        let t = Harness::introspecting("preset: oidc-provider").await;
        t.knows(&json!({ "sub": null, "username": null, "client_id": "nightly", "sid": session }));
        assert_eq!(t.with_opaque().await.status(), 200);
        let seen = t.backend.saw_one();
        assert_eq!(seen.headers["x-auth-kind"], kind);
        assert_eq!(seen.headers["x-auth-client"], "nightly");
    }
}

/// IN-04: statuses other than 200, ours to solve and not the caller's.
#[tokio::test]
async fn an_endpoint_in_trouble_is_not_the_callers_fault() {
    for status in [204, 400, 401, 403, 404, 429, 500, 502, 503] {
        let t = Harness::introspecting("").await;
        t.issuer.introspection.breaks(status, r#"{"active":true}"#);
        let seconds = t.is_unknown(OPAQUE, &status.to_string()).await;
        assert!((1..=60).contains(&seconds));
        assert_eq!(t.questions("http_status").await, 1.0);
        assert!(t.denials("/orders/**", "auth_unavailable").await >= 1.0);
    }
    let t = Harness::introspecting("").await;
    t.issuer.introspection.redirects(&format!("{}/elsewhere", t.issuer.url()));
    t.is_unknown(OPAQUE, "a redirect").await;
    assert!(!t.issuer.requests().contains(&"/elsewhere".to_owned()));
}

/// IN-04: nobody there.
#[tokio::test]
async fn an_endpoint_that_is_gone_is_not_the_callers_fault() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let vacant = listener.local_addr().unwrap();
    drop(listener);
    let yaml = format!(
        "issuers: {{ main: {{ introspection: 'http://{vacant}/x', client_id: a, client_secret: b, \
         audience: api }} }}\n{}",
        super::ROUTES
    );
    let t = Harness::start(&yaml).await;
    t.is_unknown(OPAQUE, "nobody listens").await;
    assert_eq!(t.questions("connect").await, 1.0);
}

/// IN-04: somebody is there, but cannot prove to be the issuer.
#[tokio::test]
async fn an_endpoint_without_a_certificate_is_not_the_callers_fault() {
    let issuer = Issuer::start().await;
    let yaml = format!(
        "issuers: {{ main: {{ introspection: '{}/introspect', client_id: a, client_secret: b, \
         audience: api }} }}\n{}",
        issuer.url().replace("http:", "https:"),
        super::ROUTES
    );
    let t = Harness::start_with(&yaml, issuer, Backend::start().await).await;
    t.is_unknown(OPAQUE, "no TLS").await;
    assert_eq!((t.questions("tls").await, t.asked()), (1.0, 0));
}

/// IN-04: an endpoint that hangs costs its time limit and no more.
#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up() {
    for (settings, limit) in [("", 5), ("introspection_timeout: 2s", 2)] {
        let t = Harness::introspecting(settings).await;
        t.knows(&json!({}));
        t.issuer.introspection.holds();
        let call = tokio::spawn(t.get("/orders/1").bearer(OPAQUE).send());
        until("the question", async || t.asked() == 1).await;
        t.clock.advance(Duration::from_millis(limit * 1000 - 900));
        assert!(!call.is_finished());
        t.clock.advance(Duration::from_millis(900));
        let answer = within(call).await.unwrap();
        t.says_unknown(&answer, "it hangs").await;
        assert_eq!(t.questions("timeout").await, 1.0);
        t.issuer.introspection.releases();
        assert_eq!(t.with_opaque().await.status(), 200);
    }
}

/// A token's claims are kept in memory, so they are bounded.
#[tokio::test]
async fn an_answer_of_a_mebibyte_is_not_read() {
    let t = Harness::introspecting("").await;
    for length in [64 << 10, 1 << 20, 5 << 20] {
        t.knows(&json!({ "groups": ["x".repeat(length)] }));
        t.is_unknown(OPAQUE, "too long").await;
    }
    assert_eq!(t.questions("too_large").await, 3.0);
    t.knows(&json!({ "groups": ["x".repeat(60 << 10)] }));
    assert_eq!(t.with_opaque().await.status(), 200);
}

/// IN-05: what the issuer calls active may still be for another time, API or issuer.
#[tokio::test]
async fn an_active_token_must_be_for_here_and_now() {
    let t = Harness::introspecting("negative_cache: 0s").await;
    let now = unix_now();
    for (changes, reason) in [
        (json!({ "exp": now - 60 }), "token_expired"),
        (json!({ "exp": 0 }), "token_expired"),
        (json!({ "exp": "9999999999" }), "malformed_token"),
        (json!({ "exp": -1 }), "malformed_token"),
        (json!({ "nbf": now + 90 }), "token_not_yet_valid"),
        (json!({ "iat": now + 90 }), "token_not_yet_valid"),
        (json!({ "iss": "https://other.example.com" }), "unknown_issuer"),
        (json!({ "iss": format!("{}/", t.issuer.url()) }), "unknown_issuer"),
        (json!({ "iss": [t.issuer.url()] }), "malformed_token"),
        (json!({ "aud": null }), "wrong_audience"),
        (json!({ "aud": "https://other.example.com" }), "wrong_audience"),
        (json!({ "aud": [] }), "wrong_audience"),
        (json!({ "aud": ["https://api.example.com", 7] }), "malformed_token"),
        (json!({ "sub": 7 }), "malformed_token"),
    ] {
        t.knows(&changes);
        t.refuses([("an answer", OPAQUE.to_owned(), reason)]).await;
    }
    t.knows(&json!({ "aud": ["account", "https://api.example.com"], "iss": null, "exp": null }));
    t.accepts([("an answer that says little", OPAQUE.to_owned())]).await;
}

/// IN-10: some servers call refresh tokens active.
#[tokio::test]
async fn a_token_of_another_kind_is_refused() {
    let t = Harness::introspecting("negative_cache: 0s").await;
    for changes in [
        json!({ "token_use": "refresh_token" }),
        json!({ "token_use": "id" }),
        json!({ "token_type": "refresh_token" }),
        json!({ "token_type": "id_token" }),
        json!({ "token_type": "urn:ietf:params:oauth:token-type:refresh_token" }),
        json!({ "token_usage": "refresh_token" }),
        json!({ "typ": "Refresh" }),
        json!({ "typ": "ID" }),
        json!({ "at_hash": "x" }),
        json!({ "events": {} }),
    ] {
        t.knows(&changes);
        t.refuses([("another kind", OPAQUE.to_owned(), "wrong_token_type")]).await;
    }
    t.knows(&json!({ "token_use": "access_token", "typ": "Bearer" }));
    t.accepts([("an access token", OPAQUE.to_owned())]).await;
}

/// A token that is bound to its sender's key is no bearer token, as with JWTs.
#[tokio::test]
async fn a_bound_token_is_refused() {
    let t = Harness::introspecting("negative_cache: 0s").await;
    for changes in [
        json!({ "cnf": { "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } }),
        json!({ "cnf": {} }),
        json!({ "token_type": "DPoP" }),
        json!({ "token_type": "dpop" }),
    ] {
        t.knows(&changes);
        t.refuses([("bound", OPAQUE.to_owned(), "sender_mismatch")]).await;
    }
}

/// IN-11: no scope is no scope, and a list is none unless the issuer's settings say where it is.
#[tokio::test]
async fn scopes_are_read_as_a_jwts_are() {
    let t = Harness::introspecting("").await;
    for (token, scope) in
        [("t1", Value::Null), ("t2", json!("")), ("t3", json!(["orders:read"])), ("t4", json!(7))]
    {
        t.issuer.introspection.knows(token, t.answer(&json!({ "scope": scope })));
        let answer = t.get("/orders/1").bearer(token).send().await;
        assert_eq!(t.line(&answer).await["reason"], "missing_scope", "{scope}");
        assert_eq!(answer.status(), 403);
    }
    t.backend.saw_nothing();
    let t = Harness::introspecting("claims: { scopes: scope }").await;
    t.knows(&json!({ "scope": ["orders:read"] }));
    assert_eq!(t.with_opaque().await.status(), 200);
}
