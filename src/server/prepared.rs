//! From options to a server: read everything, then open everything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;

use super::compile::{self, Compiled, Source};
use super::options::{Lines, Options};
use super::running::{InForce, Running};
use super::{Server, StartError, refresh, revocation};
use crate::admin;
use crate::config::{Config, Listen, Logs, is_loopback};
use crate::gateway::Gateway;
use crate::listen::{Certificates, Listeners, Setup, tls_config};
use crate::policy::{Policy, Shared};
use crate::record::AccessLog;

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
    #[expect(clippy::unused_async, reason = "it spawns on the runtime that it is awaited on")]
    pub async fn start(self) -> Result<Server, StartError> {
        let admin = self.options.admin.unwrap_or(self.compiled.config.admin.value);
        let running = Arc::new(self.open()?);
        let admin = admin::open(admin, &running)?;
        running.export_start();
        let background = [refresh::start(&running), revocation::start(&running)];
        Ok(Server { background, running, admin })
    }

    fn open(self) -> Result<Running, StartError> {
        let setup = self.setup()?;
        let Self { options, compiled, shared, certificates } = self;
        let source = Source::of(&options);
        let has_own_certificate = options.certificate.is_some();
        let log = open_log(&compiled.config.logs, options.access_log);
        compiled.policy.start();
        let gateway = Arc::new(Gateway::new(compiled.policy, &shared, log));
        let listeners = Listeners::open(&setup, &gateway)?;
        for address in &setup.addresses {
            // Known from the start, not from the first request on.
            shared.metrics.http_requests_in_flight.with_label_values(&[&address.to_string()]);
        }
        let in_force = InForce::new(compiled.config, shared.clock.now().unix);
        Ok(Running {
            source,
            has_own_certificate,
            shared,
            gateway,
            listeners,
            limits: setup.limits,
            certificates,
            draining: AtomicBool::new(false),
            in_force: ArcSwap::from_pointee(in_force),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    fn setup(&self) -> Result<Setup, StartError> {
        Ok(Setup {
            addresses: self.addresses(),
            flag: "--listen",
            workers: self.options.workers.unwrap_or_else(cores),
            tls: self.certificates.clone().map(tls_config).transpose()?,
            limits: Arc::new(ArcSwap::from_pointee(self.compiled.config.limits)),
            metrics: self.shared.metrics.clone(),
        })
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

fn open_log(logs: &Logs, lines: Option<Lines>) -> Option<AccessLog> {
    let lines = lines.filter(|_| !logs.access_off)?;
    Some(AccessLog::new(logs, lines.writer, lines.terminal))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
