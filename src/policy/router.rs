//! From a host and a path to the one route that matches.
//!
//! A trie of segments per host. The most specific pattern wins, segment by segment from the left:
//! a literal beats a parameter, a parameter beats `**`, and a host beats no host. The order of the
//! file has no say, and a route that matches is the only one asked.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::config::{Pattern, Segment};
use crate::target::folded;

/// Finds routes by their index.
#[derive(Debug, Default)]
pub(super) struct Router {
    hosts: HashMap<Box<str>, Trie, RandomState>,
    any_host: Trie,
}

#[derive(Debug)]
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize, RandomState>,
    /// Folded literals, of routes that do not regard case.
    folded: HashMap<Box<str>, usize, RandomState>,
    param: Option<usize>,
    /// The route whose pattern ends here.
    exact: Option<usize>,
    /// The route whose pattern goes on with `**`.
    rest: Option<usize>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Router {
    /// Adds a route. Of two that match the same paths, which the configuration refuses, the first
    /// stays.
    pub(super) fn add(&mut self, pattern: &Pattern, case_insensitive: bool, route: usize) {
        let trie = match &pattern.host {
            Some(host) => self.hosts.entry(host.as_str().into()).or_default(),
            None => &mut self.any_host,
        };
        trie.add(&pattern.segments, case_insensitive, route);
    }

    /// The route for a host in lower case and a canonical path.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<usize> {
        let segments = path.strip_prefix('/');
        let own = if self.hosts.is_empty() { None } else { self.hosts.get(host) };
        own.and_then(|trie| trie.find(0, segments)).or_else(|| self.any_host.find(0, segments))
    }
}

impl Trie {
    fn add(&mut self, segments: &[Segment], case_insensitive: bool, route: usize) {
        let mut node = 0;
        for segment in segments {
            let free = self.nodes.len();
            let here = &mut self.nodes[node];
            node = match segment {
                Segment::Rest => {
                    here.rest.get_or_insert(route);
                    return;
                }
                Segment::Param(_) => *here.param.get_or_insert(free),
                Segment::Literal(text) if case_insensitive => {
                    *here.folded.entry(folded(text).into()).or_insert(free)
                }
                Segment::Literal(text) => {
                    *here.literals.entry(text.as_str().into()).or_insert(free)
                }
            };
            if node == free {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[node].exact.get_or_insert(route);
    }

    /// Walks on from `node`; `remaining` is `None` behind the last segment. It goes no deeper
    /// than the longest pattern, whatever the path.
    fn find(&self, node: usize, remaining: Option<&str>) -> Option<usize> {
        let node = &self.nodes[node];
        let Some(remaining) = remaining else { return node.exact.or(node.rest) };
        let (segment, next) = match remaining.split_once('/') {
            Some((segment, next)) => (segment, Some(next)),
            None => (remaining, None),
        };
        let literal = node.literals.get(segment).and_then(|child| self.find(*child, next));
        literal
            .or_else(|| node.folded(segment).and_then(|child| self.find(child, next)))
            .or_else(|| match node.param {
                Some(child) if !segment.is_empty() => self.find(child, next),
                Some(_) | None => None,
            })
            .or(node.rest)
    }
}

impl Node {
    fn folded(&self, segment: &str) -> Option<usize> {
        if self.folded.is_empty() {
            return None;
        }
        self.folded.get(folded(segment).as_str()).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        let (host, path) = text.split_at(text.find('/').unwrap());
        let segment = |segment: &str| match segment {
            "**" => Segment::Rest,
            param if param.starts_with('{') => Segment::Param(param.into()),
            literal => Segment::Literal(literal.into()),
        };
        Pattern {
            text: text.into(),
            host: (!host.is_empty()).then(|| host.into()),
            segments: path[1..].split('/').map(segment).collect(),
        }
    }

    fn router(patterns: &[&str]) -> Router {
        let mut router = Router::default();
        for (index, text) in patterns.iter().enumerate() {
            router.add(&pattern(text), false, index);
        }
        router
    }

    fn find<'p>(patterns: &[&'p str], host: &str, path: &str) -> Option<&'p str> {
        router(patterns).find(host, path).map(|index| patterns[index])
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let patterns = ["/**", "/a/**", "/a/{id}", "/a/{id}/x", "/a/b", "h/a/**"];
        let cases = [
            ("/", "/**"),
            ("/z", "/**"),
            ("/a", "/a/**"),
            ("/a/", "/a/**"),
            ("/a/b", "/a/b"),
            ("/a/c", "/a/{id}"),
            ("/a/c/x", "/a/{id}/x"),
            ("/a/c/y", "/a/**"),
            ("/a/b/x", "/a/{id}/x"),
            ("/a/b/", "/a/**"),
        ];
        for (path, expected) in cases {
            assert_eq!(find(&patterns, "other", path), Some(expected), "{path}");
        }
        assert_eq!(find(&patterns, "h", "/a/b"), Some("h/a/**"));
        assert_eq!(find(&patterns, "h", "/z"), Some("/**"));
    }

    /// PA-10, PA-11.
    #[test]
    fn prefixes_end_at_segments_and_exact_patterns_have_one_form() {
        for path in ["/apiary", "/api.json", "/api2", "/Api"] {
            assert_eq!(find(&["/api/**"], "", path), None, "{path}");
        }
        assert_eq!(find(&["/api"], "", "/api/"), None);
        assert_eq!(find(&["/api/"], "", "/api"), None);
        assert_eq!(find(&["/{p}"], "", "/"), None);
    }

    /// PA-12.
    #[test]
    fn case_counts_unless_the_route_says_otherwise() {
        let mut router = Router::default();
        router.add(&pattern("/Admin/{id}"), true, 0);
        router.add(&pattern("/admin/me"), false, 1);
        assert_eq!(router.find("", "/ADMIN/7"), Some(0));
        assert_eq!(router.find("", "/admin/me"), Some(1));
        assert_eq!(router.find("", "/admin/ME"), Some(0));
    }

    /// How specific a pattern is for a path, or `None` if it does not match: one rank a segment.
    fn rank(pattern: &Pattern, path: &str) -> Option<Vec<u8>> {
        let mut ranks = Vec::new();
        let mut segments = path[1..].split('/');
        for wanted in &pattern.segments {
            let rank = match (wanted, segments.next()) {
                (Segment::Rest, _) => return Some([ranks, vec![1]].concat()),
                (Segment::Literal(text), Some(segment)) if text == segment => 3,
                (Segment::Param(_), Some(segment)) if !segment.is_empty() => 2,
                (Segment::Literal(_) | Segment::Param(_), _) => return None,
            };
            ranks.push(rank);
        }
        ranks.push(4);
        segments.next().is_none().then_some(ranks)
    }

    proptest! {
        /// Bypasses 8 and 10: the trie finds what a plain comparison of all patterns finds.
        #[test]
        fn the_trie_agrees_with_a_naive_matcher(
            patterns in prop::collection::vec("(/(a|b|\\{p\\})){1,4}(/\\*\\*)?", 1..12),
            path in "(/(a|b|c)?){1,5}",
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let naive = patterns
                .iter()
                .filter_map(|text| Some((rank(&pattern(text), &path)?, *text)))
                .max_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(find(&patterns, "", &path), naive.map(|(_, text)| text));
        }
    }
}
