//! What Scopegate promises, seen from outside over real sockets: one module per promise.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test says where it fails by failing there"
)]

mod harness;

mod authorization;
mod limits;
mod paths;
mod rfc6750_bearer;
mod rfc9112_framing;
