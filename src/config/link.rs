//! Names and what they stand for: whatever a compiled policy looks up by name exists.

use std::collections::{BTreeSet, HashMap};

use super::reading::Reading;
use super::suggest::nearest;
use super::{
    ClaimMatch, Config, Issuer, Located, Place, Problem, Route, RouteLimit, Rule, RuleKind,
    Segment, Upstream, introspection, revocation,
};

/// Checks every reference from one section to another.
pub(super) fn check(reading: &mut Reading<'_>, config: &Config) {
    let names = Names::of(config);
    for reference in references(config) {
        names.check(reading, &reference);
    }
    check_cycles(reading, &names);
    for route in &config.routes {
        check_upstream(reading, config, route);
        check_upgrade(reading, config, route);
        check_prefix(reading, route);
        check_params(reading, &names, route);
    }
    check_issuers(reading, config);
    check_issuer_urls(reading, config);
    introspection::check(reading, config);
    revocation::check(reading, config);
}

/// What a name is a name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Issuer,
    Plan,
    Rule,
    Upstream,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Plan => "plan",
            Self::Rule => "rule",
            Self::Upstream => "upstream",
        }
    }
}

/// A name that is used.
struct Reference<'c> {
    kind: Kind,
    name: &'c str,
    at: Place,
}

/// The names that are defined, each with its place.
struct Names<'c> {
    issuers: Vec<(&'c str, Place)>,
    plans: Vec<(&'c str, Place)>,
    upstreams: Vec<(&'c str, Place)>,
    rules: HashMap<&'c str, (Place, &'c Rule)>,
}

impl<'c> Names<'c> {
    fn of(config: &'c Config) -> Self {
        fn places<'c>(names: impl Iterator<Item = &'c Located<String>>) -> Vec<(&'c str, Place)> {
            names.map(|name| (name.value.as_str(), name.at)).collect()
        }
        let rules = config.rules.iter().map(|(name, rule)| (name.as_str(), (name.at, rule)));
        Self {
            issuers: places(config.issuers.iter().map(|issuer| &issuer.name)),
            plans: places(config.plans.iter().map(|plan| &plan.name)),
            upstreams: places(config.upstreams.iter().map(|upstream| &upstream.name)),
            rules: rules.collect(),
        }
    }

    fn defined(&self, kind: Kind) -> Vec<(&'c str, Place)> {
        match kind {
            Kind::Issuer => self.issuers.clone(),
            Kind::Plan => self.plans.clone(),
            Kind::Upstream => self.upstreams.clone(),
            Kind::Rule => {
                let mut rules: Vec<_> =
                    self.rules.iter().map(|(name, (at, _))| (*name, *at)).collect();
                rules.sort_by_key(|(_, at)| (at.file, at.start));
                rules
            }
        }
    }

    fn check(&self, reading: &mut Reading<'_>, reference: &Reference<'_>) {
        let known = match reference.kind {
            Kind::Issuer => self.issuers.iter().any(|(name, _)| *name == reference.name),
            Kind::Plan => self.plans.iter().any(|(name, _)| *name == reference.name),
            Kind::Upstream => self.upstreams.iter().any(|(name, _)| *name == reference.name),
            Kind::Rule => self.rules.contains_key(reference.name),
        };
        if !known {
            let problem = unknown(reading, reference, &self.defined(reference.kind));
            reading.note(problem);
        }
    }
}

fn unknown(reading: &Reading<'_>, reference: &Reference<'_>, defined: &[(&str, Place)]) -> Problem {
    let kind = reference.kind.word();
    let raw = reading.written(reference.at);
    // What a variable stands for is never shown, nor what is like it.
    let (shown, near) = match raw.contains("${") {
        true => (raw, None),
        false => (reference.name, nearest(reference.name, defined.iter().map(|(name, _)| *name))),
    };
    let place = near.and_then(|near| defined.iter().find(|(name, _)| *name == near));
    let label = match place {
        Some((name, at)) if at.file == reference.at.file => {
            format!("did you mean `{name}`? (defined at line {})", at.line)
        }
        Some((name, at)) => {
            format!("did you mean `{name}`? (defined at {})", reading.sources.cite(*at))
        }
        None => "not defined".to_owned(),
    };
    let names = defined.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let help = match names.is_empty() {
        true => format!("there are no {kind}s in this file"),
        false => format!("{kind}s: {}", names.join(", ")),
    };
    Problem::new("E002", reference.at, format!("no {kind} is called `{shown}`"))
        .label(label)
        .help(help)
}

fn references(config: &Config) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let plans = config.clients.iter().filter_map(|client| client.plan.as_ref());
    for plan in plans.chain(&config.default_plan) {
        found.push(Reference { kind: Kind::Plan, name: plan, at: plan.at });
    }
    for (_, rule) in &config.rules {
        in_rule(rule, &mut found);
    }
    for route in &config.routes {
        if let Some(name) = &route.upstream {
            found.push(Reference { kind: Kind::Upstream, name, at: name.at });
        }
        if let Some(Located { value: RouteLimit::Plan(name), at }) = &route.limit {
            found.push(Reference { kind: Kind::Plan, name, at: *at });
        }
        for rule in rules_of(route) {
            in_rule(rule, &mut found);
        }
    }
    found
}

/// Every rule that is written in a route.
pub(super) fn rules_of(route: &Route) -> impl Iterator<Item = &Rule> {
    route.allow.iter().chain(route.methods.iter().map(|method| &method.rule))
}

fn in_rule<'c>(rule: &'c Rule, found: &mut Vec<Reference<'c>>) {
    walk(rule, &mut |rule| match &rule.kind {
        RuleKind::Use(name) => found.push(Reference { kind: Kind::Rule, name, at: rule.at }),
        RuleKind::Issuer(name) => found.push(Reference { kind: Kind::Issuer, name, at: rule.at }),
        RuleKind::Public(_)
        | RuleKind::Scope(_)
        | RuleKind::Role(_)
        | RuleKind::Group(_)
        | RuleKind::Client(_)
        | RuleKind::Token(_)
        | RuleKind::Acr(_)
        | RuleKind::MaxAge(_)
        | RuleKind::Source(_)
        | RuleKind::Claim(..)
        | RuleKind::All(_)
        | RuleKind::Any(_)
        | RuleKind::Not(_) => {}
    });
}

/// Visits a rule and those inside it.
fn walk<'c>(rule: &'c Rule, visit: &mut impl FnMut(&'c Rule)) {
    visit(rule);
    match &rule.kind {
        RuleKind::All(rules) | RuleKind::Any(rules) => {
            for rule in rules {
                walk(rule, visit);
            }
        }
        RuleKind::Not(rule) => walk(rule, visit),
        RuleKind::Public(_)
        | RuleKind::Scope(_)
        | RuleKind::Role(_)
        | RuleKind::Group(_)
        | RuleKind::Client(_)
        | RuleKind::Issuer(_)
        | RuleKind::Token(_)
        | RuleKind::Acr(_)
        | RuleKind::MaxAge(_)
        | RuleKind::Source(_)
        | RuleKind::Claim(..)
        | RuleKind::Use(_) => {}
    }
}

/// The names that a rule uses, with their places.
fn uses(rule: &Rule) -> Vec<(&str, Place)> {
    let mut names = Vec::new();
    walk(rule, &mut |rule| {
        if let RuleKind::Use(name) = &rule.kind {
            names.push((name.as_str(), rule.at));
        }
    });
    names
}

/// The names that can be reached from a rule through `use:`, itself apart.
fn reachable<'c>(names: &Names<'c>, rule: &'c Rule) -> BTreeSet<&'c str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = uses(rule).into_iter().map(|(name, _)| name).collect();
    while let Some(name) = open.pop() {
        if let Some((_, rule)) = names.rules.get(name)
            && seen.insert(name)
        {
            open.extend(uses(rule).into_iter().map(|(name, _)| name));
        }
    }
    seen
}

fn check_cycles(reading: &mut Reading<'_>, names: &Names<'_>) {
    for (name, at) in names.defined(Kind::Rule) {
        let Some((_, rule)) = names.rules.get(name) else { continue };
        if reachable(names, rule).contains(name) {
            reading.note(
                Problem::new("E015", at, format!("the rule `{name}` uses itself"))
                    .label("through its own `use`")
                    .help("a rule must end in what a token has"),
            );
        }
    }
}

fn check_upstream(reading: &mut Reading<'_>, config: &Config, route: &Route) {
    if route.upstream.is_some() || config.upstreams.len() == 1 {
        return;
    }
    let (pattern, at) = (&route.pattern.text, route.pattern.at);
    let problem = Problem::new("E018", at, format!("{pattern} does not say where it goes"));
    let names: Vec<&str> = config.upstreams.iter().map(|u| u.name.as_str()).collect();
    reading.note(match names.is_empty() {
        true => problem.label("there is no upstream").help("write `upstream: http://HOST:PORT`"),
        false => problem
            .label("`upstream` is missing")
            .help(format!("with several upstreams, each route names one: {}", names.join(", "))),
    });
}

/// HTTP/2 has no connections that turn to another protocol (RFC 9113 §8.6).
fn check_upgrade(reading: &mut Reading<'_>, config: &Config, route: &Route) {
    if route.upgrade.is_empty() {
        return;
    }
    let named = route.upstream.as_ref();
    let goes_to =
        |upstream: &&Upstream| named.is_none_or(|named| named.value == upstream.name.value);
    let Some(upstream) = config.upstreams.iter().find(goes_to) else { return };
    if upstream.may_speak_http2() {
        let message =
            format!("`upgrade` needs HTTP/1.1, which `{}` may not be spoken to", *upstream.name);
        reading.note(
            Problem::new("E014", route.pattern.at, message)
                .label("`upgrade` of this route contradicts `protocol` of its upstream")
                .help("name the servers in another upstream, without `protocol`, for this route"),
        );
    }
}

fn check_prefix(reading: &mut Reading<'_>, route: &Route) {
    let Some(prefix) = &route.strip_prefix else { return };
    let parsed = super::pattern::parse_pattern(prefix).ok().filter(|p| p.host.is_none());
    let fits = parsed.is_some_and(|prefix| {
        let literal =
            |segment: &Segment| matches!(segment, Segment::Literal(text) if !text.is_empty());
        prefix.segments.iter().all(literal) && route.pattern.segments.starts_with(&prefix.segments)
    });
    if !fits {
        let label = format!("expected the beginning of {}", route.pattern.text);
        reading.note(
            Problem::new("E017", prefix.at, "the prefix is not how the pattern begins")
                .label(label)
                .help("whole segments, such as `/v1` of `/v1/orders/**`, without a `/` at the end"),
        );
    }
}

/// Conditions such as `tenant: "{tenant}"` need that parameter in the route's pattern.
fn check_params(reading: &mut Reading<'_>, names: &Names<'_>, route: &Route) {
    let mut needed: Vec<(&str, Place)> = Vec::new();
    for rule in rules_of(route) {
        params(rule, &mut needed);
        for name in reachable(names, rule) {
            if let Some((_, rule)) = names.rules.get(name) {
                params(rule, &mut needed);
            }
        }
    }
    needed.sort_by_key(|(_, at)| (at.file, at.start));
    needed.dedup();
    for (name, at) in needed {
        let has = |segment: &Segment| matches!(segment, Segment::Param(param) if param == name);
        if !route.pattern.segments.iter().any(has) {
            let message = format!("{} has no parameter `{{{name}}}`", route.pattern.text);
            reading.note(
                Problem::new("E016", at, message)
                    .label("nothing to compare the claim with")
                    .also(route.pattern.at, "the pattern"),
            );
        }
    }
}

fn params<'c>(rule: &'c Rule, needed: &mut Vec<(&'c str, Place)>) {
    walk(rule, &mut |rule| {
        if let RuleKind::Claim(_, ClaimMatch::Param(name)) = &rule.kind {
            needed.push((name, rule.at));
        }
    });
}

/// A route that needs a token needs someone to issue it.
fn check_issuers(reading: &mut Reading<'_>, config: &Config) {
    if !config.issuers.is_empty() {
        return;
    }
    let closed = config
        .routes
        .iter()
        .find(|route| rules_of(route).any(|rule| !matches!(rule.kind, RuleKind::Public(_))));
    if let Some(route) = closed {
        let at = route.pattern.at;
        let message = format!("{} needs a token, and no issuer is known", route.pattern.text);
        reading.note(
            Problem::new("E007", at, message)
                .label("no token would ever do")
                .help("write `issuer: https://...` and `audience: ...`"),
        );
    }
}

/// A token's `iss` picks its issuer, so no two may have a spelling in common.
fn check_issuer_urls(reading: &mut Reading<'_>, config: &Config) {
    for (index, issuer) in config.issuers.iter().enumerate() {
        let before = || config.issuers[..index].iter();
        let shared = spellings(issuer).find_map(|own| {
            let find = |other| spellings(other).find(|theirs| theirs.value == own.value);
            before().find_map(|other| Some((other, find(other)?, own)))
        });
        let Some((other, first, again)) = shared else { continue };
        let message = format!("issuers `{}` and `{}` have the same URL", *other.name, *issuer.name);
        reading.note(
            Problem::new("E005", again.at, message)
                .label("again here")
                .also(first.at, "first here")
                .help("a token's `iss` picks its issuer: merge them"),
        );
    }
}

/// What tokens may call an issuer. A URL that could not be read is empty, which has been told.
fn spellings(issuer: &Issuer) -> impl Iterator<Item = &Located<String>> {
    std::iter::once(&issuer.url).chain(&issuer.issuer_aliases).filter(|name| !name.is_empty())
}
