//! `tracestate` (W3C Trace Context §3.3): what other systems keep beside a trace.

use http::{HeaderMap, HeaderName};

/// All lines as one, without empty members; nothing if a member is not valid, or there are more than
/// 32: what cannot be read whole is not passed on in part.
pub(super) fn combined(headers: &HeaderMap) -> Option<String> {
    let mut whole = String::new();
    let mut count = 0;
    for line in headers.get_all(TRACESTATE) {
        for member in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if member.is_empty() {
                continue;
            }
            count += 1;
            if count > MOST_MEMBERS || !is_member(member) {
                return None;
            }
            if !whole.is_empty() {
                whole.push(',');
            }
            whole.push_str(std::str::from_utf8(member).ok()?);
        }
    }
    (!whole.is_empty()).then_some(whole)
}

/// `key=value` (§3.3.1.3).
fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let in_key =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let in_value = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'=';
    let begins = key.first().is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins
        && key.len() <= LONGEST
        && key.iter().all(in_key)
        && (1..=LONGEST).contains(&value.len())
        && value.iter().all(in_value)
}

pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const MOST_MEMBERS: usize = 32;
/// Characters of a key, and of a value.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[&str]) -> Option<String> {
        let value = |line: &&str| (TRACESTATE, HeaderValue::from_str(line).unwrap());
        combined(&lines.iter().map(value).collect())
    }

    /// OB-04.
    #[test]
    fn lines_are_combined() {
        assert_eq!(of(&["a=1", " b=2 ,, c=x y"]).as_deref(), Some("a=1,b=2,c=x y"));
        assert_eq!(of(&["fw529a3039@dt=FfffffA"]).as_deref(), Some("fw529a3039@dt=FfffffA"));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["", " , "]), None);
    }

    /// OB-04.
    #[test]
    fn more_than_thirty_two_members_are_none() {
        let members =
            |count: usize| (0..count).map(|n| format!("k{n}={n}")).collect::<Vec<_>>().join(",");
        assert_eq!(of(&[&members(32)]), Some(members(32)));
        assert_eq!(of(&[&members(33)]), None);
        assert_eq!(of(&[&members(20), "a=1", &members(12)]), None);
    }

    #[test]
    fn what_is_not_valid_is_none() {
        let long = format!("a={}", "x".repeat(257));
        for line in ["a", "a=", "=1", "A=1", "a=1=2", "a b=1", "a=1\t2", "-a=1", "a=1,b", &long] {
            assert_eq!(of(&[line]), None, "{line}");
        }
    }
}
