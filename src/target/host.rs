//! The one host that a request names (RFC 9112 §3.2, RFC 9113 §8.3.1).

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, Version};

use crate::rejection::Rejection;

/// A validated host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    field: HeaderValue,
    /// Where the port's colon is, or the end.
    end: usize,
    /// The name in lower case, if the field is not.
    lower: Option<Box<str>>,
}

impl Host {
    pub(super) fn of(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<Self, Rejection> {
        let field = single(headers)?;
        match (uri.authority(), field) {
            (None, Some(field)) => Self::parse(field.clone()),
            (Some(authority), field) => Self::agreed(uri, authority, version, field),
            (None, None) => Err(Rejection::MalformedRequest("the request names no host")),
        }
    }

    /// The authority of an absolute-form target or of `:authority`, which wins over `Host`; a
    /// `Host` that says something else is an attempt to be read in two ways.
    fn agreed(
        uri: &Uri,
        authority: &Authority,
        version: Version,
        field: Option<&HeaderValue>,
    ) -> Result<Self, Rejection> {
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(Rejection::MalformedRequest("the target's scheme is not http or https"));
        }
        match field {
            Some(field)
                if !field.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
            {
                Err(Rejection::MalformedRequest("the target and Host name different hosts"))
            }
            None if version <= Version::HTTP_11 => {
                Err(Rejection::MalformedRequest("the request has no Host"))
            }
            Some(field) => Self::parse(field.clone()),
            None => {
                HeaderValue::from_str(authority.as_str()).map_err(|_| INVALID).and_then(Self::parse)
            }
        }
    }

    fn parse(field: HeaderValue) -> Result<Self, Rejection> {
        let text = field.to_str().map_err(|_| INVALID)?;
        let end = name_end(text).ok_or(INVALID)?;
        let name = &text[..end];
        let lower = name.bytes().any(|byte| byte.is_ascii_uppercase());
        let lower = lower.then(|| name.to_ascii_lowercase().into_boxed_str());
        Ok(Self { end, lower, field })
    }

    pub(super) fn name(&self) -> &str {
        match &self.lower {
            Some(lower) => lower,
            None => self.field.to_str().map_or("", |text| &text[..self.end]),
        }
    }

    pub(super) fn field(&self) -> &HeaderValue {
        &self.field
    }
}

const INVALID: Rejection = Rejection::MalformedRequest("the host is not valid");

fn single(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Rejection> {
    let mut fields = headers.get_all(HOST).iter();
    let first = fields.next();
    match fields.next() {
        Some(_) => Err(Rejection::MalformedRequest("the request has more than one Host")),
        None => Ok(first),
    }
}

/// Where the host's name ends, if `text` is `name`, `name:port` or `[address]:port`. No userinfo,
/// no percent-encoding, no trailing dot: each would be a second spelling of the same host.
fn name_end(text: &str) -> Option<usize> {
    let end = match text.strip_prefix('[') {
        Some(rest) => {
            let close = rest.find(']')?;
            rest[..close].parse::<std::net::Ipv6Addr>().ok()?;
            close + 2
        }
        None => memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len()),
    };
    let (name, port) = (text.get(..end)?, text.get(end..)?);
    let name_is_plain = name.starts_with('[') || is_name(name.as_bytes());
    (name_is_plain && is_port(port)).then_some(end)
}

/// Letters, digits, `-`, `_`, and dots with something on either side.
fn is_name(name: &[u8]) -> bool {
    let mut before = b'.';
    for byte in name {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !plain && (*byte != b'.' || before == b'.') {
            return false;
        }
        before = *byte;
    }
    before != b'.'
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
        None => text.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::name_end;

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for good in ["a", "api.example.com", "api.example.com:8443", "127.0.0.1:1", "[::1]:443"] {
            assert!(name_end(good).is_some(), "{good}");
        }
        let bad = [
            "", ":80", "a b", "a/b", "user@a", "a:b", "a:", "a:99999", "a.", ".a", "a..b", "[::1",
            "[x]", "[::1]x", "a%2e", "a,b", "é", "a:+1",
        ];
        for bad in bad {
            assert!(name_end(bad).is_none(), "{bad}");
        }
    }
}
