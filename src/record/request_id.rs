//! The id that ties a response, its log line and the backend's log line together.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// `X-Request-Id`.
pub(crate) const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// The client's id if it is short and safe, else a new one, made at `now`, since 1970.
pub(crate) fn of(headers: &HeaderMap, now: Duration) -> HeaderValue {
    match headers.get(NAME) {
        // A copy: a clone would keep the buffer that the client's whole head is in.
        Some(sent) if is_safe(sent.as_bytes()) => {
            HeaderValue::from_bytes(sent.as_bytes()).unwrap_or_else(|_| fresh(now))
        }
        Some(_) | None => fresh(now),
    }
}

fn is_safe(id: &[u8]) -> bool {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&id.len()) && id.iter().all(safe)
}

/// 48 bits of milliseconds and 80 random bits in Crockford's base 32: ids sort by time.
fn fresh(now: Duration) -> HeaderValue {
    let mut bits = (now.as_millis() << 80) | (fastrand::u128(..) >> 48);
    let mut text = [0; 26];
    for byte in text.iter_mut().rev() {
        *byte = DIGITS[usize::from(bits as u8 & 31)];
        bits >>= 5;
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
}

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &HeaderMap) -> HeaderValue {
        super::of(headers, Duration::from_secs(1))
    }

    /// OB-03.
    #[test]
    fn only_short_and_safe_ids_are_kept() {
        let with = |id: &str| HeaderMap::from_iter([(NAME, HeaderValue::from_str(id).unwrap())]);
        assert_eq!(of(&with("abc-123")), "abc-123");
        for unsafe_id in ["", "a b", "a\"b", &"x".repeat(1024)] {
            assert_eq!(of(&with(unsafe_id)).len(), 26, "{unsafe_id}");
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
