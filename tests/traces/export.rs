//! What a collector gets, as the protocol has it.

use std::time::Duration;

use serde::Deserialize;

use super::{PARENT, ROUTES, TRACE, told, traceparent, with_tracing};
use crate::harness::{Backend, Harness, Reply, Traces, until};

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
