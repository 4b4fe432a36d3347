//! What the issuer is asked, and who asks.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::{OPAQUE, ROUTES};
use crate::harness::introspection::Question;
use crate::harness::issuer::Behaviour;
use crate::harness::keys::decode;
use crate::harness::token::unix_now;
use crate::harness::{Backend, Harness, Issuer, until, within};

/// The one question about a good token.
async fn question(settings: &str) -> (Harness, Question) {
    let t = Harness::introspecting(settings).await;
    t.knows(&json!({}));
    assert_eq!(t.with_opaque().await.status(), 200);
    let mut questions = t.issuer.introspection.questions();
    assert_eq!(questions.len(), 1);
    (t, questions.remove(0))
}

fn basic(question: &Question) -> String {
    let field = question.headers["authorization"].to_str().unwrap();
    let pair = STANDARD.decode(field.strip_prefix("Basic ").unwrap()).unwrap();
    String::from_utf8(pair).unwrap()
}

/// IN-01: a form in the body, and the token nowhere else.
#[tokio::test]
async fn the_token_is_posted_in_a_form() {
    let (t, question) = question("").await;
    assert_eq!((&question.method, &*question.target), (&Method::POST, "/introspect"));
    assert_eq!(question.headers["accept"], "application/json");
    assert_eq!(question.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(question.form["token"], OPAQUE);
    assert_eq!(question.form["token_type_hint"], "access_token");
    assert_eq!(question.form.len(), 2);
    assert_eq!(basic(&question), "gw:s3cret");
    assert!(question.headers.get("cookie").is_none());
    let seen = t.backend.saw_one();
    assert_eq!(seen.headers["x-auth-subject"], "alice");
    assert_eq!(seen.headers["x-auth-scopes"], "orders:read");
    assert!(seen.headers.get("authorization").is_none());
    assert_eq!(t.questions("ok").await, 1.0);
}

/// IN-02: id and secret are form-encoded before they are joined; some servers cannot decode.
#[tokio::test]
async fn a_secret_survives_basic() {
    let secret = "client_id: 'g:w', client_secret: 'p@ss:w/o%'";
    for (more, expected) in [
        ("", "g%3Aw:p%40ss%3Aw%2Fo%25"),
        (", client_secret_encoding: form", "g%3Aw:p%40ss%3Aw%2Fo%25"),
        (", client_secret_encoding: raw", "g:w:p@ss:w/o%"),
    ] {
        let yaml = format!(
            "issuers: {{ main: {{ url: '{{issuer}}', audience: https://api.example.com, \
             introspection: '{{issuer}}/introspect', {secret}{more} }} }}\n{ROUTES}"
        );
        let t = Harness::start(&yaml).await;
        t.knows(&json!({}));
        assert_eq!(t.with_opaque().await.status(), 200);
        assert_eq!(basic(&t.issuer.introspection.questions()[0]), expected);
    }
}

/// IN-02
#[tokio::test]
async fn the_secret_can_be_posted() {
    let (_t, question) = question("client_auth: client_secret_post").await;
    assert!(question.headers.get("authorization").is_none());
    assert_eq!(question.form["client_id"], "gw");
    assert_eq!(question.form["client_secret"], "s3cret");
}

/// IN-02, RFC 7523 §3: signed for this issuer, this client, this minute and this question.
#[tokio::test]
async fn a_private_key_can_vouch_for_the_gateway() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = pair.to_pkcs8v1().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let body = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    std::fs::write(file.path(), pem).unwrap();
    let path = file.path().display();
    let settings = format!("client_key: '{path}', client_key_id: k7, negative_cache: 0s");
    let (t, first) = question(&settings).await;
    assert!(first.headers.get("authorization").is_none());
    assert_eq!(first.form["client_id"], "gw");
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(first.form["client_assertion_type"], kind);

    let assertion = &first.form["client_assertion"];
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    public.verify(signed.as_bytes(), &decode(signature)).unwrap();
    let parts: Vec<Value> =
        signed.split('.').map(|part| serde_json::from_slice(&decode(part)).unwrap()).collect();
    assert_eq!(parts[0], json!({ "alg": "ES256", "typ": "JWT", "kid": "k7" }));
    let claims = &parts[1];
    assert_eq!((&claims["iss"], &claims["sub"]), (&"gw".into(), &"gw".into()));
    assert_eq!(claims["aud"], t.issuer.url());
    let (now, exp) = (unix_now(), claims["exp"].as_u64().unwrap());
    assert!((now + 50..=now + 60).contains(&exp));

    assert_eq!(t.get("/orders/1").bearer("another").send().await.status(), 401);
    let second = t.issuer.introspection.questions().remove(1);
    assert_ne!(&second.form["client_assertion"], assertion);
}

/// The metadata names the endpoint (RFC 8414 §2).
#[tokio::test]
async fn the_endpoint_can_be_discovered() {
    for mode in ["opaque", "always", "only"] {
        let issuer = Issuer::start().await;
        let url = issuer.url();
        issuer.set_metadata(json!({
            "issuer": url, "jwks_uri": format!("{url}/jwks"),
            "introspection_endpoint": format!("{url}/introspect"),
        }));
        let t = discovering(issuer, mode).await;
        t.knows(&json!({}));
        assert_eq!(t.with_opaque().await.status(), 200, "{mode}");
        assert_eq!(t.asked(), 1);
        assert_eq!(t.issuer.key_requests(), usize::from(mode != "only"), "{mode}");
    }
}

async fn discovering(issuer: Issuer, mode: &str) -> Harness {
    let yaml = format!(
        "issuers: {{ main: {{ url: '{{issuer}}', audience: https://api.example.com, client_id: gw, \
         client_secret: s, introspection: true, introspect: {mode} }} }}\n{ROUTES}"
    );
    Harness::start_with(&yaml, issuer, Backend::start().await).await
}

/// Metadata without an endpoint: JWTs are verified all the same, opaque tokens are unknown.
#[tokio::test]
async fn an_endpoint_that_is_not_named_is_not_guessed() {
    let t = discovering(Issuer::start().await, "opaque").await;
    t.is_unknown(OPAQUE, "no endpoint").await;
    let good = t.get("/orders/1").bearer(&t.token().sign()).send().await;
    assert_eq!(good.status(), 200);
    assert_eq!(t.asked(), 0);
    let t = discovering(Issuer::start().await, "only").await;
    t.is_unknown(OPAQUE, "no endpoint").await;
    assert_eq!(t.metric("scopegate_issuer_up", &[("issuer", "main")]).await, 0.0);
}

/// An issuer without `url` is known by its endpoint; its tokens are all opaque.
#[tokio::test]
async fn an_issuer_can_be_an_endpoint_and_nothing_else() {
    let yaml = format!(
        "issuers: {{ legacy: {{ introspection: '{{issuer}}/introspect', client_id: gw, \
         client_secret: s, audience: https://api.example.com }} }}\n{ROUTES}"
    );
    let t = Harness::start(&yaml).await;
    t.knows(&json!({ "iss": null }));
    assert_eq!(t.with_opaque().await.status(), 200);
    let endpoint = format!("{}/introspect", t.issuer.url());
    assert_eq!(t.backend.saw_one().headers["x-auth-issuer"], endpoint.as_str());
    assert_eq!(t.issuer.requests(), ["/introspect"]);
    let ready = crate::harness::Call::new(t.admin(), "GET", "/readyz?verbose").send().await;
    assert!(ready.text().contains("issuer legacy ok"), "{}", ready.text());
    // Who calls the issuer by another name speaks of another issuer's token.
    t.issuer.introspection.knows("other", t.answer(&json!({})));
    let other = t.get("/orders/1").bearer("other").send().await;
    assert_eq!(t.line(&other).await["reason"], "unknown_issuer");
    // A JWT says whose it is, and no issuer here is called so.
    let jwt = t.get("/orders/1").bearer(&t.token().sign()).send().await;
    assert_eq!(t.line(&jwt).await["reason"], "unknown_issuer");
    assert_eq!(t.asked(), 2);
}

/// A request that comes before the metadata waits for it.
#[tokio::test]
async fn the_first_request_waits_for_the_metadata() {
    let issuer = Issuer::start().await;
    let url = issuer.url();
    issuer.set_metadata(json!({
        "issuer": url, "jwks_uri": format!("{url}/jwks"),
        "introspection_endpoint": format!("{url}/introspect"),
    }));
    issuer.behave(Behaviour::Held);
    let yaml = format!(
        "issuers: {{ main: {{ url: '{{issuer}}', audience: https://api.example.com, client_id: gw, \
         client_secret: s, introspection: true }} }}\n{ROUTES}"
    );
    let t = Harness::launch(&yaml, issuer, Backend::start().await).await;
    t.knows(&json!({}));
    let call = tokio::spawn(t.get("/orders/1").bearer(OPAQUE).send());
    until("the metadata to be asked for", async || !t.issuer.requests().is_empty()).await;
    t.issuer.release();
    assert_eq!(within(call).await.unwrap().status(), 200);
}
