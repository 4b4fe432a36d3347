//! A backend: its targets, and what is known of them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::balance::Choice;
use super::breaker::{Bounds, Full};
use super::connection::Connection;
use super::counters::Counters;
use super::exchange::Fault;
use super::health;
use super::http2::Lane;
use super::pool::Shard;
use super::resolve::{self, Resolver};
use super::retry::Retries;
use super::socket::Socket;
use super::target::{Target, Trouble};
use super::tls::Handshakes;
use crate::clock::Clock;
use crate::config::{self, Problems, Protocol};
use crate::listen::Refreshed;
use crate::record::metrics::Metrics;
use crate::rejection::Rejection;
use crate::worker;

/// A backend: its targets, connections and metrics.
///
/// Of several targets, a request goes to the one with less to do of two that are drawn by weight
/// ([`Choice`]). It goes on to another target while nothing of it was sent: when connecting fails.
/// A target that failed is not tried first for a second.
///
/// `scopegate_upstream_up` begins at 1: a target is up until a connection to it fails, health checks
/// find it down, or it is ejected.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    config: config::Upstream,
    backend: Arc<Backend>,
    shards: Box<[Arc<Shard>]>,
    /// What runs in the background, once it does.
    tasks: OnceLock<Vec<AbortHandle>>,
}

impl Upstream {
    /// An upstream without connections.
    ///
    /// # Errors
    /// E080 or E088 for a file of `tls` that cannot be used, at its place.
    pub fn new(
        config: &config::Upstream,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, Problems> {
        Self::following(config, clock, metrics, &Resolver::default(), None)
    }

    /// An upstream that knows of its targets what `previous` knew, whose place it takes at a reload.
    /// Its own connections are new. Targets that `previous` did not have start slowly.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn following(
        config: &config::Upstream,
        clock: &Clock,
        metrics: &Metrics,
        resolver: &Resolver,
        previous: Option<&Self>,
    ) -> Result<Self, Problems> {
        let handshakes = Handshakes::of(config)?;
        let backend = Arc::new(Backend::new(config, handshakes, clock, metrics, resolver));
        if let Some(previous) = previous {
            backend.inherit(&previous.backend, config.resilience.health.is_some());
        }
        let shards: Box<[Arc<Shard>]> =
            (0..worker::count()).map(|index| Arc::new(Shard::new(&backend, index))).collect();
        backend.shards.get_or_init(|| shards.iter().map(Arc::downgrade).collect());
        let (name, tasks) = (Arc::from(&**config.name), OnceLock::new());
        Ok(Self { name, config: config.clone(), backend, shards, tasks })
    }

    /// Starts health checks and the resolving of names in the background, on the runtime of the
    /// caller. Later calls do nothing. The work ends when the upstream is dropped.
    pub fn start(&self) {
        self.tasks.get_or_init(|| {
            let targets = 0..self.backend.targets.len();
            let fresh = |target| resolve::keep_fresh(Arc::downgrade(&self.backend), target);
            let mut tasks: Vec<AbortHandle> =
                targets.map(|target| tokio::spawn(fresh(target)).abort_handle()).collect();
            if let Some(settings) = &self.config.resilience.health {
                let settings = Arc::new(settings.clone());
                let watch = health::watch(Arc::downgrade(&self.backend), settings);
                tasks.push(tokio::spawn(watch).abort_handle());
            }
            self.backend.go_on_ejecting();
            tasks
        });
    }

    /// Ends what runs in the background: another upstream has taken its place.
    pub(crate) fn stop(&self) {
        self.tasks.get().into_iter().flatten().for_each(AbortHandle::abort);
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

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What all threads share of an upstream.
#[derive(Debug)]
pub(super) struct Backend {
    name: Arc<str>,
    targets: Box<[Target]>,
    connect_timeout: Duration,
    response_timeout: Duration,
    idle_timeout: Duration,
    protocol: Protocol,
    may_speak_http2: bool,
    /// `None` without `https` targets.
    handshakes: Option<Handshakes>,
    slow_start: Duration,
    /// While less than this percentage is up, health checks do not count.
    panic: u32,
    /// `None` if there is only one target: it is better than none.
    pub(super) ejection: Option<config::Ejection>,
    /// One target is ejected at a time.
    ejecting: Mutex<()>,
    retries: Option<Retries>,
    bounds: Bounds,
    clock: Clock,
    counters: Counters,
    resolver: Resolver,
    shards: OnceLock<Box<[Weak<Shard>]>>,
}

impl Backend {
    fn new(
        config: &config::Upstream,
        handshakes: Option<Handshakes>,
        clock: &Clock,
        metrics: &Metrics,
        resolver: &Resolver,
    ) -> Self {
        let (name, resilience) = (&**config.name, &config.resilience);
        let most = resilience.max_connections;
        let targets = config.targets.iter().map(|target| Target::new(name, target, most, metrics));
        Self {
            name: Arc::from(name),
            targets: targets.collect(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            // None at all would close each connection before its first request.
            idle_timeout: config.idle_timeout.max(Duration::from_millis(1)),
            protocol: config.protocol,
            may_speak_http2: config.may_speak_http2(),
            handshakes,
            slow_start: resilience.slow_start,
            panic: resilience.health.as_ref().map_or(0, |health| health.panic),
            ejection: resilience.ejection.filter(|_| config.targets.len() > 1),
            ejecting: Mutex::new(()),
            retries: resilience.retry.as_ref().map(Retries::new),
            bounds: Bounds::new(resilience),
            clock: clock.clone(),
            counters: Counters::new(name, metrics),
            resolver: resolver.clone(),
            shards: OnceLock::new(),
        }
    }

    fn inherit(&self, previous: &Self, is_checked: bool) {
        let now = self.clock.monotonic();
        for target in &self.targets {
            let same = |old: &&Target| old.label == target.label;
            match previous.targets.iter().find(same) {
                Some(old) => target.inherit(old),
                None => target.is_new(now),
            }
            // Nobody would find it up again.
            if !is_checked {
                target.mark(Trouble::Down, false, now);
            }
        }
    }

    /// Goes on waiting for the end of ejections that began before a reload.
    fn go_on_ejecting(self: &Arc<Self>) {
        let now = self.clock.monotonic();
        for (index, target) in self.targets.iter().enumerate() {
            if target.has(Trouble::Ejected) {
                let until = Duration::from_nanos(target.outlier.until());
                self.bring_back(index, until.saturating_sub(now));
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
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

    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    pub(super) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(super) fn retries(&self) -> Option<&Retries> {
        self.retries.as_ref()
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn handshakes(&self) -> Option<&Handshakes> {
        self.handshakes.as_ref()
    }

    pub(super) fn ejecting(&self) -> MutexGuard<'_, ()> {
        self.ejecting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The target to try next, for the thread whose choices `turn` counts.
    pub(super) fn choose(&self, tried: &[usize], turn: usize) -> Option<usize> {
        let (now, slow_start) = (self.clock.monotonic(), self.slow_start);
        Choice { tried, turn, now, panic: self.panic, slow_start }.among(&self.targets)
    }

    /// A connection to the target that rests with any thread.
    pub(super) fn resting(&self, target: usize) -> Option<Box<Connection>> {
        self.shards().find_map(|shard| shard.take(target))
    }

    /// A place on a shared connection to the target, of any thread.
    pub(super) fn lane(&self, target: usize) -> Option<Lane> {
        self.shards().find_map(|shard| shard.lines.as_ref()?.take(target))
    }

    fn shards(&self) -> impl Iterator<Item = Arc<Shard>> {
        self.shards.get().into_iter().flatten().filter_map(Weak::upgrade)
    }

    /// The refusal of a request that a bound of this upstream stops.
    pub(super) fn overloaded(&self, setting: Full) -> Rejection {
        self.counters.overloaded();
        Rejection::UpstreamOverloaded { upstream: Arc::clone(&self.name), setting }
    }

    /// Whether HTTP/2 can be what is spoken to some target.
    pub(super) fn may_speak_http2(&self) -> bool {
        self.may_speak_http2
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
        let opened = timeout(self.connect_timeout, self.open(target)).await;
        let opened = opened.unwrap_or(Err(Fault::Timeout));
        let (target, now) = (&self.targets[target], self.clock.monotonic());
        if opened.is_err() {
            target.avoid(now + AVOIDED);
            target.names.want();
        }
        if opened.is_err() != target.has(Trouble::Unreachable) {
            target.mark(Trouble::Unreachable, opened.is_err(), now);
        }
        opened
    }
}

const AVOIDED: Duration = Duration::from_secs(1);
