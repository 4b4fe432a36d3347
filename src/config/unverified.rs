//! Tokens that reach a backend although nobody verified them.

use super::reading::Reading;
use super::{Config, Mode, Place, Problem, Public, Route, RuleKind};

/// Warns of `keep_authorization` where what a caller sends as its token is not looked at, or passes
/// whatever it is: a backend that trusts the gateway takes it for verified. One warning for each
/// line that says `keep_authorization`.
pub(super) fn check(reading: &mut Reading<'_>, config: &Config) {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for route in &config.routes {
        let keep = route.keep_authorization.or(config.keep_authorization);
        let Some(keep) = keep.filter(|keep| keep.value) else { continue };
        let Some((at, why)) = unverified(config, route) else { continue };
        match lines.iter_mut().find(|line| line.at == keep.at) {
            Some(line) => line.more += 1,
            None => lines.push(Line { at: keep.at, route, because: at, why, more: 0 }),
        }
    }
    for Line { at, route, because, why, more } in lines {
        let label = match more {
            0 => "the backend may take them for verified".to_owned(),
            more => format!("the backend may take them for verified; so on {more} more routes"),
        };
        let text = &route.pattern.text;
        reading.note(
            Problem::new("A142", at, format!("{text} passes on tokens that nobody verified"))
                .label(label)
                .also(because, why)
                .help("write `keep_authorization: false` in such routes, or leave it out"),
        );
    }
}

/// A line that says `keep_authorization`, and the first of its routes that should not.
struct Line<'c> {
    at: Place,
    route: &'c Route,
    because: Place,
    why: &'static str,
    more: usize,
}

/// Where and why a route passes what was not verified.
fn unverified(config: &Config, route: &Route) -> Option<(Place, &'static str)> {
    let whole = route.public.as_ref().map(|public| (public.value, public.at));
    let of_methods = || {
        route.methods.iter().find_map(|method| {
            let RuleKind::Public(public) = method.rule.kind else { return None };
            Some((public, method.rule.at))
        })
    };
    if let Some((public, at)) = whole.or_else(of_methods) {
        return Some((at, of_public(public)));
    }
    let written = route.mode.as_ref().map(|mode| (mode.value, mode.at));
    let (mode, at) = written.unwrap_or((config.mode, route.pattern.at));
    (mode == Mode::Report).then_some((at, "what would be refused passes here"))
}

fn of_public(public: Public) -> &'static str {
    match public {
        Public::Open => "no token is looked at here",
        // `Authorization: JWT ...` is no bearer token, and some backends take it.
        Public::Optional => "a bearer token must be good here; of other schemes anything passes",
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Variables, load_text};

    fn found(head: &str, routes: &str) -> (Vec<&'static str>, String) {
        let text = format!(
            "issuer: https://id.example.com\naudience: api\nupstream: http://127.0.0.1:1\n{head}\nroutes:\n{routes}"
        );
        let loaded = load_text("gateway.yaml", &text, &Variables::default());
        let codes = loaded.problems.0.iter().map(|problem| problem.code).collect();
        (codes, loaded.problems.render(&loaded.sources, false))
    }

    #[test]
    fn tokens_that_nobody_verified_are_warned_of_once_a_line() {
        let keep = "keep_authorization: true";
        for (head, route, expected) in [
            ("", "{ public: true, keep_authorization: true }", 1),
            ("", "{ GET: { public: true }, PUT: a, keep_authorization: true }", 1),
            ("", "{ GET: a, mode: report, keep_authorization: true }", 1),
            ("mode: report", "{ GET: a, keep_authorization: true }", 1),
            (keep, "{ public: true }", 1),
            (keep, "{ GET: a, mode: report }", 1),
            (keep, "{ public: true, keep_authorization: false }", 0),
            (keep, "{ GET: a }", 0),
            ("mode: report", "{ GET: a, mode: enforce, keep_authorization: true }", 0),
            ("", "{ public: optional, keep_authorization: true }", 1),
            ("keep_authorization: false", "{ public: true }", 0),
        ] {
            let (codes, shown) = found(head, &format!("  /a: {route}\n"));
            assert_eq!(codes, vec!["A142"; expected], "{head} {route}: {shown}");
        }
        let routes = "  /a: { public: true }\n  /b: { public: true }\n  /c: { GET: a }\n";
        let (codes, shown) = found(keep, routes);
        assert_eq!(codes, ["A142"]);
        for words in
            ["gateway.yaml:4:21", "/a passes on tokens", "no token is looked at", "1 more routes"]
        {
            assert!(shown.contains(words), "{shown}");
        }
    }
}
