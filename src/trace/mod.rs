//! Traces of requests through several services (W3C Trace Context), and their export.
//!
//! Without `tracing` in the configuration the gateway takes no part: what a client says of its trace
//! passes as it is, and the access log names the trace. With it, the gateway is a step of the
//! trace: the backend gets the trace's id and, as its parent, the id of this step.

mod context;
#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod otlp;
mod state;

pub(crate) use context::{SpanId, TraceId};
#[cfg(feature = "otlp")]
pub(crate) use otlp::{Attributes, Kind, Span};

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::clock::Clock;
use crate::config::{self, Trust};
use crate::record::metrics::Metrics;
use context::{Context, TRACEPARENT};
use state::TRACESTATE;

/// How the gateway takes part in traces.
#[derive(Debug)]
pub(crate) struct Tracing {
    settings: config::Tracing,
    #[cfg(feature = "otlp")]
    exporter: Option<export::Exporter>,
}

/// One request's place in its trace.
#[derive(Debug)]
pub struct Trace {
    #[cfg(feature = "otlp")]
    tracing: Arc<Tracing>,
    pub(crate) id: TraceId,
    /// The step before, if there was one that is believed.
    #[cfg(feature = "otlp")]
    pub(crate) parent: Option<SpanId>,
    /// The gateway's own step.
    #[cfg(feature = "otlp")]
    pub(crate) span: SpanId,
    /// The step of asking the backend: what the backend is told as its parent.
    pub(crate) forward: SpanId,
    /// Whether it is exported, here and by all who follow.
    pub(crate) sampled: bool,
    /// What other systems keep beside it, for the backend.
    pub(crate) state: Option<String>,
    is_trusted: bool,
}

impl Tracing {
    pub(crate) fn new(settings: &config::Tracing, clock: &Clock, metrics: &Metrics) -> Self {
        #[cfg(not(feature = "otlp"))]
        let _ = (clock, metrics);
        Self {
            #[cfg(feature = "otlp")]
            exporter: settings
                .otlp
                .as_ref()
                .map(|otlp| export::Exporter::new(otlp, clock, metrics)),
            settings: settings.clone(),
        }
    }

    /// Whether nothing changed, so that a reload keeps it.
    pub(crate) fn is_made_from(&self, settings: &config::Tracing) -> bool {
        self.settings == *settings
    }

    /// Starts to export, on the runtime of the caller. Later calls do nothing.
    pub(crate) fn start(&self) {
        #[cfg(feature = "otlp")]
        self.exporter.iter().for_each(export::Exporter::start);
    }

    /// Waits until what was recorded so far is exported, for a short while.
    pub(crate) async fn flush(&self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.exporter {
            exporter.flush().await;
        }
    }

    /// The place of a request: in the trace that it names, if whoever sent it is believed, else at
    /// the beginning of a new one. Who follows a trace does as was decided at its beginning.
    pub(crate) fn begin(self: &Arc<Self>, headers: &HeaderMap, by_proxy: bool) -> Arc<Trace> {
        let is_trusted = match self.settings.trust {
            Trust::All => true,
            Trust::Proxies => by_proxy,
            Trust::None => false,
        };
        let told = if is_trusted { Context::told(headers) } else { None };
        let id = told.map_or_else(TraceId::fresh, |told| told.id);
        Arc::new(Trace {
            id,
            #[cfg(feature = "otlp")]
            parent: told.map(|told| told.parent),
            #[cfg(feature = "otlp")]
            span: SpanId::fresh(),
            forward: SpanId::fresh(),
            sampled: told.map_or_else(|| id.is_within(self.settings.sample), |told| told.sampled),
            state: told.and_then(|_| state::combined(headers)),
            is_trusted,
            #[cfg(feature = "otlp")]
            tracing: Arc::clone(self),
        })
    }
}

impl Trace {
    /// Whether the backend must not see what the client said in this field.
    pub(crate) fn replaces(&self, name: &HeaderName) -> bool {
        *name == TRACEPARENT || *name == TRACESTATE || (!self.is_trusted && *name == BAGGAGE)
    }

    /// What the backend is told.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (HeaderName, String)> {
        let parent = Context { id: self.id, parent: self.forward, sampled: self.sampled };
        let state = self.state.iter().map(|state| (TRACESTATE, state.clone()));
        std::iter::once((TRACEPARENT, parent.to_string())).chain(state)
    }

    /// Hands a step of it to whoever collects them. Never waits: a step that finds no room is
    /// counted and forgotten.
    #[cfg(feature = "otlp")]
    pub(crate) fn export(&self, step: impl FnOnce() -> Span) {
        if let Some(exporter) = self.tracing.exporter.as_ref().filter(|_| self.sampled) {
            exporter.send(step());
        }
    }
}

/// What a client tells all who follow, which is for those whom the client may tell something.
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
