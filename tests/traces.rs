//! Traces: what is passed on, what is logged, and what a collector gets (standards OB-04).

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::harness::{Backend, Harness, Reply, Seen, Traces, until};

const ROUTES: &str = "routes:\n  /orders/{id}: { GET: orders:read }\n  /status: { public: true }\n";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn told() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

async fn with_tracing(tracing: &str) -> Harness {
    Harness::start(&format!("tracing: {tracing}\n{ROUTES}")).await
}

/// The parts of what the backend was told: trace, parent, flags.
fn traceparent(seen: &Seen) -> (String, String, String) {
    let line = seen.header("traceparent").expect("a traceparent");
    let parts: Vec<&str> = line.split('-').collect();
    assert_eq!((parts.len(), parts[0], line.len()), (4, "00", 55), "{line}");
    (parts[1].into(), parts[2].into(), parts[3].into())
}

/// OB-04: a step of its own in the same trace.
#[tokio::test]
async fn a_valid_trace_goes_on() {
    let t = with_tracing("{ trust: all }").await;
    let call = t.get("/status").header("traceparent", &told());
    let call =
        call.header("tracestate", "a=1").header("tracestate", " b=2").header("baggage", "k=v");
    let answer = call.send().await;
    let seen = t.backend.saw_one();
    let (trace, parent, flags) = traceparent(&seen);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
    assert_ne!(parent, PARENT);
    assert_eq!(seen.header("tracestate"), Some("a=1,b=2"));
    assert_eq!(seen.header("baggage"), Some("k=v"));
    assert_eq!(t.line(&answer).await["trace_id"], TRACE);
}

/// OB-04: what is not valid begins a new trace, and what was kept beside it goes.
#[tokio::test]
async fn what_is_not_valid_begins_anew() {
    let t = with_tracing("{ trust: all }").await;
    let zeros = format!("00-{}-{PARENT}-01", "0".repeat(32));
    for wrong in [told().to_uppercase(), zeros, told().replace("00-4", "ff-4"), "x".into()] {
        let call = t.get("/status").header("traceparent", &wrong).header("tracestate", "a=1");
        let answer = call.send().await;
        let seen = t.backend.saw_one();
        let (trace, ..) = traceparent(&seen);
        assert_ne!(trace, TRACE);
        assert_eq!(seen.header("tracestate"), None, "{wrong}");
        assert_eq!(t.line(&answer).await["trace_id"], trace.as_str());
        t.backend.forget();
    }
    let twice = t.get("/status").header("traceparent", &told()).header("traceparent", &told());
    twice.send().await;
    assert_ne!(traceparent(&t.backend.saw_one()).0, TRACE);
}

/// OB-04: the edge can begin every trace, or believe its own proxies alone.
#[tokio::test]
async fn the_edge_can_restart_traces() {
    for (trust, proxies, goes_on) in [
        ("none", "", false),
        ("none", "trusted_proxies: [127.0.0.1]\n", false),
        ("proxies", "", false),
        ("proxies", "trusted_proxies: [127.0.0.1]\n", true),
    ] {
        let t = Harness::start(&format!("{proxies}tracing: {{ trust: {trust} }}\n{ROUTES}")).await;
        let call = t.get("/status").header("traceparent", &told()).header("tracestate", "a=1");
        call.header("baggage", "k=v").send().await;
        let seen = t.backend.saw_one();
        assert_eq!(traceparent(&seen).0 == TRACE, goes_on, "{trust} {proxies}");
        assert_eq!(seen.header("tracestate").is_some(), goes_on);
        assert_eq!(seen.header("baggage").is_some(), goes_on);
    }
}

/// A nomination cannot take away what the gateway says.
#[tokio::test]
async fn a_nomination_does_not_end_a_trace() {
    let t = with_tracing("{ trust: all }").await;
    let call = t.get("/status").header("traceparent", &told());
    call.header("connection", "traceparent").send().await;
    assert_eq!(traceparent(&t.backend.saw_one()).0, TRACE);
}

/// Who takes no part passes on what came, whatever it is, and logs what is valid.
#[tokio::test]
async fn without_tracing_it_passes_as_it_is() {
    let t = Harness::start(ROUTES).await;
    let answer = t.get("/status").header("traceparent", &told()).send().await;
    assert_eq!(t.backend.saw_one().header("traceparent"), Some(told().as_str()));
    assert_eq!(t.line(&answer).await["trace_id"], TRACE);
    t.backend.forget();
    let answer = t.get("/status").header("traceparent", "x").send().await;
    assert_eq!(t.backend.saw_one().header("traceparent"), Some("x"));
    assert_eq!(t.line(&answer).await["trace_id"], Value::Null);
}

/// The JSON form of `ExportTraceServiceRequest`; unknown fields fail the test.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Export {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    name: String,
    version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Span {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    trace_state: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    status: Option<Status>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    code: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    key: String,
    value: AnyValue,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum AnyValue {
    StringValue(String),
    IntValue(String),
}

impl Span {
    fn value(&self, key: &str) -> Option<&str> {
        value(&self.attributes, key)
    }

    fn nanos(&self) -> (u64, u64) {
        (self.start_time_unix_nano.parse().unwrap(), self.end_time_unix_nano.parse().unwrap())
    }
}

fn value<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    let (AnyValue::StringValue(text) | AnyValue::IntValue(text)) = &found.value;
    Some(text)
}

const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// What the collector got so far.
fn exports(collector: &Backend) -> Vec<Export> {
    let seen = collector.seen();
    seen.iter().map(|seen| serde_json::from_slice(&seen.body).expect("OTLP in JSON")).collect()
}

fn spans(collector: &Backend) -> Vec<Span> {
    let resources = exports(collector).into_iter().flat_map(|export| export.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

/// Lets time pass until the collector has got so many steps.
async fn collected(t: &Harness, collector: &Backend, count: usize) -> Vec<Span> {
    until("the export", async || {
        t.clock.advance(Duration::from_secs(1));
        spans(collector).len() >= count
    })
    .await;
    let spans = spans(collector);
    assert_eq!(spans.len(), count, "{spans:?}");
    spans
}

async fn exporting(collector: &Backend, more: &str) -> Harness {
    with_tracing(&format!("{{ otlp: {}{more} }}", collector.url())).await
}

#[tokio::test]
async fn a_collector_gets_the_gateways_step_and_the_backends() {
    let collector = Backend::start().await;
    let t = exporting(&collector, "").await;
    let token = t.token().sign();
    let call = t.get("/orders/7?secret=q").bearer(&token).header("traceparent", &told());
    let answer = call.header("tracestate", "a=1").send().await;
    assert_eq!(answer.status(), 200);
    let spans = collected(&t, &collector, 2).await;
    let by_kind = |kind: u8| spans.iter().find(|span| span.kind == kind).unwrap();
    let (server, client) = (by_kind(SERVER), by_kind(CLIENT));

    assert_eq!(server.name, "GET /orders/{id}");
    assert_eq!(server.trace_id, TRACE);
    assert_eq!(server.parent_span_id.as_deref(), Some(PARENT));
    assert_eq!(server.trace_state.as_deref(), Some("a=1"));
    assert!(server.status.is_none());
    for (key, expected) in [
        ("http.request.method", "GET"),
        ("http.route", "/orders/{id}"),
        ("url.path", "/orders/7"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("server.address", "127.0.0.1"),
        ("scopegate.decision", "allow"),
        ("scopegate.client", "web-app"),
        ("scopegate.request_id", answer.header("x-request-id")),
    ] {
        assert_eq!(server.value(key), Some(expected), "{key}");
    }

    assert_eq!((client.name.as_str(), client.trace_id.as_str()), ("GET", TRACE));
    assert_eq!(client.parent_span_id.as_deref(), Some(server.span_id.as_str()));
    assert_eq!(traceparent(&t.backend.saw_one()).1, client.span_id);
    assert_eq!(client.value("http.response.status_code"), Some("200"));
    assert_eq!(client.value("scopegate.upstream"), Some("main"));
    let ((began, ended), (asked, told)) = (server.nanos(), client.nanos());
    assert!(began <= asked && asked <= told && told <= ended, "{spans:?}");

    let seen = collector.saw_one();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1/traces"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let text = String::from_utf8(seen.body.to_vec()).unwrap();
    for secret in [token.as_str(), "secret", "alice"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let export = exports(&collector).pop().unwrap().resource_spans.pop().unwrap();
    assert_eq!(value(&export.resource.attributes, "service.name"), Some("scopegate"));
    let scope = &export.scope_spans[0].scope;
    assert_eq!(
        (scope.name.as_str(), scope.version.as_str()),
        ("scopegate", env!("CARGO_PKG_VERSION"))
    );
    let exported = [("result", "exported")];
    assert_eq!(t.metric("scopegate_trace_spans_total", &exported).await, 2.0);
}

#[tokio::test]
async fn a_refusal_is_a_step_with_its_reason() {
    let collector = Backend::start().await;
    let t = exporting(&collector, "").await;
    assert_eq!(t.get("/orders/7").send().await.status(), 401);
    let spans = collected(&t, &collector, 1).await;
    let span = &spans[0];
    assert_eq!((span.kind, span.value("scopegate.decision")), (SERVER, Some("deny")));
    assert_eq!(span.value("scopegate.reason"), Some("missing_token"));
    assert_eq!(span.parent_span_id, None);
    assert!(span.status.is_none(), "a client's mistake is no error of the gateway");
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/{id}", "missing_token").await, 1.0);
}

#[tokio::test]
async fn a_failure_of_the_backend_is_an_error() {
    let collector = Backend::start().await;
    let tracing = format!("tracing: {{ otlp: {} }}\n", collector.url());
    let upstreams = "upstreams: { main: 'http://127.0.0.1:9' }\n";
    let t = Harness::start(&format!("{tracing}{upstreams}{ROUTES}")).await;
    assert_eq!(t.get("/status").send().await.status(), 502);
    for span in collected(&t, &collector, 2).await {
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(2), "{span:?}");
        let expected = if span.kind == SERVER { "502" } else { "upstream_unreachable" };
        assert_eq!(span.value("error.type"), Some(expected));
    }
}

/// Who begins a trace decides; the share is of traces that begin here.
#[tokio::test]
async fn what_is_not_sampled_is_not_sent() {
    let collector = Backend::start().await;
    let t = exporting(&collector, ", sample: 0%").await;
    let not = told().replace("-01", "-00");
    t.get("/status").send().await;
    t.get("/status").header("traceparent", &not).send().await;
    let seen = t.backend.seen();
    assert!(seen.iter().all(|seen| traceparent(seen).2 == "00"), "{seen:?}");
    // One that is sampled by whoever began it shows that the others were passed over.
    t.get("/status").header("traceparent", &told()).send().await;
    let spans = collected(&t, &collector, 2).await;
    assert!(spans.iter().all(|span| span.trace_id == TRACE));
}

/// A collector that is down costs nothing but its traces; it is said once.
#[tokio::test]
async fn a_collector_that_fails_holds_nobody_up() {
    let traces = Traces::start();
    let collector = Backend::start().await;
    collector.reply(Reply { status: 503, ..Reply::default() });
    let t = exporting(&collector, "").await;
    for round in 1..=3 {
        assert_eq!(t.get("/status").send().await.status(), 200);
        let dropped = [("result", "dropped")];
        until("the count", async || {
            t.clock.advance(Duration::from_secs(1));
            t.metric("scopegate_trace_spans_total", &dropped).await >= f64::from(2 * round)
        })
        .await;
    }
    let said = traces.end();
    assert_eq!(said.matches("traces are lost").count(), 1, "{said}");
    assert!(said.contains("it answers 503"), "{said}");
    assert!(!said.contains(&collector.url()));
}

/// Stopping waits for the last steps.
#[tokio::test]
async fn what_is_left_is_sent_at_the_end() {
    let collector = Backend::start().await;
    let t = exporting(&collector, "").await;
    t.get("/status").send().await;
    until("the line", async || t.log().contains("/status")).await;
    t.server.shutdown(t.server.drain()).await;
    assert_eq!(spans(&collector).len(), 2);
}

/// A reload that changes the collector loses nothing of what went before.
#[tokio::test]
async fn a_reload_changes_the_collector() {
    let (first, second) = (Backend::start().await, Backend::start().await);
    let t = exporting(&first, "").await;
    t.get("/status").send().await;
    until("the line", async || t.log().contains("/status")).await;
    t.rewrite(&format!("tracing: {{ otlp: {} }}\n{ROUTES}", second.url()));
    assert!(t.server.reload().await.is_ok());
    t.get("/status").send().await;
    collected(&t, &first, 2).await;
    collected(&t, &second, 2).await;
}
