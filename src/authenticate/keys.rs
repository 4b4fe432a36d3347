//! From a JWK Set to keys that can verify (RFC 7517, RFC 7518, RFC 8037).
//!
//! Each key is read by itself: one that cannot be used is skipped with a reason and takes no other
//! with it. `oct` keys are never read, so no public text can become an HMAC secret.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;

/// The algorithm that `alg` names, if it is asymmetric and known. Exact and case-sensitive (RFC
/// 8725 §3.1). `none` and HS* are not in the table, whatever the configuration lists.
pub(super) fn algorithm(alg: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(name, ..)| *name == alg).map(|(_, algorithm, _)| *algorithm)
}

/// A public key of an issuer.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) kid: Option<Box<str>>,
    /// Whose key it is, if the JWK says so in `issuer`, as those of Entra do.
    pub(super) owner: Option<Box<str>>,
    kind: Kind,
    /// The only algorithm that the key is for, if the JWK says so.
    alg: Option<Algorithm>,
    /// The key, parsed once for each algorithm that it may be used with: parsing it for every
    /// token, as jsonwebtoken does, costs a seventh of an RSA verification.
    parsed: Parsed,
    /// A hash of all of the above: two keys are the same if these are.
    pub(super) print: [u8; 32],
}

impl Key {
    /// Whether the key is for `algorithm`: its type and curve fit, and its own `alg` agrees.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        kind_for(algorithm) == Some(self.kind) && self.alg.is_none_or(|alg| alg == algorithm)
    }

    /// Whether `signature` is this key's over `signed`. Call only for an algorithm that the key
    /// [`fits`](Self::fits).
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8], algorithm: Algorithm) -> bool {
        let parsed = self.parsed.iter().find(|(known, _)| *known == algorithm);
        let Some((_, key)) = parsed.filter(|_| self.fits(algorithm)) else { return false };
        key.verify_sig(signed, signature).is_ok()
    }

    fn read(jwk: &Value) -> Result<Self, Flaw> {
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().ok_or(Flaw::BadMember("kid"))?),
        };
        check_purpose(jwk)?;
        let (kind, parsed, octets) = public_key(jwk)?;
        let alg = own_algorithm(jwk, kind)?;
        // An owner that is no text is nobody.
        let owner = jwk.get("issuer").map(|owner| owner.as_str().unwrap_or_default());
        let print = print(kid, owner, alg, &octets);
        Ok(Self { kid: kid.map(Box::from), owner: owner.map(Box::from), kind, alg, parsed, print })
    }
}

/// A key as each of the algorithms that fit its kind needs it.
type Parsed = Vec<(Algorithm, ParsedPublicKey)>;

/// The keys of a set, and what is wrong with the others.
#[derive(Debug)]
pub(super) struct Keys {
    /// Those that fit one of the allowed algorithms, each once.
    pub(super) usable: Vec<Key>,
    /// One for each that was skipped.
    pub(super) skipped: Vec<Skipped>,
}

/// Why a key was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    /// Its place in the set, and the reason.
    pub(super) line: String,
    /// Whether somebody should look: not at an encryption key, but at a weak one.
    pub(super) is_wrong: bool,
}

/// Reads a JWK Set and keeps the keys that fit one of `allowed`. `None` if it is no JWK Set, or one
/// of more than 100 keys.
pub(super) fn read_set(document: &[u8], allowed: &[Algorithm]) -> Option<Keys> {
    let document: Value = serde_json::from_slice(document).ok()?;
    let jwks = document.get("keys")?.as_array().filter(|jwks| jwks.len() <= MAX_KEYS)?;
    let mut keys = Keys { usable: Vec::new(), skipped: Vec::new() };
    for (index, jwk) in jwks.iter().enumerate() {
        match Key::read(jwk) {
            Ok(key) if !allowed.iter().any(|algorithm| key.fits(*algorithm)) => {
                keys.skipped.push(Flaw::WrongAlgorithm.of(index));
            }
            Ok(key) if keys.usable.iter().any(|known| known.print == key.print) => {}
            Ok(key) => keys.usable.push(key),
            Err(flaw) => keys.skipped.push(flaw.of(index)),
        }
    }
    Some(keys)
}

/// What a key's numbers are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Why a key is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    BadMember(&'static str),
    Private,
    UnknownType,
    WeakRsa,
    WrongAlgorithm,
    WrongUse,
}

impl Flaw {
    fn of(self, index: usize) -> Skipped {
        let is_wrong = match self {
            Self::BadMember(_) | Self::Private | Self::WeakRsa => true,
            Self::UnknownType | Self::WrongAlgorithm | Self::WrongUse => false,
        };
        Skipped { line: format!("key {index} {self}"), is_wrong }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMember(name) => write!(formatter, "has no usable `{name}`"),
            Self::Private => formatter.write_str("has its private part published"),
            Self::UnknownType => formatter.write_str("is of a type that is not used here"),
            Self::WeakRsa => formatter.write_str("is RSA outside of 2048 to 8192 bits"),
            Self::WrongAlgorithm => formatter.write_str("is for an algorithm that is not allowed"),
            Self::WrongUse => formatter.write_str("is not for signatures"),
        }
    }
}

/// RFC 7517 §4.2 and §4.3. A key whose private part is in the open verifies nothing: anybody could
/// have signed with it.
fn check_purpose(jwk: &Value) -> Result<(), Flaw> {
    if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
        return Err(Flaw::WrongUse);
    }
    let verifies = |operations: &Value| {
        operations.as_array().is_some_and(|list| list.iter().any(|name| name == "verify"))
    };
    if jwk.get("key_ops").is_some_and(|operations| !verifies(operations)) {
        return Err(Flaw::WrongUse);
    }
    if PRIVATE.iter().any(|name| jwk.get(name).is_some()) {
        return Err(Flaw::Private);
    }
    Ok(())
}

fn public_key(jwk: &Value) -> Result<(Kind, Parsed, Vec<u8>), Flaw> {
    match (jwk["kty"].as_str(), jwk["crv"].as_str()) {
        (Some("RSA"), _) => rsa(jwk),
        (Some("EC"), Some("P-256")) => {
            let point = point(jwk, 32)?;
            single(Kind::P256, Algorithm::ES256, &ECDSA_P256_SHA256_FIXED, point)
        }
        (Some("EC"), Some("P-384")) => {
            let point = point(jwk, 48)?;
            single(Kind::P384, Algorithm::ES384, &ECDSA_P384_SHA384_FIXED, point)
        }
        (Some("OKP"), Some("Ed25519")) => {
            single(Kind::Ed25519, Algorithm::EdDSA, &ED25519, octets(jwk, "x", 32)?)
        }
        _ => Err(Flaw::UnknownType),
    }
}

/// RFC 7518 §6.3.1. Keys under 2048 bits must not be used (RFC 7518 §3.3).
fn rsa(jwk: &Value) -> Result<(Kind, Parsed, Vec<u8>), Flaw> {
    let modulus = number(jwk, "n")?;
    let exponent = number(jwk, "e")?;
    let bits = modulus.len() * 8 - modulus[0].leading_zeros() as usize;
    if !(2048..=8192).contains(&bits) {
        return Err(Flaw::WeakRsa);
    }
    // An exponent of 1 would make every message its own signature.
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if !is_odd(&exponent) || exponent == [1] || exponent.len() > 4 {
        return Err(Flaw::BadMember("e"));
    }
    if !is_odd(&modulus) {
        return Err(Flaw::BadMember("n"));
    }
    let components = PublicKeyComponents { n: &modulus, e: &exponent };
    let parse = |(algorithm, parameters): &(Algorithm, &'static RsaParameters)| {
        let key = components.to_parsed_public_key(parameters).map_err(|_| Flaw::BadMember("n"))?;
        Ok((*algorithm, key))
    };
    let parsed = RSA.iter().map(parse).collect::<Result<_, _>>()?;
    let length = modulus.len().to_be_bytes();
    Ok((Kind::Rsa, parsed, [length.as_slice(), &modulus, &exponent].concat()))
}

/// RFC 7518 §6.2.1: the coordinates as an uncompressed point.
fn point(jwk: &Value, length: usize) -> Result<Vec<u8>, Flaw> {
    Ok([vec![4], octets(jwk, "x", length)?, octets(jwk, "y", length)?].concat())
}

/// A key for one algorithm (RFC 7518 §3.4, RFC 8037 §2). The point must lie on the curve.
fn single(
    kind: Kind,
    algorithm: Algorithm,
    curve: &'static dyn VerificationAlgorithm,
    point: Vec<u8>,
) -> Result<(Kind, Parsed, Vec<u8>), Flaw> {
    let key = ParsedPublicKey::new(curve, &point).map_err(|_| Flaw::BadMember("x"))?;
    Ok((kind, vec![(algorithm, key)], point))
}

/// The key's own `alg`, which must be one for keys of its kind (RFC 8725 §3.1).
fn own_algorithm(jwk: &Value, kind: Kind) -> Result<Option<Algorithm>, Flaw> {
    let Some(alg) = jwk.get("alg") else { return Ok(None) };
    let algorithm = alg.as_str().and_then(algorithm).ok_or(Flaw::WrongAlgorithm)?;
    if kind_for(algorithm) != Some(kind) {
        return Err(Flaw::WrongAlgorithm);
    }
    Ok(Some(algorithm))
}

fn kind_for(algorithm: Algorithm) -> Option<Kind> {
    ALGORITHMS.iter().find(|(_, known, _)| *known == algorithm).map(|(.., kind)| *kind)
}

/// A Base64urlUInt without leading zeros; never empty.
fn number(jwk: &Value, name: &'static str) -> Result<Vec<u8>, Flaw> {
    let text = jwk[name].as_str().ok_or(Flaw::BadMember(name))?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::BadMember(name))?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    if zeros == bytes.len() {
        return Err(Flaw::BadMember(name));
    }
    Ok(bytes[zeros..].to_vec())
}

/// Octets of a fixed length.
fn octets(jwk: &Value, name: &'static str, length: usize) -> Result<Vec<u8>, Flaw> {
    let text = jwk[name].as_str().ok_or(Flaw::BadMember(name))?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::BadMember(name))?;
    if bytes.len() == length { Ok(bytes) } else { Err(Flaw::BadMember(name)) }
}

fn print(
    kid: Option<&str>,
    owner: Option<&str>,
    alg: Option<Algorithm>,
    octets: &[u8],
) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(format!("{kid:?} {owner:?} {alg:?} ").as_bytes());
    context.update(octets);
    let mut print = [0; 32];
    print.copy_from_slice(context.finish().as_ref());
    print
}

/// More keys than any issuer publishes.
const MAX_KEYS: usize = 100;

/// The members of private and symmetric keys (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// How RSA keys are used (RFC 7518 §3.3, §3.5).
const RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::RS256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::RS384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::RS512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::PS256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::PS384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::PS512, &RSA_PSS_2048_8192_SHA512),
];

/// Names of algorithms (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2) and the keys they are for.
const ALGORITHMS: [(&str, Algorithm, Kind); 10] = [
    ("RS256", Algorithm::RS256, Kind::Rsa),
    ("RS384", Algorithm::RS384, Kind::Rsa),
    ("RS512", Algorithm::RS512, Kind::Rsa),
    ("PS256", Algorithm::PS256, Kind::Rsa),
    ("PS384", Algorithm::PS384, Kind::Rsa),
    ("PS512", Algorithm::PS512, Kind::Rsa),
    ("ES256", Algorithm::ES256, Kind::P256),
    ("ES384", Algorithm::ES384, Kind::P384),
    ("EdDSA", Algorithm::EdDSA, Kind::Ed25519),
    ("Ed25519", Algorithm::EdDSA, Kind::Ed25519),
];
