//! The administration's own listener: metrics, health and reload.
//!
//! It never shares a port with clients, listens on loopback unless told otherwise, and answers
//! only requests whose `Host` cannot be a name that a web page has bound to it.

pub mod client;

mod answer;
mod host;
mod process;
mod revocations;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use crate::config::{Limits, is_loopback};
use crate::gateway::Peer;
use crate::listen::{ListenError, Listeners, Received, Service, Setup};
use crate::record::metrics::Metrics;
use crate::rejection::Rejection;
use revocations::Caller;

pub use revocations::Desk;

/// What can be asked of a running gateway.
pub trait Operations: Send + Sync + 'static {
    /// Its metrics.
    fn metrics(&self) -> &Metrics;

    /// What must be well for it to be ready.
    fn checks(&self) -> Vec<Check>;

    /// What revocations are entered by; `None` if the configuration takes none.
    fn revocation_desk(&self) -> Option<Desk>;

    /// Reads the configuration again.
    fn reload(&self) -> impl Future<Output = Result<Reloaded, Refused>> + Send;
}

/// One thing that must be well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What: `issuer main`.
    pub name: String,
    /// How it is, or what is wrong with it, in words without secrets.
    pub result: Result<String, String>,
}

/// A configuration was put in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reloaded {
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Routes that were not there before.
    pub added: usize,
    /// Routes that are gone.
    pub removed: usize,
    /// Routes whose settings differ.
    pub changed: usize,
    /// Warnings, such as settings that take effect at the next start only.
    pub notes: Vec<String>,
}

/// A configuration was refused; the one before is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The first problem, in a line.
    pub summary: String,
    /// All problems, as `scopegate check` prints them.
    pub problems: String,
    /// When the configuration in force was accepted, in seconds since 1970.
    pub running_since: u64,
}

/// Starts to answer on `address`, on the runtime of the caller.
///
/// # Errors
/// If the address cannot be listened on.
pub fn open<O: Operations>(
    address: SocketAddr,
    operations: &Arc<O>,
) -> Result<Listeners, ListenError> {
    let setup = Setup {
        addresses: vec![address],
        flag: "--admin",
        workers: 0,
        tls: None,
        limits: Arc::new(ArcSwap::from_pointee(limits())),
        // Scrapes are not traffic: their connections are counted nowhere.
        metrics: Metrics::default(),
    };
    let is_exposed = !is_loopback(address.ip());
    Listeners::open(&setup, &Admin { operations: Arc::clone(operations), is_exposed })
}

fn limits() -> Limits {
    Limits {
        header_bytes: 16 << 10,
        header_timeout: Duration::from_secs(5),
        connections: 64,
        ..Limits::default()
    }
}

struct Admin<O> {
    operations: Arc<O>,
    /// Whether other machines may reach it.
    is_exposed: bool,
}

impl<O> Clone for Admin<O> {
    fn clone(&self) -> Self {
        Self { operations: Arc::clone(&self.operations), is_exposed: self.is_exposed }
    }
}

impl<O: Operations> Service for Admin<O> {
    type Body = Full<Bytes>;

    async fn answer(&self, peer: &Peer, request: Request<Received>) -> Response<Self::Body> {
        if revocations::is_path(request.uri().path()) {
            let from = Caller { address: peer.address.ip(), is_exposed: self.is_exposed };
            return revocations::answer(&*self.operations, from, request).await;
        }
        answer::answer(&*self.operations, &request).await
    }

    fn refuse(&self, _: &Peer, rejection: Rejection) -> Response<Self::Body> {
        answer::problem(rejection.status(), rejection.reason().as_str())
    }
}
