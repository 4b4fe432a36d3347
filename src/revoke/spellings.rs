//! The bytes that one token can have.
//!
//! Of an ECDSA signature `(r, s)` everybody can make another that is as good, `(r, n - s)`, without
//! any key. So a revoked token has a second spelling, and whoever knows it by its bytes knows both.
//! To refuse the greater `s` instead would refuse what issuers send: half of their signatures.
//!
//! An opaque token may end with `=` or not: a server that reads it as base64 may take both for one.
//!
//! No other algorithm here leaves a choice: RSA and EdDSA verify in a range where each signature
//! stands alone (RFC 8017 §5.2.2, RFC 8032 §8.4), and base64url is read in its canonical form.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::key::Key;

/// What the entries are called that refuse one token alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spellings {
    sent: Key,
    others: [Option<Key>; 3],
}

impl Spellings {
    /// Of a token as it was sent.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        let is_signed = memchr::memchr(b'.', token).is_some();
        let others = if is_signed { [other(token), None, None] } else { padded(token) };
        Self { sent: key([token, b""]), others }
    }

    /// The keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        [&self.sent].into_iter().chain(self.others.iter().flatten())
    }
}

/// The member of a header that tells how the signature is written.
#[derive(Deserialize)]
struct Header<'t> {
    alg: &'t str,
}

/// The keys of an opaque token with other padding.
fn padded(token: &[u8]) -> [Option<Key>; 3] {
    let end = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let bare = &token[..end];
    [b"".as_slice(), b"=", b"=="].map(|padding| Some(key([bare, padding])))
}

/// The key of the other spelling; `None` for a token that has none.
fn other(token: &[u8]) -> Option<Key> {
    let end = memchr::memrchr(b'.', token)? + 1;
    let (signed, signature) = token.split_at(end);
    let header = URL_SAFE_NO_PAD.decode(signed.split(|byte| *byte == b'.').next()?).ok()?;
    let order = order(serde_json::from_slice::<Header<'_>>(&header).ok()?.alg)?;
    let mut signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let (_, s) = signature.split_at_checked(order.len())?;
    let negated = subtract(order, s)?;
    signature.truncate(order.len());
    signature.extend(negated);
    Some(key([signed, URL_SAFE_NO_PAD.encode(signature).as_bytes()]))
}

fn key(parts: [&[u8]; 2]) -> Key {
    let mut context = Context::new(&SHA256);
    parts.into_iter().for_each(|part| context.update(part));
    Key::token(context.finish().as_ref().first_chunk().expect("a SHA-256 has 32 bytes"))
}

/// `n - s`; `None` for an `s` that is none.
fn subtract(n: &[u8], s: &[u8]) -> Option<Vec<u8>> {
    if s.len() != n.len() || s >= n || s.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut borrow = false;
    let digits = n.iter().zip(s).rev().map(|(n, s)| {
        let (digit, first) = n.overflowing_sub(*s);
        let (digit, second) = digit.overflowing_sub(borrow.into());
        borrow = first || second;
        digit
    });
    let mut digits: Vec<u8> = digits.collect();
    digits.reverse();
    Some(digits)
}

/// The order of the group of an algorithm (RFC 7518 §3.4, RFC 8812 §3.2), as long as `s` is.
fn order(algorithm: &str) -> Option<&'static [u8]> {
    match algorithm {
        "ES256" => Some(&P256),
        "ES256K" => Some(&SECP256K1),
        "ES384" => Some(&P384),
        "ES512" => Some(&P521),
        _ => None,
    }
}

const P256: [u8; 32] = hex(b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
const SECP256K1: [u8; 32] =
    hex(b"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
const P384: [u8; 48] = hex(
    b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
);
const P521: [u8; 66] = hex(
    b"01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
);

const fn hex<const N: usize>(digits: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(digits[2 * at]) << 4 | digit(digits[2 * at + 1]);
        at += 1;
    }
    assert!(digits.len() == 2 * N, "as long as the field");
    bytes
}

const fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED,
        ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
        ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, KeyPair, UnparsedPublicKey,
    };

    use super::*;

    fn input(algorithm: &str) -> String {
        let header = format!(r#"{{"typ":"at+jwt","alg":"{algorithm}","kid":"k"}}"#);
        format!("{}.e30", URL_SAFE_NO_PAD.encode(header))
    }

    /// The other signature of each curve verifies, and both tokens have the same two names.
    #[test]
    fn a_token_is_known_by_both_of_its_signatures() {
        for (algorithm, signing, verifying) in [
            ("ES256", &ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED),
            ("ES256K", &ECDSA_P256K1_SHA256_FIXED_SIGNING, &ECDSA_P256K1_SHA256_FIXED),
            ("ES384", &ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED),
            ("ES512", &ECDSA_P521_SHA512_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED),
        ] {
            let pair = EcdsaKeyPair::generate(signing).unwrap();
            let input = input(algorithm);
            let signature = pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
            let (r, s) = signature.as_ref().split_at(signature.as_ref().len() / 2);
            let other = [r, &subtract(order(algorithm).unwrap(), s).unwrap()].concat();
            let key = UnparsedPublicKey::new(verifying, pair.public_key());
            key.verify(input.as_bytes(), &other).expect("it needs no key");
            let spelled =
                |signature: &[u8]| format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
            let one = Spellings::of(spelled(signature.as_ref()).as_bytes());
            let two = Spellings::of(spelled(&other).as_bytes());
            assert_ne!(one.sent, two.sent, "{algorithm}");
            assert_eq!((one.others[0], two.others[0]), (Some(two.sent), Some(one.sent)));
        }
    }

    #[test]
    fn what_has_one_spelling_has_one_name() {
        let zero = URL_SAFE_NO_PAD.encode([0; 64]);
        let great = URL_SAFE_NO_PAD.encode([0xff; 64]);
        let short = URL_SAFE_NO_PAD.encode([1; 63]);
        for token in [
            "a.b.c".into(),
            format!("{}.{}", input("RS256"), URL_SAFE_NO_PAD.encode([1; 64])),
            format!("{}.{}", input("EdDSA"), URL_SAFE_NO_PAD.encode([1; 64])),
            format!("{}.{zero}", input("ES256")),
            format!("{}.{great}", input("ES256")),
            format!("{}.{short}", input("ES256")),
            format!("{}.", input("ES256")),
        ] {
            assert_eq!(Spellings::of(token.as_bytes()).keys().count(), 1, "{token}");
        }
    }

    #[test]
    fn padding_makes_no_other_token() {
        let token = |text: &str| Spellings::of(text.as_bytes());
        for one in ["YWJjZA", "YWJjZA=", "YWJjZA==", "YWJjZA==="] {
            for other in ["YWJjZA", "YWJjZA=", "YWJjZA=="] {
                assert!(token(one).keys().any(|key| *key == token(other).sent), "{one} {other}");
            }
            assert!(token(one).keys().all(|key| *key != token("YWJjZB").sent));
        }
    }
}
