//! Steps of traces as OTLP writes them in JSON (OpenTelemetry Protocol, `trace.proto`): numbers of 64
//! bits as text, ids in hexadecimal digits, enumerations as numbers.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{SpanId, TraceId};

/// One step of a trace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Span {
    #[serde(serialize_with = "shown")]
    pub(crate) trace_id: TraceId,
    #[serde(serialize_with = "shown")]
    pub(crate) span_id: SpanId,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_if_any")]
    pub(crate) parent_span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_state: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Since 1970.
    #[serde(rename = "startTimeUnixNano", serialize_with = "nanos")]
    pub(crate) start: Duration,
    #[serde(rename = "endTimeUnixNano", serialize_with = "nanos")]
    pub(crate) end: Duration,
    pub(crate) attributes: Attributes,
    #[serde(rename = "status", skip_serializing_if = "is_well", serialize_with = "failed")]
    pub(crate) is_failure: bool,
}

/// Which side of a request a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `SPAN_KIND_SERVER`
    Server,
    /// `SPAN_KIND_CLIENT`
    Client,
}

/// What is known of a step, by the names of the semantic conventions.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Attributes(Vec<Attribute>);

#[derive(Debug, Serialize)]
struct Attribute {
    key: String,
    value: Value,
}

#[derive(Debug, Serialize)]
enum Value {
    #[serde(rename = "stringValue")]
    Text(String),
    #[serde(rename = "intValue", serialize_with = "shown")]
    Number(i64),
}

impl Attributes {
    pub(crate) fn text(&mut self, key: &str, value: impl Into<String>) {
        self.0.push(Attribute { key: key.to_owned(), value: Value::Text(value.into()) });
    }

    pub(crate) fn number(&mut self, key: &str, value: i64) {
        self.0.push(Attribute { key: key.to_owned(), value: Value::Number(value) });
    }
}

/// An `ExportTraceServiceRequest` of one resource.
pub(super) fn request(resource: &Attributes, spans: &[Span]) -> Vec<u8> {
    let scope = Scope { name: "scopegate", version: env!("CARGO_PKG_VERSION") };
    let request = Request {
        resource_spans: [ResourceSpans {
            resource: Resource { attributes: resource },
            scope_spans: [ScopeSpans { scope, spans }],
        }],
    };
    // Neither a map with other keys than text nor a writer that could fail is in it.
    serde_json::to_vec(&request).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'s> {
    resource_spans: [ResourceSpans<'s>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'s> {
    resource: Resource<'s>,
    scope_spans: [ScopeSpans<'s>; 1],
}

#[derive(Serialize)]
struct Resource<'s> {
    attributes: &'s Attributes,
}

#[derive(Serialize)]
struct ScopeSpans<'s> {
    scope: Scope,
    spans: &'s [Span],
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self {
            Self::Server => 2,
            Self::Client => 3,
        })
    }
}

fn shown<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

fn shown_if_any<S: Serializer>(
    value: &Option<impl ToString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    shown(&value.as_ref().map(ToString::to_string).unwrap_or_default(), serializer)
}

fn nanos<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    shown(&time.as_nanos(), serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_well(is_failure: &bool) -> bool {
    !is_failure
}

/// `STATUS_CODE_ERROR`
fn failed<S: Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map([("code", 2)])
}
