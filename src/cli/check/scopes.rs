//! Scopes that rules ask for and no issuer lists: misspelled, perhaps.

use std::collections::HashSet;

use crate::authenticate::Published;
use crate::config::{Config, Issuer, Place, Problem, Rule, RuleKind};

/// A warning for each scope that none of the issuers whose tokens could have it lists in
/// `scopes_supported` (RFC 8414 §2). An issuer that publishes no list may know any scope.
pub(super) fn unlisted(config: &Config, answers: &[Published]) -> Vec<Problem> {
    let issuers: Vec<(&Issuer, Option<HashSet<&str>>)> = config
        .issuers
        .iter()
        .zip(answers)
        .map(|(issuer, answer)| (issuer, answer.scopes.as_deref().map(|list| reach(issuer, list))))
        .collect();
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for wanted in wanted(config) {
        let mut able = issuers
            .iter()
            .filter(|(issuer, _)| wanted.issuer.is_none_or(|name| issuer.name.value == name))
            .peekable();
        let is_known = able.peek().is_none()
            || able
                .any(|(_, scopes)| scopes.as_ref().is_none_or(|list| list.contains(wanted.scope)));
        if !is_known && seen.insert((wanted.scope, wanted.issuer)) {
            problems.push(problem(&wanted));
        }
    }
    problems
}

/// A scope that a rule asks for.
struct Wanted<'c> {
    scope: &'c str,
    /// The issuer whose tokens alone can have it here.
    issuer: Option<&'c str>,
    at: Place,
}

fn problem(wanted: &Wanted<'_>) -> Problem {
    let message = match wanted.issuer {
        None => format!("no issuer lists the scope `{}`", wanted.scope),
        Some(name) => format!("issuer `{name}` does not list the scope `{}`", wanted.scope),
    };
    Problem::new("A130", wanted.at, message)
        .label("not in `scopes_supported`")
        .help("servers may leave scopes out: then write `# scopegate: allow A130`")
}

/// The scopes that an issuer lists, and all that those contain.
fn reach<'c>(issuer: &'c Issuer, listed: &'c [String]) -> HashSet<&'c str> {
    let mut known: HashSet<&str> = listed.iter().map(String::as_str).collect();
    loop {
        let before = known.len();
        for (broader, narrower) in &issuer.implies {
            if known.contains(broader.as_str()) {
                known.extend(narrower.iter().map(String::as_str));
            }
        }
        if known.len() == before {
            return known;
        }
    }
}

/// Every scope in a rule, in the order of the file.
fn wanted(config: &Config) -> Vec<Wanted<'_>> {
    let of_routes = config.routes.iter().flat_map(|route| {
        route.methods.iter().map(|method| &method.rule).chain(route.allow.as_ref())
    });
    let mut found = Vec::new();
    for rule in config.rules.iter().map(|(_, rule)| rule).chain(of_routes) {
        collect(rule, None, &mut found);
    }
    found.sort_by_key(|wanted| (wanted.at.file, wanted.at.start));
    found
}

fn collect<'c>(rule: &'c Rule, issuer: Option<&'c str>, found: &mut Vec<Wanted<'c>>) {
    match &rule.kind {
        RuleKind::Scope(scope) => found.push(Wanted { scope, issuer, at: rule.at }),
        RuleKind::All(rules) => {
            let named = rules.iter().find_map(|rule| {
                let RuleKind::Issuer(name) = &rule.kind else { return None };
                Some(name.as_str())
            });
            rules.iter().for_each(|rule| collect(rule, named.or(issuer), found));
        }
        RuleKind::Any(rules) => rules.iter().for_each(|rule| collect(rule, issuer, found)),
        RuleKind::Not(rule) => collect(rule, issuer, found),
        RuleKind::Public(_)
        | RuleKind::Role(_)
        | RuleKind::Group(_)
        | RuleKind::Client(_)
        | RuleKind::Issuer(_)
        | RuleKind::Token(_)
        | RuleKind::Acr(_)
        | RuleKind::MaxAge(_)
        | RuleKind::Source(_)
        | RuleKind::Claim(_, _)
        | RuleKind::Use(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Variables, load_text};

    const YAML: &str = "\
issuers:
  main: { url: https://a.test, audience: api, implies: { admin: [write], write: [read] } }
  other: { url: https://b.test, audience: api }
upstream: http://127.0.0.1:3000
rules: { staff: { any: [{ role: x }, { not: { scope: staff } }] } }
routes:
  /a: { GET: read, POST: wriet, PUT: wriet, DELETE: { use: staff, scope: delete } }
  /b: { allow: { scope: partner, issuer: other } }
  /c: { public: true }
";

    fn found(main: Option<&[&str]>, other: Option<&[&str]>) -> Vec<(usize, String)> {
        let config = load_text("gateway.yaml", YAML, &Variables::default()).config.unwrap();
        let list = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let answers = [main, other].map(|scopes| Published { scopes: scopes.map(list) });
        let problems = unlisted(&config, &answers).into_iter();
        problems.map(|found| (found.at.unwrap().line, found.message)).collect()
    }

    #[test]
    fn scopes_that_no_issuer_lists_are_told_once() {
        let told =
            |line: usize, scope: &str| (line, format!("no issuer lists the scope `{scope}`"));
        let partner = (8, "issuer `other` does not list the scope `partner`".to_owned());
        assert_eq!(
            found(Some(&["admin", "partner"]), Some(&[])),
            [told(5, "staff"), told(7, "wriet"), told(7, "delete"), partner.clone()]
        );
        assert_eq!(found(Some(&["admin", "wriet"]), Some(&["staff", "delete", "partner"])), []);
        // Whoever lists nothing may know all.
        assert_eq!(found(None, Some(&[])), [partner]);
        assert_eq!(found(Some(&[]), None), []);
        assert_eq!(found(None, None), []);
    }
}
