//! Assertions with which a client authenticates by its private key (RFC 7523 §2.2, §3).

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::clock::Now;
use crate::config::{Located, Problem};

/// Makes assertions of one client for one issuer.
pub(super) struct Assertion {
    key: Key,
    /// The header, encoded.
    header: String,
    client_id: String,
    audience: String,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// The key is not shown.
impl std::fmt::Debug for Assertion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Assertion")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl Assertion {
    /// Reads the key. The audience is the issuer's identifier and nothing else: an assertion that
    /// was made for one server must be of no use at another.
    ///
    /// # Errors
    /// E043 if the file cannot be read or its key not used.
    pub(super) fn read(
        path: &Located<std::path::PathBuf>,
        kid: Option<&str>,
        client_id: &str,
        audience: &str,
    ) -> Result<Self, Box<Problem>> {
        let name = path.value.display();
        let problem = |label: String| {
            let message = format!("the client key {name} cannot be used");
            let help = "a PEM file with a private key: RSA, P-256, P-384 or Ed25519";
            Box::new(Problem::new("E043", path.at, message).label(label).help(help))
        };
        let text = std::fs::read(&path.value).map_err(|error| problem(error.kind().to_string()))?;
        let (alg, key) = Key::read(&text).ok_or_else(|| problem("no such key in it".to_owned()))?;
        let mut header = json!({ "alg": alg, "typ": "JWT" });
        if let Some(kid) = kid {
            header["kid"] = Value::from(kid);
        }
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        Ok(Self { key, header, client_id: client_id.to_owned(), audience: audience.to_owned() })
    }

    /// An assertion for one use within a minute; `None` if it cannot be signed.
    pub(super) fn make(&self, now: Now) -> Option<String> {
        let mut jti = [0; 16];
        rand::fill(&mut jti).ok()?;
        let seconds = now.unix.as_secs();
        let claims = json!({
            "iss": self.client_id, "sub": self.client_id, "aud": self.audience,
            "jti": URL_SAFE_NO_PAD.encode(jti), "iat": seconds, "exp": seconds + LIFETIME,
        });
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        let signed = format!("{}.{claims}", self.header);
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes())?);
        Some(format!("{signed}.{signature}"))
    }
}

impl Key {
    /// The first private key of a PEM file, and the algorithm that it is used with.
    fn read(pem: &[u8]) -> Option<(&'static str, Self)> {
        let der = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let bytes = der.secret_der();
        let rsa = match &der {
            PrivateKeyDer::Pkcs8(_) => RsaKeyPair::from_pkcs8(bytes).ok(),
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes).ok(),
            PrivateKeyDer::Sec1(_) | _ => None,
        };
        if let Some(pair) = rsa {
            return Some(("RS256", Self::Rsa(pair)));
        }
        let ed25519 = || Ed25519KeyPair::from_pkcs8(bytes).ok().map(Self::Ed25519);
        ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
            .map(|key| ("ES256", key))
            .or_else(|| ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, &der).map(|key| ("ES384", key)))
            .or_else(|| ed25519().map(|key| ("EdDSA", key)))
    }

    fn sign(&self, input: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(pair) => Some(pair.sign(&random, input).ok()?.as_ref().to_vec()),
            Self::Ed25519(pair) => Some(pair.sign(input).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

fn ecdsa(curve: &'static EcdsaSigningAlgorithm, der: &PrivateKeyDer<'_>) -> Option<Key> {
    let bytes = der.secret_der();
    let pair = match der {
        PrivateKeyDer::Pkcs8(_) => EcdsaKeyPair::from_pkcs8(curve, bytes).ok(),
        PrivateKeyDer::Sec1(_) => EcdsaKeyPair::from_private_key_der(curve, bytes).ok(),
        PrivateKeyDer::Pkcs1(_) | _ => None,
    };
    pair.map(Key::Ecdsa)
}

/// In seconds.
const LIFETIME: u64 = 60;

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn pem(label: &str, der: &[u8]) -> Vec<u8> {
        let body = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
    }

    #[test]
    fn keys_of_all_kinds_are_read_and_sign() {
        let random = SystemRandom::new();
        let ec = |curve| EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let rsa: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        for (der, alg, length) in [
            (ec(&ECDSA_P256_SHA256_FIXED_SIGNING).as_ref(), "ES256", 64),
            (ec(&ECDSA_P384_SHA384_FIXED_SIGNING).as_ref(), "ES384", 96),
            (ed.as_ref(), "EdDSA", 64),
            (rsa.as_ref(), "RS256", 256),
        ] {
            let (found, key) = Key::read(&pem("PRIVATE KEY", der)).unwrap();
            assert_eq!(found, alg);
            assert_eq!(key.sign(b"x").unwrap().len(), length);
        }
        assert!(Key::read(b"").is_none());
        assert!(Key::read(&pem("PRIVATE KEY", b"junk")).is_none());
        assert!(Key::read(&pem("CERTIFICATE", ed.as_ref())).is_none());
    }
}
