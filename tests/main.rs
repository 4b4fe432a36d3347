//! What Scopegate promises, seen from outside over real sockets: one module per promise.

mod harness;

mod access_log;
mod authorization;
mod backends;
mod bypasses;
mod cli;
mod demo;
mod documents;
mod examples;
mod hostile_bytes;
mod keys;
mod limits;
mod metrics;
mod paths;
mod rfc6750_bearer;
mod rfc7515_signatures;
mod rfc7519_jwt;
mod rfc9068_claims;
mod rfc9112_framing;
mod secrets;
mod streaming;
