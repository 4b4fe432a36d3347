//! The metric families of `/metrics`, by their stable names.
//!
//! Labels never hold paths, subjects, key ids, addresses or client ids that are not configured.
//! Whoever counts resolves its handles once, at load, and keeps them.

use std::collections::{HashMap, HashSet};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

use super::by_route::ByRoute;

/// All families. Cloning shares them.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is described by its HELP text below")]
pub struct Metrics {
    pub registry: Registry,
    /// What is counted by route.
    pub by_route: ByRoute,
    pub overhead: Histogram,
    pub http_requests_in_flight: IntGaugeVec,
    pub connections: IntGaugeVec,
    pub tokens: IntCounterVec,
    pub token_cache_requests: IntCounterVec,
    pub token_cache_entries: IntGauge,
    pub issuer_up: IntGaugeVec,
    pub issuer_keys: IntGaugeVec,
    pub issuer_keys_last_success: GaugeVec,
    pub issuer_requests: IntCounterVec,
    pub issuer_request_duration: HistogramVec,
    pub client_requests: IntCounterVec,
    pub upstream_requests: IntCounterVec,
    pub upstream_request_duration: HistogramVec,
    pub upstream_errors: IntCounterVec,
    pub upstream_retries: IntCounterVec,
    pub upstream_ejections: IntCounterVec,
    pub upstream_up: IntGaugeVec,
    pub upstream_connections: IntGaugeVec,
    pub config_reloads: IntCounterVec,
    pub config_last_reload_successful: IntGauge,
    pub config_last_reload_success: Gauge,
    pub routes: IntGaugeVec,
    pub tls_certificate_expiry: GaugeVec,
    pub trace_spans: IntCounterVec,
    pub revocations: IntCounterVec,
    pub revocation_entries: IntGaugeVec,
    pub revocation_entries_not_durable: IntGaugeVec,
    pub revocation_up: IntGaugeVec,
}

/// The bounds of the histograms of requests.
pub(super) const SECONDS: [f64; 11] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const OVERHEAD: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
];

impl Default for Metrics {
    fn default() -> Self {
        let make = Maker { registry: Registry::new() };
        Self {
            by_route: make.register(Ok(ByRoute::default())),
            overhead: make.histogram(
                "overhead_seconds",
                "Time spent in the gateway itself, without waiting for the backend.",
            ),
            http_requests_in_flight: make.gauges(
                "http_requests_in_flight",
                "Requests being answered now.",
                &["listener"],
            ),
            connections: make.gauges("connections", "Client connections open now.", &["listener"]),
            tokens: make.counters(
                "tokens_total",
                "Tokens checked, by issuer and result (valid or a reason).",
                &["issuer", "result"],
            ),
            token_cache_requests: make.counters(
                "token_cache_requests_total",
                "Look-ups in the cache of verified tokens.",
                &["result"],
            ),
            token_cache_entries: make
                .gauge("token_cache_entries", "Verified tokens remembered now."),
            issuer_up: make.gauges(
                "issuer_up",
                "Whether the last refresh of the issuer's keys succeeded.",
                &["issuer"],
            ),
            issuer_keys: make.gauges(
                "issuer_keys",
                "Keys of the issuer that can verify tokens.",
                &["issuer"],
            ),
            issuer_keys_last_success: make.float_gauges(
                "issuer_keys_last_success_timestamp_seconds",
                "When the issuer's keys were last fetched.",
                &["issuer"],
            ),
            issuer_requests: make.counters(
                "issuer_requests_total",
                "Requests to the issuer, by kind (discovery, keys, introspection) and result.",
                &["issuer", "kind", "result"],
            ),
            issuer_request_duration: make.histograms(
                "issuer_request_duration_seconds",
                "Time that the issuer took to answer.",
                &["issuer", "kind"],
            ),
            client_requests: make.counters(
                "client_requests_total",
                "Requests of configured clients (all others: other), by plan and outcome.",
                &["client", "plan", "outcome"],
            ),
            upstream_requests: make.counters(
                "upstream_requests_total",
                "Answers of the upstream, by status code.",
                &["upstream", "code"],
            ),
            upstream_request_duration: make.histograms(
                "upstream_request_duration_seconds",
                "Time from sending a request to the head of the upstream's response.",
                &["upstream"],
            ),
            upstream_errors: make.counters(
                "upstream_errors_total",
                "Requests that the upstream did not answer, by reason.",
                &["upstream", "reason"],
            ),
            upstream_retries: make.counters(
                "upstream_retries_total",
                "Requests that were sent again after a try that failed, or were not for lack of \
                 budget, by result (sent or over_budget).",
                &["upstream", "result"],
            ),
            upstream_ejections: make.counters(
                "upstream_ejections_total",
                "How often a target was left out for failing requests.",
                &["upstream"],
            ),
            upstream_up: make.gauges(
                "upstream_up",
                "Whether the target is up: reachable when last tried, not found down, not ejected.",
                &["upstream", "target"],
            ),
            upstream_connections: make.gauges(
                "upstream_connections",
                "Connections to the upstream, by state (active or idle).",
                &["upstream", "state"],
            ),
            config_reloads: make.counters(
                "config_reloads_total",
                "Reloads of the configuration, by result (accepted or rejected).",
                &["result"],
            ),
            config_last_reload_successful: make
                .gauge("config_last_reload_successful", "Whether the last reload was accepted."),
            config_last_reload_success: make.float_gauge(
                "config_last_reload_success_timestamp_seconds",
                "When a configuration was last accepted.",
            ),
            routes: make.gauges(
                "routes",
                "Routes of the configuration, by access (public, protected, report).",
                &["access"],
            ),
            tls_certificate_expiry: make.float_gauges(
                "tls_certificate_expiry_timestamp_seconds",
                "When the certificate expires.",
                &["name"],
            ),
            trace_spans: make.counters(
                "trace_spans_total",
                "Steps of traces, by what became of them (exported or dropped).",
                &["result"],
            ),
            revocations: make.counters(
                "revocations_total",
                "Revocations asked for, by what they refuse, where they came from and the result.",
                &["kind", "source", "result"],
            ),
            revocation_entries: make.gauges(
                "revocation_entries",
                "Revocations in force, by what they refuse.",
                &["kind"],
            ),
            revocation_entries_not_durable: make.gauges(
                "revocation_entries_not_durable",
                "Revocations in force that a restart would forget, since the store failed.",
                &["part"],
            ),
            revocation_up: make.gauges(
                "revocation_up",
                "Whether the last use of the revocation store or file succeeded.",
                &["part"],
            ),
            registry: make.registry,
        }
    }
}

impl Metrics {
    /// Removes every series with one of these values of the label, such as those of issuers that
    /// are gone.
    pub fn forget(&self, label: &str, gone: &HashSet<&str>) {
        if gone.is_empty() {
            return;
        }
        forget(&self.tokens, label, gone);
        forget(&self.issuer_up, label, gone);
        forget(&self.issuer_keys, label, gone);
        forget(&self.issuer_keys_last_success, label, gone);
        forget(&self.issuer_requests, label, gone);
        forget(&self.issuer_request_duration, label, gone);
        forget(&self.client_requests, label, gone);
        forget(&self.upstream_requests, label, gone);
        forget(&self.upstream_request_duration, label, gone);
        forget(&self.upstream_errors, label, gone);
        forget(&self.upstream_retries, label, gone);
        forget(&self.upstream_ejections, label, gone);
        forget(&self.upstream_up, label, gone);
        forget(&self.upstream_connections, label, gone);
    }
}

fn forget<B: MetricVecBuilder>(family: &MetricVec<B>, label: &str, gone: &HashSet<&str>) {
    for series in family.collect().iter().flat_map(|family| family.get_metric()) {
        let labels = series.get_label();
        if labels.iter().any(|pair| pair.name() == label && gone.contains(pair.value())) {
            let labels: HashMap<&str, &str> =
                labels.iter().map(|pair| (pair.name(), pair.value())).collect();
            // The series was there a moment ago; if it is gone now, that is what was wanted.
            drop(family.remove(&labels));
        }
    }
}

/// Makes families with our prefix and registers each.
struct Maker {
    registry: Registry,
}

impl Maker {
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let family = made.expect("the names and labels are constants that the tests cover");
        let registered = self.registry.register(Box::new(family.clone()));
        registered.expect("each name is used once");
        family
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(options(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(options(name, help), labels))
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(GaugeVec::new(options(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(options(name, help)))
    }

    fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::with_opts(options(name, help)))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::from(options(name, help)).buckets(SECONDS.to_vec());
        self.register(HistogramVec::new(options, labels))
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        let options = HistogramOpts::from(options(name, help)).buckets(OVERHEAD.to_vec());
        self.register(Histogram::with_opts(options))
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("scopegate_{name}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_issuer_loses_its_series_and_others_keep_theirs() {
        let metrics = Metrics::default();
        metrics.tokens.with_label_values(&["a", "valid"]).inc();
        metrics.tokens.with_label_values(&["b", "valid"]).inc();
        metrics.forget("issuer", &HashSet::from(["a"]));
        let families = metrics.tokens.collect();
        let series = families[0].get_metric();
        assert_eq!(series.len(), 1);
        assert!(series[0].get_label().iter().any(|pair| pair.value() == "b"));
    }
}
