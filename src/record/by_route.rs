//! The families whose series are of routes. Between scrapes they are only numbers: a series of the
//! library is a kilobyte of names, and there may be thousands of routes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::metrics::SECONDS;
use super::route_metrics::{Durations, Outcome, RouteMetrics};

/// The counters of all routes, by pattern. Cloning shares them.
#[derive(Clone, Debug)]
pub struct ByRoute(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    routes: Mutex<Routes>,
    descriptions: Vec<Desc>,
}

type Routes = HashMap<Arc<str>, Arc<RouteMetrics>, RandomState>;

impl Default for ByRoute {
    fn default() -> Self {
        let descriptions = FAMILIES.iter().map(Family::description).collect();
        Self(Arc::new(Shared { routes: Mutex::default(), descriptions }))
    }
}

impl ByRoute {
    /// The counters of the route with this pattern, which go on over reloads.
    pub(crate) fn of(&self, pattern: &Arc<str>) -> Arc<RouteMetrics> {
        Arc::clone(self.routes().entry(Arc::clone(pattern)).or_default())
    }

    /// Removes the route's series. Requests that are still under way count on, unseen.
    pub(crate) fn forget(&self, pattern: &str) {
        self.routes().remove(pattern);
    }

    /// Each holder leaves the map whole, also one that panics.
    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ByRoute {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let routes = self.routes();
        FAMILIES.iter().map(|family| family.collect(&routes)).collect()
    }
}

/// One metric family, with labels in the order of their names; `route` is the last.
struct Family {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    kind: MetricType,
    /// Shows the values of the labels and the number of each series of a route.
    series: fn(&RouteMetrics, &mut Show<'_>),
}

type Show<'s> = dyn FnMut(&[&str], Number<'_>) + 's;

#[derive(Clone, Copy)]
enum Number<'r> {
    Count(u64),
    Durations(&'r Durations),
}

impl Family {
    fn description(&self) -> Desc {
        let labels = self.labels.iter().chain(&["route"]).map(|label| (*label).to_owned());
        let made =
            Desc::new(self.full_name(), self.help.to_owned(), labels.collect(), HashMap::new());
        made.expect("the names and labels are constants that the tests cover")
    }

    fn full_name(&self) -> String {
        format!("scopegate_{}", self.name)
    }

    fn collect(&self, routes: &Routes) -> MetricFamily {
        let mut metrics = Vec::new();
        for (pattern, route) in routes {
            (self.series)(route, &mut |values, number| {
                let pairs = self.labels.iter().zip(values).map(|(name, value)| pair(name, value));
                let labels = pairs.chain([pair("route", pattern)]).collect();
                metrics.push(metric(labels, number));
            });
        }
        let mut family = MetricFamily::default();
        family.set_name(self.full_name());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(metrics);
        family
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

#[expect(clippy::cast_precision_loss, reason = "the library counts in floating point")]
fn metric(labels: Vec<LabelPair>, number: Number<'_>) -> Metric {
    let mut metric = Metric::from_label(labels);
    match number {
        Number::Count(count) => {
            let mut counter = Counter::default();
            counter.set_value(count as f64);
            metric.set_counter(counter);
        }
        Number::Durations(durations) => metric.set_histogram(histogram(durations)),
    }
    metric
}

fn histogram(durations: &Durations) -> Histogram {
    let (within, all) = durations.cumulative();
    let bucket = |(bound, count): (&f64, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(SECONDS.iter().zip(within).map(bucket).collect());
    histogram.set_sample_count(all);
    histogram.set_sample_sum(durations.seconds());
    histogram
}

/// Counters that every route has begin at 0; the rest is there once it happens. The four empty
/// histograms of a route that nobody calls would be most of a scrape.
const FAMILIES: [Family; 5] = [
    Family {
        name: "http_requests_total",
        help: "Requests answered, by route pattern, method and status code.",
        labels: &["code", "method"],
        kind: MetricType::COUNTER,
        series: |route, show| {
            for (method, status, count) in route.requests() {
                show(&[&status.to_string(), method], Number::Count(count));
            }
        },
    },
    Family {
        name: "http_request_duration_seconds",
        help: "Time from a request's head to the end of its response.",
        labels: &["outcome"],
        kind: MetricType::HISTOGRAM,
        series: |route, show| {
            for outcome in Outcome::ALL {
                if let Some(durations) = route.durations(outcome) {
                    show(&[outcome.as_str()], Number::Durations(durations));
                }
            }
        },
    },
    Family {
        name: "http_body_bytes_total",
        help: "Body bytes passed through, by route and direction (in or out).",
        labels: &["direction"],
        kind: MetricType::COUNTER,
        series: |route, show| {
            let (received, sent) = route.bytes();
            show(&["in"], Number::Count(received));
            show(&["out"], Number::Count(sent));
        },
    },
    Family {
        name: "decisions_total",
        help: "Decisions, by route, decision (allow, deny, would_deny) and reason.",
        labels: &["decision", "reason"],
        kind: MetricType::COUNTER,
        series: |route, show| {
            for (decision, reason, count) in route.decisions() {
                show(&[decision, reason], Number::Count(count));
            }
        },
    },
    Family {
        name: "rate_limited_total",
        help: "Requests refused by a limit, by route and plan.",
        labels: &["plan"],
        kind: MetricType::COUNTER,
        series: |route, show| {
            for (plan, count) in route.exceeded() {
                show(&[plan], Number::Count(count));
            }
        },
    },
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::*;
    use crate::record::exposition::Format;
    use crate::record::metrics::Metrics;

    fn text(metrics: &Metrics) -> String {
        Format::Text.write(&metrics.registry.gather())
    }

    /// Lines of routes, without their `le` buckets.
    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = text(metrics);
        let lines = text.lines().filter(|line| line.contains("route=") && !line.contains("le="));
        lines.map(|line| line.trim_start_matches("scopegate_").to_owned()).collect()
    }

    #[test]
    fn a_route_shows_what_happened_and_that_nothing_was_allowed() {
        let metrics = Metrics::default();
        let a = metrics.by_route.of(&"/a".into());
        metrics.by_route.of(&"/b".into());
        a.count_request(&Method::GET, 200);
        a.count_duration(Outcome::Ok, Duration::from_millis(20));
        a.count_decision("allow", None);
        a.count_bytes(3, 4);
        a.count_limited("free");
        let expected = [
            r#"decisions_total{decision="allow",reason="-",route="/a"} 1"#,
            r#"decisions_total{decision="allow",reason="-",route="/b"} 0"#,
            r#"http_body_bytes_total{direction="in",route="/a"} 3"#,
            r#"http_body_bytes_total{direction="in",route="/b"} 0"#,
            r#"http_body_bytes_total{direction="out",route="/a"} 4"#,
            r#"http_body_bytes_total{direction="out",route="/b"} 0"#,
            r#"http_request_duration_seconds_sum{outcome="ok",route="/a"} 0.02"#,
            r#"http_request_duration_seconds_count{outcome="ok",route="/a"} 1"#,
            r#"http_requests_total{code="200",method="GET",route="/a"} 1"#,
            r#"rate_limited_total{plan="free",route="/a"} 1"#,
        ];
        assert_eq!(lines(&metrics), expected);
        let bucket = r#"_bucket{outcome="ok",route="/a",le="0.025"} 1"#;
        assert!(text(&metrics).contains(bucket), "{}", text(&metrics));
    }

    #[test]
    fn counters_go_on_until_their_route_is_forgotten() {
        let metrics = Metrics::default();
        let before = metrics.by_route.of(&"/a".into());
        before.count_request(&Method::GET, 200);
        metrics.by_route.of(&"/a".into()).count_request(&Method::GET, 200);
        let line =
            |count| format!(r#"http_requests_total{{code="200",method="GET",route="/a"}} {count}"#);
        assert!(lines(&metrics).contains(&line(2)), "{:?}", lines(&metrics));
        metrics.by_route.forget("/a");
        before.count_request(&Method::GET, 200);
        assert_eq!(lines(&metrics), Vec::<String>::new());
        metrics.by_route.of(&"/a".into()).count_request(&Method::GET, 200);
        assert!(lines(&metrics).contains(&line(1)), "{:?}", lines(&metrics));
    }
}
