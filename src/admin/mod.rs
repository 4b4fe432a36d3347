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
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, request};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use crate::config::{Limits, Listen};
use crate::gateway::Peer;
use crate::listen::{self, Inherited, ListenError, Listeners, Received, Service};
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

/// Where to administrate.
#[derive(Debug)]
pub struct Setup {
    /// The place.
    pub listen: Listen,
    /// What the service manager passed.
    pub inherited: Arc<Inherited>,
    /// Whether to listen beside a gateway that is to be replaced.
    pub takeover: bool,
}

impl Setup {
    fn is_exposed(&self) -> bool {
        match &self.listen {
            Listen::Systemd(name) => self.inherited.exposed(name).is_some(),
            Listen::Tcp(_) | Listen::Unix(_) => self.listen.is_exposed(),
        }
    }
}

/// The place of the administration, where nobody is answered yet.
pub struct Reserved {
    setup: listen::Setup,
    place: listen::Reserved,
    is_exposed: bool,
}

/// Binds the place, and leaves whoever serves it alone.
///
/// # Errors
/// If the place cannot be listened on.
pub fn reserve(setup: &Setup) -> Result<Reserved, ListenError> {
    // Scrapes are not traffic: their connections are counted nowhere.
    let metrics = Metrics::default();
    let listeners = listen::Setup {
        limits: Arc::new(ArcSwap::from_pointee(limits())),
        inherited: Arc::clone(&setup.inherited),
        takeover: setup.takeover,
        guests: Some(GUESTS),
        ..listen::Setup::new(vec![setup.listen.clone()], "--admin", metrics)
    };
    let is_exposed = setup.is_exposed();
    if is_exposed && matches!(setup.listen, Listen::Systemd(_)) {
        // What `check` says of an address (A220) only the start can say of a socket.
        tracing::warn!(
            "the admin port can be reached from other machines and has no authentication"
        );
    }
    let place = listen::Reserved::bind(&listeners)?;
    Ok(Reserved { setup: listeners, place, is_exposed })
}

impl Reserved {
    /// Starts to answer, on the runtime of the caller.
    ///
    /// # Errors
    /// If the system does not allow it after all.
    pub fn open<O: Operations>(self, operations: &Arc<O>) -> Result<Listeners, ListenError> {
        let Self { setup, place, is_exposed } = self;
        let admin = Admin { operations: Arc::clone(operations), is_exposed };
        Listeners::serve(place.listen()?, &setup, &admin)
    }
}

fn limits() -> Limits {
    Limits {
        header_bytes: 16 << 10,
        header_timeout: Duration::from_secs(5),
        // More than ever are open while the oldest make room.
        connections: 8 * GUESTS,
        connections_per_peer: Some(8 * GUESTS),
        ..Limits::default()
    }
}

/// The connections that may stay open.
const GUESTS: usize = 64;

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

    async fn answer(
        &self,
        peer: &Peer,
        head: Box<request::Parts>,
        body: Received,
    ) -> Response<Self::Body> {
        let request = Request::from_parts(*head, body);
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
