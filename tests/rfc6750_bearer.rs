//! How a token is sent, and how its absence and its faults are answered.

use crate::harness::{Harness, ORDERS, token::Token};

/// BR-01, BR-02.
#[tokio::test]
async fn the_scheme_is_case_insensitive_and_spaces_may_be_many() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer  "] {
        let answer =
            t.get("/orders/1").header("authorization", &format!("{scheme}{token}")).send().await;
        assert_eq!(answer.status(), 200, "{scheme}");
    }
    assert_eq!(t.backend.seen().len(), 5);
}

/// BR-02, BR-03: not one token68 behind the scheme is a malformed request, not a bad token.
#[tokio::test]
async fn malformed_credentials_are_a_bad_request() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    let tab = format!("Bearer\t{token}");
    for value in
        ["Bearer a,b", "Bearer \"abc\"", "Bearer a b", "Bearer ab=c", "Bearer", "Bearer ", &tab]
    {
        let answer = t.get("/orders/1").header("authorization", value).send().await;
        assert_eq!(answer.status(), 400, "{value}");
        assert!(answer.header("www-authenticate").starts_with("Bearer error=\"invalid_request\""));
        assert_eq!(answer.reason(), "malformed_request");
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/**", "malformed_request").await, 7.0);
}

/// BR-04, BR-05, BR-15: nothing that counts as a bearer token is no token.
#[tokio::test]
async fn no_token_is_challenged_without_an_error() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    let calls = [
        t.get("/orders/1"),
        t.get("/orders/1").header("authorization", "Basic dTpw"),
        t.get("/orders/1").header("authorization", "Negotiate x"),
        t.get("/orders/1").header("proxy-authorization", &format!("Bearer {token}")),
    ];
    for call in calls {
        let answer = call.send().await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api\"");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.reason(), "missing_token");
        assert!(!answer.header("x-request-id").is_empty());
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/**", "missing_token").await, 4.0);
    assert!(!t.log().contains("dTpw"));
}

/// BR-10.
#[tokio::test]
async fn two_tokens_are_a_bad_request() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    let bearer = format!("Bearer {token}");
    let twice =
        t.get("/orders/1").header("authorization", &bearer).header("authorization", &bearer);
    let joined = t.get("/orders/1").header("authorization", &format!("{bearer}, {bearer}"));
    for call in [twice, joined] {
        let answer = call.send().await;
        assert_eq!(answer.status(), 400);
        assert!(answer.header("www-authenticate").contains("invalid_request"));
    }
    t.backend.saw_nothing();
}

/// BR-11, BR-12, BR-13.
#[tokio::test]
async fn a_token_in_the_query_is_no_credential_and_never_reaches_the_backend() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    let alone = t.get(&format!("/orders/1?access_token={token}")).send().await;
    assert_eq!((alone.status().as_u16(), alone.reason().as_str()), (401, "missing_token"));
    let both = t.get(&format!("/orders/1?access_token={token}")).bearer(&token).send().await;
    assert_eq!((both.status().as_u16(), both.reason().as_str()), (400, "token_in_query"));
    t.backend.saw_nothing();

    let public = t.get(&format!("/status?a=1&access_token={token}&x=1")).send().await;
    assert_eq!(public.status(), 200);
    assert_eq!(t.backend.saw_one().target, "/status?a=1&x=1");
    assert!(!t.log().contains(&token));
}

/// BR-16, FW-01: the backend learns who calls, but not by what token.
#[tokio::test]
async fn the_token_is_stripped_and_the_identity_is_passed_on() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    let answer = t.get("/orders/1").bearer(&token).header("x-auth-subject", "root").send().await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "hello"));
    let seen = t.backend.saw_one();
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("x-auth-subject"), Some("alice"));
    assert_eq!(seen.header("x-auth-client"), Some("web-app"));
    assert_eq!(seen.header("x-auth-scopes"), Some("orders:read"));
    assert_eq!(seen.header("x-auth-kind"), Some("user"));
    assert_eq!(seen.header("x-auth-issuer"), Some(t.issuer.url().as_str()));
    assert_eq!(seen.header("x-request-id"), Some(answer.header("x-request-id")));
    assert!(!format!("{seen:?}").contains(&token));
}

/// BR-17: a backend's own refusal passes as it is.
#[tokio::test]
async fn a_challenge_of_the_backend_is_not_touched() {
    let t = Harness::start(ORDERS).await;
    t.backend.reply(crate::harness::Reply {
        status: 401,
        headers: vec![("www-authenticate", "Basic realm=\"x\"".into())],
        ..Default::default()
    });
    let answer = t.get("/orders/1").bearer(&t.token().sign()).send().await;
    assert_eq!(
        (answer.status().as_u16(), answer.header("www-authenticate")),
        (401, "Basic realm=\"x\"")
    );
    assert_eq!(answer.header("proxy-status"), "");
}

/// BR-18: a token that is sent must be good, even where none is needed.
#[tokio::test]
async fn an_optional_token_must_be_good() {
    let t = Harness::start("routes: { /p: { public: optional } }").await;
    assert_eq!(t.get("/p").send().await.status(), 200);
    assert_eq!(t.get("/p").bearer(&t.token().sign()).send().await.status(), 200);
    let subjects: Vec<_> = t
        .backend
        .seen()
        .iter()
        .map(|seen| seen.header("x-auth-subject").map(str::to_owned))
        .collect();
    assert_eq!(subjects, [None, Some("alice".to_owned())]);
    let expired = t.get("/p").bearer(&t.token().expired_by(60).sign()).send().await;
    assert_eq!((expired.status().as_u16(), expired.reason().as_str()), (401, "token_expired"));
    assert_eq!(t.backend.seen().len(), 2);
}

/// BR-19: a token over the limit is refused before it is decoded.
#[tokio::test]
async fn long_tokens_pass_up_to_the_limit() {
    let t = Harness::start(ORDERS).await;
    let padded = |bytes: usize| t.token().claim("padding", "x".repeat(bytes)).sign();
    assert_eq!(t.get("/orders/1").bearer(&padded(6 << 10)).send().await.status(), 200);
    let checked = t.metric("scopegate_tokens_total", &[]).await;
    let answer = t.get("/orders/1").bearer(&padded(30 << 10)).send().await;
    assert_eq!(answer.status(), 431);
    assert_eq!(t.metric("scopegate_tokens_total", &[]).await, checked);
    assert_eq!(t.backend.seen().len(), 1);
}

/// BR-07: text from a token never comes back.
#[tokio::test]
async fn challenges_hold_nothing_of_the_token() {
    let t = Harness::start(ORDERS).await;
    let marker = "MARK\"\\\r\n\u{e9}";
    let tokens = [
        t.token().header("kid", marker).sign(),
        t.token().header("alg", marker).sign(),
        t.token().claim("iss", marker).sign(),
    ];
    for token in tokens {
        let answer = t.get("/orders/1").bearer(&token).send().await;
        assert_eq!(answer.status(), 401);
        assert!(!format!("{:?} {}", answer.headers(), answer.text()).contains("MARK"));
    }
    t.backend.saw_nothing();
}

/// BR-06: every challenge is a scheme and quoted parameters, none twice.
#[tokio::test]
async fn challenges_follow_the_grammar() {
    let t = Harness::start(ORDERS).await;
    let bad = [
        t.get("/orders/1"),
        t.get("/orders/1").bearer("x.y.z"),
        t.get("/orders/1").header("authorization", "Bearer a,b"),
        t.get("/orders/1").bearer(&t.token().expired_by(100).sign()),
        t.call("DELETE", "/orders/1").bearer(&t.token().sign()),
        t.call("DELETE", "/orders/1").bearer(&t.token().scope("orders:write").sign()),
    ];
    for call in bad {
        let answer = call.send().await;
        let challenge = answer.header("www-authenticate");
        let parameters = challenge.strip_prefix("Bearer ").expect(challenge);
        let names: Vec<_> = parameters
            .split("\", ")
            .map(|parameter| parameter.split_once("=\"").expect(challenge).0)
            .collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{challenge}");
        assert!(challenge.ends_with('"'), "{challenge}");
    }
}

/// BR-09 and the words of the interface.
#[tokio::test]
async fn all_missing_scopes_are_named() {
    let t = Harness::start("routes: { /r: { GET: { all: [a, b] } } }").await;
    let answer = t.get("/r").bearer(&t.token().scope("a").sign()).send().await;
    assert_eq!(answer.status(), 403);
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer error=\"insufficient_scope\", error_description=\"needs a b\", scope=\"a b\""
    );
    assert_eq!(answer.json()["required_scopes"], serde_json::json!(["a", "b"]));
    assert_eq!(answer.json()["detail"], "GET /r needs the scopes a, b.");
    t.backend.saw_nothing();
    assert_eq!(t.denials("/r", "missing_scope").await, 1.0);
}

/// BR-08 and the example of the architecture: what an expired token gets.
#[tokio::test]
async fn expired_token_is_refused() {
    let t = Harness::start(ORDERS).await;
    let token: Token = t.token().expired_by(61);
    let answer = t.get("/orders/1").bearer(&token.sign()).send().await;
    assert_eq!(answer.status(), 401);
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer error=\"invalid_token\", error_description=\"the token expired\""
    );
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/**", "token_expired").await, 1.0);
}
