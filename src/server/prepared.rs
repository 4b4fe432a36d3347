//! From options to a server: read everything, then open everything.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

use super::compile::{self, Compiled, Source};
use super::options::{Lines, Options};
use super::running::{InForce, Running};
use super::{Server, StartError, keys, refresh, revocation};
use crate::admin;
use crate::config::{Config, Listen, Logs};
use crate::gateway::Gateway;
use crate::listen::{Certificates, Listeners, Pulse, Reserved, Setup, tls_config};
use crate::overload;
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
        let pulse = self.options.notifier.pulse();
        // Everything is bound before anything is taken: a successor that fails takes no client
        // away from the gateway that it was to replace.
        let admin = admin::reserve(&self.admin())?;
        let running = Arc::new(self.open(pulse.clone())?);
        let admin = admin.open(&running)?;
        running.export_start();
        let background = background(&running, pulse);
        Ok(Server { background, running, admin })
    }

    fn open(self, pulse: Option<Arc<Pulse>>) -> Result<Running, StartError> {
        let setup = Setup { pulse, ..self.setup()? };
        let reserved = Reserved::bind(&setup)?;
        let Self { options, compiled, shared, certificates } = self;
        let source = Source::of(&options);
        let has_own_certificate = options.certificate.is_some();
        let log = open_log(&compiled.config.logs, options.access_log);
        compiled.policy.start();
        let gateway = Arc::new(Gateway::new(compiled.policy, &shared, log));
        if let Some(shortage) = options.descriptors.shortage(&compiled.config.limits) {
            tracing::warn!("{shortage}");
        }
        let listeners = Listeners::serve(reserved.listen()?, &setup, &gateway)?;
        // Known from the start, not from the first request on.
        let in_flight = &shared.metrics.http_requests_in_flight;
        let places = setup.addresses.iter().map(ToString::to_string);
        gateway.load().count(places.map(|at| in_flight.with_label_values(&[&at])).collect());
        let in_force = InForce::new(compiled.config, shared.clock.now().unix);
        Ok(Running {
            source,
            has_own_certificate,
            shared,
            gateway,
            listeners,
            limits: setup.limits,
            trusted: setup.trusted,
            descriptors: options.descriptors,
            notifier: options.notifier,
            certificates,
            draining: AtomicBool::new(false),
            in_force: ArcSwap::from_pointee(in_force),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    fn setup(&self) -> Result<Setup, StartError> {
        let config = &self.compiled.config;
        Ok(Setup {
            workers: self.options.workers.unwrap_or_else(cores),
            tls: self.certificates.clone().map(tls_config).transpose()?,
            limits: Arc::new(ArcSwap::from_pointee(self.options.descriptors.fit(config.limits))),
            trusted: Arc::new(ArcSwap::from_pointee(config.trusted_proxies.clone())),
            inherited: Arc::clone(&self.options.inherited),
            takeover: self.options.takeover,
            ..Setup::new(self.addresses(), "--listen", self.shared.metrics.clone())
        })
    }

    fn admin(&self) -> admin::Setup {
        let configured = &self.compiled.config.admin.value;
        admin::Setup {
            listen: self.options.admin.as_ref().unwrap_or(configured).clone(),
            inherited: Arc::clone(&self.options.inherited),
            takeover: self.options.takeover,
        }
    }

    fn addresses(&self) -> Vec<Listen> {
        if !self.options.listen.is_empty() {
            return self.options.listen.clone();
        }
        let configured = self.compiled.config.listen.iter();
        configured.map(|listen| listen.value.clone()).collect()
    }

    /// `--listen` and the service manager can name an address that the file's own check of
    /// plaintext never saw.
    fn refuse_plaintext_by_omission(&self) -> Result<(), StartError> {
        if self.certificates.is_some() || self.compiled.config.tls.is_some() {
            return Ok(());
        }
        let open = self.addresses().iter().find_map(|listen| match listen {
            Listen::Tcp(address) => Some(*address).filter(|_| listen.is_exposed()),
            Listen::Unix(_) => None,
            Listen::Systemd(name) => self.options.inherited.exposed(name),
        });
        match open {
            None => Ok(()),
            Some(address) => Err(StartError::Config(format!(
                "error: tokens would pass {address} in plain text\n\
                 help: write `tls: {{ cert: …, key: … }}`, or `tls: off` if TLS ends before it"
            ))),
        }
    }
}

/// What runs for as long as the server does.
fn background(running: &Arc<Running>, pulse: Option<Arc<Pulse>>) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![
        refresh::start(running),
        revocation::start(running),
        tokio::spawn(overload::watch(Arc::downgrade(&running.gateway))),
        tokio::spawn(keys::say_ready(Arc::clone(running))),
    ];
    if let Some(pulse) = pulse {
        tasks.push(tokio::spawn(running.notifier.clone().watch(pulse)));
    }
    tasks
}

fn open_log(logs: &Logs, lines: Option<Lines>) -> Option<AccessLog> {
    let lines = lines.filter(|_| !logs.access_off)?;
    Some(AccessLog::new(logs, lines.writer, lines.terminal))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
