//! Signing keys, made once per process.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A private key, its JWK and the algorithm it signs with.
#[derive(Clone)]
pub struct Key(Arc<Inner>);

struct Inner {
    kid: String,
    alg: Algorithm,
    private: EncodingKey,
    public: Value,
    public_der: Vec<u8>,
}

pub static RSA: LazyLock<Key> = LazyLock::new(|| Key::rsa("rsa-1", Algorithm::RS256));

impl Key {
    pub fn es256(kid: &str) -> Self {
        Self::ec(kid, Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    pub fn es384(kid: &str) -> Self {
        Self::ec(kid, Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    }

    fn ec(kid: &str, alg: Algorithm, algorithm: &'static EcdsaSigningAlgorithm, crv: &str) -> Self {
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref()).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let public = json!({ "kty": "EC", "crv": crv, "x": encode(x), "y": encode(y) });
        Self::new(kid, alg, EncodingKey::from_ec_der(der.as_ref()), public, point.to_vec())
    }

    pub fn ed25519(kid: &str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
        let x = pair.public_key().as_ref().to_vec();
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&x) });
        Self::new(kid, Algorithm::EdDSA, EncodingKey::from_ed_der(der.as_ref()), public, x)
    }

    pub fn rsa(kid: &str, alg: Algorithm) -> Self {
        let pair = RsaPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public = pair.public_key();
        let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
        let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
        let jwk = json!({ "kty": "RSA", "n": encode(&modulus), "e": encode(&exponent) });
        // The PKCS#1 key that jsonwebtoken wants lies behind the 26 bytes of PKCS#8's wrapping.
        let private = EncodingKey::from_rsa_der(&der.as_ref()[26..]);
        Self::new(kid, alg, private, jwk, public.as_ref().to_vec())
    }

    fn new(
        kid: &str,
        alg: Algorithm,
        private: EncodingKey,
        public: Value,
        public_der: Vec<u8>,
    ) -> Self {
        Self(Arc::new(Inner { kid: kid.into(), alg, private, public, public_der }))
    }

    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    pub fn alg(&self) -> Algorithm {
        self.0.alg
    }

    /// The public key as bytes, for attacks that use it as something else.
    pub fn public_bytes(&self) -> &[u8] {
        &self.0.public_der
    }

    /// The JWK with `kid`, `use` and `alg`.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["kid"] = self.kid().into();
        jwk["use"] = "sig".into();
        jwk["alg"] = format!("{:?}", self.alg()).into();
        jwk
    }

    /// The key's own members alone.
    pub fn bare_jwk(&self) -> Value {
        self.0.public.clone()
    }

    /// The base64url signature of a signing input.
    pub fn sign(&self, input: &str) -> String {
        self.sign_as(input, self.alg())
    }

    pub fn sign_as(&self, input: &str, alg: Algorithm) -> String {
        jsonwebtoken::crypto::sign(input.as_bytes(), &self.0.private, alg).unwrap()
    }
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}
