//! Tokens and signatures: JT-01 to JT-18.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::server::Server;
use super::signer::{Signer, encode, rsa_key, with_signature};
use super::{World, es256, settings};

fn jwks(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

fn with_alg(mut jwk: Value, alg: &str) -> Value {
    jwk["alg"] = json!(alg);
    jwk
}

/// JT-01, JT-05: one good token of each algorithm, by both names of EdDSA.
#[tokio::test]
async fn tokens_of_the_allowed_algorithms_are_good() {
    let signers =
        [Signer::rs256(), Signer::ps256(), Signer::es256(), Signer::es384(), Signer::ed25519()];
    for signer in signers {
        let world = World::with_keys(&jwks(&[signer.jwk("k1")]));
        assert_eq!(world.outcome(&signer.token(&world.claims())).await, "ok", "{}", signer.alg());
        assert_eq!(world.tokens_counted("main", "valid"), 1);
    }
    let signer = Signer::ed25519();
    for alg in ["EdDSA", "Ed25519"] {
        let world = World::with_keys(&jwks(&[with_alg(signer.jwk("k1"), alg)]));
        for name in ["EdDSA", "Ed25519"] {
            let header = json!({"alg": name, "kid": "k1"});
            assert_eq!(world.outcome(&signer.token_with(&header, &world.claims())).await, "ok");
        }
    }
}

/// JT-01
#[tokio::test]
async fn an_algorithm_that_is_not_listed_is_refused() {
    let keys = jwks(&[Signer::rs256().jwk("k1")]);
    let world = World::with(&keys, |config| config.algorithms = vec![Algorithm::RS256]);
    let ps256 = Signer::ps256().token(&world.claims());
    assert_eq!(world.outcome(&ps256).await, "algorithm_refused");
    for alg in ["rs256", "RS256 ", "Rs256", "", "ES512", "ES256K", "RS1"] {
        let header = json!({"alg": alg, "kid": "k1"});
        let token = Signer::rs256().token_with(&header, &world.claims());
        assert_eq!(world.outcome(&token).await, "algorithm_refused", "{alg:?}");
    }
    assert_eq!(world.tokens_counted("main", "algorithm_refused"), 8);
}

/// JT-02
#[tokio::test]
async fn none_is_refused_in_every_spelling() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    for alg in ["none", "None", "NONE", "noNE", "nOnE", ""] {
        let token = signer.token_with(&json!({"alg": alg, "kid": "k1"}), &world.claims());
        for signature in [b"".as_slice(), b"junk"] {
            let token = with_signature(&token, signature);
            assert_eq!(world.outcome(&token).await, "algorithm_refused", "{alg:?}");
        }
        assert_eq!(world.outcome(&token).await, "algorithm_refused", "{alg:?}");
    }
}

/// JT-03: HMAC with what is public, and with an `oct` key, even where HS256 is listed by mistake.
#[tokio::test]
async fn an_hmac_is_never_accepted() {
    let signer = Signer::rs256();
    let jwk = signer.jwk("k1");
    let secret = b"0123456789abcdef0123456789abcdef";
    let oct = json!({"kty": "oct", "kid": "k1", "alg": "HS256", "k": encode(secret)});
    let world = World::with(&jwks(&[jwk.clone(), oct]), |config| {
        config.algorithms.push(Algorithm::HS256);
    });
    let der = rsa_key().public_key().as_ref();
    let modulus = jwk["n"].as_str().unwrap().as_bytes();
    let header = json!({"alg": "HS256", "kid": "k1"});
    let token = signer.token_with(&header, &world.claims());
    let (signed, _) = token.rsplit_once('.').unwrap();
    for secret in [der, modulus, secret, b""] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let forged = with_signature(&token, hmac::sign(&key, signed.as_bytes()).as_ref());
        assert_eq!(world.outcome(&forged).await, "algorithm_refused");
    }
}

/// JT-04
#[tokio::test]
async fn a_keys_own_algorithm_is_the_only_one_it_is_used_with() {
    let jwk = Signer::rs256().jwk("k1");
    let bound = World::with_keys(&jwks(&[with_alg(jwk.clone(), "RS256")]));
    assert_eq!(bound.outcome(&Signer::rs256().token(&bound.claims())).await, "ok");
    assert_eq!(bound.outcome(&Signer::ps256().token(&bound.claims())).await, "algorithm_refused");
    let free = World::with_keys(&jwks(&[jwk]));
    assert_eq!(free.outcome(&Signer::rs256().token(&free.claims())).await, "ok");
    assert_eq!(free.outcome(&Signer::ps256().token(&free.claims())).await, "ok");
}

/// JT-05
#[tokio::test]
async fn key_type_and_curve_fit_the_algorithm() {
    let p384 = Signer::es384();
    let world = World::with_keys(&jwks(&[p384.jwk("k1")]));
    for alg in ["ES256", "RS256", "PS256", "EdDSA"] {
        let token = p384.token_with(&json!({"alg": alg, "kid": "k1"}), &world.claims());
        assert_eq!(world.outcome(&token).await, "algorithm_refused", "{alg}");
    }
}

/// JT-07
#[tokio::test]
async fn an_ecdsa_signature_is_r_and_s_of_exact_length() {
    let der = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let pkcs8 = der.to_pkcs8v1().unwrap();
    let asn1 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
    let signer = Signer::P256(der);
    let world = World::with_keys(&jwks(&[signer.jwk("k1")]));
    let token = signer.token(&world.claims());
    let (signed, _) = token.rsplit_once('.').unwrap();
    let good = signer.sign(signed.as_bytes());
    let as_der = Signer::P256(asn1).sign(signed.as_bytes());
    let long = [good.as_slice(), &[0]].concat();
    let padded = [&[0], good.as_slice()].concat();
    let (r, s) = good.split_at(32);
    let no_r = [&[0; 32], s].concat();
    let no_s = [r, &[0; 32]].concat();
    for bad in [&as_der, &good[..63], &long, &padded, &[0; 64], &no_r, &no_s, &[], &good[..32]] {
        assert_eq!(world.outcome(&with_signature(&token, bad)).await, "bad_signature");
    }
    assert_eq!(world.outcome(&with_signature(&token, &good)).await, "ok");
}

/// JT-08, JT-09: correctly signed, and refused all the same.
#[tokio::test]
async fn crit_and_b64_are_refused() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    for extra in [
        r#""crit":["exp"],"exp":1"#,
        r#""crit":[]"#,
        r#""crit":"b64""#,
        r#""crit":["b64","b64"],"b64":true"#,
        r#""crit":["alg"]"#,
        r#""crit":["http://example/UNDEFINED"]"#,
        r#""crit":["b64"],"b64":false"#,
        r#""b64":false"#,
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"k1",{extra}}}"#);
        let token = signer.raw(&header, world.claims().to_string().as_bytes());
        assert_eq!(world.outcome(&token).await, "malformed_token", "{extra}");
    }
}

/// JT-10: an attacker's own key, offered in the token and as a URL.
#[tokio::test]
async fn keys_never_come_from_the_token() {
    let (_, keys) = es256();
    let world = World::with_keys(&keys);
    let attacker = Signer::es256();
    let listener = Server::issuer(&json!({"keys": [attacker.jwk("k1")]})).await;
    let url = format!("{}/keys", listener.url());
    for kid in ["k1", "other"] {
        let header = json!({
            "alg": "ES256", "kid": kid, "jwk": attacker.jwk(kid), "jku": url, "x5u": url,
            "x5c": ["MIIB"],
        });
        let outcome = world.outcome(&attacker.token_with(&header, &world.claims())).await;
        assert_eq!(outcome, if kid == "k1" { "bad_signature" } else { "unknown_key" });
    }
    assert!(listener.seen().is_empty());
}

/// JT-11
#[tokio::test]
async fn a_kid_is_text_that_is_compared_and_nothing_else() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    for kid in
        [json!("../../etc/passwd"), json!("' OR 1=1"), json!("K1"), json!("k1\u{0}"), json!("")]
    {
        let token = signer.token_with(&json!({"alg": "ES256", "kid": kid}), &world.claims());
        assert_eq!(world.outcome(&token).await, "unknown_key");
    }
    for kid in [json!("k".repeat(10 << 10)), json!(1), json!(["k1"]), json!({"k1": 1})] {
        let token = signer.token_with(&json!({"alg": "ES256", "kid": kid}), &world.claims());
        assert_eq!(world.outcome(&token).await, "malformed_token");
    }
}

/// JT-12: duplicates are refused although the signature is good.
#[tokio::test]
async fn duplicate_members_are_refused() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    let claims = world.claims().to_string();
    let twice = claims.replacen('{', r#"{"sub":"root","#, 1);
    let nested = claims.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1);
    let header = r#"{"alg":"ES256","kid":"k1"}"#;
    assert_eq!(world.outcome(&signer.raw(header, claims.as_bytes())).await, "ok");
    assert_eq!(world.outcome(&signer.raw(header, twice.as_bytes())).await, "malformed_token");
    assert_eq!(world.outcome(&signer.raw(header, nested.as_bytes())).await, "malformed_token");
    let header = r#"{"alg":"none","alg":"ES256","kid":"k1"}"#;
    assert_eq!(world.outcome(&signer.raw(header, claims.as_bytes())).await, "malformed_token");
}

/// JT-14: the same bytes in another spelling.
#[tokio::test]
async fn a_token_has_one_spelling() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    let token = signer.token(&world.claims());
    assert_eq!(world.outcome(&token).await, "ok");
    // 64 bytes are 86 characters, the last of which has four unused bits.
    let last = token.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = alphabet.find(last).unwrap();
    let other = &alphabet[index + 1..index + 2];
    let respelled = format!("{}{other}", &token[..token.len() - 1]);
    assert_eq!(world.outcome(&respelled).await, "malformed_token");
    assert_eq!(world.outcome(&format!("{token}=")).await, "malformed_token");
    assert_eq!(world.outcome(&format!("{token}==")).await, "malformed_token");
}

/// JT-15
#[tokio::test]
async fn the_payload_is_an_object_of_bounded_depth() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    let iss = &world.claims()["iss"];
    let deep = format!(r#"{{"iss":{iss},"a":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for payload in [b"[]", b"\"x\"".as_slice(), b"null", b"\xff", &utf16, deep.as_bytes()] {
        let token = signer.raw(r#"{"alg":"ES256","kid":"k1"}"#, payload);
        assert_eq!(world.outcome(&token).await, "malformed_token");
    }
}

/// JT-16: with equal key ids.
#[tokio::test]
async fn a_key_of_one_issuer_verifies_no_token_of_another() {
    let (ours, our_keys) = es256();
    let (theirs, their_keys) = es256();
    let world = World::empty();
    let first = world.file_issuer(&our_keys, settings(super::URL));
    let second = world.file_issuer(&their_keys, settings("https://b.example"));
    let world = world.with_issuers(vec![first, second]);
    let claims_of_b = world.claims_with(json!({"iss": "https://b.example"}));
    assert_eq!(world.outcome(&ours.token(&world.claims())).await, "ok");
    assert_eq!(world.outcome(&theirs.token(&claims_of_b)).await, "ok");
    assert_eq!(world.outcome(&theirs.token(&world.claims())).await, "bad_signature");
    assert_eq!(world.outcome(&ours.token(&claims_of_b)).await, "bad_signature");
}

/// JT-17
#[tokio::test]
async fn without_a_kid_exactly_one_key_must_fit() {
    let rsa = Signer::rs256();
    let header = json!({"alg": "RS256"});
    let one = World::with_keys(&jwks(&[rsa.jwk("k1"), Signer::es256().jwk("k2")]));
    assert_eq!(one.outcome(&rsa.token_with(&header, &one.claims())).await, "ok");
    let two = World::with_keys(&jwks(&[rsa.jwk("k1"), rsa.jwk("k2")]));
    assert_eq!(two.outcome(&rsa.token_with(&header, &two.claims())).await, "unknown_key");
    let ec = Signer::es256();
    let both = World::with_keys(&jwks(&[rsa.jwk("k1"), ec.jwk("k1")]));
    assert_eq!(both.outcome(&rsa.token(&both.claims())).await, "ok");
    assert_eq!(both.outcome(&ec.token(&both.claims())).await, "ok");
}

/// JT-18: a forged token leaves nothing behind but a count.
#[tokio::test]
async fn a_forged_token_yields_no_identity() {
    let (_, keys) = es256();
    let world = World::with_keys(&keys);
    let forger = Signer::es256();
    for _ in 0..10 {
        let token = forger.token(&world.claims_with(json!({"client_id": "victim"})));
        assert_eq!(world.outcome(&token).await, "bad_signature");
    }
    assert_eq!(world.verdicts.len(), 0);
    assert_eq!(world.tokens_counted("main", "bad_signature"), 10);
}

/// BR-19: an 8 KiB token is fine, and one over the limit is refused before it is looked at.
#[tokio::test]
async fn large_tokens_are_accepted_up_to_the_limit() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    let token = |size| signer.token(&world.claims_with(json!({"pad": "x".repeat(size)})));
    assert_eq!(world.outcome(&token(6 << 10)).await, "ok");
    assert_eq!(world.outcome(&token(30 << 10)).await, "request_too_large");
    assert_eq!(world.metrics.token_cache_requests.with_label_values(&["miss"]).get(), 1);
}

/// What nobody can be blamed for is counted under `-`.
#[tokio::test]
async fn tokens_of_nobody_are_counted_apart() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    assert_eq!(world.outcome("opaque").await, "malformed_token");
    let stranger = signer.token(&world.claims_with(json!({"iss": "https://evil.example"})));
    assert_eq!(world.outcome(&stranger).await, "unknown_issuer");
    assert_eq!(world.tokens_counted("-", "malformed_token"), 1);
    assert_eq!(world.tokens_counted("-", "unknown_issuer"), 1);
}
