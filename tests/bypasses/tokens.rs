//! Rows 24 to 41: tokens. What `rfc7519_jwt`, `rfc9068_claims` and `keys` cover in depth is here in
//! one line per row, so that no row is lost.

use std::time::Duration;

use hyper::body::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::ask;
use crate::harness::issuer::Behaviour;
use crate::harness::keys::{RSA, encode};
use crate::harness::token::unix_now;
use crate::harness::{Backend, Call, Harness, Issuer, ORDERS, Token};

async fn status(call: Call) -> u16 {
    call.send().await.status().as_u16()
}

/// CVE-2022-29226 (Envoy).
#[tokio::test]
async fn row_24_junk_is_no_token() {
    let t = Harness::start(ORDERS).await;
    t.refuses(
        ["x", "null", "undefined", "true", "a.b.c", "..", "AAAA.AAAA.AAAA"]
            .map(|junk| (junk, junk.to_owned(), "malformed_token")),
    )
    .await;
}

/// tyk#4980.
#[tokio::test]
async fn row_25_no_scope_claim_grants_no_scope() {
    let t = Harness::start(ORDERS).await;
    for scope in [
        json!(null),
        json!(""),
        json!([]),
        json!(["orders:read"]),
        json!({}),
        json!(true),
        json!("*"),
    ] {
        assert_eq!(
            status(t.get("/orders/1").bearer(&t.token().claim("scope", scope).sign())).await,
            403
        );
    }
    assert_eq!(status(t.get("/orders/1").bearer(&t.token().without("scope").sign())).await, 403);
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/**", "missing_scope").await, 8.0);
}

/// CVE-2021-32701 (Oathkeeper).
#[tokio::test]
async fn row_26_a_remembered_token_is_judged_on_each_route() {
    let t = Harness::start("routes: { /a: { GET: a }, /b: { GET: b } }").await;
    let token = t.token().scope("a").sign();
    for (path, expected) in [("/a", 200), ("/b", 403), ("/a", 200), ("/b", 403)] {
        assert_eq!(status(t.get(path).bearer(&token)).await, expected);
    }
    assert_eq!(t.metric("scopegate_token_cache_requests_total", &[("result", "hit")]).await, 3.0);
}

/// CVE-2026-33496 (Oathkeeper).
#[tokio::test]
async fn row_27_a_remembered_token_is_good_only_where_its_issuer_is_trusted() {
    let other = Issuer::start().await;
    let entry = |name: &str, url: &str| {
        format!("  {name}: {{ url: '{url}', audience: https://api.example.com }}\n")
    };
    let both = format!("issuers:\n{}{}", entry("main", "{issuer}"), entry("other", &other.url()));
    let routes = "routes: { /a: { GET: { issuer: main } }, /b: { GET: { issuer: other } } }";
    let t = Harness::start(&format!("{both}{routes}")).await;
    let (ours, theirs) = (t.token().sign(), other.token().sign());
    assert_eq!(status(t.get("/a").bearer(&ours)).await, 200);
    assert_eq!(status(t.get("/b").bearer(&ours)).await, 403);
    assert_eq!(status(t.get("/b").bearer(&theirs)).await, 200);
    assert_eq!(status(t.get("/a").bearer(&theirs)).await, 403);
    let alone = format!(
        "issuers:\n{}routes: {{ /b: {{ GET: {{ token: any }} }} }}",
        entry("other", &other.url())
    );
    t.rewrite(&alone);
    t.server.reload().await.expect("the file is good");
    t.ready().await;
    let refused = t.get("/b").bearer(&ours).send().await;
    assert_eq!(refused.status(), 401);
    assert_eq!(t.line(&refused).await["reason"], "unknown_issuer");
    assert_eq!(t.backend.seen().len(), 2);
}

/// CVE-2026-35039 (fast-jwt): nobody is ever taken for somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_28_remembered_identities_are_never_swapped() {
    let t = Harness::start("plans: { p: { rate: 1000/s } }\nroutes: { '/u/{sub}': { GET: { claim: { sub: '{sub}' } } } }")
        .await;
    let person = |number: usize| t.token().claim("sub", format!("u{number}")).sign();
    let tokens: Vec<_> = (0..20).map(person).collect();
    let calls = (0..200).map(|turn| {
        let (token, path) = (&tokens[turn % 20], format!("/u/u{}", (turn / 20 + turn) % 20));
        (turn / 20 == 0, tokio::spawn(t.get(&path).bearer(token).send()))
    });
    for (is_own, call) in calls.collect::<Vec<_>>() {
        let answer = crate::harness::within(call).await.unwrap();
        assert_eq!(answer.status(), if is_own { 200 } else { 403 });
    }
    for seen in t.backend.seen() {
        assert_eq!(seen.header("x-auth-subject"), seen.target.strip_prefix("/u/"));
    }
    assert_eq!(t.backend.seen().len(), 20);
}

/// CVE-2026-107719 (fast-jwt), liboauth2, Kong.
#[tokio::test]
async fn row_29_nothing_is_remembered_past_its_end() {
    let t = Harness::start(ORDERS).await;
    let brief = t.token().claim("exp", unix_now() + 10).sign();
    let in_leeway = t.token().claim("exp", unix_now() - 5).sign();
    t.accepts([("brief", brief.clone()), ("in the leeway", in_leeway.clone())]).await;
    t.backend.forget();
    t.clock.advance(Duration::from_secs(41));
    t.refuses([("brief", brief, "token_expired"), ("in the leeway", in_leeway, "token_expired")])
        .await;
}

/// CVE-2026-25537 (Rust jsonwebtoken before 10.3).
#[tokio::test]
async fn row_30_claims_of_the_wrong_type_are_not_absent_claims() {
    let t = Harness::start(ORDERS).await;
    for name in ["exp", "nbf", "iat", "aud", "iss", "sub", "client_id"] {
        for value in [json!({}), json!(true), json!([{}])] {
            t.refuses([(name, t.token().claim(name, value).sign(), "malformed_token")]).await;
        }
    }
    for name in ["exp", "nbf", "iat"] {
        let token = t.token().claim(name, "x").sign();
        t.refuses([(name, token, "malformed_token")]).await;
    }
}

/// Audit of jwt-simple, 006.
#[tokio::test]
async fn row_31_odd_timestamps_neither_wrap_nor_pass() {
    let t = Harness::start(ORDERS).await;
    for number in [
        "-1",
        "9007199254740994",
        "1e400",
        "-1e400",
        "NaN",
        "1e-400e",
        "18446744073709551617",
        "01",
    ] {
        let payload = t.token().claim("exp", "EXP").payload().replace("\"EXP\"", number);
        let token = Token::sign_text(&t.issuer.key, t.token().header_text(), payload);
        t.refuses([("exp", token, "malformed_token")]).await;
    }
    t.refuses([("long ago", t.token().claim("exp", 1.5).sign(), "token_expired")]).await;
}

fn hmac(token: Token, secret: &[u8]) -> String {
    let input = token.header("alg", "HS256").input();
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{input}.{signature}")
}

/// CVE-2023-48223, CVE-2026-34950, CVE-2026-39999 (fast-jwt, APISIX, Kong).
#[tokio::test]
async fn row_32_no_hmac_with_a_public_key() {
    let t = Harness::with_keys(&[RSA.jwk()], "").await;
    let rsa = || t.token().header("kid", "rsa-1");
    let text = RSA.jwk().to_string();
    for secret in [RSA.public_bytes(), text.as_bytes(), t.issuer.key.public_bytes()] {
        t.refuses([("HS256", hmac(rsa(), secret), "algorithm_refused")]).await;
    }
}

/// CVE-2026-44699 (libjwt).
#[tokio::test]
async fn row_33_a_key_without_alg_is_no_hmac_key() {
    let mut bare = RSA.bare_jwk();
    bare["kid"] = "bare".into();
    let t = Harness::with_keys(&[bare, json!({ "kty": "oct", "kid": "oct", "k": "" })], "").await;
    let named = |kid: &str| t.token().header("kid", kid);
    t.refuses([
        ("an empty secret", hmac(named("bare"), b""), "algorithm_refused"),
        ("an empty oct key", hmac(named("oct"), b""), "algorithm_refused"),
        ("no kid", hmac(t.token().without_header("kid"), b""), "algorithm_refused"),
    ])
    .await;
}

/// CVE-2022-23540 (node jsonwebtoken).
#[tokio::test]
async fn row_34_none_is_no_algorithm() {
    let t = Harness::start(ORDERS).await;
    for alg in ["none", "None", "nOnE", "NONE", ""] {
        let input = t.token().header("alg", alg).input();
        t.refuses([("unsigned", format!("{input}."), "algorithm_refused")]).await;
    }
}

/// GHSA-5739-39v2-5754 (web-token).
#[tokio::test]
async fn row_35_there_is_no_unprotected_header() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    let parts: Vec<_> = token.split('.').collect();
    let general = json!({ "payload": parts[1], "signatures": [{ "protected": parts[0],
        "header": { "alg": "none" }, "signature": parts[2] }] });
    let fields = format!("Authorization: Bearer {general}\r\n");
    assert_eq!(ask(&t, "GET /orders/1", &fields).await, [400]);
    t.backend.saw_nothing();
    t.refuses([("base64", encode(general.to_string().as_bytes()), "malformed_token")]).await;
}

/// CVE-2023-51774, CVE-2026-49230 (json-jwt, APISIX).
#[tokio::test]
async fn row_36_an_encrypted_token_is_refused() {
    let t = Harness::start(ORDERS).await;
    let header =
        json!({ "alg": "dir", "enc": "A128GCM", "kid": "key-1", "cty": "JWT" }).to_string();
    let jwe = format!(
        "{}..{}.{}.{}",
        encode(header.as_bytes()),
        encode(&[0; 12]),
        encode(b"{}"),
        encode(&[0; 16])
    );
    let nested = format!("{}.AAAA.AAAA", t.token().sign());
    t.refuses([("JWE", jwe, "malformed_token"), ("five parts", nested, "malformed_token")]).await;
}

/// GHSA-wcvh-g65p-v576 (mod_auth_openidc).
#[tokio::test]
async fn row_37_a_token_for_another_api_is_refused() {
    let t = Harness::start(ORDERS).await;
    t.refuses([
        (
            "another API",
            t.token().claim("aud", "https://other.example.com").sign(),
            "wrong_audience",
        ),
        ("no aud", t.token().without("aud").sign(), "wrong_audience"),
        ("no iss", t.token().without("iss").sign(), "unknown_issuer"),
        ("no exp", t.token().without("exp").sign(), "malformed_token"),
    ])
    .await;
}

/// CVE-2025-64527, CVE-2024-45809 (Envoy): two tokens while the issuer is away, under load.
#[tokio::test]
async fn row_38_two_tokens_without_keys_crash_nothing() {
    let issuer = Issuer::start().await;
    issuer.behave(Behaviour::Broken(500, Bytes::new()));
    let t = Harness::start_with(ORDERS, issuer, Backend::start().await).await;
    let token = t.token().sign();
    let calls: Vec<_> = (0..100)
        .map(|turn| {
            let call = t.get("/orders/1").bearer(&token);
            let (call, expected) = match turn % 3 {
                0 => (call.bearer(&token), 400),
                1 => (call.header("authorization", "Basic x"), 400),
                _ => (call, 503),
            };
            (expected, tokio::spawn(status(call)))
        })
        .collect();
    for (expected, call) in calls {
        assert_eq!(crate::harness::within(call).await.unwrap(), expected);
    }
    t.backend.saw_nothing();
    assert_eq!(status(t.get("/status")).await, 200);
}

/// go-oidc#482, jwks-rsa-java#173, mod_auth_openidc.
#[tokio::test]
async fn row_39_unknown_kids_block_no_good_key() {
    let t = Harness::start(ORDERS).await;
    t.issuer.behave(Behaviour::Broken(500, Bytes::new()));
    let before = t.issuer.requests().len();
    for number in 0..100 {
        let token = t.token().header("kid", format!("k{number}")).sign();
        assert_eq!(status(t.get("/orders/1").bearer(&token)).await, 401);
    }
    assert_eq!(t.issuer.requests().len(), before + 1);
    t.accepts([("a good token", t.token().sign())]).await;
}

/// spring-security#13757.
#[tokio::test]
async fn row_40_a_failed_discovery_is_not_for_ever() {
    let issuer = Issuer::start().await;
    issuer.behave(Behaviour::Broken(404, Bytes::new()));
    let t = Harness::start_with(ORDERS, issuer, Backend::start().await).await;
    assert_eq!(status(t.get("/orders/1").bearer(&t.token().sign())).await, 503);
    t.issuer.behave(Behaviour::Good);
    t.clock.advance(Duration::from_secs(61));
    crate::harness::until("recovery", async || t.server.is_ready()).await;
    t.accepts([("a good token", t.token().sign())]).await;
}

/// Kong's jwt plugin, #9946.
#[tokio::test]
async fn row_41_tokens_in_two_places_are_refused() {
    let t = Harness::start(ORDERS).await;
    let (alice, bob) = (t.token().sign(), t.token().claim("sub", "bob").sign());
    for name in ["access_token", "access%5Ftoken", "%61ccess_token"] {
        let answer = t.get(&format!("/orders/1?{name}={bob}")).bearer(&alice).send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (400, "token_in_query"));
    }
    t.backend.saw_nothing();
    for name in ["jwt", "token", "id_token"] {
        t.backend.forget();
        let answer = t
            .get(&format!("/orders/1?{name}={bob}"))
            .bearer(&alice)
            .header("cookie", &format!("{name}={bob}"));
        assert_eq!(status(answer).await, 200, "no other place is looked at");
        assert_eq!(t.backend.saw_one().header("x-auth-subject"), Some("alice"));
    }
}
