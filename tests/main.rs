//! What Scopegate promises, seen from outside over real sockets: one module per promise.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test says where it fails by failing there"
)]

mod harness;

mod access_log;
mod authorization;
mod backchannel_logout;
mod backend_http2;
mod backend_tls;
mod backends;
mod balance;
mod breaker;
mod bypasses;
mod chaos_backend;
mod chaos_client;
mod cli;
mod cors;
mod demo;
mod documents;
mod examples;
mod forwarded_identity;
mod grpc;
mod handover;
mod health;
mod hostile_bytes;
mod http2;
mod http2_floods;
mod http2_unread;
mod keys;
mod limits;
mod metrics;
mod operations;
mod overload;
mod paths;
mod properties;
mod providers;
mod proxy_status;
mod resolving;
mod retries;
mod revocation;
mod rfc6750_bearer;
mod rfc7515_signatures;
mod rfc7519_jwt;
mod rfc7662_introspection;
mod rfc9068_claims;
mod rfc9110_forwarding;
mod rfc9112_framing;
mod secrets;
mod slow_clients;
mod streaming;
mod systemd;
mod terms;
mod tls;
mod traces;
mod unread_log;
mod upgrades;
