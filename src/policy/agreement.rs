//! PA-01: what is authorised is what the backend reads, whatever bytes were asked for, whatever the
//! policy, and however the backend reads what it gets.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use percent_encoding::percent_decode;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::tests::shared;
use super::{Policy, Route};
use crate::config::{Variables, load_text};
use crate::rejection::Rejection;
use crate::target::Target;

/// Patterns that overlap; each policy takes some of them.
const PATTERNS: [&str; 27] = [
    "/**",
    "/",
    "/a",
    "/a/",
    "/a/**",
    "/a/{x}",
    "/a/{x}/b",
    "/a/b",
    "/a/b/**",
    "/a/b/admin",
    "/a:b",
    "/a/b:drop",
    "/{x}/b",
    "/{x}/{y}",
    "/{x}/@me",
    "/@me/**",
    "/a+b/{x}",
    "/a b/**",
    "/é",
    "/é/{x}",
    "/a/...",
    "/.a/**",
    "/admin",
    "/v1",
    "/v1/**",
    "/v1/a/{x}",
    "/v1/@me",
];

/// Paths are made of these and of bytes of any kind.
const PIECES: [&str; 60] = [
    "/",
    "/",
    "/",
    "/",
    "/",
    "/a",
    "/a",
    "/a/b",
    "/a/b/",
    "/a/b/admin",
    "/v1",
    "/v1/",
    "/v1/a/",
    "/admin",
    "/@me",
    "/%40me",
    "/b:drop",
    "/b%3Adrop",
    "/a%3ab",
    "/a:b",
    "/a+b",
    "/a%2bb",
    "/é",
    "/%c3%a9",
    "/a%20b",
    "/.a",
    "/%2ea",
    "/...",
    "a",
    "b",
    "admin",
    "%61",
    "%42",
    "x",
    "2e",
    "2f",
    "/./",
    "/../",
    "/..",
    "/.",
    "//",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5c",
    "\\",
    ";",
    "%3b",
    "%25",
    "%252e",
    "%00",
    "?",
    "#",
    "%3f",
    "%23",
    "%0d%0a",
    "%c0%ae",
    "%",
    "%4",
    "~",
];

/// Asks for many paths under many policies.
#[test]
fn the_route_of_a_path_is_the_route_of_what_the_backend_reads() {
    let mut runner = TestRunner::deterministic();
    let mut sample = Sample { runner: &mut runner };
    let (mut forwarded, mut differ) = (0, 0);
    for _ in 0..120 {
        let patterns = sample.of(&subsequence(PATTERNS.to_vec(), 2..14));
        let stripped = sample.of(&vec(any::<bool>(), patterns.len()));
        let allowed = sample.of(&vec(any::<bool>(), patterns.len()));
        let policy = policy(&patterns, &stripped, &allowed);
        for bytes in sample.of(&vec(path(), 250)) {
            match locate(&policy, &bytes) {
                Ok((route, target)) => {
                    agrees(&patterns, &route, &target);
                    forwarded += 1;
                }
                Err(Some(Rejection::AmbiguousPath(why))) if why.contains("decoded") => differ += 1,
                Err(_) => {}
            }
        }
    }
    // Neither is the property empty nor the one refusal that nothing else explains.
    assert!(forwarded > 4_000 && differ > 50, "{forwarded} forwarded, {differ} refused");
}

struct Sample<'r> {
    runner: &'r mut TestRunner,
}

impl Sample<'_> {
    fn of<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        strategy.new_tree(self.runner).unwrap().current()
    }
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        60 => select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1),
        1 => any::<u8>().prop_map(|byte| format!("%{byte:02x}").into_bytes()),
    ];
    vec(piece, 1..6).prop_map(|pieces| [b"/".as_slice(), &pieces.concat()].concat()).prop_map(
        // Most pieces begin with a slash of their own.
        |path| if path.starts_with(b"//") { path[1..].to_vec() } else { path },
    )
}

/// A policy whose routes strip what they can strip and take encoded slashes, where it is said so.
fn policy(patterns: &[&str], stripped: &[bool], allowed: &[bool]) -> Policy {
    let routes = patterns.iter().zip(stripped).zip(allowed).map(|((pattern, stripped), allowed)| {
        let prefix = ["/a/b", "/a", "/v1"].into_iter().find(|prefix| {
            pattern
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let strip = prefix.filter(|_| *stripped).map(|prefix| format!(", strip_prefix: {prefix}"));
        let strip = strip.unwrap_or_default();
        format!(
            "  '{pattern}': {{ allow: {{ token: any }}, allow_encoded_slash: {allowed}{strip} }}\n"
        )
    });
    let text = format!(
        "issuer: https://id.example.com\naudience: a\nupstream: http://127.0.0.1:1\nroutes:\n{}",
        routes.collect::<String>()
    );
    let loaded = load_text("gateway.yaml", &text, &Variables::default());
    let shown = loaded.problems.render(&loaded.sources, false);
    let config = loaded.config.unwrap_or_else(|| panic!("{shown}\n{text}"));
    Policy::compile(&config, &loaded.sources, None, &shared()).unwrap()
}

/// The route for a target as it came; `None` for what is no target to HTTP.
fn locate(policy: &Policy, bytes: &[u8]) -> Result<(Arc<Route>, Target), Option<Rejection>> {
    let uri = Uri::try_from(bytes).map_err(|_| None)?;
    let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("a"))]);
    let target = Target::of(&Method::GET, &uri, Version::HTTP_11, &headers)?;
    let route = Arc::clone(policy.locate(&target)?);
    Ok((route, target))
}

/// Whoever reads the path behind the gateway gets to the same route.
fn agrees(patterns: &[&str], route: &Route, target: &Target) {
    let sent = route.backend_path(target.path());
    let prefix = &target.path()[..target.path().len() - sent.len()];
    let prefix = if sent == "/" { target.path().trim_end_matches('/') } else { prefix };
    let prefix = prefix.replace("%20", " ").replace("%C3%A9", "é");
    for reading in [as_it_is, decoded_once, decoded_twice] {
        let read = resolved(&reading(sent.as_bytes()));
        // The backend's root stands for the prefix, with a slash behind it or without.
        let whole = format!("{prefix}{read}");
        let also = whole.strip_suffix('/').filter(|_| read == "/" && !prefix.is_empty());
        let matched = [Some(whole.as_str()), also].into_iter().flatten();
        // Who takes encoded slashes all the same finds what no other route guards.
        let is_nobodys = |found: Option<&str>| found.is_none() && target.has_encoded_slash();
        let mut found = matched.map(|whole| naive(patterns, whole));
        let is_it = found.any(|found| found == Some(&*route.pattern) || is_nobodys(found));
        assert!(is_it, "{} got {sent}, which reads as {whole}: {patterns:?}", route.pattern);
    }
}

/// With all that is not ASCII decoded: a pattern shows it as it is.
fn as_it_is(path: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(path.to_vec()).unwrap();
    text.replace("%C3%A9", "é").replace("%20", " ").into_bytes()
}

fn decoded_once(path: &[u8]) -> Vec<u8> {
    percent_decode(path).collect()
}

fn decoded_twice(path: &[u8]) -> Vec<u8> {
    decoded_once(&decoded_once(path))
}

/// As the most obliging of servers takes it: cut at a query, a fragment or a NUL, with parameters
/// dropped, backslashes turned, dot segments resolved and slashes merged.
fn resolved(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path).replace('\\', "/");
    let text = text.split(['?', '#', '\0']).next().unwrap_or_default();
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in text.split('/').skip(1) {
        let name = segment.split(';').next().unwrap_or_default();
        ends_open = matches!(name, "" | "." | "..");
        match name {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let end = if ends_open && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// The best of the patterns that match: the more precise one in the first segment in which two
/// differ.
fn naive<'p>(patterns: &[&'p str], path: &str) -> Option<&'p str> {
    let ranked = patterns.iter().filter_map(|pattern| Some((rank(pattern, path)?, *pattern)));
    ranked.max().map(|(_, pattern)| pattern)
}

fn rank(pattern: &str, path: &str) -> Option<Vec<u8>> {
    let (mut ranks, mut segments) = (Vec::new(), path[1..].split('/'));
    for wanted in pattern[1..].split('/') {
        let rank = match (wanted, segments.next()) {
            ("**", _) => return Some([ranks, vec![1]].concat()),
            (literal, Some(segment)) if literal == segment => 3,
            (param, Some(segment)) if param.starts_with('{') && !segment.is_empty() => 2,
            (_, _) => return None,
        };
        ranks.push(rank);
    }
    ranks.push(4);
    segments.next().is_none().then_some(ranks)
}
