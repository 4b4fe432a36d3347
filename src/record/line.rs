//! One access log line, for people or as JSON.
//!
//! Never a token, cookie or query value. Text of clients is escaped, so that a line stays a line.

use std::io::Write as _;
use std::time::Duration;

use http::Version;

use crate::config::{LogIdentity, Mode};
use crate::identity::{Identity, limit_key};
use crate::rejection::Rejection;

use super::escape::Printable;
use super::fields::{Fields, micros};
use super::time::Timestamp;
use super::{Forwarded, Record};

/// What a line is made of.
pub(super) struct Line<'r> {
    pub(super) record: &'r Record,
    /// From the request's head to the response's end.
    pub(super) total: Duration,
    /// How callers are named.
    pub(super) identity: LogIdentity,
}

impl Line<'_> {
    /// Appends the line as a JSON object.
    pub(super) fn json(&self, out: &mut Vec<u8>) {
        let mut fields = Fields::begin(out);
        self.request(&mut fields);
        self.decision(&mut fields);
        if let Some(caller) = &self.record.identity {
            self.caller(caller, &mut fields);
        }
        fields.known("plan", self.record.counted_by());
        if let Some(remaining) = self.record.remaining {
            fields.number("limit_remaining", remaining.into());
        }
        if let Some(forwarded) = &self.record.forwarded {
            backend(forwarded, &mut fields);
        }
        self.end(&mut fields);
        fields.end();
    }

    fn request(&self, fields: &mut Fields<'_>) {
        let record = self.record;
        let failed = record.status >= 500 || record.status == 0;
        let target = record.target.as_ref();
        fields.time("time", &Timestamp(record.started.unix));
        fields.word("level", if failed { "error" } else { "info" });
        fields.word("msg", "request");
        fields.text("request_id", record.request_id.to_str().unwrap_or_default());
        if let Some(trace) = record.trace_id() {
            fields.shown("trace_id", trace);
        }
        fields.shown("client_ip", record.client.unwrap_or(record.peer.ip()));
        fields.text("method", record.method.as_str());
        fields.nullable("host", target.map(|target| target.host()));
        fields.nullable("path", target.map(|target| target.path()));
    }

    fn decision(&self, fields: &mut Fields<'_>) {
        let record = self.record;
        let route = record.route.as_deref();
        let (decision, reason) = record.decision();
        fields.nullable("route", route.map(|route| &*route.pattern));
        fields.nullable("rule", self.rule());
        fields.word("protocol", protocol(record.protocol));
        fields.number("status", record.status.into());
        fields.word("decision", decision);
        fields.known("reason", reason.map(|reason| reason.as_str()));
        fields.known("cors", record.preflight);
        let scopes = self.required_scopes();
        if !scopes.is_empty() {
            fields.list("required_scopes", scopes);
        }
        fields.nullable("mode", route.map(|route| mode(route.mode)));
    }

    fn caller(&self, caller: &Identity, fields: &mut Fields<'_>) {
        fields.text("issuer", &caller.issuer);
        match (self.identity, &caller.subject) {
            (LogIdentity::Full, Some(subject)) => fields.text("sub", subject),
            (LogIdentity::Hash, Some(subject)) => fields.text("sub", &hashed(caller, subject)),
            (LogIdentity::None, _) | (_, None) => {}
        }
        fields.known("client", caller.client.as_deref());
        fields.word("token_kind", caller.kind.as_str());
        fields.joined("scopes", caller.scopes.iter().map(AsRef::as_ref));
        fields.known("jti_hash", caller.jti_hash.as_deref());
    }

    fn end(&self, fields: &mut Fields<'_>) {
        let record = self.record;
        let overhead = record.overhead(self.total).as_micros();
        fields.millis("duration_ms", self.total);
        fields.number("overhead_us", u64::try_from(overhead).unwrap_or(u64::MAX));
        fields.number("bytes_in", record.bytes_in());
        fields.number("bytes_out", record.bytes_out);
        if let Some(agent) = &record.user_agent {
            fields.text("user_agent", &String::from_utf8_lossy(agent.as_bytes()));
        }
        fields.known("tls", record.tls);
        // Whether the response broke off before its end.
        if record.cut {
            fields.flag("cut");
        }
    }

    /// Appends `10:42:03 403 DELETE /timesheets/42    alice via web-app   0.1 ms  missing_scope`.
    pub(super) fn human(&self, out: &mut Vec<u8>) {
        let record = self.record;
        let path = Printable(record.target.as_ref().map_or("-", |target| target.path()));
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "  {} {} {:<6} {:<28} {:<24} {:>6.1} ms",
            Timestamp(record.started.unix),
            record.status,
            Printable(record.method.as_str()),
            path.to_string(),
            self.who(),
            micros(self.total) as f64 / 1e3,
        );
        let (decision, Some(reason)) = record.decision() else { return };
        let would = if decision == "would_deny" { "would deny: " } else { "" };
        let scopes = self.required_scopes().join(" ");
        let space = if scopes.is_empty() { "" } else { " " };
        let _ = write!(out, "  {would}{}{space}{scopes}", reason.as_str());
        if let Some(rule) = self.rule() {
            let _ = write!(out, "  {}", Printable(rule));
        }
    }

    fn who(&self) -> String {
        let Some(caller) = self.record.identity.as_deref() else { return "-".to_owned() };
        let subject = caller.subject.as_deref().and_then(|subject| match self.identity {
            LogIdentity::Full => Some(Printable(subject).to_string()),
            LogIdentity::Hash => Some(hashed(caller, subject)),
            LogIdentity::None => None,
        });
        let client = caller.client.as_deref().map(|client| Printable(client).to_string());
        match (subject, client) {
            (Some(subject), Some(client)) => format!("{subject} via {client}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "-".to_owned(),
        }
    }

    /// `gateway.yaml:10`: the rule that refused, else the route.
    fn rule(&self) -> Option<&str> {
        let refused = self.record.refusal().and_then(Rejection::rule);
        refused.or(self.record.route.as_deref().map(|route| &*route.at))
    }

    fn required_scopes(&self) -> &[Box<str>] {
        self.record.refusal().map_or(&[], Rejection::required_scopes)
    }
}

fn backend(forwarded: &Forwarded, fields: &mut Fields<'_>) {
    fields.text("upstream", forwarded.upstream.name());
    if forwarded.tries > 0 {
        fields.number("tries", forwarded.tries.into());
    }
    if let Some(answer) = &forwarded.answer {
        fields.text("target", &answer.target);
        fields.number("upstream_status", answer.status.into());
        fields.millis("upstream_ms", answer.waited);
    }
}

/// A name that ties the lines of one person together and does not say whose they are.
fn hashed(caller: &Identity, subject: &str) -> String {
    format!("#{:016x}", limit_key("log", &[&caller.issuer_url, subject]) as u64)
}

pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Report => "report",
    }
}
