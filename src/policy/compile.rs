//! From what was written to what is enforced.
//!
//! Names were checked when the configuration was read; what can still fail here are files that a
//! name points to.

use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderName;

use crate::authenticate::{Authenticator, Issuer};
use crate::config::{self, Config, Problems, Sources};
use crate::cors::Cors;
use crate::forward::{Scrub, Upstream};
use crate::limit::Flood;
use crate::overload::Ceilings;
use crate::record::metrics::Metrics;
use crate::rejection::Answers;
use crate::revoke::logout::Doors;
use crate::trace::Tracing;

use super::link::{Linker, digest_of_rules};
use super::router::Router;
use super::{Policy, Shared};

impl Policy {
    /// Links a configuration. Parts of `previous` whose settings are the same (connections, keys,
    /// limiters) are carried over, so that a reload forgets nothing.
    ///
    /// # Errors
    /// All problems at once, each with its place.
    pub fn compile(
        config: &Config,
        sources: &Sources,
        previous: Option<&Self>,
        shared: &Shared,
    ) -> Result<Self, Problems> {
        let issuers = issuers(config, previous, shared)?;
        let mut linker = Linker {
            config,
            sources,
            shared,
            upstreams: upstreams(config, previous, shared)?,
            named_rules: digest_of_rules(config),
            cors: config.cors.as_ref().map(|cors| Arc::new(Cors::new(cors))),
            old_limits: previous.map(Policy::limits_by_name).unwrap_or_default(),
            limits: Vec::new(),
        };
        let plans = linker.plans();
        let routes: Vec<_> = config.routes.iter().map(|route| linker.route(route)).collect();
        let mut router = Router::default();
        for (index, route) in config.routes.iter().enumerate() {
            router.add(&route.pattern, route.case_insensitive, index);
        }
        Ok(Self {
            router,
            routes,
            plans,
            upstreams: linker.upstreams,
            limits_in_force: linker.limits,
            cors: linker.cors,
            logouts: Doors::new(config, &issuers, &shared.revocations, &shared.clock),
            authenticator: Authenticator::new(
                issuers,
                Arc::clone(&shared.verdicts),
                Arc::clone(&shared.revocations),
                config.limits.token,
            ),
            flood: flood(config, previous, shared),
            tracing: tracing(config, previous, shared),
            trusted_proxies: config.trusted_proxies.clone(),
            scrub: Scrub::new(&identity_names(config)).keeping(kept_names(config)),
            answers: Answers::new(
                &config.errors,
                config.public_url.as_ref().map(|url| url.value.as_str()),
            ),
            hsts: config.hsts.and_then(|time| format!("max-age={}", time.as_secs()).parse().ok()),
            server_timing: config.server_timing,
            limits: config.limits,
            ceilings: Ceilings::new(&config.limits, sources),
            clients: config.clients.iter().map(client_label).collect(),
            other_clients: "other".into(),
            clock: shared.clock.clone(),
        })
    }
}

fn identity_names(config: &Config) -> Vec<HeaderName> {
    config.identity_headers.iter().map(|header| header.name.value.clone()).collect()
}

fn kept_names(config: &Config) -> Vec<HeaderName> {
    config.kept_headers.iter().map(|name| name.value.clone()).collect()
}

fn client_label(client: &config::Client) -> (String, Arc<str>) {
    (client.id.value.clone(), client.id.as_str().into())
}

fn issuers(
    config: &Config,
    previous: Option<&Policy>,
    shared: &Shared,
) -> Result<Vec<Arc<Issuer>>, Problems> {
    let mut problems = Problems::default();
    let mut issuers = Vec::new();
    for written in &config.issuers {
        let headers = &config.identity_headers;
        let same = |issuer: &&Arc<Issuer>| issuer.is_made_from(written, headers);
        if let Some(issuer) = previous.and_then(|policy| policy.issuers().iter().find(same)) {
            issuers.push(Arc::clone(issuer));
            continue;
        }
        match Issuer::new(written, headers, &shared.clock, &shared.metrics) {
            Ok(issuer) => {
                let older = previous.map(Policy::issuers).unwrap_or_default();
                let older = older.iter().find(|older| **older.name() == **issuer.name());
                older.into_iter().for_each(|older| issuer.succeed(older));
                issuers.push(Arc::new(issuer));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.has_errors() {
        forget_new(&config.issuers, previous, &shared.metrics);
        return Err(problems);
    }
    Ok(issuers)
}

/// Issuers that never come into force leave no series.
fn forget_new(written: &[config::Issuer], previous: Option<&Policy>, metrics: &Metrics) {
    let old: HashSet<&str> = previous
        .iter()
        .flat_map(|policy| policy.issuers())
        .map(|issuer| &**issuer.name())
        .collect();
    let names: HashSet<&str> = written.iter().map(|issuer| issuer.name.as_str()).collect();
    metrics.forget("issuer", &names.difference(&old).copied().collect());
}

fn upstreams(
    config: &Config,
    previous: Option<&Policy>,
    shared: &Shared,
) -> Result<Vec<Arc<Upstream>>, Problems> {
    let mut problems = Problems::default();
    let mut upstreams = Vec::new();
    for written in &config.upstreams {
        let same = |upstream: &&Arc<Upstream>| upstream.is_made_from(written);
        if let Some(upstream) = previous.and_then(|policy| policy.upstreams.iter().find(same)) {
            upstreams.push(Arc::clone(upstream));
            continue;
        }
        match follow(written, previous, shared) {
            Ok(upstream) => upstreams.push(Arc::new(upstream)),
            Err(found) => problems.0.extend(found.0),
        }
    }
    if problems.has_errors() { Err(problems) } else { Ok(upstreams) }
}

/// What is known of the targets of an upstream whose settings changed is kept.
fn follow(
    written: &config::Upstream,
    previous: Option<&Policy>,
    shared: &Shared,
) -> Result<Upstream, Problems> {
    let mut upstreams = previous.iter().flat_map(|policy| &policy.upstreams);
    let old = upstreams.find(|upstream| **upstream.name() == **written.name);
    let Shared { clock, metrics, resolver, .. } = shared;
    Upstream::following(written, clock, metrics, resolver, old.map(AsRef::as_ref))
}

fn flood(config: &Config, previous: Option<&Policy>, shared: &Shared) -> Option<Arc<Flood>> {
    let rate = config.flood.as_ref()?.value;
    let callers = config.limits.callers;
    let old = previous.and_then(|policy| policy.flood.as_ref());
    match old.filter(|flood| flood.is_made_from(rate, callers)) {
        Some(flood) => Some(Arc::clone(flood)),
        None => Some(Arc::new(Flood::new(rate, callers, &shared.clock))),
    }
}

fn tracing(config: &Config, previous: Option<&Policy>, shared: &Shared) -> Option<Arc<Tracing>> {
    let written = config.tracing.as_ref()?;
    let old = previous.and_then(|policy| policy.tracing.as_ref());
    match old.filter(|tracing| tracing.is_made_from(written)) {
        Some(tracing) => Some(Arc::clone(tracing)),
        None => Some(Arc::new(Tracing::new(written, &shared.clock, &shared.metrics))),
    }
}
