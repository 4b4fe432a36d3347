//! What the operator writes: `gateway.yaml`, read with every value's place kept.
//!
//! [`load`] reads a file and reports **all** of its problems at once. What comes out is typed
//! (durations, rates, addresses, patterns) but not yet linked: names of upstreams, plans and rules
//! are resolved by [`crate::policy::Policy::compile`], the only reader of these types.

mod read;
mod types;

pub mod problem;

pub use problem::{Located, Place, Problem, Problems, Severity, Sources};
pub use read::{Loaded, Variables, load, load_text};
pub use types::*;
