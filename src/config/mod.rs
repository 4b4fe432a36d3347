//! What the operator writes: `gateway.yaml`, read with every value's place kept.
//!
//! [`load`] reads a file and reports **all** of its problems at once. What comes out is typed
//! (durations, rates, addresses, patterns) but not yet linked: names of upstreams, plans and rules
//! are resolved by [`crate::policy::Policy::compile`], the only reader of these types.

pub(crate) mod codes;
pub(crate) mod hidden;
pub(crate) mod language;
pub(crate) mod schema;
pub(crate) mod told;

mod claims;
mod cors;
mod covering;
mod headers;
mod include;
mod introspection;
mod issuers;
mod link;
mod listen;
mod names;
mod network;
mod overlap;
mod pattern;
mod plans;
mod read;
mod reading;
mod render;
mod resilience;
mod revocation;
mod routes;
mod rules;
mod secret;
mod server;
mod suggest;
mod tracing;
mod types;
mod unverified;
mod upstream_tls;
mod upstreams;
mod value;
mod variables;
mod yaml;

#[cfg(test)]
mod tests;

pub mod problem;

pub use cors::{Cors, Origins, RouteCors, SentHeaders};
pub use introspection::{ClientProof, Introspected, Introspection, Provider};
pub(crate) use issuers::draft;
pub use listen::{Listen, UnixSocket};
pub use network::UNIX_PEER;
pub use problem::{Located, Place, Problem, Problems, Severity, Sources};
pub use read::{Loaded, load, load_text};
pub use resilience::{Ejection, HealthCheck, Resilience, Retry, RetryOn};
pub use revocation::{BackchannelLogout, Revocation};
pub use secret::Secret;
pub use tracing::{Otlp, Tracing, Trust};
pub use types::*;
pub(crate) use value::parse_duration;
pub use variables::Variables;
