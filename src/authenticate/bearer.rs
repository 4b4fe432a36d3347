//! Reading the `Authorization` field (RFC 6750 §2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::rejection::{Rejection, TooLarge};

/// What follows `Bearer` in a request's one `Authorization` field: at most as many bytes as a token
/// may have, whose characters nobody has looked at yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credentials<'h>(&'h [u8]);

/// The bearer credentials of a request, of at most `limit` bytes. Allocates nothing.
pub(super) fn credentials<'h>(
    headers: &'h HeaderMap,
    query: Option<&str>,
    limit: usize,
) -> Result<Credentials<'h>, Rejection> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().ok_or(Rejection::MissingToken)?;
    if lines.next().is_some() {
        return Err(Rejection::TwoTokens);
    }
    let credentials = bearer_credentials(line.as_bytes())?;
    // RFC 6750 §3.1: more than one method of sending a token is an invalid request. A token in the
    // query alone never gets here: it is no credential at all (OAuth 2.1 §5.1).
    if query.is_some_and(has_access_token) {
        return Err(Rejection::TokenInQuery);
    }
    if credentials.len() > limit {
        return Err(Rejection::RequestTooLarge(TooLarge::Fields));
    }
    Ok(Credentials(credentials))
}

impl<'h> Credentials<'h> {
    /// The bytes as they were sent: enough to recognise a token that was found good before.
    pub(super) fn bytes(self) -> &'h [u8] {
        self.0
    }

    /// The token, if the credentials are one `token68` (RFC 9110 §11.2).
    pub(super) fn token(self) -> Result<&'h str, Rejection> {
        let padding = self.0.iter().rev().take_while(|byte| **byte == b'=').count();
        let body = &self.0[..self.0.len() - padding];
        if body.is_empty() || !body.iter().all(|byte| is_token68(*byte)) {
            return Err(refusal(self.0));
        }
        std::str::from_utf8(self.0).map_err(|_| refusal(self.0))
    }
}

/// What follows the scheme and its spaces.
fn bearer_credentials(line: &[u8]) -> Result<&[u8], Rejection> {
    let end = line.iter().position(|byte| !is_tchar(*byte)).unwrap_or(line.len());
    let (scheme, rest) = line.split_at(end);
    // Another scheme is as good as no credentials (RFC 6750 §3.1).
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Rejection::MissingToken);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    match &rest[spaces..] {
        [] => Err(Rejection::MalformedCredentials("there is no token after the scheme")),
        _ if spaces == 0 => Err(Rejection::MalformedCredentials("a space must follow the scheme")),
        credentials => Ok(credentials),
    }
}

/// Tells two credentials in one field (BR-10) from other mistakes.
fn refusal(credentials: &[u8]) -> Rejection {
    let mut others = credentials.split(|byte| *byte == b',').skip(1).map(<[u8]>::trim_ascii_start);
    let is_bearer = |text: &[u8]| {
        let (scheme, rest) = text.split_at_checked(BEARER.len()).unwrap_or_default();
        scheme.eq_ignore_ascii_case(BEARER) && rest.first() == Some(&b' ')
    };
    if others.any(is_bearer) {
        return Rejection::TwoTokens;
    }
    Rejection::MalformedCredentials("the token has characters that no token has")
}

/// Whether a parameter of the query is called `access_token` (RFC 6750 §2.3).
fn has_access_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_encoding::percent_decode_str(name).eq(ACCESS_TOKEN.iter().copied())
    })
}

/// RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §11.2, without the padding. A table: a token has a thousand characters.
fn is_token68(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < table.len() {
            table[byte] = matches!(byte as u8,
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
            byte += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

const ACCESS_TOKEN: &[u8] = b"access_token";
const BEARER: &[u8] = b"bearer";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::Reason;

    fn read(lines: &[&str], query: Option<&str>) -> Result<String, Rejection> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, line.parse().unwrap());
        }
        credentials(&headers, query, 100)?.token().map(str::to_owned)
    }

    fn reason(lines: &[&str], query: Option<&str>) -> Reason {
        read(lines, query).unwrap_err().reason()
    }

    /// BR-01
    #[test]
    fn the_scheme_is_read_without_regard_to_case() {
        for line in ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR abc"] {
            assert_eq!(read(&[line], None).unwrap(), "abc");
        }
    }

    /// BR-02
    #[test]
    fn spaces_and_nothing_else_separate_scheme_and_token() {
        assert_eq!(read(&["Bearer  abc"], None).unwrap(), "abc");
        for line in ["Bearer\tabc", "Bearer \tabc", "Bearer,abc", "Bearer=abc", "Bearer:abc"] {
            assert_eq!(reason(&[line], None), Reason::MalformedRequest, "{line}");
        }
    }

    /// BR-03
    #[test]
    fn what_is_not_a_token68_is_malformed() {
        for line in [
            "Bearer a,b",
            "Bearer \"abc\"",
            "Bearer a b",
            "Bearer ab=c",
            "Bearer",
            "Bearer ",
            "Bearer =",
            "Bearer abc ",
            "Bearer a\u{e6}",
        ] {
            assert_eq!(reason(&[line], None), Reason::MalformedRequest, "{line}");
        }
        assert_eq!(read(&["Bearer a-._~+/Z9=="], None).unwrap(), "a-._~+/Z9==");
    }

    /// BR-04, BR-05
    #[test]
    fn no_credentials_and_other_schemes_are_a_missing_token() {
        assert_eq!(reason(&[], None), Reason::MissingToken);
        for line in ["Basic dTpw", "Negotiate x", "Foo x", "BearerX abc", "", "\"Bearer\" abc"] {
            assert_eq!(reason(&[line], None), Reason::MissingToken, "{line}");
        }
    }

    /// BR-10
    #[test]
    fn two_tokens_are_refused() {
        assert_eq!(reason(&["Bearer a", "Bearer a"], None), Reason::TwoTokens);
        assert_eq!(reason(&["Bearer a", "Bearer b"], None), Reason::TwoTokens);
        assert_eq!(reason(&["Bearer a", "Basic b"], None), Reason::TwoTokens);
        assert_eq!(reason(&["Bearer a, Bearer a"], None), Reason::TwoTokens);
        assert_eq!(reason(&["Bearer a,bEARER b"], None), Reason::TwoTokens);
    }

    /// BR-11, BR-12
    #[test]
    fn a_token_in_the_query_is_never_a_credential() {
        assert_eq!(reason(&[], Some("access_token=abc")), Reason::MissingToken);
        assert_eq!(reason(&["Basic dTpw"], Some("access_token=abc")), Reason::MissingToken);
        for query in
            ["access_token=abc", "x=1&access%5Ftoken=abc", "x;access_token", "access_token="]
        {
            assert_eq!(reason(&["Bearer abc"], Some(query)), Reason::TokenInQuery, "{query}");
        }
        for query in ["", "x=access_token", "access_tokens=1", "Access_Token=1"] {
            assert_eq!(read(&["Bearer abc"], Some(query)).unwrap(), "abc", "{query}");
        }
    }

    /// BR-19
    #[test]
    fn a_token_longer_than_the_limit_is_too_large() {
        assert!(read(&[&format!("Bearer {}", "a".repeat(100))], None).is_ok());
        let reason = reason(&[&format!("Bearer {}", "a".repeat(101))], None);
        assert_eq!(reason, Reason::RequestTooLarge);
    }
}
