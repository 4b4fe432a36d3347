//! One access log line, for people or as JSON.
//!
//! Never a token, cookie or query value. Text of clients is escaped, so that a line stays a line.

use std::io::Write as _;
use std::time::Duration;

use http::Version;
use serde::Serialize;

use crate::config::{LogIdentity, Mode};
use crate::identity::{Identity, limit_key};
use crate::rejection::Rejection;

use super::Record;
use super::escape::{Printable, to_json};
use super::time::Timestamp;

#[derive(Debug, Serialize)]
pub(super) struct Line<'r> {
    time: String,
    level: &'static str,
    msg: &'static str,
    request_id: &'r str,
    client_ip: String,
    method: &'r str,
    host: Option<&'r str>,
    path: Option<&'r str>,
    route: Option<&'r str>,
    /// `gateway.yaml:10`: the rule that refused, else the route.
    rule: Option<&'r str>,
    protocol: &'static str,
    status: u16,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    required_scopes: &'r [Box<str>],
    /// The route's: whether its refusals are carried out.
    mode: Option<&'static str>,
    #[serde(flatten)]
    caller: Caller<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_remaining: Option<u32>,
    #[serde(flatten)]
    backend: Backend<'r>,
    duration_ms: f64,
    overhead_us: u64,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'static str>,
    /// Whether the response broke off before its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    #[serde(skip)]
    wall: Duration,
}

#[derive(Debug, Default, Serialize)]
struct Caller<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti_hash: Option<&'r str>,
}

#[derive(Debug, Default, Serialize)]
struct Backend<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
}

impl<'r> Line<'r> {
    pub(super) fn of(record: &'r Record, total: Duration, identity: LogIdentity) -> Self {
        let (decision, reason) = record.decision();
        let refusal = record.refusal();
        let rule = refusal.and_then(Rejection::rule);
        let route = record.route.as_deref();
        Self {
            time: Timestamp(record.started.unix).to_string(),
            level: if record.status >= 500 || record.status == 0 { "error" } else { "info" },
            msg: "request",
            request_id: record.request_id.to_str().unwrap_or_default(),
            client_ip: record.client.unwrap_or(record.peer.ip()).to_string(),
            method: record.method.as_str(),
            host: record.target.as_ref().map(|target| target.host()),
            path: record.target.as_ref().map(|target| target.path()),
            route: route.map(|route| &*route.pattern),
            rule: rule.or(route.map(|route| &*route.at)),
            protocol: protocol(record.protocol),
            status: record.status,
            decision,
            reason: reason.map(|reason| reason.as_str()),
            required_scopes: refusal.map_or(&[], Rejection::required_scopes),
            mode: route.map(|route| mode(route.mode)),
            caller: record
                .identity
                .as_deref()
                .map_or_else(Caller::default, |caller| Caller::of(caller, identity)),
            plan: record.counted_by(),
            limit_remaining: record.remaining,
            backend: record.forwarded.as_ref().map_or_else(Backend::default, Backend::of),
            duration_ms: millis(total),
            overhead_us: u64::try_from(record.overhead(total).as_micros()).unwrap_or(u64::MAX),
            bytes_in: record.bytes_in(),
            bytes_out: record.bytes_out,
            user_agent: record.user_agent.as_ref().map(|agent| shortened(agent.as_bytes())),
            tls: record.tls,
            cut: record.cut,
            wall: record.started.unix,
        }
    }

    pub(super) fn json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// `10:42:03 403 DELETE /timesheets/42    alice via web-app   0.1 ms  missing_scope`.
    pub(super) fn human(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let path = Printable(self.path.unwrap_or("-"));
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "  {:#} {} {:<6} {:<28} {:<24} {:>6.1} ms",
            Timestamp(self.wall),
            self.status,
            Printable(self.method),
            path.to_string(),
            self.who(),
            self.duration_ms,
        );
        if let Some(reason) = self.reason {
            let would = if self.decision == "would_deny" { "would deny: " } else { "" };
            let scopes = self.required_scopes.join(" ");
            let space = if scopes.is_empty() { "" } else { " " };
            let _ = write!(out, "  {would}{reason}{space}{scopes}");
            if let Some(rule) = self.rule {
                let _ = write!(out, "  {}", Printable(rule));
            }
        }
        out
    }

    fn who(&self) -> String {
        let client = self.caller.client.map(|client| Printable(client).to_string());
        match (self.caller.sub.as_deref(), client) {
            (Some(sub), Some(client)) => format!("{} via {client}", Printable(sub)),
            (Some(sub), None) => Printable(sub).to_string(),
            (None, Some(client)) => client,
            (None, None) => "-".to_owned(),
        }
    }
}

impl<'r> Caller<'r> {
    fn of(caller: &'r Identity, shown: LogIdentity) -> Self {
        let sub = caller.subject.as_deref().map(|sub| match shown {
            LogIdentity::Full => Some(sub.to_owned()),
            LogIdentity::Hash => {
                Some(format!("#{:016x}", limit_key("log", &[&caller.issuer_url, sub]) as u64))
            }
            LogIdentity::None => None,
        });
        Self {
            issuer: Some(&caller.issuer),
            sub: sub.flatten(),
            client: caller.client.as_deref(),
            token_kind: Some(caller.kind.as_str()),
            scopes: Some(caller.scopes.join(" ")),
            jti_hash: caller.jti_hash.as_deref(),
        }
    }
}

impl<'r> Backend<'r> {
    fn of(forwarded: &'r super::Forwarded) -> Self {
        let answer = forwarded.answer.as_ref();
        Self {
            upstream: Some(forwarded.upstream.name()),
            target: answer.map(|answer| &*answer.target),
            upstream_status: answer.map(|answer| answer.status),
            upstream_ms: answer.map(|answer| millis(answer.waited)),
        }
    }
}

fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(256)]).into_owned()
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn protocol(version: Version) -> &'static str {
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
