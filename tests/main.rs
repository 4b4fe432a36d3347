//! What Scopegate promises, seen from outside over real sockets: one module per promise.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test says where it fails by failing there"
)]

mod harness;

mod authorization;
mod backends;
mod forwarded_identity;
mod http2;
mod limits;
mod operations;
mod paths;
mod rfc6750_bearer;
mod rfc9110_forwarding;
mod rfc9112_framing;
mod streaming;
mod tls;
