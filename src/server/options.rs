//! What a gateway is started with.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::Notifier;
use crate::clock::Clock;
use crate::config::{Listen, Variables};
use crate::forward::Resolver;
use crate::listen::Inherited;
use crate::overload::Descriptors;

/// What a gateway is started with.
pub struct Options {
    /// The configuration.
    pub config: ConfigSource,
    /// Replaces the configuration's `listen`; empty keeps it.
    pub listen: Vec<Listen>,
    /// Replaces the configuration's `admin`.
    pub admin: Option<Listen>,
    /// What `${NAME}` in the configuration stands for.
    pub variables: Variables,
    /// The source of time.
    pub clock: Clock,
    /// Finds the addresses of backends.
    pub resolver: Resolver,
    /// How many threads serve. Default: one for each core; 0 serves on the caller's runtime.
    pub workers: Option<usize>,
    /// Where access log lines go; `None` writes none.
    pub access_log: Option<Lines>,
    /// Replaces the configuration's `tls`.
    pub certificate: Option<Pem>,
    /// Whether problems are rendered in colours.
    pub color: bool,
    /// What the service manager passed.
    pub inherited: Arc<Inherited>,
    /// Whether to listen beside a running gateway of the same user, which is to stop then.
    pub takeover: bool,
    /// What the service manager is told by.
    pub notifier: Notifier,
    /// How many descriptors there are.
    pub descriptors: Descriptors,
}

impl Options {
    /// The options of a gateway that differs in nothing from what `config` says, logs no requests,
    /// and runs by the system's clock.
    #[must_use]
    pub fn new(config: PathBuf) -> Self {
        Self {
            config: ConfigSource::File(config),
            listen: Vec::new(),
            admin: None,
            variables: Variables::default(),
            clock: Clock::default(),
            resolver: Resolver::default(),
            workers: None,
            access_log: None,
            certificate: None,
            color: false,
            inherited: Arc::default(),
            takeover: false,
            notifier: Notifier::default(),
            descriptors: Descriptors::default(),
        }
    }
}

/// Where a configuration comes from, at start and at each reload.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// A file.
    File(PathBuf),
    /// A text that does not change, and what problems call it.
    Text {
        /// What problems call it.
        name: &'static str,
        /// The text.
        text: &'static str,
    },
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
