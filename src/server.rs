//! A running gateway: everything put together, started, reloaded and stopped.

mod compile;
mod keys;
mod notes;
mod options;
mod prepared;
mod refresh;
mod revocation;
mod running;
mod signals;
mod systemd;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

pub use crate::admin::{Refused, Reloaded};
pub use options::{ConfigSource, Lines, Options, Pem};
pub use prepared::Prepared;
pub(crate) use running::describe_issuer;
pub use signals::Signals;
pub use systemd::Notifier;

use crate::admin::Operations;
use crate::config::Drain;
use crate::gateway::Gateway;
use crate::listen::{ListenError, Listeners, Place};
use crate::record::metrics::Metrics;
use running::Running;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used; its problems, rendered.
    #[error("{0}")]
    Config(String),
    /// An address cannot be listened on.
    #[error("error: {0}")]
    Listen(#[from] ListenError),
    /// TLS cannot be set up.
    #[error("error: {0}")]
    Tls(#[from] rustls::Error),
}

impl StartError {
    /// The exit code: 2 for a configuration that cannot be used, 3 for all else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Listen(_) | Self::Tls(_) => 3,
        }
    }
}

/// A running gateway. Dropping it closes everything at once.
pub struct Server {
    running: Arc<Running>,
    admin: Listeners,
    background: Vec<JoinHandle<()>>,
}

/// How stopping went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because their requests took too long.
    pub cut: usize,
}

impl Server {
    /// Starts a gateway, on the runtime of the caller.
    ///
    /// # Errors
    /// If the configuration cannot be used, or an address cannot be listened on.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Prepared::read(options)?.start().await
    }

    /// The addresses of the proxy, with the ports that were taken for 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.running.listeners.addresses()
    }

    /// Where the proxy accepts connections, unix sockets among them.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        self.running.listeners.places()
    }

    /// Where the administration accepts connections.
    #[must_use]
    pub fn admin_places(&self) -> &[Place] {
        self.admin.places()
    }

    /// The address of the administration, if it has one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.addresses().first().copied()
    }

    /// Whether clients speak TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.running.certificates.is_some()
    }

    /// What answers requests.
    #[must_use]
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.running.gateway
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.running.shared.metrics
    }

    /// What the configuration in force says of stopping.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.running.in_force.load().config.drain
    }

    /// Whether every check of `/readyz` is well.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.running.checks().iter().all(|check| check.result.is_ok())
    }

    /// Reads the configuration again and puts it in force, if it can be used.
    ///
    /// # Errors
    /// Every problem, rendered; the configuration before stays in force.
    pub async fn reload(&self) -> Result<Reloaded, Refused> {
        self.running.reload().await
    }

    /// Serves until SIGTERM or SIGINT and then drains; SIGHUP reloads. A second SIGINT or SIGTERM
    /// ends it at once.
    pub async fn run(&self, signals: Signals) -> Drained {
        signals::run(self, signals).await
    }

    /// Stops: says that it is not ready, goes on for `drain.delay`, stops accepting, and lets
    /// requests under way finish for at most `drain.timeout`.
    ///
    /// While a successor listens on the same administration address, that is left to it at once:
    /// nobody who asks the new gateway shall hear that the old one stops.
    pub async fn shutdown(&self, drain: Drain) -> Drained {
        self.running.notifier.stopping(drain.delay.saturating_add(drain.timeout));
        self.running.draining.store(true, Ordering::Release);
        tracing::info!(delay = ?drain.delay, timeout = ?drain.timeout, "draining");
        let stopping = async {
            self.running.shared.clock.sleep(drain.delay).await;
            self.running.listeners.drain(drain.timeout).await
        };
        let ((), cut) = tokio::join!(self.leave_admin(), stopping);
        self.running.gateway.policy().flush_traces().await;
        self.admin.drain(Duration::ZERO).await;
        Drained { cut }
    }

    async fn leave_admin(&self) {
        if self.admin.is_shared().await {
            self.admin.drain(LEAVE_WITHIN).await;
        }
    }
}

/// How long those who ask the administration may take while a successor has it already.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

impl Drop for Server {
    fn drop(&mut self) {
        self.background.iter().for_each(JoinHandle::abort);
    }
}
