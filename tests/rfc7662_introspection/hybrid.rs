//! JWTs that are verified here, and asked about where it matters.

use std::time::Duration;

use serde_json::json;

use super::{OPAQUE, ROUTES};
use crate::harness::keys::Key;
use crate::harness::{Answer, Backend, Harness, Issuer};

async fn get(t: &Harness, path: &str, token: &str) -> Answer {
    t.get(path).bearer(token).send().await
}

async fn reason(t: &Harness, path: &str, token: &str) -> String {
    let answer = get(t, path, token).await;
    t.line(&answer).await["reason"].as_str().unwrap_or_default().to_owned()
}

/// IN-13: a revoked JWT is good until it expires, except where the issuer is asked.
#[tokio::test]
async fn a_route_can_ask_about_every_token() {
    let t = Harness::introspecting("").await;
    let jwt = t.token().sign();
    t.issuer.introspection.knows(&jwt, t.answer(&json!({})));
    assert_eq!(get(&t, "/orders/1", &jwt).await.status(), 200);
    assert_eq!(t.asked(), 0);
    assert_eq!(get(&t, "/pay/1", &jwt).await.status(), 200);
    assert_eq!(get(&t, "/pay/2", &jwt).await.status(), 200);
    assert_eq!(t.asked(), 1);
    t.issuer.introspection.revokes(&jwt);
    t.clock.advance(Duration::from_secs(60));
    t.backend.forget();
    let refused = get(&t, "/pay/1", &jwt).await;
    assert_eq!(refused.status(), 401);
    assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""));
    assert_eq!(t.line(&refused).await["reason"], "token_inactive");
    t.backend.saw_nothing();
    assert_eq!(get(&t, "/orders/1", &jwt).await.status(), 200);
    assert_eq!(t.asked(), 2);
    let count = async |result| {
        t.metric("scopegate_tokens_total", &[("issuer", "main"), ("result", result)]).await
    };
    assert_eq!((count("valid").await, count("token_inactive").await), (4.0, 1.0));
}

/// Opaque tokens are asked about anyway, and once.
#[tokio::test]
async fn an_opaque_token_is_asked_about_once_on_all_routes() {
    let t = Harness::introspecting("").await;
    t.knows(&json!({}));
    for path in ["/pay/1", "/orders/1", "/pay/2"] {
        assert_eq!(get(&t, path, OPAQUE).await.status(), 200);
    }
    assert_eq!(t.asked(), 1);
}

/// What is known is not asked, and what is not known here is never a pass.
#[tokio::test]
async fn a_route_that_asks_fails_closed() {
    let t = Harness::introspecting("").await;
    let jwt = t.token().sign();
    t.issuer.introspection.breaks(500, "");
    let answer = get(&t, "/pay/1", &jwt).await;
    t.says_unknown(&answer, "no answer").await;
    assert_eq!(get(&t, "/orders/1", &jwt).await.status(), 200);
}

/// IN-05 with a JWT: the answer can refuse the token, and change nothing of it.
#[tokio::test]
async fn the_answer_is_checked_and_adds_nothing() {
    let t = Harness::introspecting("negative_cache: 0s, cache: 0s").await;
    let jwt = t.token().claim("scope", "orders:none").sign();
    t.issuer.introspection.knows(&jwt, t.answer(&json!({ "scope": "orders:read orders:write" })));
    assert_eq!(reason(&t, "/pay/1", &jwt).await, "missing_scope");
    let jwt = t.token().sign();
    for (changes, expected) in [
        (json!({ "exp": 1 }), "token_expired"),
        (json!({ "aud": "https://other.example.com" }), "wrong_audience"),
        (json!({ "iss": "https://other.example.com" }), "unknown_issuer"),
        (json!({ "cnf": {} }), "sender_mismatch"),
        (json!({ "token_use": "refresh_token" }), "wrong_token_type"),
    ] {
        t.issuer.introspection.knows(&jwt, t.answer(&changes));
        assert_eq!(reason(&t, "/pay/1", &jwt).await, expected);
    }
    t.backend.saw_nothing();
    // What the answer leaves out the signed token says itself.
    t.issuer.introspection.knows(&jwt, json!({ "active": true }));
    assert_eq!(get(&t, "/pay/1", &jwt).await.status(), 200);
}

/// `introspect: always` in the issuer is that on every route.
#[tokio::test]
async fn an_issuer_can_be_asked_about_every_token() {
    let t = Harness::introspecting("introspect: always").await;
    let jwt = t.token().sign();
    t.refuses([("a JWT", jwt.clone(), "token_inactive")]).await;
    assert_eq!(t.asked(), 1);
    let forged = t.token().signed_by(&Key::es256("key-1")).sign();
    t.refuses([("a forged JWT", forged, "bad_signature")]).await;
    assert_eq!(t.asked(), 1);
    t.clock.advance(Duration::from_secs(5));
    t.issuer.introspection.knows(&jwt, t.answer(&json!({})));
    t.accepts([("a JWT", jwt)]).await;
}

/// `introspect: only`: the issuer's JWTs are its own business, and its keys not fetched.
#[tokio::test]
async fn an_issuers_jwts_can_be_opaque_to_the_gateway() {
    let t = Harness::introspecting("introspect: only").await;
    let jwt = t.token().header("alg", "HS256").sign();
    t.issuer.introspection.knows(&jwt, t.answer(&json!({})));
    t.accepts([("a JWT", jwt)]).await;
    let other = t.token().claim("iss", "https://other.example.com").sign();
    t.refuses([("another issuer's", other, "unknown_issuer")]).await;
    assert_eq!((t.asked(), t.issuer.key_requests()), (1, 0));
}

/// CL-14: an issuer is not shown what is another's, or nobody's.
#[tokio::test]
async fn tokens_are_shown_to_their_issuer_alone() {
    let other = Issuer::start().await;
    let yaml = format!(
        "issuers:\n  \
         a: {{ url: '{}', audience: https://api.example.com }}\n  \
         b: {{ url: '{{issuer}}', audience: https://api.example.com, client_id: gw, \
         client_secret: s, introspection: '{{issuer}}/introspect' }}\n# scopegate: allow A150\n{ROUTES}",
        other.url()
    );
    let t = Harness::start_with(&yaml, Issuer::start().await, Backend::start().await).await;
    let good = other.token().scope("orders:read");
    let spoiled = good.sign();
    for (token, expected) in [
        (good.clone().signed_by(&Key::es256("key-1")).sign(), "bad_signature"),
        (good.clone().claim("iss", "https://nobody.example.com").sign(), "unknown_issuer"),
        (good.clone().header("crit", json!(["x"])).sign(), "malformed_token"),
        (format!("{spoiled}.{spoiled}"), "malformed_token"),
        (spoiled.rsplit_once('.').unwrap().0.to_owned(), "malformed_token"),
        (format!("{}=", spoiled), "malformed_token"),
    ] {
        assert_eq!(reason(&t, "/orders/1", &token).await, expected);
    }
    t.backend.saw_nothing();
    assert_eq!(get(&t, "/orders/1", &good.sign()).await.status(), 200);
    // On a route that asks, an issuer that cannot be asked is as good as unknown.
    assert_eq!(reason(&t, "/pay/1", &good.sign()).await, "unknown_issuer");
    assert_eq!(t.asked(), 0);
    assert_eq!(t.backend.seen().len(), 1);
}

/// An issuer whose tokens are all JWTs is not asked about opaque ones.
#[tokio::test]
async fn opaque_tokens_can_be_nobodys() {
    let t = Harness::introspecting("introspect: routes").await;
    assert_eq!(reason(&t, "/orders/1", OPAQUE).await, "malformed_token");
    assert_eq!(reason(&t, "/pay/1", OPAQUE).await, "malformed_token");
    assert_eq!(t.asked(), 0);
    let jwt = t.token().sign();
    t.issuer.introspection.knows(&jwt, t.answer(&json!({})));
    assert_eq!(get(&t, "/pay/1", &jwt).await.status(), 200);
    assert_eq!(t.asked(), 1);
}
