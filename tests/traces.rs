//! Traces: what is passed on, what is logged, and what a collector gets (standards OB-04).

#[cfg(feature = "otlp")]
mod export;

use serde_json::Value;

use crate::harness::{Harness, Seen};

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

/// A build that cannot export says so instead of exporting nothing.
#[cfg(not(feature = "otlp"))]
#[test]
fn a_build_without_export_refuses_a_collector() {
    let text = format!(
        "issuer: https://id.example.com\naudience: a\nupstream: http://127.0.0.1:1\n\
         tracing: {{ otlp: http://collector:4318 }}\n{ROUTES}"
    );
    let variables = scopegate::config::Variables::default();
    let loaded = scopegate::config::load_text("gateway.yaml", &text, &variables);
    let shown = loaded.problems.render(&loaded.sources, false);
    assert!(shown.contains("E083") && shown.contains("--features otlp"), "{shown}");
}
