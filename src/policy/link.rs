//! One route: every name turned into what it stands for.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::{HeaderValue, Method};

use crate::authenticate::Scrutiny;
use crate::config::{
    self, ClaimMatch, Config, Pattern, Public, RouteCors, RuleKind, Segment, Sources,
};
use crate::cors::Cors;
use crate::forward::Upstream;
use crate::limit::{Plan, Plans};
use crate::method;

use super::Shared;
use super::route::{Access, Requirement, Route};
use super::rule::{Check, Condition, Rule, Single};

/// Turns names into what they stand for.
pub(super) struct Linker<'c> {
    pub(super) config: &'c Config,
    pub(super) sources: &'c Sources,
    pub(super) shared: &'c Shared,
    pub(super) upstreams: Vec<Arc<Upstream>>,
    /// The file's.
    pub(super) cors: Option<Arc<Cors>>,
    /// From [`digest_of_rules`].
    pub(super) named_rules: u64,
    /// The limiters of `previous`, by name.
    pub(super) old_limits: HashMap<&'c str, Vec<&'c Arc<Plan>>, RandomState>,
    /// Every limiter that was linked.
    pub(super) limits: Vec<Arc<Plan>>,
}

impl Linker<'_> {
    pub(super) fn plans(&mut self) -> Plans {
        let mut plans = Plans { from: self.config.plan_from.clone(), ..Plans::default() };
        for plan in &self.config.plans {
            let linked = self.limit(&plan.name, &plan.limit);
            plans.by_name.insert(plan.name.value.clone(), linked);
        }
        let named = |name: &config::Located<String>| plans.by_name.get(&name.value).cloned();
        plans.default = self.config.default_plan.as_ref().and_then(named);
        let clients = self.config.clients.iter();
        plans.by_client = clients
            .filter_map(|client| Some((client.id.value.clone(), named(client.plan.as_ref()?)?)))
            .collect();
        plans
    }

    /// A limiter, carried over if the settings are the same.
    fn limit(&mut self, name: &str, limit: &config::Limit) -> Arc<Plan> {
        let callers = self.config.limits.callers;
        let same = |plan: &&Arc<Plan>| plan.is_made_from(name, limit, callers);
        let old = self.old_limits.get(name).and_then(|plans| plans.iter().copied().find(same));
        let plan = match old {
            Some(plan) => Arc::clone(plan),
            None => Arc::new(Plan::new(name, limit.clone(), callers, &self.shared.clock)),
        };
        self.limits.push(Arc::clone(&plan));
        plan
    }

    pub(super) fn route(&mut self, written: &config::Route) -> Arc<Route> {
        let pattern: &Pattern = &written.pattern;
        let mode = written.mode.as_ref().map_or(self.config.mode, |mode| mode.value);
        let (methods, others) = self.access(written);
        let name: Arc<str> = pattern.text.as_str().into();
        Arc::new(Route {
            metrics: self.shared.metrics.by_route.of(&name),
            pattern: name,
            at: self.sources.cite(written.pattern.at).into(),
            upstream: self.upstream(written),
            strip_prefix: written.strip_prefix.as_ref().map_or(0, |prefix| segments(&prefix.value)),
            timeout: written.timeout,
            mode,
            limit: self.route_limit(written),
            keep_authorization: written
                .keep_authorization
                .or(self.config.keep_authorization)
                .is_some_and(|keep| keep.value),
            upgrade: written.upgrade.clone().into(),
            scrutiny: match written.introspect {
                Some(_) => Scrutiny::Introspect,
                None => Scrutiny::Usual,
            },
            cors: self.cors(written),
            allow_encoded_slash: written.allow_encoded_slash,
            allow: allow_field(&methods, others.is_some()),
            methods: methods.into(),
            others,
            settings: self.settings(written, mode),
        })
    }

    fn upstream(&self, written: &config::Route) -> Arc<Upstream> {
        let named = written.upstream.as_ref().and_then(|name| {
            self.upstreams.iter().find(|upstream| **upstream.name() == *name.value)
        });
        Arc::clone(named.unwrap_or(&self.upstreams[0]))
    }

    fn route_limit(&mut self, written: &config::Route) -> Option<Arc<Plan>> {
        let pattern = &written.pattern.text;
        match &written.limit.as_ref()?.value {
            config::RouteLimit::Limit(limit) => Some(self.limit(pattern, limit)),
            config::RouteLimit::Plan(name) => {
                let plan = self.config.plans.iter().find(|plan| *plan.name.value == **name)?;
                Some(self.limit(pattern, &plan.limit))
            }
        }
    }

    fn cors(&self, written: &config::Route) -> Option<Arc<Cors>> {
        match &written.cors {
            None => self.cors.clone(),
            Some(RouteCors::Off) => None,
            Some(RouteCors::On(own)) => Some(Arc::new(Cors::new(own))),
        }
    }

    fn access(&self, written: &config::Route) -> (Vec<(Method, Access)>, Option<Access>) {
        let mut methods = Vec::new();
        for rule in &written.methods {
            for method in &rule.methods {
                methods.push((method.value.clone(), self.rule_access(&rule.rule, written)));
            }
        }
        if let Some(public) = &written.public {
            let listed = methods.iter().any(|(method, _)| method == Method::GET);
            if !listed {
                methods.push((Method::GET, public_access(public.value)));
            }
        }
        let others = written.allow.as_ref().map(|rule| self.rule_access(rule, written));
        (methods, others)
    }

    fn rule_access(&self, written: &config::Rule, route: &config::Route) -> Access {
        if let RuleKind::Public(public) = written.kind {
            return public_access(public);
        }
        let rule = self.rule(written, route);
        Access::Restricted(Requirement { scopes: rule.required_scopes().into(), rule })
    }

    fn rule(&self, written: &config::Rule, route: &config::Route) -> Rule {
        let many =
            |rules: &[config::Rule]| rules.iter().map(|rule| self.rule(rule, route)).collect();
        let single = match &written.kind {
            RuleKind::Use(name) => return self.named_rule(name, written, route),
            RuleKind::All(rules) => return self.at(written, Check::All(many(rules))),
            RuleKind::Any(rules) => return self.at(written, Check::Any(many(rules))),
            RuleKind::Not(rule) => {
                return self.at(written, Check::Not(Box::new(self.rule(rule, route))));
            }
            // Within a rule there is nothing to open; the reader refuses it, and so does this.
            RuleKind::Public(_) => return self.at(written, Check::nobody()),
            RuleKind::Acr(accepted) => Single::Acr(accepted.as_slice().into()),
            RuleKind::Claim(name, wanted) => {
                Single::Claim(name.as_str().into(), condition(wanted, &route.pattern))
            }
            RuleKind::Client(id) => Single::Client(id.as_str().into()),
            RuleKind::Group(name) => Single::Group(name.as_str().into()),
            RuleKind::Issuer(name) => Single::Issuer(name.as_str().into()),
            RuleKind::MaxAge(age) => Single::MaxAge(*age),
            RuleKind::Role(name) => Single::Role(name.as_str().into()),
            RuleKind::Scope(scope) => Single::Scope(scope.as_str().into()),
            RuleKind::Source(networks) => Single::Source(networks.as_slice().into()),
            RuleKind::Token(kind) => Single::Token(*kind),
        };
        self.at(written, Check::One(single))
    }

    fn at(&self, written: &config::Rule, check: Check) -> Rule {
        Rule { check, at: self.sources.cite(written.at).into() }
    }

    /// The rule that `use:` names. An unknown name, which the reader refuses, is met by nobody.
    fn named_rule(&self, name: &str, written: &config::Rule, route: &config::Route) -> Rule {
        match self.config.rules.iter().find(|(known, _)| known.value == name) {
            Some((_, rule)) => self.rule(rule, route),
            None => self.at(written, Check::nobody()),
        }
    }

    /// A digest of everything that decides how a route behaves. Places are left out: a route that
    /// only moved did not change.
    fn settings(&self, written: &config::Route, mode: config::Mode) -> u64 {
        let upstream = self.upstream(written);
        let rules = (&written.allow, &written.methods, &written.public);
        let text = format!(
            "{rules:?} {:?} {:?} {:?} {mode:?} {:?} {:?} {} {} {} {:?}",
            written.strip_prefix,
            written.limit,
            written.timeout,
            written.keep_authorization,
            written.upgrade,
            written.case_insensitive,
            written.allow_encoded_slash,
            written.introspect.is_some(),
            written.cors,
        );
        digest(&(self.named_rules, upstream.name(), without_places(&text)))
    }
}

/// A digest of named rules, for the settings of every route that may use them.
pub(super) fn digest_of_rules(config: &Config) -> u64 {
    digest(&without_places(&format!("{:?}", config.rules)))
}

/// Compared within one process, and only to count changes.
fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Drops `Place { … }` from a debug text.
fn without_places(text: &str) -> String {
    let mut parts = text.split("Place {");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once('}').map_or("", |(_, rest)| rest));
    }
    out
}

/// The segments of a prefix such as `/api/v1`.
fn segments(prefix: &str) -> usize {
    prefix.matches('/').count()
}

fn condition(wanted: &ClaimMatch, pattern: &Pattern) -> Condition {
    let ClaimMatch::Param(name) = wanted else { return Condition::Value(wanted.clone()) };
    let is_it = |segment: &Segment| matches!(segment, Segment::Param(param) if param == name);
    match pattern.segments.iter().position(is_it) {
        Some(index) => Condition::Segment(index),
        // The reader refuses parameters that the pattern does not have; this is met by nobody.
        None => Condition::Value(ClaimMatch::In(Vec::new())),
    }
}

fn public_access(public: Public) -> Access {
    match public {
        Public::Open => Access::Open,
        Public::Optional => Access::Optional,
    }
}

fn allow_field(methods: &[(Method, Access)], others: bool) -> HeaderValue {
    let mut names: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
    if let Some(index) = names.iter().position(|name| *name == "GET") {
        names.insert(index + 1, "HEAD");
    }
    let all = method::USUAL.iter().map(Method::as_str).filter(|_| others);
    names.extend(all);
    let mut seen = Vec::new();
    names.retain(|name| {
        let new = !seen.contains(name);
        seen.push(*name);
        new
    });
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}
