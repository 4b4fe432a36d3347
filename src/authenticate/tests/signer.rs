//! Keys that sign test tokens, good ones and crafted ones.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A private key.
pub(super) enum Signer {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    /// RSA, padded as PKCS #1 or PSS.
    Rsa(&'static RsaKeyPair, &'static dyn RsaEncoding),
}

impl Signer {
    pub(super) fn es256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(super) fn es384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub(super) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// The same key each time: RSA keys take long to make.
    pub(super) fn rs256() -> Self {
        Self::Rsa(rsa_key(), &RSA_PKCS1_SHA256)
    }

    pub(super) fn ps256() -> Self {
        Self::Rsa(rsa_key(), &RSA_PSS_SHA256)
    }

    pub(super) fn alg(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Ed25519(_) => "EdDSA",
            Self::Rsa(_, encoding) => {
                if format!("{encoding:?}").contains("PSS") {
                    "PS256"
                } else {
                    "RS256"
                }
            }
        }
    }

    /// The public key, without `alg`.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::P256(key) => elliptic(kid, "P-256", key.public_key().as_ref()),
            Self::P384(key) => elliptic(kid, "P-384", key.public_key().as_ref()),
            Self::Ed25519(key) => {
                let x = encode(key.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": x})
            }
            Self::Rsa(key, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                let (n, e) = (encode(&public.n), encode(&public.e));
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": n, "e": e})
            }
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::P256(key) | Self::P384(key) => {
                key.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// A token with key id `k1`.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_of("k1", claims)
    }

    /// A token with this key id.
    pub(super) fn token_of(&self, kid: &str, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.alg(), "kid": kid, "typ": "JWT"}), claims)
    }

    /// A token with this header.
    pub(super) fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.raw(&header.to_string(), claims.to_string().as_bytes())
    }

    /// A token of these texts, whatever they are.
    pub(super) fn raw(&self, header: &str, claims: &[u8]) -> String {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }
}

/// The token with another signature.
pub(super) fn with_signature(token: &str, signature: &[u8]) -> String {
    let (signed, _) = token.rsplit_once('.').unwrap();
    format!("{signed}.{}", encode(signature))
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn elliptic(kid: &str, crv: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at(point.len() / 2);
    json!({"kty": "EC", "crv": crv, "kid": kid, "use": "sig", "x": encode(x), "y": encode(y)})
}

pub(super) fn rsa_key() -> &'static RsaKeyPair {
    static KEY: OnceLock<RsaKeyPair> = OnceLock::new();
    KEY.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}
