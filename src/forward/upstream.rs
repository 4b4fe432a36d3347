//! A backend: its targets, and what is known of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::IntGauge;

use super::connect;
use super::counters::Counters;
use super::exchange::Fault;
use super::pool::Shard;
use super::socket::Socket;
use super::tls::Handshakes;
use crate::clock::Clock;
use crate::config::{self, Problems, Protocol, UpstreamTarget};
use crate::listen::Refreshed;
use crate::record::metrics::Metrics;
use crate::worker;

/// A backend: its targets, connections and metrics.
///
/// Targets take turns. A request goes on to the next target only while nothing of it was sent:
/// when connecting fails. A target that failed is not tried first for a second. Names are resolved
/// at each connect.
///
/// `scopegate_upstream_up` begins at 1: a target is up until a connection to it fails.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    config: config::Upstream,
    backend: Arc<Backend>,
    shards: Box<[Arc<Shard>]>,
}

impl Upstream {
    /// An upstream without connections.
    ///
    /// # Errors
    /// E080 or E081 for a file of `tls` that cannot be used, at its place.
    pub fn new(
        config: &config::Upstream,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, Problems> {
        let handshakes = Handshakes::of(config)?;
        let backend = Arc::new(Backend::new(config, handshakes, clock, metrics));
        let shards =
            (0..worker::count()).map(|index| Arc::new(Shard::new(&backend, index))).collect();
        Ok(Self { name: Arc::from(&**config.name), config: config.clone(), backend, shards })
    }

    /// Whether it was made from the same settings, so that a reload can keep its connections.
    #[must_use]
    pub fn is_made_from(&self, config: &config::Upstream) -> bool {
        self.config == *config
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The targets, as `host:port`.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.backend.targets.iter().map(|target| &*target.label)
    }

    /// Looks at the files of `tls` again; `None` if nothing has changed. Reads files.
    pub(crate) fn refresh_tls(&self) -> Option<Refreshed> {
        self.backend.handshakes.as_ref()?.refresh()
    }

    /// Makes no new series from now on: the upstream is gone from the configuration, and serves
    /// the requests that are under way.
    pub(crate) fn retire_metrics(&self) {
        self.backend.counters.retire();
    }

    /// Connects to each target once and closes again: for the lines at start. The answer is the
    /// longest time that one of them took.
    ///
    /// # Errors
    /// The first target that cannot be reached, and why, in words.
    pub async fn probe(&self) -> Result<Duration, String> {
        let mut longest = Duration::ZERO;
        for (index, target) in self.backend.targets.iter().enumerate() {
            let started = self.backend.clock.monotonic();
            if let Err(fault) = self.backend.connect(index).await {
                return Err(format!("{}: {}", target.label, fault.words()));
            }
            longest = longest.max(self.backend.clock.monotonic() - started);
        }
        Ok(longest)
    }

    /// The shard of the calling thread.
    pub(super) fn shard(&self) -> &Arc<Shard> {
        &self.shards[worker::index(self.shards.len())]
    }
}

/// What all threads share of an upstream.
#[derive(Debug)]
pub(super) struct Backend {
    targets: Box<[Target]>,
    connect_timeout: Duration,
    response_timeout: Duration,
    idle_timeout: Duration,
    protocol: Protocol,
    /// `None` without `https` targets.
    handshakes: Option<Handshakes>,
    clock: Clock,
    counters: Counters,
}

/// One server.
#[derive(Debug)]
pub(super) struct Target {
    place: UpstreamTarget,
    /// `host:port`, or `unix:` and a path.
    pub(super) label: String,
    /// Until when it is not tried first: nanoseconds on the monotonic clock.
    avoided: AtomicU64,
    up: IntGauge,
}

impl Backend {
    fn new(
        config: &config::Upstream,
        handshakes: Option<Handshakes>,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Self {
        let name = &**config.name;
        let targets = config.targets.iter().map(|target| Target::new(name, target, metrics));
        Self {
            targets: targets.collect(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            // None at all would close each connection before its first request.
            idle_timeout: config.idle_timeout.max(Duration::from_millis(1)),
            protocol: config.protocol,
            handshakes,
            clock: clock.clone(),
            counters: Counters::new(name, metrics),
        }
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Whether HTTP/2 can be what is spoken to some target.
    pub(super) fn may_speak_http2(&self) -> bool {
        match self.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => self.handshakes.is_some(),
        }
    }

    /// Whether HTTP/2 is what is spoken on a socket of [`connect`](Self::connect).
    pub(super) fn speaks_http2(&self, socket: &Socket) -> bool {
        match self.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => socket.agreed_on_http2(),
        }
    }

    /// Opens a socket to the target, with TLS and a unix socket where it says so, and remembers
    /// how that went.
    pub(super) async fn connect(&self, target: usize) -> Result<Socket, Fault> {
        let target = &self.targets[target];
        let handshakes = self.handshakes.as_ref();
        let opened = connect::open(&target.place, handshakes, self.connect_timeout).await;
        target.up.set(i64::from(opened.is_ok()));
        if opened.is_err() {
            self.avoid(target);
        }
        opened
    }

    fn avoid(&self, target: &Target) {
        let until = self.clock.monotonic() + AVOIDED;
        let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        target.avoided.store(until, Ordering::Relaxed);
    }
}

impl Target {
    fn new(upstream: &str, target: &config::UpstreamTarget, metrics: &Metrics) -> Self {
        let label = target.label();
        let up = metrics.upstream_up.with_label_values(&[upstream, &label]);
        up.set(1);
        Self { place: target.clone(), label, avoided: AtomicU64::new(0), up }
    }

    /// Whether connecting to it failed within the last second.
    pub(super) fn failed_lately(&self, now: Duration) -> bool {
        now < Duration::from_nanos(self.avoided.load(Ordering::Relaxed))
    }
}

const AVOIDED: Duration = Duration::from_secs(1);
