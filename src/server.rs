//! A running gateway: everything put together, started, reloaded and stopped.

mod compile;
mod notes;
mod refresh;
mod running;
mod signals;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

pub use crate::admin::{Refused, Reloaded};
pub(crate) use running::describe_keys;

use crate::admin::{self, Operations};
use crate::clock::Clock;
use crate::config::{Config, Drain, Listen, Variables, is_loopback};
use crate::gateway::Gateway;
use crate::listen::{Certificates, ListenError, Listeners, Setup, tls_config};
use crate::policy::{Policy, Shared};
use crate::record::AccessLog;
use crate::record::metrics::Metrics;
use compile::{Compiled, Source};
use running::{InForce, Running};

/// What a gateway is started with.
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Replaces the configuration's `listen`; empty keeps it.
    pub listen: Vec<SocketAddr>,
    /// Replaces the configuration's `admin`.
    pub admin: Option<SocketAddr>,
    /// What `${NAME}` in the configuration stands for.
    pub variables: Variables,
    /// The source of time.
    pub clock: Clock,
    /// How many threads serve. Default: one for each core; 0 serves on the caller's runtime.
    pub workers: Option<usize>,
    /// Where access log lines go; `None` writes none.
    pub access_log: Option<Lines>,
    /// Replaces the configuration's `tls`.
    pub certificate: Option<Pem>,
    /// Whether problems are rendered in colours.
    pub color: bool,
}

impl Options {
    /// The options of a gateway that differs in nothing from what `config` says, logs no requests,
    /// and runs by the system's clock.
    #[must_use]
    pub fn new(config: PathBuf) -> Self {
        Self {
            config,
            listen: Vec::new(),
            admin: None,
            variables: Variables::default(),
            clock: Clock::default(),
            workers: None,
            access_log: None,
            certificate: None,
            color: false,
        }
    }
}

/// A place for lines.
pub struct Lines {
    /// Takes them.
    pub writer: Box<dyn Write + Send>,
    /// Whether people read there: what `format: auto` asks.
    pub terminal: bool,
}

/// A certificate and its key as PEM texts.
pub struct Pem {
    /// The chain, leaf first.
    pub cert: String,
    /// The private key.
    pub key: String,
}

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

/// A configuration that was read, checked and compiled, but is not in force yet.
pub struct Prepared {
    options: Options,
    compiled: Compiled,
    shared: Shared,
    certificates: Option<Arc<Certificates>>,
}

impl Prepared {
    /// Reads the configuration and its certificates.
    ///
    /// # Errors
    /// [`StartError::Config`] with every problem.
    pub fn read(options: Options) -> Result<Self, StartError> {
        let source = Source::of(&options);
        let (compiled, shared) = compile::first(&source, &options.clock, options.color)
            .map_err(|fault| StartError::Config(fault.problems))?;
        let certificates = match &options.certificate {
            Some(pem) => Some(
                Certificates::from_pem(&pem.cert, &pem.key)
                    .map_err(|why| StartError::Config(format!("error: the certificate: {why}")))?,
            ),
            None => compile::certificates(&compiled, options.color)
                .map_err(|fault| StartError::Config(fault.problems))?,
        };
        let prepared = Self { options, compiled, shared, certificates: certificates.map(Arc::new) };
        prepared.refuse_plaintext_by_omission()?;
        Ok(prepared)
    }

    /// What the file says.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.compiled.config
    }

    /// What is to be enforced.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.compiled.policy
    }

    /// The configuration's warnings, rendered; empty if there are none.
    #[must_use]
    pub fn warnings(&self) -> &str {
        &self.compiled.warnings
    }

    /// Puts the configuration in force and starts to serve. Waits for no issuer and no backend.
    ///
    /// # Errors
    /// If an address cannot be listened on, or TLS or threads cannot be set up.
    pub async fn start(self) -> Result<Server, StartError> {
        let listen = self.addresses();
        let admin = self.options.admin.unwrap_or(self.compiled.config.admin.value);
        let Self { options, compiled, shared, certificates } = self;
        let source = Source::of(&options);
        let metrics = shared.metrics.clone();
        let limits = Arc::new(ArcSwap::from_pointee(compiled.config.limits));
        let log = options.access_log.filter(|_| !compiled.config.logs.access_off);
        let log = log.map(|log| AccessLog::new(&compiled.config.logs, log.writer, log.terminal));
        compiled.policy.start();
        let gateway = Arc::new(Gateway::new(Arc::clone(&compiled.policy), shared.clone(), log));
        let setup = Setup {
            addresses: listen,
            flag: "--listen",
            workers: options.workers.unwrap_or_else(cores),
            tls: certificates.clone().map(tls_config).transpose()?,
            limits: Arc::clone(&limits),
            metrics,
        };
        let listeners = Listeners::open(&setup, &gateway)?;
        let running = Arc::new(Running {
            source,
            has_own_certificate: options.certificate.is_some(),
            gateway,
            listeners,
            limits,
            certificates,
            draining: AtomicBool::new(false),
            in_force: ArcSwap::from_pointee(InForce {
                config: compiled.config,
                since: shared.clock.now().unix,
            }),
            shared,
            turn: tokio::sync::Mutex::new(()),
        });
        let admin = admin::open(admin, &running)?;
        running.export_start();
        Ok(Server { background: refresh::start(&running), running, admin })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        if !self.options.listen.is_empty() {
            return self.options.listen.clone();
        }
        let configured = self.compiled.config.listen.iter();
        configured
            .map(|listen| match listen.value {
                Listen::Tcp(address) => address,
            })
            .collect()
    }

    /// `--listen` can name an address that the file's own check of plaintext never saw.
    fn refuse_plaintext_by_omission(&self) -> Result<(), StartError> {
        if self.certificates.is_some() || self.compiled.config.tls.is_some() {
            return Ok(());
        }
        let open = self.addresses().into_iter().find(|address| !is_loopback(address.ip()));
        match open {
            None => Ok(()),
            Some(address) => Err(StartError::Config(format!(
                "error: tokens would pass {address} in plain text\n\
                 help: write `tls: {{ cert: …, key: … }}`, or `tls: off` if TLS ends before it"
            ))),
        }
    }
}

/// A running gateway. Dropping it closes everything at once.
pub struct Server {
    running: Arc<Running>,
    admin: Listeners,
    background: JoinHandle<()>,
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

    /// The address of the administration.
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
    ///
    /// # Errors
    /// If the system does not let signals be caught.
    pub async fn run(&self) -> std::io::Result<Drained> {
        signals::run(self).await
    }

    /// Stops: says that it is not ready, goes on for `drain.delay`, stops accepting, and lets
    /// requests under way finish for at most `drain.timeout`.
    pub async fn shutdown(&self, drain: Drain) -> Drained {
        self.running.draining.store(true, Ordering::Release);
        tracing::info!(delay = ?drain.delay, timeout = ?drain.timeout, "draining");
        self.running.shared.clock.sleep(drain.delay).await;
        let cut = self.running.listeners.drain(drain.timeout).await;
        self.admin.drain(Duration::ZERO).await;
        Drained { cut }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.background.abort();
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
