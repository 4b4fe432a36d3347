//! A request's record as steps of its trace: the gateway's own, and that of asking the backend.
//!
//! Names are those of the semantic conventions for HTTP. Never a token, a query, or who the person
//! is.

use std::time::Duration;

use super::line::protocol;
use super::route_metrics::METHODS;
use super::{Forwarded, Record};
use crate::trace::{Attributes, Kind, Span, Trace};

impl Record {
    /// Hands the steps to whoever collects them, if anybody does.
    pub(super) fn export(&self, trace: &Trace, total: Duration) {
        trace.export(|| self.served(trace, total));
        if let Some(forwarded) = &self.forwarded {
            trace.export(|| self.asked(trace, forwarded, total));
        }
    }

    fn served(&self, trace: &Trace, total: Duration) -> Span {
        let mut attributes = Attributes::default();
        let route = self.route.as_deref().map(|route| &*route.pattern);
        self.method_to(&mut attributes);
        if let Some(target) = &self.target {
            attributes.text("url.path", target.path());
            attributes.text("server.address", target.host());
        }
        attributes.text("url.scheme", if self.tls.is_some() { "https" } else { "http" });
        attributes
            .text("network.protocol.version", protocol(self.protocol).trim_start_matches("HTTP/"));
        if let Some(route) = route {
            attributes.text("http.route", route);
        }
        status_to(&mut attributes, self.status);
        self.decision_to(&mut attributes);
        Span {
            trace_id: trace.id,
            span_id: trace.span,
            parent_span_id: trace.parent,
            trace_state: trace.state.clone(),
            name: match route {
                Some(route) => format!("{} {route}", self.known_method()),
                None => self.known_method().to_owned(),
            },
            kind: Kind::Server,
            start: self.started.unix,
            end: self.started.unix.saturating_add(total),
            attributes,
            is_failure: self.status >= 500 || self.status == 0,
        }
    }

    fn decision_to(&self, attributes: &mut Attributes) {
        let (decision, reason) = self.decision();
        attributes.text("scopegate.decision", decision);
        if let Some(reason) = reason {
            attributes.text("scopegate.reason", reason.as_str());
        }
        if let Some(client) = self.identity.as_deref().and_then(|who| who.client.as_deref()) {
            attributes.text("scopegate.client", client);
        }
        attributes.text("scopegate.request_id", self.request_id.to_str().unwrap_or_default());
    }

    fn asked(&self, trace: &Trace, forwarded: &Forwarded, total: Duration) -> Span {
        let began = forwarded.began.saturating_sub(self.started.monotonic);
        let start = self.started.unix.saturating_add(began);
        let most = self.started.monotonic.saturating_add(total);
        let mut attributes = Attributes::default();
        self.method_to(&mut attributes);
        attributes.text("scopegate.upstream", &**forwarded.upstream.name());
        if let Some(answer) = &forwarded.answer {
            let (host, port) = answer.target.rsplit_once(':').unwrap_or((&answer.target, ""));
            attributes.text("server.address", host);
            if let Ok(port) = port.parse() {
                attributes.number("server.port", port);
            }
        }
        match (&forwarded.answer, self.decision().1) {
            (Some(answer), _) => status_to(&mut attributes, answer.status),
            (None, Some(reason)) => attributes.text("error.type", reason.as_str()),
            (None, None) => attributes.text("error.type", "_OTHER"),
        }
        Span {
            trace_id: trace.id,
            span_id: trace.forward,
            parent_span_id: Some(trace.span),
            trace_state: trace.state.clone(),
            name: self.known_method().to_owned(),
            kind: Kind::Client,
            start,
            end: start.saturating_add(forwarded.waited(most)),
            attributes,
            is_failure: forwarded.answer.as_ref().is_none_or(|answer| answer.status >= 400),
        }
    }

    /// A method of the client's own is no name for a step: there would be as many as clients like.
    fn known_method(&self) -> &str {
        if METHODS.contains(&self.method) { self.method.as_str() } else { "HTTP" }
    }

    fn method_to(&self, attributes: &mut Attributes) {
        let known = METHODS.contains(&self.method);
        let method = if known { self.method.as_str() } else { "_OTHER" };
        attributes.text("http.request.method", method);
        if !known {
            let shown = self.method.as_str().get(..METHOD_BYTES).unwrap_or(self.method.as_str());
            attributes.text("http.request.method_original", shown);
        }
    }
}

/// A request that was given up has no status.
fn status_to(attributes: &mut Attributes, status: u16) {
    if status > 0 {
        attributes.number("http.response.status_code", status.into());
    }
    if status >= 500 {
        attributes.text("error.type", status.to_string());
    }
}

/// How much of a method of the client's own is shown.
const METHOD_BYTES: usize = 32;
