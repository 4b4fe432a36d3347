//! What the gateway enforces: a configuration with every name resolved and every check prepared.
//!
//! [`Policy::compile`] is the only way from one to the other. A request loads one policy and uses
//! it to its end, so a reload never changes a decision half-way.

#[cfg(test)]
mod agreement;
mod compile;
mod link;
mod route;
mod router;
mod rule;

pub use route::{Access, Found, Route};
pub(crate) use rule::{Facts, Rule};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::authenticate::{Authenticator, Issuer, Verdicts};
use crate::clock::Clock;
use crate::config::{Limits, Mode};
use crate::cors::Cors;
use crate::forward::{Origin, Resolver, Scrub, Upstream};
use crate::identity::Caller;
use crate::limit::{Flood, Plan, Plans};
use crate::overload::Ceilings;
use crate::record::metrics::Metrics;
use crate::rejection::{Answers, Rejection};
use crate::revoke::Revocations;
use crate::revoke::logout::Doors;
use crate::target::Target;
use crate::trace::{Trace, Tracing};

use router::Router;

/// What outlives a policy: handed from each to the next.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The source of time.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
    /// The verified tokens.
    pub verdicts: Arc<Verdicts>,
    /// The revocations.
    pub revocations: Arc<Revocations>,
    /// Finds the addresses of backends.
    pub resolver: Resolver,
}

/// A compiled configuration.
#[derive(Debug)]
pub struct Policy {
    router: Router,
    routes: Vec<Arc<Route>>,
    upstreams: Vec<Arc<Upstream>>,
    plans: Plans,
    /// Every limit, also those of single routes: what a reload carries over.
    limits_in_force: Vec<Arc<Plan>>,
    authenticator: Authenticator,
    pub(crate) flood: Option<Arc<Flood>>,
    /// Where issuers tell of logouts.
    pub(crate) logouts: Doors,
    pub(crate) trusted_proxies: Vec<IpNet>,
    scrub: Scrub,
    tracing: Option<Arc<Tracing>>,
    /// For what no route answers.
    cors: Option<Arc<Cors>>,
    pub(crate) answers: Answers,
    /// `Strict-Transport-Security` of answers over TLS.
    pub(crate) hsts: Option<HeaderValue>,
    /// Whether answers tell where the time went.
    pub(crate) server_timing: bool,
    pub(crate) limits: Limits,
    pub(crate) ceilings: Ceilings,
    clients: HashMap<String, Arc<str>, RandomState>,
    other_clients: Arc<str>,
    clock: Clock,
}

impl Policy {
    /// The source of time.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The route for a target.
    ///
    /// # Errors
    /// `NoRoute`, or `AmbiguousPath` for an encoded slash that the route does not accept, and for
    /// escapes such as `%3A`, or an encoded slash, with which another route matches once they are
    /// decoded.
    pub fn locate(&self, target: &Target) -> Result<&Arc<Route>, Rejection> {
        let found = self.router.find(target.host(), target.path());
        if let Some(decoded) = target.decoded()
            && self.router.find(target.host(), decoded) != found
        {
            return Err(Rejection::AmbiguousPath("another route matches it once it is decoded"));
        }
        let Some(route) = found.and_then(|index| self.routes.get(index)) else {
            return Err(Rejection::NoRoute);
        };
        if target.has_encoded_slash() && !route.allow_encoded_slash {
            return Err(Rejection::AmbiguousPath("it has an encoded slash"));
        }
        // The backend is said to keep `%2F` within a segment. One that does not must not be led to
        // what another route guards.
        let apart = target.apart().and_then(|path| self.router.find(target.host(), &path));
        if apart.is_some() && apart != found {
            return Err(Rejection::AmbiguousPath("another route matches it once it is decoded"));
        }
        Ok(route)
    }

    /// What scripts may read of the answers of a route, or of none.
    pub(crate) fn cors_of<'r>(&'r self, route: Option<&'r Route>) -> Option<&'r Cors> {
        route.map_or(&self.cors, |route| &route.cors).as_deref()
    }

    /// A request's place in its trace, if the gateway takes part in any.
    pub(crate) fn traced(&self, headers: &HeaderMap, origin: &Origin) -> Option<Arc<Trace>> {
        self.tracing.as_ref().map(|tracing| tracing.begin(headers, origin.trusted))
    }

    /// Waits until what was recorded of traces is exported, for a short while.
    pub(crate) async fn flush_traces(&self) {
        if let Some(tracing) = &self.tracing {
            tracing.flush().await;
        }
    }

    /// The plan that counts this caller.
    #[must_use]
    pub fn plan_of(&self, caller: &Caller) -> Option<&Arc<Plan>> {
        let plans = &self.plans;
        let identity = caller.identity();
        let by_client = || plans.by_client.get(identity?.client.as_deref()?);
        let by_claim = || {
            let path = plans.from.as_ref()?.0.iter().map(String::as_str);
            plans
                .by_name
                .get(crate::identity::walk(identity?.claims.read(), path).value()?.as_str()?)
        };
        by_client().or_else(by_claim).or(plans.default.as_ref())
    }

    /// What metrics call the caller's client: its id if it is configured, else `other`, so that
    /// clients cannot make series.
    pub(crate) fn client_label(&self, caller: &Caller) -> Arc<str> {
        let id = caller.identity().and_then(|identity| identity.client.as_deref());
        let known = id.and_then(|id| self.clients.get(id));
        Arc::clone(known.unwrap_or(&self.other_clients))
    }

    /// Starts what runs in the background: fetching keys, watching backends, exporting traces,
    /// forgetting idle callers.
    pub fn start(self: &Arc<Self>) {
        for issuer in self.issuers() {
            issuer.start();
        }
        self.tracing.iter().for_each(|tracing| tracing.start());
        self.upstreams.iter().for_each(|upstream| upstream.start());
        tokio::spawn(forget_idle(Arc::downgrade(self), self.clock.clone()));
    }

    /// What verifies tokens.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// What is stripped from requests.
    #[must_use]
    pub fn scrub(&self) -> &Scrub {
        &self.scrub
    }

    /// The issuers, in the order of the configuration.
    #[must_use]
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        self.authenticator.issuers()
    }

    /// The upstreams, in the order of the configuration.
    #[must_use]
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// The limiters; those of plans and of routes may share a name.
    fn limits_by_name(&self) -> HashMap<&str, Vec<&Arc<Plan>>, RandomState> {
        let mut by_name: HashMap<&str, Vec<_>, _> = HashMap::default();
        for plan in &self.limits_in_force {
            by_name.entry(plan.name()).or_default().push(plan);
        }
        by_name
    }

    /// The routes' patterns: their names in metrics.
    #[must_use]
    pub fn patterns(&self) -> Vec<&str> {
        self.routes.iter().map(|route| &*route.pattern).collect()
    }

    /// Ends the background work of upstreams that `next` does not have, and the making of series by
    /// those whose name it does not have, for requests that go on by this policy.
    pub(crate) fn retire_metrics(&self, next: &Self) {
        let is_kept = |upstream: &Arc<Upstream>| {
            next.upstreams.iter().any(|next| Arc::ptr_eq(next, upstream))
        };
        let replaced = self.upstreams.iter().filter(|upstream| !is_kept(upstream));
        replaced.for_each(|upstream| upstream.stop());
        let upstreams: HashSet<&Arc<str>> = next.upstreams.iter().map(|next| next.name()).collect();
        let gone = self.upstreams.iter().filter(|upstream| !upstreams.contains(upstream.name()));
        gone.for_each(|upstream| upstream.retire_metrics());
    }

    /// How many routes there are.
    #[must_use]
    pub fn census(&self) -> Census {
        let count = |wanted: fn(&Route) -> bool| self.routes.iter().filter(|r| wanted(r)).count();
        Census {
            all: self.routes.len(),
            public: count(Route::is_public),
            report: count(|route| route.mode == Mode::Report),
        }
    }

    /// What changed since `previous`, by route.
    #[must_use]
    pub fn changes(&self, previous: &Self) -> Changes {
        let mut old: HashMap<&str, &Arc<Route>, RandomState> =
            previous.routes.iter().map(|route| (&*route.pattern, route)).collect();
        let mut changes = Changes::default();
        for route in &self.routes {
            match old.remove(&*route.pattern) {
                None => changes.added += 1,
                Some(old) if old.settings != route.settings => changes.changed += 1,
                Some(_) => {}
            }
        }
        changes.removed = old.len();
        changes
    }
}

/// Sweeps the limiters until the policy is gone.
async fn forget_idle(policy: std::sync::Weak<Policy>, clock: Clock) {
    loop {
        clock.sleep(SWEEP).await;
        let Some(policy) = policy.upgrade() else { return };
        policy.limits_in_force.iter().for_each(|plan| plan.forget_idle());
        policy.flood.iter().for_each(|flood| flood.forget_idle());
        policy.logouts.forget_idle();
    }
}

const SWEEP: Duration = Duration::from_secs(30);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Variables, load_text};

    pub(super) fn shared() -> Shared {
        let (clock, metrics) = (Clock::default(), Metrics::default());
        let verdicts = Arc::new(Verdicts::new(10, &metrics));
        let revocations = Arc::new(Revocations::none(&clock, &metrics));
        Shared { clock, metrics, verdicts, revocations, resolver: Resolver::default() }
    }

    /// The bytes that a policy of this many routes holds.
    fn size(routes: usize) -> u64 {
        let routes = (0..routes).map(|n| format!("  /r{n}/**: {{ GET: orders:read }}\n"));
        let text = format!(
            "issuer: https://id.example.com\naudience: api\nupstream: http://127.0.0.1:1\nroutes:\n{}",
            routes.collect::<String>()
        );
        let loaded = load_text("gateway.yaml", &text, &Variables::default());
        let config = loaded.config.unwrap();
        let (mut policy, shared) = (None, shared());
        let cost = allocation_counter::measure(|| {
            policy = Policy::compile(&config, &loaded.sources, None, &shared).ok();
        });
        drop(policy.unwrap());
        u64::try_from(cost.bytes_current).unwrap()
    }

    /// Thousands of routes are no burden, called or not.
    #[test]
    fn a_route_costs_less_than_a_kilobyte() {
        let each = (size(2_000) - size(1_000)) / 1_000;
        assert!(each < 1_024, "{each} bytes");
    }
}
