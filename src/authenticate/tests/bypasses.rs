//! Rows 24 to 41 of the list of bypasses that other gateways had, where no other test has them.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::json;

use super::server::{Answer, METADATA, Server};
use super::{World, bearer, es256, settings};
use crate::rejection::Reason;

/// Row 24, CVE-2022-29226: any token accepted if present.
#[tokio::test]
async fn junk_is_not_a_token() {
    let (_, keys) = es256();
    let world = World::with_keys(&keys);
    for junk in ["x", "a.b.c", "...", "..", "null", "undefined", "eyJ.eyJ.sig"] {
        assert_eq!(world.reason(junk).await, Reason::MalformedToken, "{junk}");
    }
}

/// Row 25, tyk#4980: a missing scope claim grants nothing.
#[tokio::test]
async fn no_scope_claim_is_no_scope() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    for scope in ["null", "\"\"", "1", "true", "[\"orders:read\"]", "{\"orders:read\":true}"] {
        let claims = world.claims_with(json!({"scope": null})).to_string();
        let claims = claims.replacen('{', &format!(r#"{{"scope":{scope},"#), 1);
        let token = signer.raw(r#"{"alg":"ES256","kid":"k1"}"#, claims.as_bytes());
        let identity = world.identify(&token).await.unwrap();
        assert!(identity.scopes.is_empty() && identity.implied.is_empty(), "{scope}");
    }
}

/// Row 27, CVE-2026-33496: a token primed at one issuer is refused where only another is trusted.
#[tokio::test]
async fn a_primed_cache_opens_no_other_route() {
    let (signer, keys) = es256();
    let world = World::empty();
    let a = world.file_issuer(&keys, settings(super::URL));
    let b = world.file_issuer(&keys, settings("https://b.example"));
    let world = world.with_issuers(vec![a, Arc::clone(&b)]);
    let token = signer.token(&world.claims());
    assert_eq!(world.outcome(&token).await, "ok");
    let only_b = world.authenticator_for(vec![b]);
    let refused = world.identify_by(&only_b, &token).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::UnknownIssuer);
}

/// Row 35, GHSA-5739-39v2-5754, and row 36, CVE-2023-51774: only the compact form of a JWS.
#[tokio::test]
async fn json_serialization_and_jwe_are_refused() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    let token = signer.token(&world.claims());
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let jwe = format!("{header}.{claims}.{signature}.{claims}.{signature}");
    assert_eq!(world.reason(&jwe).await, Reason::MalformedToken);
    let flattened = json!({"protected": header, "payload": claims, "signature": signature});
    assert_eq!(world.reason(&flattened.to_string()).await, Reason::MalformedRequest);
}

/// Row 38, CVE-2025-64527: two Authorization fields while the keys cannot be fetched.
#[tokio::test]
async fn two_fields_and_no_keys_are_refused_in_good_order() {
    let server = Server::start().await;
    server.set(METADATA, Answer::Status(500));
    let world = World::empty();
    let issuer = world.issuer(&settings(&server.url()));
    issuer.start();
    issuer.first_attempt().await;
    let world = world.with_issuers(vec![issuer]);
    let (signer, _) = es256();
    let token = signer.token(&world.claims_with(json!({"iss": server.url()})));
    let mut headers = bearer(&token);
    headers.append(AUTHORIZATION, "Bearer x".parse().unwrap());
    let identify = async |headers: &HeaderMap, query| {
        let now = world.clock.now();
        world.authenticator.identify(headers, query, now).await.unwrap_err().reason()
    };
    assert_eq!(identify(&headers, None).await, Reason::TwoTokens);
    assert_eq!(identify(&bearer(&token), None).await, Reason::AuthUnavailable);
    // Row 41, Kong jwt #9946: different tokens in header and query.
    assert_eq!(identify(&bearer(&token), Some("access_token=x")).await, Reason::TokenInQuery);
    assert_eq!(identify(&HeaderMap::new(), Some("access_token=x")).await, Reason::MissingToken);
}
