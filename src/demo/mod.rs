//! What `scopegate demo` puts around the gateway: a development authorization server, a sample
//! API, and a certificate made on the spot.
//!
//! Nothing here is for production. Keys live as long as the process, passwords are printed in the
//! source, and both servers take a [`loopback::Loopback`], which cannot be bound where another
//! machine would reach it.

pub mod certificate;
pub mod issuer;
pub mod loopback;
pub mod timesheets;

/// The demo's policy: the `gateway.yaml` at the top of the repository.
pub const POLICY: &str = include_str!("../../gateway.yaml");
/// The variable by which a policy names the issuer of the demo.
pub const ISSUER_VARIABLE: &str = "SCOPEGATE_DEMO_ISSUER";
/// The variable by which a policy names the API of the demo.
pub const API_VARIABLE: &str = "SCOPEGATE_DEMO_API";
