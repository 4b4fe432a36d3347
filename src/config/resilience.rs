//! What an upstream does about servers that fail: checks, ejection, retries and bounds.

use std::time::Duration;

use http::{HeaderValue, Uri};

use super::language::{EJECTION, HEALTH, RETRY};
use super::reading::{Fault, Fields, Reading};
use super::server::set;
use super::value::{count, duration, parsed, some, wait, word};
use super::yaml::{Node, Value};

/// What an upstream does about servers that fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resilience {
    /// Asks each target now and then how it is. Default not at all.
    pub health: Option<HealthCheck>,
    /// Leaves out targets that fail requests; `None` for `ejection: off`. Never one that is alone.
    pub ejection: Option<Ejection>,
    /// Sends requests again that failed. Default not at all.
    pub retry: Option<Retry>,
    /// How long a target that is new or has come back is given less than its share. Default 0.
    pub slow_start: Duration,
    /// The most connections to each target. Default 10 000.
    pub max_connections: usize,
    /// The most requests under way at the upstream. Default unlimited.
    pub max_requests: Option<usize>,
    /// The most requests that wait until one of these bounds lets them go on. Default 1 000.
    pub max_pending: usize,
}

impl Default for Resilience {
    fn default() -> Self {
        Self {
            health: None,
            ejection: Some(Ejection::default()),
            retry: None,
            slow_start: Duration::ZERO,
            max_connections: 10_000,
            max_requests: None,
            max_pending: 1_000,
        }
    }
}

/// How a target is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path, and a query if there is one, of a GET.
    pub path: String,
    /// The `Host` that the target sees. Default the target's own.
    pub host: Option<HeaderValue>,
    /// The time between two checks of a target. Default 5 s, a tenth more or less.
    pub every: Duration,
    /// The time for connecting and the head of the answer together. Default 2 s.
    pub timeout: Duration,
    /// So many good answers in a row make a target that is down up. Default 2.
    pub healthy: u32,
    /// So many failures in a row make a target that is up down. Default 3.
    pub unhealthy: u32,
    /// The statuses of a good answer, as ranges with both ends. Default 200 to 399.
    pub status: Vec<(u16, u16)>,
    /// While less than this share of the targets, in percent, is up, the checks do not count.
    /// Default 0: they count until none is up.
    pub panic: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            host: None,
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy: 2,
            unhealthy: 3,
            status: vec![(200, 399)],
            panic: 0,
        }
    }
}

/// When a target is left out for failing requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// So many failures in a row. Default 5.
    pub failures: u32,
    /// How long at first; each further time is longer by as much. Default 30 s.
    pub time: Duration,
    /// How long at most. Default 5 min.
    pub max_time: Duration,
    /// The share of the targets, in percent, that may be out. Default 50.
    pub max_share: u32,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 5,
            time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_share: 50,
        }
    }
}

/// Which requests are sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often at most. Default 1.
    pub times: u32,
    /// After what. Default [`RetryOn::Connect`] and [`RetryOn::Reset`].
    pub on: Vec<RetryOn>,
    /// How many retries there may be, in percent of the requests of the last ten seconds, beside
    /// three in a second that there may always be. Default 20.
    pub budget: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { times: 1, on: vec![RetryOn::Connect, RetryOn::Reset], budget: 20 }
    }
}

/// What a request is sent again after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection: the backend saw nothing.
    Connect,
    /// The connection ended before the head of an answer.
    Reset,
    /// This answer: 502, 503 or 504.
    Status(u16),
}

/// The keys of an upstream that say what it does about servers that fail.
pub(super) fn resilience(reading: &mut Reading<'_>, fields: &Fields<'_>) -> Resilience {
    let mut found = Resilience {
        health: fields.read(reading, "health", health),
        retry: fields.read(reading, "retry", retry).flatten(),
        max_requests: fields.read(reading, "max_requests", at_least_one),
        ..Resilience::default()
    };
    let pending = |reading: &mut Reading<'_>, node: &Node| amount(reading, node, 0);
    set(&mut found.ejection, fields.read(reading, "ejection", ejection));
    set(&mut found.slow_start, fields.read(reading, "slow_start", duration));
    set(&mut found.max_connections, fields.read(reading, "max_connections", at_least_one));
    set(&mut found.max_pending, fields.read(reading, "max_pending", pending));
    found
}

/// A target's weight.
pub(super) fn weight(reading: &mut Reading<'_>, node: &Node) -> Option<u32> {
    number(reading, node, 1, 1_000)
}

fn health(reading: &mut Reading<'_>, node: &Node) -> Option<HealthCheck> {
    let fields = Fields::open(reading, node, &HEALTH, " in `health`")?;
    let mut check = HealthCheck::default();
    set(
        &mut check.path,
        fields.read(reading, "path", |reading, node| {
            parsed(reading, node, "a path such as `/healthz`", parse_path)
        }),
    );
    check.host = fields.read(reading, "host", |reading, node| {
        parsed(reading, node, "a host such as `orders.example.com`", parse_host)
    });
    set(&mut check.every, fields.read(reading, "every", wait));
    set(&mut check.timeout, fields.read(reading, "timeout", wait));
    set(&mut check.healthy, fields.read(reading, "healthy", in_a_row));
    set(&mut check.unhealthy, fields.read(reading, "unhealthy", in_a_row));
    set(&mut check.panic, fields.read(reading, "panic", percent));
    let status = |reading: &mut Reading<'_>, node: &Node| {
        let range = |reading: &mut Reading<'_>, node: &Node| {
            parsed(reading, node, "a status or a range such as `200-399`", parse_statuses)
        };
        Some(some(reading, node, range)).filter(|ranges| !ranges.is_empty())
    };
    set(&mut check.status, fields.read(reading, "status", status));
    Some(check)
}

/// `off`, or a mapping.
fn ejection(reading: &mut Reading<'_>, node: &Node) -> Option<Option<Ejection>> {
    if !matches!(node.value, Value::Map(_)) {
        return word(reading, node, &[("off", None)]);
    }
    let fields = Fields::open(reading, node, &EJECTION, " in `ejection`")?;
    let mut ejection = Ejection::default();
    set(&mut ejection.failures, fields.read(reading, "failures", in_a_row));
    set(&mut ejection.time, fields.read(reading, "time", wait));
    set(&mut ejection.max_time, fields.read(reading, "max_time", wait));
    set(&mut ejection.max_share, fields.read(reading, "max_share", percent));
    ejection.max_time = ejection.max_time.max(ejection.time);
    Some(Some(ejection))
}

/// A number, or a mapping; 0 is none.
fn retry(reading: &mut Reading<'_>, node: &Node) -> Option<Option<Retry>> {
    let mut retry = Retry::default();
    if !matches!(node.value, Value::Map(_)) {
        retry.times = number(reading, node, 0, MOST_RETRIES)?;
        return Some(Some(retry).filter(|retry| retry.times > 0));
    }
    let fields = Fields::open(reading, node, &RETRY, " in `retry`")?;
    let times = |reading: &mut Reading<'_>, node: &Node| number(reading, node, 0, MOST_RETRIES);
    set(&mut retry.times, fields.read(reading, "times", times));
    set(&mut retry.budget, fields.read(reading, "budget", percent));
    let events = |reading: &mut Reading<'_>, node: &Node| {
        Some(some(reading, node, |reading, node| word(reading, node, EVENTS)))
    };
    set(&mut retry.on, fields.read(reading, "on", events));
    Some(Some(retry).filter(|retry| retry.times > 0))
}

fn in_a_row(reading: &mut Reading<'_>, node: &Node) -> Option<u32> {
    number(reading, node, 1, 1_000)
}

fn at_least_one(reading: &mut Reading<'_>, node: &Node) -> Option<usize> {
    amount(reading, node, 1)
}

fn amount(reading: &mut Reading<'_>, node: &Node, least: u64) -> Option<usize> {
    let found = count(reading, node, least, MOST)?;
    usize::try_from(found).ok()
}

fn number(reading: &mut Reading<'_>, node: &Node, least: u64, most: u64) -> Option<u32> {
    let found = count(reading, node, least, most)?;
    u32::try_from(found).ok()
}

/// `50%`.
fn percent(reading: &mut Reading<'_>, node: &Node) -> Option<u32> {
    parsed(reading, node, "a share such as `50%`", |text| {
        let fault = |what: &'static str| Fault::new("E060", what, "expected `0%` to `100%`");
        let digits = text.strip_suffix('%').ok_or_else(|| fault("has no `%`"))?;
        let number: u32 = digits.parse().map_err(|_| fault("is not a share"))?;
        let out_of_range = || Fault::new("E061", "is out of range", "at most 100%");
        Some(number).filter(|number| *number <= 100).ok_or_else(out_of_range)
    })
}

fn parse_path(text: &str) -> Result<String, Fault> {
    let fault = || Fault::new("E008", "is not a path", "expected `/healthz`");
    let uri: Uri = text.parse().map_err(|_| fault())?;
    if !text.starts_with('/') || text.starts_with("//") || text.contains('#') {
        return Err(fault());
    }
    uri.path_and_query().map(ToString::to_string).ok_or_else(fault)
}

fn parse_host(text: &str) -> Result<HeaderValue, Fault> {
    let fault = || Fault::new("E008", "is not a host", "expected `orders.example.com`");
    let authority: http::uri::Authority = text.parse().map_err(|_| fault())?;
    if authority.as_str().contains('@') {
        return Err(fault());
    }
    HeaderValue::from_str(authority.as_str()).map_err(|_| fault())
}

/// `204`, or `200-399`.
fn parse_statuses(text: &str) -> Result<(u16, u16), Fault> {
    let fault = || Fault::new("E008", "is not a status", "expected `204` or `200-399`");
    let status = |digits: &str| {
        let status: u16 = digits.parse().map_err(|_| fault())?;
        Some(status).filter(|status| (200..=599).contains(status)).ok_or_else(fault)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = (status(first)?, status(last)?);
    Some(range).filter(|(first, last)| first <= last).ok_or_else(fault)
}

const EVENTS: &[(&str, RetryOn)] = &[
    ("connect", RetryOn::Connect),
    ("reset", RetryOn::Reset),
    ("502", RetryOn::Status(502)),
    ("503", RetryOn::Status(503)),
    ("504", RetryOn::Status(504)),
];
const MOST_RETRIES: u64 = 5;
const MOST: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Upstream, Variables, load_text};

    fn load(upstream: &str) -> Result<Upstream, Vec<&'static str>> {
        let text = format!(
            "issuer: https://id.example.com\naudience: api\nupstreams: {{ main: {upstream} }}\n\
             routes: {{ /a: {{ GET: a }} }}\n"
        );
        let mut loaded = load_text("gateway.yaml", &text, &Variables::default());
        match loaded.config {
            Some(ref mut config) if !loaded.problems.has_errors() => Ok(config.upstreams.remove(0)),
            _ => Err(loaded.problems.0.iter().map(|problem| problem.code).collect()),
        }
    }

    fn with(keys: &str) -> Result<Resilience, Vec<&'static str>> {
        load(&format!("{{ targets: [http://a, http://b], {keys} }}")).map(|found| found.resilience)
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        assert_eq!(load("http://a").unwrap().resilience, Resilience::default());
        let health = HealthCheck { path: "/healthz".into(), ..HealthCheck::default() };
        assert_eq!(with("health: { path: /healthz }").unwrap().health, Some(health));
        assert_eq!(with("retry: 2").unwrap().retry.unwrap().times, 2);
        assert_eq!(with("retry: 0").unwrap().retry, None);
        assert_eq!(with("ejection: off").unwrap().ejection, None);
    }

    #[test]
    fn everything_can_be_written() {
        let health = with(
            "health: { path: '/h?x=1', host: 'a.test:81', every: 1s, timeout: 3s, healthy: 1, \
             unhealthy: 4, status: [200-299, 404], panic: 50% }",
        );
        let expected = HealthCheck {
            path: "/h?x=1".into(),
            host: Some(HeaderValue::from_static("a.test:81")),
            every: Duration::from_secs(1),
            timeout: Duration::from_secs(3),
            healthy: 1,
            unhealthy: 4,
            status: vec![(200, 299), (404, 404)],
            panic: 50,
        };
        assert_eq!(health.unwrap().health, Some(expected));
        let ejection = "ejection: { failures: 2, time: 1s, max_time: 9s, max_share: 30% }";
        let (time, max_time) = (Duration::from_secs(1), Duration::from_secs(9));
        let expected = Ejection { failures: 2, time, max_time, max_share: 30 };
        assert_eq!(with(ejection).unwrap().ejection, Some(expected));
        let retry = with("retry: { times: 3, on: [connect, 503], budget: 5% }").unwrap().retry;
        let on = vec![RetryOn::Connect, RetryOn::Status(503)];
        assert_eq!(retry, Some(Retry { times: 3, on, budget: 5 }));
        let bounds = with("slow_start: 30s, max_connections: 1, max_requests: 2, max_pending: 0");
        let bounds = bounds.unwrap();
        assert_eq!(bounds.slow_start, Duration::from_secs(30));
        let found = (bounds.max_connections, bounds.max_requests, bounds.max_pending);
        assert_eq!(found, (1, Some(2), 0));
    }

    #[test]
    fn targets_have_weights() {
        let upstream = load("{ targets: [http://a, { url: 'http://b:81', weight: 3 }] }").unwrap();
        let weights: Vec<u32> = upstream.targets.iter().map(|target| target.weight).collect();
        assert_eq!(weights, [1, 3]);
        assert_eq!(load("{ targets: { weight: 3 } }").unwrap_err(), ["E007"]);
        assert_eq!(load("{ targets: [{ url: http://a, weight: 0 }] }").unwrap_err(), ["E061"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (keys, code) in [
            ("health: { path: healthz }", "E008"),
            ("health: { path: //a }", "E008"),
            ("health: { path: /a, every: 0s }", "E061"),
            ("health: { path: /a, healthy: 0 }", "E061"),
            ("health: { path: /a, status: 99 }", "E008"),
            ("health: { path: /a, status: 399-200 }", "E008"),
            ("health: { path: /a, host: 'x@y' }", "E008"),
            ("health: { path: /a, panic: 50 }", "E060"),
            ("health: { path: /a, panic: 101% }", "E061"),
            ("health: true", "E006"),
            ("ejection: on", "E008"),
            ("retry: 6", "E061"),
            ("retry: { on: [500] }", "E008"),
            ("max_connections: 0", "E061"),
            ("slow_start: 30", "E060"),
        ] {
            assert_eq!(with(keys).unwrap_err(), [code], "{keys}");
        }
    }
}
