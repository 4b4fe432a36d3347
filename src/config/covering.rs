//! Which route answers all paths of a pattern: the router's order, asked with a pattern.

use std::collections::HashMap;

use super::{Config, Pattern, Route, Segment};
use crate::target::folded;

/// The routes of a configuration, by host and segment.
#[derive(Default)]
pub(super) struct Covering<'c> {
    hosts: HashMap<Option<&'c str>, Node<'c>>,
}

#[derive(Default)]
struct Node<'c> {
    literals: HashMap<&'c str, Node<'c>>,
    /// Folded literals, of routes that do not regard case.
    folded: HashMap<String, Node<'c>>,
    param: Option<Box<Node<'c>>>,
    /// The route whose pattern ends here.
    exact: Option<&'c Route>,
    /// The route whose pattern goes on with `**`.
    rest: Option<&'c Route>,
}

impl<'c> Covering<'c> {
    pub(super) fn of(config: &'c Config) -> Self {
        let mut covering = Self::default();
        for route in &config.routes {
            let host = route.pattern.host.as_deref();
            covering.hosts.entry(host).or_default().add(&route.pattern.segments, route);
        }
        covering
    }

    /// The most specific route that matches every path of `pattern`.
    pub(super) fn most_specific(&self, pattern: &Pattern) -> Option<&'c Route> {
        let own = pattern.host.as_deref().map(Some);
        own.into_iter()
            .chain([None])
            .find_map(|host| self.hosts.get(&host)?.find(&pattern.segments))
    }
}

impl<'c> Node<'c> {
    fn add(&mut self, segments: &'c [Segment], route: &'c Route) {
        match segments {
            [] => self.exact = Some(route),
            [Segment::Rest, ..] => self.rest = Some(route),
            [Segment::Param(_), next @ ..] => {
                self.param.get_or_insert_default().add(next, route);
            }
            [Segment::Literal(text), next @ ..] if route.case_insensitive => {
                self.folded.entry(folded(text)).or_default().add(next, route);
            }
            [Segment::Literal(text), next @ ..] => {
                self.literals.entry(text).or_default().add(next, route);
            }
        }
    }

    fn find(&self, segments: &[Segment]) -> Option<&'c Route> {
        let param = |next| self.param.as_ref()?.find(next);
        let found = match segments {
            [] => self.exact,
            [Segment::Rest, ..] => None,
            [Segment::Param(_), next @ ..] => param(next),
            [Segment::Literal(text), next @ ..] => {
                let literal = self.literals.get(text.as_str()).and_then(|node| node.find(next));
                literal
                    .or_else(|| self.folded(text)?.find(next))
                    .or_else(|| if text.is_empty() { None } else { param(next) })
            }
        };
        found.or(self.rest)
    }

    fn folded(&self, text: &str) -> Option<&Node<'c>> {
        if self.folded.is_empty() { None } else { self.folded.get(&folded(text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::parse_pattern;
    use super::super::{Variables, load_text};
    use super::*;

    #[test]
    fn the_most_specific_route_that_matches_all_paths_is_found() {
        let patterns = ["/**", "/a/{id}", "/a/b", "/a/b/**", "h.example/a/{id}"];
        let routes: String =
            patterns.iter().map(|pattern| format!("  {pattern}: {{ public: true }}\n")).collect();
        let text = format!("upstream: http://127.0.0.1:1\nroutes:\n{routes}");
        let config = load_text("t.yaml", &text, &Variables::default()).config.unwrap();
        let covering = Covering::of(&config);
        for (asked, expected) in [
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/**"),
            ("/a/c", "/a/{id}"),
            ("/a/{x}", "/a/{id}"),
            ("/a/{x}/", "/**"),
            ("/a/", "/**"),
            ("/{x}/b", "/**"),
            ("h.example/a/b", "h.example/a/{id}"),
            ("h.example/a/b/c", "/a/b/**"),
        ] {
            let found = covering.most_specific(&parse_pattern(asked).ok().unwrap());
            assert_eq!(found.map(|route| route.pattern.text.as_str()), Some(expected), "{asked}");
        }
    }

    #[test]
    fn routes_that_fold_case_match_in_any() {
        let text = "upstream: http://127.0.0.1:1\nroutes:
  /**: { public: true }
  /a/**: { public: true, case_insensitive: true }
  /a/B: { public: true }\n";
        let config = load_text("t.yaml", text, &Variables::default()).config.unwrap();
        let covering = Covering::of(&config);
        for (asked, expected) in
            [("/A", "/a/**"), ("/a/b", "/a/**"), ("/a/B", "/a/B"), ("/A/B", "/a/**"), ("/b", "/**")]
        {
            let found = covering.most_specific(&parse_pattern(asked).ok().unwrap());
            assert_eq!(found.map(|route| route.pattern.text.as_str()), Some(expected), "{asked}");
        }
    }
}
