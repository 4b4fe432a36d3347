//! What a running gateway consists of, and how it is asked and reloaded.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::compile::{self, Compiled, Fault, Source};
use super::notes::notes;
use super::{Notifier, keys, revocation};
use crate::admin::{Check, Desk, Operations, Refused, Reloaded};
use crate::authenticate::IssuerStatus;
use crate::config::{Config, Limits};
use crate::gateway::Gateway;
use crate::listen::{Certificates, Listeners};
use crate::overload::Descriptors;
use crate::policy::{Policy, Shared};
use crate::record::metrics::Metrics;
use crate::revoke::Known;

/// Shared by the server, its administration and its background work.
pub(super) struct Running {
    pub(super) source: Source,
    /// Whether the certificate was given at start and the file's `tls` does not count.
    pub(super) has_own_certificate: bool,
    pub(super) shared: Shared,
    pub(super) gateway: Arc<Gateway>,
    pub(super) listeners: Listeners,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) trusted: Arc<ArcSwap<Vec<IpNet>>>,
    pub(super) descriptors: Descriptors,
    pub(super) notifier: Notifier,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) draining: AtomicBool,
    pub(super) in_force: ArcSwap<InForce>,
    /// One reload at a time: each compares with the one before.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// The configuration in force.
pub(super) struct InForce {
    /// Without its routes, of which there may be many: what is enforced of them is in the policy.
    pub(super) config: Config,
    /// When it was accepted, since 1970.
    pub(super) since: Duration,
}

impl InForce {
    pub(super) fn new(config: Config, since: Duration) -> Self {
        Self { config: Config { routes: Vec::new(), ..config }, since }
    }
}

impl Operations for Running {
    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    fn checks(&self) -> Vec<Check> {
        let draining = self.draining.load(Ordering::Acquire);
        let mut checks = vec![
            check("config", true, "in force", ""),
            check("listeners", self.listeners.is_accepting(), "accepting", "closed"),
            check("drain", !draining, "not draining", "the gateway is stopping"),
        ];
        for issuer in self.gateway.policy().issuers() {
            let status = issuer.status();
            let known = describe_issuer(&status);
            let problem = status.problem.unwrap_or_else(|| "no keys yet".to_owned());
            checks.push(check(
                &format!("issuer {}", issuer.name()),
                status.ready,
                &known,
                &problem,
            ));
        }
        checks
    }

    fn revocation_desk(&self) -> Option<Desk> {
        let revocations = Arc::clone(&self.shared.revocations);
        let settings = revocations.settings()?;
        let known = Known::of(&self.in_force.load().config);
        Some(Desk { revocations, known, settings })
    }

    async fn reload(&self) -> Result<Reloaded, Refused> {
        let _turn = self.turn.lock().await;
        let began = Instant::now();
        self.notifier.reloading();
        let previous = self.gateway.policy();
        match self.follow(&previous).await {
            Ok(reloaded) => {
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.say_ready("serving");
                Ok(Reloaded { took_ms, ..reloaded })
            }
            Err(fault) => {
                self.say_ready("the last reload was rejected; serving by the configuration before");
                Err(self.refuse(fault))
            }
        }
    }
}

impl Running {
    /// Makes the series known that a start decides.
    pub(super) fn export_start(&self) {
        let metrics = &self.shared.metrics;
        for result in ["accepted", "rejected"] {
            metrics.config_reloads.with_label_values(&[result]).inc_by(0);
        }
        self.export_accepted();
        if let Some(certificates) = &self.certificates {
            certificates.export(metrics);
            certificates.warn(self.shared.clock.now().unix);
        }
    }

    /// Tells the service manager that requests are served, unless it was told that no more are.
    pub(super) fn say_ready(&self, how: &str) {
        if !self.draining.load(Ordering::Acquire) {
            let routes = self.gateway.policy().census().all;
            self.notifier.ready(&format!("{how}, {routes} routes"));
        }
    }

    /// Puts the configuration in force, if all of it can be used. Whatever may fail comes before
    /// anything takes effect: of what is refused, nothing does.
    async fn follow(&self, previous: &Policy) -> Result<Reloaded, Fault> {
        let compiled = compile::next(&self.source, previous, &self.shared)?;
        let certificates = self.ready(&compiled).await.inspect_err(|_| {
            // The series of what it would have added were made when it was compiled.
            forget_gone(&self.shared.metrics, &compiled.policy, previous);
        })?;
        if let Some(certificates) = certificates {
            self.renew(certificates);
        }
        Ok(self.adopt(compiled, previous))
    }

    /// Does what may fail. The revocations come last: they count once their file was read.
    async fn ready(&self, compiled: &Compiled) -> Result<Option<Certificates>, Fault> {
        let certificates = self.read_certificates(compiled)?;
        // The policy before judges until this one can.
        compiled.policy.start();
        keys::fetched(&compiled.policy).await;
        revocation::follow(&self.shared.revocations, compiled)?;
        Ok(certificates)
    }

    /// The certificates are read again even if the file names the same ones. Where they count from
    /// the next start only, they must still be good: else that start would fail.
    fn read_certificates(&self, compiled: &Compiled) -> Result<Option<Certificates>, Fault> {
        if self.has_own_certificate {
            return Ok(None);
        }
        compile::certificates(compiled, false)
    }

    fn renew(&self, others: Certificates) {
        if let Some(certificates) = &self.certificates {
            certificates.replace(others);
            certificates.export(&self.shared.metrics);
            certificates.warn(self.shared.clock.now().unix);
        }
    }

    fn adopt(&self, compiled: Compiled, previous: &Policy) -> Reloaded {
        let Compiled { config, policy, warnings, .. } = compiled;
        let changes = policy.changes(previous);
        let mut notes = notes(&self.in_force.load().config, &config);
        notes.extend((!warnings.is_empty()).then_some(warnings));
        self.gateway.replace(Arc::clone(&policy));
        self.limits.store(Arc::new(self.descriptors.fit(config.limits)));
        self.trusted.store(Arc::new(config.trusted_proxies.clone()));
        self.in_force.store(Arc::new(InForce::new(config, self.shared.clock.now().unix)));
        forget_gone(&self.shared.metrics, previous, &policy);
        self.shared.metrics.config_reloads.with_label_values(&["accepted"]).inc();
        self.export_accepted();
        let (added, removed, changed) = (changes.added, changes.removed, changes.changed);
        tracing::info!(added, removed, changed, "the configuration was reloaded");
        Reloaded { took_ms: 0, added, removed, changed, notes }
    }

    fn refuse(&self, fault: Fault) -> Refused {
        let Fault { summary, problems } = fault;
        self.shared.metrics.config_reloads.with_label_values(&["rejected"]).inc();
        self.shared.metrics.config_last_reload_successful.set(0);
        tracing::error!(%summary, "the configuration was rejected; the one before stays in force");
        Refused { summary, problems, running_since: self.in_force.load().since.as_secs() }
    }

    fn export_accepted(&self) {
        let metrics = &self.shared.metrics;
        metrics.config_last_reload_successful.set(1);
        metrics.config_last_reload_success.set(self.in_force.load().since.as_secs_f64());
        let census = self.gateway.policy().census();
        let protected = census.all.saturating_sub(census.public + census.report);
        let counts =
            [("public", census.public), ("protected", protected), ("report", census.report)];
        for (access, count) in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            metrics.routes.with_label_values(&[access]).set(count);
        }
    }
}

/// `3 keys, ES256 RS256`, `introspection`, or both.
pub(crate) fn describe_issuer(status: &IssuerStatus) -> String {
    let plural = if status.keys == 1 { "" } else { "s" };
    let keys = format!("{} key{plural}, {}", status.keys, status.algorithms.join(" "));
    match (status.introspects, status.keys) {
        (false, _) => keys,
        (true, 0) => "introspection".to_owned(),
        (true, _) => format!("{keys}, introspection"),
    }
}

fn check(name: &str, well: bool, state: &str, problem: &str) -> Check {
    let result = if well { Ok(state.to_owned()) } else { Err(problem.to_owned()) };
    Check { name: name.to_owned(), result }
}

/// Removes the series of what `after` does not have. Requests that are still under way by `before`
/// do not bring them back.
fn forget_gone(metrics: &Metrics, before: &Policy, after: &Policy) {
    before.retire_metrics(after);
    for pattern in gone(&before.patterns(), &after.patterns()) {
        metrics.by_route.forget(pattern);
    }
    metrics.forget("issuer", &gone(&issuers(before), &issuers(after)));
    metrics.forget("upstream", &gone(&upstreams(before), &upstreams(after)));
    let kept: HashSet<(&str, &str)> = targets(after).into_iter().collect();
    for (upstream, target) in targets(before) {
        if !kept.contains(&(upstream, target)) {
            // Gone with its upstream, or gone now.
            drop(metrics.upstream_up.remove_label_values(&[upstream, target]));
        }
    }
}

fn issuers(policy: &Policy) -> Vec<&str> {
    policy.issuers().iter().map(|issuer| &**issuer.name()).collect()
}

fn upstreams(policy: &Policy) -> Vec<&str> {
    policy.upstreams().iter().map(|upstream| &**upstream.name()).collect()
}

fn targets(policy: &Policy) -> Vec<(&str, &str)> {
    let upstreams = policy.upstreams().iter();
    upstreams
        .flat_map(|upstream| upstream.targets().map(|target| (&**upstream.name(), target)))
        .collect()
}

fn gone<'n>(before: &[&'n str], after: &[&str]) -> HashSet<&'n str> {
    let after: HashSet<&str> = after.iter().copied().collect();
    before.iter().filter(|name| !after.contains(*name)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_gone_is_forgotten() {
        assert_eq!(gone(&["/a", "/b"], &["/b", "/c"]), HashSet::from(["/a"]));
    }

    #[test]
    fn issuers_are_described_in_words() {
        let words = |keys, algorithms: &[&str], introspects| {
            let algorithms = algorithms.iter().copied().map(str::to_owned).collect();
            describe_issuer(&IssuerStatus {
                ready: true,
                keys,
                algorithms,
                introspects,
                problem: None,
            })
        };
        assert_eq!(words(1, &["ES256"], false), "1 key, ES256");
        assert_eq!(words(3, &["ES256", "RS256"], false), "3 keys, ES256 RS256");
        assert_eq!(words(1, &["ES256"], true), "1 key, ES256, introspection");
        assert_eq!(words(0, &[], true), "introspection");
    }
}
