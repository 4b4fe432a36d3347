//! What the gateway enforces.

use std::sync::Arc;

use crate::authenticate::{Issuer, Verdicts};
use crate::clock::Clock;
use crate::config::{Config, Problems, Sources};
use crate::forward::Upstream;
use crate::record::metrics::Metrics;

/// What outlives a policy: handed from each to the next.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The source of time.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
    /// The verified tokens.
    pub verdicts: Arc<Verdicts>,
}

/// A compiled configuration.
#[derive(Debug)]
pub struct Policy {}

impl Policy {
    /// Links and checks a configuration. Parts of `previous` whose settings are the same
    /// (connections, keys, limiters) are carried over.
    ///
    /// # Errors
    /// All problems at once, each with its place.
    pub fn compile(
        config: &Config,
        sources: &Sources,
        previous: Option<&Self>,
        shared: &Shared,
    ) -> Result<Self, Problems> {
        let _ = (config, sources, previous, shared);
        todo!()
    }

    /// Starts what runs in the background: fetching keys, forgetting idle callers.
    pub fn start(&self) {
        todo!()
    }

    /// The issuers, in the order of the configuration.
    #[must_use]
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        todo!()
    }

    /// The upstreams, in the order of the configuration.
    #[must_use]
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        todo!()
    }

    /// The routes' patterns: their names in metrics.
    #[must_use]
    pub fn patterns(&self) -> Vec<&str> {
        todo!()
    }

    /// How many routes there are.
    #[must_use]
    pub fn census(&self) -> Census {
        todo!()
    }

    /// What changed since `previous`, by route.
    #[must_use]
    pub fn changes(&self, previous: &Self) -> Changes {
        let _ = previous;
        todo!()
    }
}

/// How many routes there are, by access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// All routes.
    pub all: usize,
    /// Those that need no token for some method.
    pub public: usize,
    /// Those that only report.
    pub report: usize,
}

/// The difference between two policies, as counts of routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Routes that were not there.
    pub added: usize,
    /// Routes that are gone.
    pub removed: usize,
    /// Routes whose settings differ.
    pub changed: usize,
}
