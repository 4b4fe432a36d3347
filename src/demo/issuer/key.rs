//! The issuer's signing key.

use std::io;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;

/// An ES256 key that is made at start and never leaves the process.
pub(super) struct Key {
    private: EncodingKey,
    header: Header,
    public: JwkSet,
}

impl Key {
    /// Makes one, named by its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(super) fn generate() -> io::Result<Self> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| io::Error::other("the system gave no random bytes for a key"))?;
        let private = EncodingKey::from_ec_der(pair.as_ref());
        let mut jwk =
            Jwk::from_encoding_key(&private, Algorithm::ES256).map_err(io::Error::other)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(io::Error::other)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(kid);
        Ok(Self { private, header, public: JwkSet { keys: vec![jwk] } })
    }

    /// An access token in JWT form (RFC 9068 §2.1) with these claims.
    ///
    /// # Errors
    /// If the system gives no random bytes for the signature.
    pub(super) fn sign(&self, claims: &Value) -> io::Result<String> {
        jsonwebtoken::encode(&self.header, claims, &self.private).map_err(io::Error::other)
    }

    /// The public half (RFC 7517 §5).
    pub(super) fn public(&self) -> &JwkSet {
        &self.public
    }
}

/// The private key must appear in no log.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.header.kid).finish_non_exhaustive()
    }
}
