//! A compact JWS, taken apart (RFC 7515 §7.1).
//!
//! Nothing here is verified: what comes out is what somebody claims.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use crate::rejection::TokenFault;

/// Whether `token` looks like something of JOSE, good or bad: it begins with a JSON object in
/// base64url and has a dot behind it. What does not is opaque: its issuer's secret spelling.
///
/// Whatever is spoiled beyond that is still no opaque token, or a broken token of one issuer would
/// be shown to the one that introspects (RFC 7662 §4).
pub(super) fn is_jose(token: &str) -> bool {
    let Some((first, _)) = token.split_once('.') else { return false };
    // Four characters at a time: the end need not be canonical, nor even base64url.
    let bytes = first.as_bytes().chunks(4).map_while(|chunk| URL_SAFE_NO_PAD.decode(chunk).ok());
    let start: Vec<u8> = bytes.take(LOOK).flatten().collect();
    first.starts_with(USUAL) || start.trim_ascii_start().starts_with(b"{")
}

/// A token's parts, not verified.
#[derive(Debug)]
pub(super) struct Jws<'t> {
    pub(super) header: Header,
    iss: Option<String>,
    /// The second segment, decoded.
    pub(super) payload: Vec<u8>,
    /// What the signature is over: the first two segments with the dot between them.
    pub(super) signed: &'t [u8],
    /// The third segment, decoded.
    pub(super) signature: Vec<u8>,
}

/// The members of the protected header that are looked at. All others are ignored: keys never come
/// from `jwk`, `jku`, `x5u` or `x5c` (RFC 8725 §3.10).
#[derive(Debug)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
}

impl<'t> Jws<'t> {
    /// Takes `token` apart. Refuses JWE (five segments) and the JSON serialization, too.
    pub(super) fn parse(token: &'t str) -> Result<Self, TokenFault> {
        let mut segments = token.split('.');
        let parts = (segments.next(), segments.next(), segments.next(), segments.next());
        let (Some(header), Some(claims), Some(signature), None) = parts else {
            return Err(TokenFault::Malformed);
        };
        let payload = decode(claims)?;
        // The other claims are passed over: what is forged need not be read any further.
        let iss = json::member(&payload, "iss").ok_or(TokenFault::Malformed)?;
        Ok(Self {
            signature: decode(signature)?,
            header: Header::read(object(header)?)?,
            iss: iss.map(Cow::into_owned),
            payload,
            signed: &token.as_bytes()[..header.len() + 1 + claims.len()],
        })
    }

    /// What the token says its issuer is. Good for choosing whose keys to try, for nothing else.
    pub(super) fn claimed_issuer(&self) -> Result<&str, TokenFault> {
        self.iss.as_deref().ok_or(TokenFault::UnknownIssuer)
    }

    /// All claims.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, TokenFault> {
        json::object(&self.payload).ok_or(TokenFault::Malformed)
    }
}

impl Header {
    fn read(mut members: Map<String, Value>) -> Result<Self, TokenFault> {
        // No extension is implemented, so whatever `crit` lists must be refused, and so must a
        // `crit` that lists nothing (RFC 7515 §4.1.11). `b64` must not occur in a JWT (RFC 7797
        // §7), and `zip` belongs to JWE (RFC 7516 §4.1.3).
        if ["crit", "b64", "zip"].iter().any(|name| members.contains_key(*name)) {
            return Err(TokenFault::Malformed);
        }
        let header = Self {
            alg: text(&mut members, "alg")?.ok_or(TokenFault::Malformed)?,
            kid: text(&mut members, "kid")?,
            typ: text(&mut members, "typ")?,
        };
        if header.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(TokenFault::Malformed);
        }
        Ok(header)
    }
}

/// A member that must be a string if it is there.
fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, TokenFault> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenFault::Malformed),
    }
}

fn object(segment: &str) -> Result<Map<String, Value>, TokenFault> {
    json::object(&decode(segment)?).ok_or(TokenFault::Malformed)
}

/// Decodes canonical base64url: no padding, no white space, the unused bits zero (RFC 4648 §3.5).
/// Otherwise one token had many spellings, and a list of revoked ones would know only the first.
fn decode(segment: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| TokenFault::Malformed)
}

/// `{"` in base64url.
const USUAL: &str = "eyJ";

/// How much of a header is looked at for its brace, in groups of three bytes.
const LOOK: usize = 8;

/// The longest key id in bytes; real ones are hashes, UUIDs or certificate thumbprints.
const MAX_KID: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn with_header(header: &str) -> String {
        format!("{}.{}.{}", encode(header.as_bytes()), encode(b"{}"), encode(b"s"))
    }

    fn with_claims(claims: &[u8]) -> String {
        format!("{}.{}.{}", encode(br#"{"alg":"ES256"}"#), encode(claims), encode(b"s"))
    }

    fn is_malformed(token: &str) -> bool {
        let claims = Jws::parse(token).and_then(|jws| jws.claims());
        claims.err() == Some(TokenFault::Malformed)
    }

    #[test]
    fn a_token_is_taken_apart() {
        let token = with_header(r#"{"alg":"ES256","kid":"k","typ":"JWT","x5t":"ignored"}"#);
        let jws = Jws::parse(&token).unwrap();
        assert_eq!(jws.header.alg, "ES256");
        assert_eq!(jws.header.kid.as_deref(), Some("k"));
        assert_eq!(jws.header.typ.as_deref(), Some("JWT"));
        assert_eq!(
            format!("{}.{}", str::from_utf8(jws.signed).unwrap(), encode(&jws.signature)),
            token
        );
    }

    /// CL-14
    #[test]
    fn what_looks_like_jose_is_not_opaque() {
        for token in [
            with_claims(b"{}"),
            with_header(r#"{"alg":"none","alg":"RS256"}"#),
            format!("{}.x", encode(b" \n{\"alg\":1")),
            "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d".to_owned(),
            "eyJ+.a.b".to_owned(),
            "e30.".to_owned(),
        ] {
            assert!(is_jose(&token), "{token}");
        }
        for token in ["", ".", "ory_at_abc.def", "gho_16C7e42F292c6912E7710c838347Ae178B4a"] {
            assert!(!is_jose(token), "{token}");
        }
        assert!(!is_jose("2YotnFZFEjr1zCsicMWpAA") && !is_jose("eyJhbGciOiJIUzI1NiJ9"));
    }

    /// JT-08
    #[test]
    fn every_crit_is_refused() {
        for crit in [
            r#"["x"],"x":1"#,
            "[]",
            r#""x""#,
            r#"["x","x"],"x":1"#,
            r#"["alg"]"#,
            r#"["missing"]"#,
            "null",
        ] {
            assert!(is_malformed(&with_header(&format!(r#"{{"alg":"ES256","crit":{crit}}}"#))));
        }
    }

    /// JT-09
    #[test]
    fn an_unencoded_payload_is_refused() {
        assert!(is_malformed(&with_header(r#"{"alg":"ES256","b64":false,"crit":["b64"]}"#)));
        assert!(is_malformed(&with_header(r#"{"alg":"ES256","b64":false}"#)));
        assert!(is_malformed(&with_header(r#"{"alg":"ES256","zip":"DEF"}"#)));
    }

    /// JT-11
    #[test]
    fn a_kid_is_a_string_of_bounded_length() {
        for kid in ["1", "[\"k\"]", "null", "{}", &format!("\"{}\"", "k".repeat(10 << 10))] {
            assert!(is_malformed(&with_header(&format!(r#"{{"alg":"ES256","kid":{kid}}}"#))));
        }
    }

    /// JT-12
    #[test]
    fn duplicate_members_are_refused() {
        assert!(is_malformed(&with_header(r#"{"alg":"none","alg":"RS256"}"#)));
        assert!(is_malformed(&with_claims(br#"{"sub":"a","sub":"b"}"#)));
    }

    /// JT-13
    #[test]
    fn anything_but_three_segments_is_refused() {
        let token = with_claims(b"{}");
        let (short, _) = token.rsplit_once('.').unwrap();
        let flattened = r#"{"protected":"e30","payload":"e30","signature":"cw"}"#;
        let dotted = [format!(".{token}"), format!("{token}."), format!("{token}.e30.e30")];
        assert!(is_malformed(short));
        assert!(is_malformed(&format!("{token}.cw")));
        assert!(is_malformed(flattened));
        assert!(dotted.iter().all(|token| is_malformed(token)));
        assert!(is_malformed("ory_at_opaque"));
        assert!(is_malformed(&token.replacen('e', "+", 1)));
        assert!(is_malformed(&token.replacen('e', "/", 1)));
    }

    /// JT-14
    #[test]
    fn base64url_has_one_spelling() {
        assert!(Jws::parse("eyJhbGciOiIifQ.e30.AA").is_ok());
        for signature in ["AB", "AA==", "AA=", "A", "AA\n", " AA"] {
            assert!(is_malformed(&format!("eyJhbGciOiIifQ.e30.{signature}")), "{signature:?}");
        }
    }

    /// JT-15
    #[test]
    fn header_and_claims_are_objects() {
        for claims in [b"[]".as_slice(), b"\"x\"", b"null", b"{\"a\":\"\xff\"}", b"\xef\xbb\xbf{}"]
        {
            assert!(is_malformed(&with_claims(claims)));
        }
        assert!(is_malformed(&with_header("[]")));
        assert!(is_malformed(&with_header("{}")));
        assert!(is_malformed(&with_header(r#"{"alg":1}"#)));
    }

    proptest::proptest! {
        /// JT-15: whatever comes, nothing panics, and what is taken apart is the whole token.
        #[test]
        fn no_text_makes_the_parser_panic(
            header in "\\PC*|\\{\"alg\":\"[A-Z0-9]*\"(,\"[a-z]{1,4}\":[0-9]{1,3})?\\}",
            claims in "\\PC*|\\{(\"[a-z]\":[0-9])?\\}",
            signature in "[A-Za-z0-9_-]{0,9}",
            junk in "\\PC*",
        ) {
            let [header, claims] = [header, claims].map(|text| encode(text.as_bytes()));
            let token = format!("{header}.{claims}.{signature}");
            if let Ok(jws) = Jws::parse(&token) {
                let signed = str::from_utf8(jws.signed).unwrap();
                proptest::prop_assert_eq!(format!("{signed}.{}", encode(&jws.signature)), token);
            }
            drop(Jws::parse(&junk));
        }
    }
}
