//! `traceparent` (W3C Trace Context §3.2).

use std::fmt;

use http::{HeaderMap, HeaderName};

/// A trace. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(u128);

/// A step of a trace. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanId(u64);

/// Where in a trace somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) id: TraceId,
    pub(super) parent: SpanId,
    pub(super) sampled: bool,
}

impl TraceId {
    /// The trace that a request names, whoever sent it.
    pub(crate) fn told(headers: &HeaderMap) -> Option<Self> {
        Context::told(headers).map(|told| told.id)
    }

    /// Ids are random and no secret.
    pub(super) fn fresh() -> Self {
        Self(fastrand::u128(1..))
    }

    /// Whether it belongs to this share of all traces: by its last 63 bits, as in other
    /// implementations of OpenTelemetry, so that they agree.
    pub(super) fn is_within(self, share: f64) -> bool {
        let place = (self.0 as u64) >> 1;
        share >= 1.0 || (place as f64) < share * (1_u64 << 63) as f64
    }
}

impl SpanId {
    pub(super) fn fresh() -> Self {
        Self(fastrand::u64(1..))
    }
}

impl Context {
    /// What a request says; nothing if it says it twice or in a way that is not valid.
    pub(super) fn told(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let line = lines.next().filter(|_| lines.next().is_none())?;
        Self::parse(line.as_bytes())
    }

    /// Later versions may add to the end and keep what is before it (§4.3).
    fn parse(text: &[u8]) -> Option<Self> {
        let version = hex(text.get(..2)?)?;
        let has_right_end = match (version, text.get(LENGTH..)?) {
            (0xff, _) => false,
            (_, []) => true,
            (version, rest) => version > 0 && rest.starts_with(b"-"),
        };
        if !has_right_end || [2, 35, 52].iter().any(|at| text[*at] != b'-') {
            return None;
        }
        let (id, parent) = (hex(&text[3..35])?, hex(&text[36..52])?);
        let parent = u64::try_from(parent).ok()?;
        let flags = hex(&text[53..55])?;
        let valid = id != 0 && parent != 0;
        let (id, parent) = (TraceId(id), SpanId(parent));
        valid.then_some(Self { id, parent, sampled: flags & SAMPLED != 0 })
    }
}

/// Digits in lower case alone.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// As version 00, whatever came: no other is known here.
impl fmt::Display for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{}-{}-{:02x}", self.id, self.parent, u8::from(self.sampled))
    }
}

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `00-`, 32 digits, `-`, 16 digits, `-`, two digits.
const LENGTH: usize = 55;
const SAMPLED: u128 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// OB-04.
    #[test]
    fn what_is_valid_is_read() {
        for (text, sampled) in [
            (VALID.to_owned(), true),
            (VALID.replace("-01", "-00"), false),
            (VALID.replace("-01", "-03"), true),
            (VALID.replace("-01", "-fe"), false),
            (VALID.replace("00-4", "01-4"), true),
            (VALID.replace("00-4", "cc-4"), true),
            (VALID.replace("00-4", "cc-4") + "-what-the-future-will-be-like", true),
        ] {
            let context = Context::parse(text.as_bytes()).expect(&text);
            assert_eq!(context.id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(context.parent.to_string(), "00f067aa0ba902b7");
            assert_eq!(context.sampled, sampled, "{text}");
        }
        assert_eq!(Context::parse(VALID.as_bytes()).unwrap().to_string(), VALID);
    }

    /// OB-04.
    #[test]
    fn what_is_not_valid_is_nothing() {
        let zeros = |count| "0".repeat(count);
        for text in [
            String::new(),
            VALID.to_uppercase(),
            VALID.replace("00-4", "ff-4"),
            VALID.replace("00-4", "0-4"),
            VALID.replace("00-4", "0x-4"),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros(32)),
            VALID.replace("00f067aa0ba902b7", &zeros(16)),
            VALID.replace("4bf9", "4bg9"),
            VALID.replace("-01", "-1"),
            VALID.replace("-01", "-0x"),
            VALID.replace("-00f", "_00f"),
            format!("{VALID}-x"),
            format!("{VALID}0"),
            format!("{VALID}0").replace("00-4", "cc-4"),
            VALID[..54].to_owned(),
        ] {
            assert_eq!(Context::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_share_is_a_share() {
        assert!(TraceId(u128::MAX).is_within(1.0));
        assert!(!TraceId(0).is_within(0.0));
        let within = (0..10_000).filter(|_| TraceId::fresh().is_within(0.25)).count();
        assert!((2_000..3_000).contains(&within), "{within}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(text in prop::collection::vec(any::<u8>(), 0..80)) {
            Context::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(id in 1u128.., parent in 1u64.., sampled: bool) {
            let context = Context { id: TraceId(id), parent: SpanId(parent), sampled };
            prop_assert_eq!(Context::parse(context.to_string().as_bytes()), Some(context));
        }
    }
}
