//! One route's counters, resolved once: counting a request hashes no label.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::Method;
use prometheus::{Histogram, IntCounter, IntCounterVec};

use crate::rejection::Reason;

use super::metrics::Metrics;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The backend answered, whatever it said.
    Ok,
    /// The gateway refused it.
    Denied,
    /// A limit refused it.
    Limited,
    /// The gateway or the backend failed.
    Error,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Ok, Self::Denied, Self::Limited, Self::Error];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Error => "error",
        }
    }
}

/// The handles of one route.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    pattern: Arc<str>,
    requests: IntCounterVec,
    /// By method, then by status: filled as they occur.
    requests_by: [OnceLock<Box<[OnceLock<IntCounter>]>>; METHODS.len() + 1],
    durations: [Histogram; 4],
    decisions: IntCounterVec,
    allowed: IntCounter,
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    rate_limited: IntCounterVec,
    retired: AtomicBool,
}

impl RouteMetrics {
    pub(crate) fn new(metrics: &Metrics, pattern: &str) -> Self {
        let duration = |outcome: Outcome| {
            metrics.http_request_duration.with_label_values(&[pattern, outcome.as_str()])
        };
        Self {
            pattern: pattern.into(),
            requests: metrics.http_requests.clone(),
            requests_by: Default::default(),
            durations: Outcome::ALL.map(duration),
            allowed: metrics.decisions.with_label_values(&[pattern, "allow", "-"]),
            decisions: metrics.decisions.clone(),
            bytes_in: metrics.http_body_bytes.with_label_values(&[pattern, "in"]),
            bytes_out: metrics.http_body_bytes.with_label_values(&[pattern, "out"]),
            rate_limited: metrics.rate_limited.clone(),
            retired: AtomicBool::new(false),
        }
    }

    /// Makes no new series from now on: the route is gone, and only requests that are under way
    /// still use it.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(crate) fn count_request(&self, method: &Method, status: u16) {
        if self.is_retired() {
            return;
        }
        let known = METHODS.iter().position(|known| known == method);
        let row = known.unwrap_or(METHODS.len());
        let name = METHODS.get(row).map_or("OTHER", Method::as_str);
        let make = || self.requests.with_label_values(&[&*self.pattern, name, &status.to_string()]);
        let Some(column) = STATUSES.iter().position(|known| *known == status) else {
            return make().inc();
        };
        let row = self.requests_by[row]
            .get_or_init(|| (0..STATUSES.len()).map(|_| OnceLock::new()).collect());
        row[column].get_or_init(make).inc();
    }

    pub(crate) fn duration(&self, outcome: Outcome) -> &Histogram {
        match outcome {
            Outcome::Ok => &self.durations[0],
            Outcome::Denied => &self.durations[1],
            Outcome::Limited => &self.durations[2],
            Outcome::Error => &self.durations[3],
        }
    }

    pub(crate) fn count_decision(&self, decision: &str, reason: Option<Reason>) {
        match reason {
            None => self.allowed.inc(),
            Some(_) if self.is_retired() => {}
            Some(reason) => {
                let labels = [&*self.pattern, decision, reason.as_str()];
                self.decisions.with_label_values(&labels).inc();
            }
        }
    }

    pub(crate) fn count_limited(&self, plan: &str) {
        if !self.is_retired() {
            self.rate_limited.with_label_values(&[&*self.pattern, plan]).inc();
        }
    }

    pub(crate) fn count_bytes(&self, received: u64, sent: u64) {
        if received > 0 {
            self.bytes_in.inc_by(received);
        }
        if sent > 0 {
            self.bytes_out.inc_by(sent);
        }
    }
}

/// The methods that have a label of their own; all others are `OTHER`, so that clients cannot
/// make series.
const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

/// The statuses whose counters are kept at hand.
const STATUSES: [u16; 22] = [
    200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 502,
    503, 504, 0,
];
