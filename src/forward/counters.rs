//! The metrics of one upstream, resolved once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::exchange::Fault;
use crate::record::metrics::Metrics;

/// The handles of one upstream.
#[derive(Debug)]
pub(super) struct Counters {
    upstream: String,
    requests: IntCounterVec,
    /// By status code from 100; resolved when first seen, so that only real codes are exported.
    codes: Box<[OnceLock<IntCounter>]>,
    duration: Histogram,
    refused: IntCounter,
    timeout: IntCounter,
    reset: IntCounter,
    dns: IntCounter,
    tls: IntCounter,
    no_healthy: IntCounter,
    overloaded: IntCounter,
    again: IntCounter,
    over_budget: IntCounter,
    ejections: IntCounter,
    pub(super) active: IntGauge,
    pub(super) idle: IntGauge,
    retired: AtomicBool,
}

impl Counters {
    pub(super) fn new(upstream: &str, metrics: &Metrics) -> Self {
        let error = |reason| metrics.upstream_errors.with_label_values(&[upstream, reason]);
        let retries = |result| metrics.upstream_retries.with_label_values(&[upstream, result]);
        let connections =
            |state| metrics.upstream_connections.with_label_values(&[upstream, state]);
        Self {
            upstream: upstream.to_owned(),
            requests: metrics.upstream_requests.clone(),
            codes: (FIRST_CODE..=LAST_CODE).map(|_| OnceLock::new()).collect(),
            duration: metrics.upstream_request_duration.with_label_values(&[upstream]),
            refused: error("refused"),
            timeout: error("timeout"),
            reset: error("reset"),
            dns: error("dns"),
            tls: error("tls"),
            no_healthy: error("no_healthy"),
            overloaded: error("overloaded"),
            again: retries("sent"),
            over_budget: retries("over_budget"),
            ejections: metrics.upstream_ejections.with_label_values(&[upstream]),
            active: connections("active"),
            idle: connections("idle"),
            retired: AtomicBool::new(false),
        }
    }

    /// Makes no new series from now on.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Counts the head of a response.
    pub(super) fn answered(&self, status: StatusCode, seconds: f64) {
        if self.retired.load(Ordering::Acquire) {
            return;
        }
        let code = usize::from(status.as_u16() - FIRST_CODE);
        let resolve = || self.requests.with_label_values(&[&*self.upstream, status.as_str()]);
        match self.codes.get(code) {
            Some(counter) => counter.get_or_init(resolve).inc(),
            // 600 to 999 mean nothing in HTTP, and a backend could make a series of each.
            None => self.requests.with_label_values(&[&*self.upstream, "other"]).inc(),
        }
        self.duration.observe(seconds);
    }

    /// Counts a request that a bound of the upstream stopped.
    pub(super) fn overloaded(&self) {
        self.overloaded.inc();
    }

    /// Counts a request that is sent again, or would have been if the budget had allowed it.
    pub(super) fn retried(&self, sent: bool) {
        if sent { self.again.inc() } else { self.over_budget.inc() }
    }

    /// Counts a target that was left out for failing.
    pub(super) fn ejected(&self) {
        self.ejections.inc();
    }

    /// Counts a request that was not answered. An answer that is not HTTP counts as `reset`: the
    /// connection is thrown away.
    pub(super) fn failed(&self, fault: Fault) {
        match fault {
            Fault::Dns => self.dns.inc(),
            Fault::NoHealthy => self.no_healthy.inc(),
            Fault::Protocol | Fault::Reset => self.reset.inc(),
            Fault::Refused => self.refused.inc(),
            Fault::Timeout => self.timeout.inc(),
            Fault::Tls(_) => self.tls.inc(),
        }
    }
}

const FIRST_CODE: u16 = 100;
const LAST_CODE: u16 = 599;
