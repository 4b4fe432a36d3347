//! Single keys of a set: JT-06, KS-10, KS-11, and key files: KS-14.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::signer::{Signer, encode};
use super::{World, at, default_headers, settings};
use crate::authenticate::Issuer;
use crate::authenticate::keys::read_set;
use crate::config::{KeySource, Located, Place};

const ALL: [Algorithm; 4] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

fn usable(keys: &[Value]) -> usize {
    read_set(json!({ "keys": keys }).to_string().as_bytes(), &ALL).unwrap().usable.len()
}

fn changed(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

/// JT-06
#[tokio::test]
async fn weak_rsa_keys_are_skipped() {
    let rsa = Signer::rs256().jwk("k1");
    for (bytes, first, count) in [
        (128, 0x80, 0),
        (255, 0xff, 0),
        (256, 0x7f, 0),
        (256, 0x80, 1),
        (1024, 0x80, 1),
        (1025, 1, 0),
    ] {
        let mut modulus = vec![0xff; bytes];
        modulus[0] = first;
        let jwk = changed(rsa.clone(), "n", json!(encode(&modulus)));
        assert_eq!(usable(&[jwk]), count, "{bytes} {first}");
    }
    let weak = changed(rsa, "n", json!(encode(&[0xff; 128])));
    let good = Signer::es256();
    let world = World::with_keys(&json!({"keys": [weak, good.jwk("k2")]}));
    let token = Signer::rs256().token(&world.claims());
    assert_eq!(world.outcome(&token).await, "unknown_key");
}

#[test]
fn rsa_exponents_that_make_forgery_easy_are_refused() {
    let rsa = Signer::rs256().jwk("k1");
    for exponent in [&[1_u8] as &[u8], &[2], &[0], &[], &[1, 0, 0, 0, 1], &[0, 1]] {
        let jwk = changed(rsa.clone(), "e", json!(encode(exponent)));
        assert_eq!(usable(&[jwk]), 0, "{exponent:?}");
    }
    assert_eq!(usable(&[changed(rsa.clone(), "e", json!("Aw"))]), 1);
    // Some servers write a sign byte before the modulus.
    let modulus = URL_SAFE_NO_PAD.decode(rsa["n"].as_str().unwrap()).unwrap();
    let signed = encode(&[&[0], modulus.as_slice()].concat());
    assert_eq!(usable(&[changed(rsa, "n", json!(signed))]), 1);
}

/// KS-10
#[test]
fn a_key_that_cannot_be_read_is_skipped_alone() {
    let good = Signer::es256().jwk("k1");
    for bad in [
        json!({"kty": "OKP", "crv": "X448", "x": "AA"}),
        json!({"kty": "OKP", "crv": "Ed448", "x": "AA"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!({"kty": "RSA"}),
        json!({"kty": "RSA", "n": "!!", "e": "AQAB"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        json!({"kty": 1}),
        json!({}),
        json!(null),
        json!("x"),
        changed(good.clone(), "kid", json!(1)),
        changed(good.clone(), "x", json!("AA")),
        changed(good.clone(), "x", good["y"].clone()),
        changed(good.clone(), "alg", json!("RS256")),
        changed(good.clone(), "alg", json!("HS256")),
        changed(good.clone(), "alg", json!("ES256K")),
        changed(good.clone(), "alg", json!(null)),
    ] {
        let keys = json!({"keys": [bad, good]}).to_string();
        let keys = read_set(keys.as_bytes(), &ALL).unwrap();
        assert_eq!((keys.usable.len(), keys.skipped.len()), (1, 1), "{bad}");
    }
}

/// KS-11
#[test]
fn keys_for_other_purposes_are_skipped() {
    let good = Signer::es256().jwk("k1");
    assert_eq!(usable(&[changed(good.clone(), "key_ops", json!(["sign", "verify"]))]), 1);
    for (name, value) in [
        ("use", json!("enc")),
        ("use", json!("SIG")),
        ("use", json!(["sig"])),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!([])),
        ("key_ops", json!("verify")),
        ("d", json!("AA")),
    ] {
        assert_eq!(usable(&[changed(good.clone(), name, value.clone())]), 0, "{name}: {value}");
    }
}

/// KS-04: a bounded number of keys, each once.
#[test]
fn sets_are_bounded() {
    let good = Signer::es256().jwk("k1");
    assert_eq!(usable(&[good.clone(), good.clone()]), 1);
    let many = json!({"keys": vec![good; 101]}).to_string();
    assert!(read_set(many.as_bytes(), &ALL).is_none());
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>"] {
        assert!(read_set(text.as_bytes(), &ALL).is_none(), "{text}");
    }
}

/// KS-14
#[tokio::test]
async fn a_key_file_works_without_a_network_and_is_ready_at_once() {
    let signer = Signer::ed25519();
    let world = World::with_keys(&json!({"keys": [signer.jwk("k1")]}));
    let issuer = &world.authenticator.issuers()[0];
    issuer.start();
    issuer.first_attempt().await;
    let status = issuer.status();
    assert!(status.ready && status.problem.is_none());
    assert_eq!((status.keys, status.algorithms), (1, vec!["EdDSA".to_owned()]));
    assert_eq!(world.outcome(&signer.token(&world.claims())).await, "ok");
    assert_eq!(world.outcome(&signer.token_of("other", &world.claims())).await, "unknown_key");
    assert_eq!(world.metrics.issuer_keys.with_label_values(&["main"]).get(), 1);
    assert_eq!(world.metrics.issuer_up.with_label_values(&["main"]).get(), 1);
}

#[test]
fn a_key_file_that_cannot_be_used_is_a_problem_with_a_place() {
    let world = World::empty();
    let directory = tempfile::tempdir().unwrap();
    let place = Place { file: 0, line: 7, column: 9, start: 40, end: 50 };
    let weak = changed(Signer::rs256().jwk("k"), "n", json!(encode(&[0xff; 128]))).to_string();
    for (text, label) in [
        (None, "entity not found"),
        (Some("{".to_owned()), "not a JWK Set"),
        (Some(r#"{"keys":[]}"#.to_owned()), "the set is empty"),
        (Some(format!(r#"{{"keys":[{weak}]}}"#)), "key 0 is RSA outside of 2048 to 8192 bits"),
    ] {
        let path = directory.path().join("keys.json");
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let mut config = settings(super::URL);
        config.keys = KeySource::File(Located { value: path, at: place });
        let made = Issuer::new(&config, &default_headers(), &world.clock, &world.metrics);
        let problem = made.err().unwrap();
        assert_eq!(
            (problem.code, problem.at, problem.label.as_str()),
            ("E042", Some(place), label)
        );
    }
}

#[test]
fn an_unknown_preset_is_a_problem() {
    let world = World::empty();
    let mut config = settings(super::URL);
    config.preset = at("okta2".to_owned());
    let made = Issuer::new(&config, &default_headers(), &world.clock, &world.metrics);
    assert!(made.err().unwrap().help.unwrap().contains("generic, rfc9068, keycloak"));
}
