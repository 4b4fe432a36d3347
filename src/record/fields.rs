//! A JSON object on one line, written field by field into a buffer that is there already.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use super::escape::push_escaped;
use super::time::Timestamp;
use crate::digits;

/// An object whose fields are being written. Names are the crate's own and need no escape.
pub(super) struct Fields<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Fields<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// A text of the crate's own, with nothing to escape.
    pub(super) fn word(&mut self, name: &'static str, value: &'static str) {
        let out = self.name(name);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }

    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        self.joined(name, [value]);
    }

    /// A text, or no field.
    pub(super) fn known(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A text, or `null`.
    pub(super) fn nullable(&mut self, name: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.name(name).extend_from_slice(b"null"),
        }
    }

    /// One text of several, with spaces between them.
    pub(super) fn joined<'t>(
        &mut self,
        name: &'static str,
        values: impl IntoIterator<Item = &'t str>,
    ) {
        let out = self.name(name);
        out.push(b'"');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            push_escaped(out, value);
        }
        out.push(b'"');
    }

    /// A list of texts.
    pub(super) fn list(&mut self, name: &'static str, values: &[Box<str>]) {
        let out = self.name(name);
        for (index, value) in values.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"[\"" } else { b",\"" });
            push_escaped(out, value);
            out.push(b'"');
        }
        out.push(b']');
    }

    /// What is shown with nothing to escape, such as an address.
    pub(super) fn shown(&mut self, name: &'static str, value: impl Display) {
        // Writing to a Vec cannot fail.
        let _ = write!(self.name(name), "\"{value}\"");
    }

    pub(super) fn time(&mut self, name: &'static str, value: &Timestamp) {
        let out = self.name(name);
        out.push(b'"');
        value.push(out);
        out.push(b'"');
    }

    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        digits::push(self.name(name), value, 1);
    }

    /// A duration in milliseconds, to the microsecond: `0.25`, `12.0`.
    pub(super) fn millis(&mut self, name: &'static str, value: Duration) {
        let micros = micros(value);
        let out = self.name(name);
        digits::push(out, micros / 1000, 1);
        out.push(b'.');
        digits::push(out, micros % 1000, 3);
        let zeros = out.iter().rev().take(2).take_while(|digit| **digit == b'0').count();
        out.truncate(out.len() - zeros);
    }

    /// `true`.
    pub(super) fn flag(&mut self, name: &'static str) {
        self.name(name).extend_from_slice(b"true");
    }

    /// Begins a field; what follows is its value.
    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }
}

/// To the nearest microsecond.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from((duration.as_nanos() + 500) / 1000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_reads_back_as_it_was_written() {
        let mut out = Vec::new();
        let mut fields = Fields::begin(&mut out);
        fields.text("text", "a\"b");
        fields.known("left_out", None);
        fields.nullable("nothing", None);
        fields.joined("scopes", ["a", "b"]);
        fields.list("list", &["x".into(), "y".into()]);
        fields.shown("address", std::net::Ipv6Addr::LOCALHOST);
        fields.number("most", u64::MAX);
        fields.number("least", 0);
        fields.flag("cut");
        fields.end();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"text":"a\"b","nothing":null,"scopes":"a b","list":["x","y"],"address":"::1","most":18446744073709551615,"least":0,"cut":true}"#
        );
    }

    #[test]
    fn durations_are_written_as_serde_writes_milliseconds() {
        let millis = |value| {
            let mut out = Vec::new();
            Fields::begin(&mut out).millis("m", value);
            String::from_utf8(out).unwrap()
        };
        for micros in [0, 1, 10, 100, 250, 999, 1000, 1010, 12_000, 123_456_789] {
            let expected = serde_json::json!(micros as f64 / 1000.0);
            let value = Duration::from_micros(micros);
            assert_eq!(millis(value), format!("{{\"m\":{expected}"));
        }
        assert_eq!(millis(Duration::from_nanos(1500)), "{\"m\":0.002");
    }
}
