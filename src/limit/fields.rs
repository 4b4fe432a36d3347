//! The `RateLimit-Policy` and `RateLimit` fields (draft-ietf-httpapi-ratelimit-headers §3, §4).
//!
//! Both are Structured Field lists of String items (RFC 9651): `"free";q=60;w=60` and
//! `"free";r=59;t=1`. A plan's quota is the further policy `free-quota`.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::config::{Limit, Rate};
use crate::digits;

use super::bucket::Left;

/// `RateLimit-Policy`.
pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`.
pub(super) const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// The field that describes a plan.
pub(super) fn policy(name: &str, limit: &Limit) -> HeaderValue {
    let item = |suffix: &str, rate: Rate| {
        format!("\"{}{suffix}\";q={};w={}", escaped(name), rate.count, rate.period.as_secs())
    };
    let rate = limit.rate.map(|rate| item("", rate));
    let quota = limit.quota.map(|quota| item("-quota", quota));
    let items: Vec<_> = rate.into_iter().chain(quota).collect();
    value(&items.join(", "))
}

/// The field that says what is left.
pub(super) fn state(name: &str, rate: Option<Left>, quota: Option<Left>) -> HeaderValue {
    let name = escaped(name);
    let mut text = Vec::with_capacity(2 * name.len() + 64);
    for (suffix, left) in [("", rate), ("-quota", quota)] {
        let Some(left) = left else { continue };
        let comma = if text.is_empty() { "\"" } else { ", \"" };
        for part in [comma, &*name, suffix, "\";r="] {
            text.extend_from_slice(part.as_bytes());
        }
        digits::push(&mut text, left.remaining.into(), 1);
        text.extend_from_slice(b";t=");
        digits::push(&mut text, left.reset, 1);
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// A name as a Structured Field String may hold it: visible ASCII without quotes and backslashes.
fn escaped(name: &str) -> std::borrow::Cow<'_, str> {
    let plain = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    if name.chars().all(plain) {
        return name.into();
    }
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Per;

    /// RL-03, RL-04: the same names in both fields.
    #[test]
    fn fields_are_lists_of_named_items() {
        let rate = Rate { count: 50, period: Duration::from_secs(1) };
        let quota = Rate { count: 1_000_000, period: Duration::from_secs(86_400) };
        let limit = Limit { rate: Some(rate), burst: None, quota: Some(quota), per: Per::Client };
        let policy = policy("partner", &limit);
        assert_eq!(policy, "\"partner\";q=50;w=1, \"partner-quota\";q=1000000;w=86400");
        let left = |remaining, reset| Some(Left { remaining, reset });
        let state = state("partner", left(49, 1), left(999_999, 1));
        assert_eq!(state, "\"partner\";r=49;t=1, \"partner-quota\";r=999999;t=1");
        assert_eq!(escaped("a\"b\\é"), "a_b__");
    }
}
