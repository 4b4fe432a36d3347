//! Scopegate puts OAuth 2.0 in front of REST APIs that cannot be changed.
//!
//! The modules are listed in the order in which a request meets them:
//!
//! 1. [`config`] is what the operator wrote, [`policy`] what is enforced: one turns into the
//!    other at start and at each reload.
//! 2. [`listen`] accepts connections and ends TLS; [`gateway`] answers one request.
//! 3. [`target`] is the one reading of what was asked for; [`policy`] finds its route.
//! 4. [`authenticate`] turns a bearer token into an [`identity`], [`authorize`] turns that into a
//!    permit, [`limit`] spends from the caller's quota.
//!    [`revoke`] knows the tokens that are refused before their time.
//! 5. [`forward`] sends the permitted request on. Whatever refuses is a [`rejection`].
//!    [`overload`] refuses what is more than the machine can bear.
//! 6. [`record`] leaves one record of it all, and a step in its [`trace`]; [`admin`] shows it.
//!
//! [`server`] assembles these into a running process, [`demo`] adds an issuer and a sample API,
//! and [`cli`] is what people type.

pub mod admin;
pub mod authenticate;
mod authorities;
pub mod authorize;
pub mod cli;
pub mod clock;
pub mod config;
mod cors;
pub mod demo;
mod digits;
pub mod forward;
pub mod gateway;
mod http1;
pub mod identity;
pub mod limit;
pub mod listen;
mod method;
pub mod overload;
pub mod policy;
pub mod record;
pub mod rejection;
pub mod revoke;
pub mod server;
pub mod target;
pub mod trace;
mod worker;
