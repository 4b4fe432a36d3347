//! `Server-Timing`: where the time of an answer went.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::Record;

/// `Server-Timing`.
pub(crate) const NAME: HeaderName = HeaderName::from_static("server-timing");

impl Record {
    /// What was spent until the head of the answer was ready: deciding, waiting for the backend, and
    /// all in all.
    pub(crate) fn timing(&self) -> HeaderValue {
        let started = self.started.monotonic;
        let end = self.answered.unwrap_or_else(|| self.now());
        let forwarded = self.forwarded.as_ref();
        let decided = forwarded.map_or(end, |forwarded| forwarded.began);
        let mut text = String::with_capacity(64);
        metric(&mut text, "auth", decided.saturating_sub(started));
        if let Some(forwarded) = forwarded {
            metric(&mut text, "upstream", forwarded.waited(end));
        }
        metric(&mut text, "total", end.saturating_sub(started));
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// In milliseconds (Server Timing §3).
fn metric(text: &mut String, name: &str, took: Duration) {
    let comma = if text.is_empty() { "" } else { ", " };
    // Writing to a String cannot fail.
    let _ = write!(text, "{comma}{name};dur={:.3}", took.as_secs_f64() * 1e3);
}
