//! Who signed a token, with which key and by which algorithm.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::harness::keys::{Key, RSA, decode, encode};
use crate::harness::{Harness, Issuer, ORDERS, Token};

const ALL: &str = "algorithms: [RS256, PS256, ES256, ES384, EdDSA]";

/// The token with another signature.
fn resigned(token: &Token, signature: &[u8]) -> String {
    format!("{}.{}", token.input(), encode(signature))
}

/// An HMAC over the token, keyed with what everybody knows.
fn hmac(token: Token, alg: Algorithm, secret: &[u8]) -> String {
    let input = token.header("alg", format!("{alg:?}")).input();
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &key, alg).unwrap();
    format!("{input}.{signature}")
}

/// JT-01: exact names from the list, whatever signed the token.
#[tokio::test]
async fn algorithms_come_from_a_list() {
    let strong = Key::es384("strong");
    let t = Harness::with_keys(&[strong.jwk()], "").await;
    let named = |alg: &'static str| (alg, t.token().header("alg", alg).sign(), "algorithm_refused");
    t.refuses(["es256", "ES256 ", "ES256K", "RS512", "ES512", "dir", "\u{395}S256", ""].map(named))
        .await;
    t.refuses([
        (
            "a published key, not a listed algorithm",
            t.token().signed_by(&strong).header("kid", "strong").header("alg", "ES384").sign(),
            "algorithm_refused",
        ),
        ("alg is a number", t.token().header("alg", 256).sign(), "malformed_token"),
        ("alg is a list", t.token().header("alg", json!(["ES256"])).sign(), "malformed_token"),
        ("no alg", t.token().without_header("alg").sign(), "malformed_token"),
    ])
    .await;
    t.accepts([("ES256", t.token().sign())]).await;
}

/// JT-02.
#[tokio::test]
async fn an_unsigned_token_is_refused_in_every_spelling() {
    let t = Harness::start(ORDERS).await;
    for alg in ["none", "None", "NONE", "noNE", "n\u{0}one"] {
        let token = t.token().header("alg", alg);
        t.refuses([
            ("no signature", resigned(&token, b""), "algorithm_refused"),
            ("junk", resigned(&token, b"junk"), "algorithm_refused"),
            ("a good signature", token.sign(), "algorithm_refused"),
            ("no kid", resigned(&token.clone().without_header("kid"), b""), "algorithm_refused"),
            ("no third part", token.input(), "malformed_token"),
        ])
        .await;
    }
}

/// JT-03: nobody signs with what is published.
#[tokio::test]
async fn an_hmac_with_a_public_key_is_refused() {
    let oct = json!({ "kty": "oct", "kid": "oct", "k": encode(b"published"), "alg": "HS256" });
    let t = Harness::with_keys(&[RSA.jwk(), oct], "").await;
    let modulus = decode(RSA.bare_jwk()["n"].as_str().unwrap());
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        encode(RSA.public_bytes())
    );
    let rsa = || t.token().header("kid", "rsa-1");
    let oct = || t.token().header("kid", "oct");
    t.refuses([
        ("DER", hmac(rsa(), Algorithm::HS256, RSA.public_bytes()), "algorithm_refused"),
        ("PEM", hmac(rsa(), Algorithm::HS256, pem.as_bytes()), "algorithm_refused"),
        ("modulus", hmac(rsa(), Algorithm::HS512, &modulus), "algorithm_refused"),
        (
            "JWK",
            hmac(rsa(), Algorithm::HS384, RSA.jwk().to_string().as_bytes()),
            "algorithm_refused",
        ),
        ("nothing", hmac(rsa(), Algorithm::HS256, b""), "algorithm_refused"),
        (
            "point",
            hmac(t.token(), Algorithm::HS256, t.issuer.key.public_bytes()),
            "algorithm_refused",
        ),
        ("oct", hmac(oct(), Algorithm::HS256, b"published"), "algorithm_refused"),
        ("the oct key by another name", oct().sign(), "unknown_key"),
    ])
    .await;
    t.accepts([(
        "RSA",
        t.token().signed_by(&RSA).header("kid", "rsa-1").header("alg", "RS256").sign(),
    )])
    .await;
}

/// JT-04, JT-05: a key signs with one algorithm, and only one that its type can.
#[tokio::test]
async fn a_key_is_for_one_algorithm() {
    let (p384, ed) = (Key::es384("p384"), Key::ed25519("ed"));
    let mut bare = RSA.bare_jwk();
    bare["kid"] = "bare".into();
    let t = Harness::with_keys(&[RSA.jwk(), bare, p384.jwk(), ed.jwk()], ALL).await;
    let token = |key: &Key, kid: &str, alg: &str, signing: Algorithm| {
        let input = t.token().header("kid", kid).header("alg", alg).input();
        format!("{input}.{}", key.sign_as(&input, signing))
    };
    t.refuses([
        (
            "PS256 by an RS256 key",
            token(&RSA, "rsa-1", "PS256", Algorithm::PS256),
            "algorithm_refused",
        ),
        (
            "ES256 by a P-384 key",
            token(&p384, "p384", "ES256", Algorithm::ES384),
            "algorithm_refused",
        ),
        (
            "RS256 by an EC key",
            token(&p384, "p384", "RS256", Algorithm::ES384),
            "algorithm_refused",
        ),
        (
            "ES256 by an Edwards key",
            token(&ed, "ed", "ES256", Algorithm::EdDSA),
            "algorithm_refused",
        ),
        ("PS256 said, RS256 done", token(&RSA, "bare", "PS256", Algorithm::RS256), "bad_signature"),
        (
            "ES256 by the other key",
            token(&p384, "key-1", "ES256", Algorithm::ES384),
            "bad_signature",
        ),
    ])
    .await;
    t.accepts([
        ("RS256", token(&RSA, "rsa-1", "RS256", Algorithm::RS256)),
        ("RS256 without alg in the JWK", token(&RSA, "bare", "RS256", Algorithm::RS256)),
        ("PS256 without alg in the JWK", token(&RSA, "bare", "PS256", Algorithm::PS256)),
        ("ES384", token(&p384, "p384", "ES384", Algorithm::ES384)),
        ("EdDSA", token(&ed, "ed", "EdDSA", Algorithm::EdDSA)),
        ("Ed25519", token(&ed, "ed", "Ed25519", Algorithm::EdDSA)),
    ])
    .await;
}

/// JT-06, KS-10, KS-11: keys that must not be used are as good as absent, and spoil no other.
#[tokio::test]
async fn unfit_keys_verify_nothing() {
    let odd = |kid: &'static str, change: &[(&str, Value)]| {
        let key = Key::es256(kid);
        let mut jwk = key.jwk();
        for (name, value) in change {
            jwk[*name] = value.clone();
        }
        (key, jwk)
    };
    let odd = [
        odd("enc", &[("use", "enc".into())]),
        odd("ops", &[("key_ops", json!(["encrypt"]))]),
        odd("private", &[("d", "AAAA".into())]),
        odd("curve", &[("crv", "P-521".into())]),
        odd("type", &[("kty", "RSA".into())]),
        odd("point", &[("x", encode(&[1; 32]).into())]),
        odd("half", &[("y", Value::Null)]),
    ];
    let mut weak = RSA.jwk();
    weak["n"] = encode(&[0xff; 128]).into();
    let mut jwks: Vec<_> = odd.iter().map(|(_, jwk)| jwk.clone()).collect();
    jwks.extend([weak, json!({ "kty": "OKP", "crv": "X448", "x": "AA" }), json!(7), json!(null)]);
    let t = Harness::with_keys(&jwks, "").await;
    t.accepts([("the good key", t.token().sign())]).await;
    for (key, _) in &odd {
        let token = t.token().signed_by(key).header("kid", key.kid()).sign();
        t.refuses([("an unfit key", token, "unknown_key")]).await;
    }
    let token = t.token().signed_by(&RSA).header("kid", "rsa-1").header("alg", "RS256").sign();
    t.refuses([("1024 bits", token, "unknown_key")]).await;
    assert_eq!(t.metric("scopegate_issuer_keys", &[]).await, 1.0);
}

/// JT-07, JT-14: one encoding of one signature.
#[tokio::test]
async fn a_signature_has_one_form() {
    let t = Harness::start(ORDERS).await;
    let token = t.token();
    let text = token.sign();
    let signature = decode(text.rsplit('.').next().unwrap());
    let longer = [signature.as_slice(), &[0]].concat();
    let (head, last) = text.split_at(text.len() - 1);
    let other_bits = char::from(last.as_bytes()[0] + 1);
    t.refuses([
        ("DER", resigned(&token, &der(&signature)), "bad_signature"),
        ("too short", resigned(&token, &signature[..63]), "bad_signature"),
        ("too long", resigned(&token, &longer), "bad_signature"),
        ("r = s = 0", resigned(&token, &[0; 64]), "bad_signature"),
        ("r = s = n", resigned(&token, &[0xff; 64]), "bad_signature"),
        ("none", resigned(&token, b""), "bad_signature"),
        ("of another token", resigned(&t.token().scope("admin"), &signature), "bad_signature"),
        ("unused bits set", format!("{head}{other_bits}"), "malformed_token"),
        ("padded", format!("{text}=="), "malformed_token"),
        ("padded wrongly", format!("{text}="), "malformed_token"),
    ])
    .await;
    t.accepts([("as it was made", text)]).await;
}

/// The ASN.1 form of an ECDSA signature.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let sign = if bytes[zeros] > 127 { &[0][..] } else { &[] };
        let value = [sign, &bytes[zeros..]].concat();
        [&[2, u8::try_from(value.len()).unwrap()], value.as_slice()].concat()
    };
    let (r, s) = signature.split_at(32);
    let body = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}

/// JT-16: the key that must verify is the one of the issuer that the token names.
#[tokio::test]
async fn one_issuers_key_verifies_nothing_for_another() {
    let other = Issuer::start().await;
    let yaml = format!(
        "issuers:
  main: {{ url: '{{issuer}}', audience: https://api.example.com }}
  other: {{ url: '{}', audience: https://api.example.com }}
{ORDERS}",
        other.url()
    );
    let t = Harness::start(&yaml).await;
    assert_eq!(t.issuer.key.kid(), other.key.kid());
    let ours_by_them = t.token().signed_by(&other.key).sign();
    let theirs_by_us = other.token().signed_by(&t.issuer.key).sign();
    let both = other.token().claim("iss", json!([t.issuer.url(), other.url()]));
    t.refuses([
        ("the other's key", ours_by_them, "bad_signature"),
        ("ours for the other", theirs_by_us, "bad_signature"),
        ("both", both.sign(), "malformed_token"),
    ])
    .await;
    t.accepts([
        ("ours", t.token().sign()),
        ("the other's", other.token().scope("orders:read").sign()),
    ])
    .await;
}

/// JT-17.
#[tokio::test]
async fn without_a_kid_exactly_one_key_must_fit() {
    let second = Key::es256("second");
    let mut twin = RSA.jwk();
    twin["kid"] = "key-1".into();
    let t = Harness::with_keys(&[second.jwk(), twin], "").await;
    let rsa = t.token().signed_by(&RSA).header("alg", "RS256");
    t.refuses([("two EC keys", t.token().without_header("kid").sign(), "unknown_key")]).await;
    t.accepts([
        ("one RSA key", rsa.clone().without_header("kid").sign()),
        ("the RSA key of this name", rsa.header("kid", "key-1").sign()),
        ("the EC key of this name", t.token().sign()),
    ])
    .await;
}
