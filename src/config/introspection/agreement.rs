//! What issuers and routes must agree on.

use super::Introspection;
use crate::config::reading::Reading;
use crate::config::{Config, Issuer, Problem, Public, Route, RuleKind};

/// Notes where they do not.
pub(in crate::config) fn check(reading: &mut Reading<'_>, config: &Config) {
    check_opaque(reading, config);
    for route in &config.routes {
        check_route(reading, config, route);
    }
}

/// An opaque token does not say whose it is, and showing it to one issuer after the other would
/// give each the tokens of the others (RFC 7662 §4).
fn check_opaque(reading: &mut Reading<'_>, config: &Config) {
    let takes =
        |issuer: &&Issuer| issuer.introspection.as_ref().is_some_and(Introspection::takes_opaque);
    let mut takers = config.issuers.iter().filter(takes);
    let Some(first) = takers.next() else { return };
    for other in takers {
        let message = format!("opaque tokens could be of `{}` or `{}`", *first.name, *other.name);
        reading.note(
            Problem::new("E026", other.name.at, message)
                .label("would be asked about them, too")
                .also(first.name.at, "is asked about them")
                .help("write `introspect: routes` in the issuer whose tokens are all JWTs"),
        );
    }
}

fn check_route(reading: &mut Reading<'_>, config: &Config, route: &Route) {
    let Some(at) = route.introspect else { return };
    let pattern = &route.pattern.text;
    if !looks_at_tokens(route) {
        let message = format!("{pattern} is open, and asks for introspection");
        reading.note(
            Problem::new("E014", at, message)
                .label("no token is looked at here")
                .help("delete it, or write `public: optional` or a rule"),
        );
    }
    // An issuer whose introspection has a mistake has none here, and is no mistake of the route.
    if reading.problems.has_errors() {
        return;
    }
    let (able, unable): (Vec<_>, Vec<_>) =
        config.issuers.iter().partition(|issuer| issuer.introspection.is_some());
    if able.is_empty() {
        let message = format!("{pattern} asks for introspection, and no issuer offers it");
        reading.note(
            Problem::new("E025", at, message)
                .label("no token would ever do")
                .help("write `introspection: https://...` in the issuer"),
        );
        return;
    }
    for issuer in unable {
        let message = format!("{pattern} refuses the tokens of issuer `{}`", *issuer.name);
        reading.note(
            Problem::new("A150", at, message)
                .label("that issuer cannot be asked")
                .also(issuer.name.at, "has no `introspection`")
                .help("give it one, or write `# scopegate: allow A150` if that is meant"),
        );
    }
}

/// Whether any method of a route needs a token, or looks at one that is sent.
fn looks_at_tokens(route: &Route) -> bool {
    let is_open = |kind: &RuleKind| matches!(kind, RuleKind::Public(Public::Open));
    let is_optional = route.public.as_ref().is_some_and(|public| public.value == Public::Optional);
    let mut rules = route.methods.iter().map(|method| &method.rule).chain(&route.allow);
    is_optional || rules.any(|rule| !is_open(&rule.kind))
}
