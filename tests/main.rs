//! What Scopegate promises, seen from outside over real sockets: one module per promise.

mod harness;

mod authorization;
mod cli;
mod demo;
mod documents;
mod examples;
mod limits;
mod paths;
mod rfc6750_bearer;
mod rfc9112_framing;
