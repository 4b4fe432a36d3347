//! Routes that match the same paths.
//!
//! Of two patterns that match a path the more specific one wins: segment by segment from the left,
//! a literal beats a parameter, a parameter beats `**`, and a host beats no host. What this order
//! cannot tell apart is an error, so that the order of a file never matters.

use std::collections::{HashMap, HashSet};

use http::Method;

use super::covering::Covering;
use super::reading::Reading;
use super::{
    Config, Pattern, Place, Problem, Public, Route, Rule, RuleKind, Says, Segment, TokenKind,
};

/// Checks that the order is total, and that no trailing slash or other case leads to a weaker rule.
pub(super) fn check(reading: &mut Reading<'_>, config: &Config) {
    check_same(reading, config);
    check_case(reading, config);
    let covering = Covering::of(config);
    check_slashes(reading, config, &covering);
    check_spellings(reading, config, &covering);
}

/// Two patterns that differ in the names of parameters alone.
fn check_same(reading: &mut Reading<'_>, config: &Config) {
    let mut first: HashMap<String, &Route> = HashMap::new();
    for route in &config.routes {
        let shape = shape(&route.pattern);
        match first.get(&shape) {
            None => {
                first.insert(shape, route);
            }
            Some(other) => {
                let problem = same_paths(reading, other, route);
                reading.note(problem.help("merge them, or make one more specific"));
            }
        }
    }
}

fn same_paths(reading: &Reading<'_>, first: &Route, again: &Route) -> Problem {
    let label = |what: &str, route: &Route| match first.pattern.at.file == again.pattern.at.file {
        true => format!("{what} here (line {})", route.pattern.at.line),
        false => format!("{what} here ({})", reading.sources.cite(route.pattern.at)),
    };
    Problem::new("E050", again.pattern.at, "two routes match exactly the same paths")
        .label(label("again", again))
        .also(first.pattern.at, label("first defined", first))
}

fn shape(pattern: &Pattern) -> String {
    let mut shape = pattern.host.clone().unwrap_or_default();
    for segment in &pattern.segments {
        shape.push('/');
        shape.push_str(match segment {
            Segment::Literal(text) => text,
            Segment::Param(_) => "{}",
            Segment::Rest => "**",
        });
    }
    shape
}

/// Two patterns that a path can match in different cases: neither literal is the more specific.
fn check_case(reading: &mut Reading<'_>, config: &Config) {
    let routes = in_several_cases(config);
    for (index, route) in routes.iter().enumerate() {
        if !route.case_insensitive {
            continue;
        }
        for (other_index, other) in routes.iter().enumerate() {
            let is_second = other.case_insensitive && other_index <= index;
            if index == other_index || is_second || !clash(&route.pattern, &other.pattern) {
                continue;
            }
            reading.note(
                Problem::new("E051", route.pattern.at, "two routes match the same paths")
                    .label("matches in any case")
                    .also(other.pattern.at, "this too, and neither is more specific")
                    .help("write both in the same case"),
            );
        }
    }
}

/// The routes with a literal that another route writes in another case: few, if any, so that they
/// can be compared one by one.
fn in_several_cases(config: &Config) -> Vec<&Route> {
    if !config.routes.iter().any(|route| route.case_insensitive) {
        return Vec::new();
    }
    let mut spellings: HashMap<String, HashSet<&str>> = HashMap::new();
    for literal in config.routes.iter().flat_map(literals) {
        spellings.entry(literal.to_ascii_lowercase()).or_default().insert(literal);
    }
    let is_several = |literal: &str| spellings[&literal.to_ascii_lowercase()].len() > 1;
    config.routes.iter().filter(|route| literals(route).any(is_several)).collect()
}

fn literals(route: &Route) -> impl Iterator<Item = &str> {
    route.pattern.segments.iter().filter_map(|segment| match segment {
        Segment::Literal(text) => Some(text.as_str()),
        Segment::Param(_) | Segment::Rest => None,
    })
}

/// Whether some path matches both, of which one folds case, and a literal differs in case alone.
fn clash(a: &Pattern, b: &Pattern) -> bool {
    if a.host != b.host {
        return false;
    }
    let mut differs = false;
    let (mut left, mut right) = (a.segments.iter(), b.segments.iter());
    loop {
        match (left.next(), right.next()) {
            (None, None) | (Some(Segment::Rest), _) | (_, Some(Segment::Rest)) => return differs,
            (Some(Segment::Literal(a)), Some(Segment::Literal(b))) => {
                if !a.eq_ignore_ascii_case(b) {
                    return false;
                }
                differs |= a != b;
            }
            (Some(Segment::Literal(text)), Some(Segment::Param(_)))
            | (Some(Segment::Param(_)), Some(Segment::Literal(text))) => {
                if text.is_empty() {
                    return false;
                }
            }
            (Some(Segment::Param(_)), Some(Segment::Param(_))) => {}
            (None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

/// Warns where `/x` is protected and `/x/` falls to a route that asks for less, or the reverse:
/// many backends answer both alike.
fn check_slashes(reading: &mut Reading<'_>, config: &Config, covering: &Covering<'_>) {
    for route in &config.routes {
        let Some(sibling) = sibling(&route.pattern) else { continue };
        let Some(other) = covering.most_specific(&sibling) else { continue };
        if is_weaker(config, other, route) {
            let (text, at) = (&route.pattern.text, route.pattern.at);
            let message = format!("{} asks for less than {text}", slashed(text));
            reading.note(
                Problem::new("A140", at, message)
                    .label("many backends take both for the same")
                    .also(other.pattern.at, "it is matched here")
                    .help(format!(
                        "protect {} alike, or write the pattern with `/**`",
                        slashed(text)
                    )),
            );
        }
    }
}

/// The other spelling of a pattern: with a slash at its end, or without.
fn slashed(text: &str) -> String {
    text.strip_suffix('/').map_or_else(|| format!("{text}/"), str::to_owned)
}

fn sibling(pattern: &Pattern) -> Option<Pattern> {
    let mut sibling = pattern.clone();
    match pattern.segments.as_slice() {
        [] | [.., Segment::Rest] => return None,
        [Segment::Literal(only)] if only.is_empty() => return None,
        [.., Segment::Literal(last)] if last.is_empty() => {
            sibling.segments.pop();
        }
        [.., Segment::Literal(_) | Segment::Param(_)] => {
            sibling.segments.push(Segment::Literal(String::new()));
        }
    }
    Some(sibling)
}

/// Warns where a path is protected as it is written, and falls to a route that asks for less in
/// another case: many backends answer both alike. One warning for each weaker route, since it may be
/// the weaker one of thousands.
fn check_spellings(reading: &mut Reading<'_>, config: &Config, covering: &Covering<'_>) {
    let mut weaker: Vec<(&Route, &Route, Pattern, usize)> = Vec::new();
    let mut known: HashMap<Place, usize> = HashMap::new();
    for route in config.routes.iter().filter(|route| !route.case_insensitive) {
        let found = in_other_cases(&route.pattern).find_map(|spelling| {
            let other = covering.most_specific(&spelling)?;
            is_weaker(config, other, route).then_some((other, spelling))
        });
        let Some((other, spelling)) = found else { continue };
        match known.get(&other.pattern.at) {
            Some(index) => weaker[*index].3 += 1,
            None => {
                known.insert(other.pattern.at, weaker.len());
                weaker.push((other, route, spelling, 0));
            }
        }
    }
    for (other, route, spelling, more) in weaker {
        let (text, at) = (&route.pattern.text, route.pattern.at);
        let label = match more {
            0 => "many backends take both for the same".to_owned(),
            _ => format!("many backends take both for the same; so it is with {more} more routes"),
        };
        reading.note(
            Problem::new("A141", at, format!("{} asks for less than {text}", spelling.text))
                .label(label)
                .also(other.pattern.at, "it is matched here")
                .help("if the backend folds case, write `case_insensitive: true` in the route"),
        );
    }
}

/// The pattern with one of its literals in another case, each in turn, and with all of them.
fn in_other_cases(pattern: &Pattern) -> impl Iterator<Item = Pattern> {
    let cased = |(index, segment): (usize, &Segment)| match segment {
        Segment::Literal(text) => first_letter(text).map(|_| index),
        Segment::Param(_) | Segment::Rest => None,
    };
    let cased: Vec<usize> = pattern.segments.iter().enumerate().filter_map(cased).collect();
    let all = (cased.len() > 1).then(|| cased.clone());
    let each = cased.into_iter().map(|index| vec![index]);
    each.chain(all).map(|indexes| in_other_case(pattern, &indexes))
}

fn in_other_case(pattern: &Pattern, indexes: &[usize]) -> Pattern {
    let mut other = pattern.clone();
    for index in indexes {
        if let Some(Segment::Literal(text)) = other.segments.get_mut(*index) {
            *text = in_other_spelling(text);
        }
    }
    let path = other.segments.iter().fold(String::new(), |path, segment| {
        path + "/"
            + &match segment {
                Segment::Literal(text) => text.clone(),
                Segment::Param(name) => format!("{{{name}}}"),
                Segment::Rest => "**".to_owned(),
            }
    });
    other.text = other.host.clone().unwrap_or_default() + &path;
    other
}

/// The text with its first letter in the other case.
fn in_other_spelling(text: &str) -> String {
    let first = first_letter(text);
    text.char_indices()
        .map(|(at, c)| match c {
            _ if Some(at) != first => c,
            _ if c.is_ascii_lowercase() => c.to_ascii_uppercase(),
            _ => c.to_ascii_lowercase(),
        })
        .collect()
}

/// Where the first letter of ASCII is, but for those of escapes, which have one case.
fn first_letter(text: &str) -> Option<usize> {
    let escape = |at: usize| text.get(at.saturating_sub(2)..at).is_some_and(|b| b.contains('%'));
    text.bytes()
        .enumerate()
        .find_map(|(at, byte)| (byte.is_ascii_alphabetic() && !escape(at)).then_some(at))
}

/// How much a route asks of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Nothing,
    AnyToken,
    Rule,
    Refused,
}

fn is_weaker(config: &Config, other: &Route, route: &Route) -> bool {
    let named = route.methods.iter().flat_map(|rule| &rule.methods).map(|method| &method.value);
    named.chain([&Method::GET, &Method::POST]).any(|method| {
        let own = strength(config, route, method);
        own != Strength::Refused && strength(config, other, method) < own
    })
}

fn strength(config: &Config, route: &Route, method: &Method) -> Strength {
    match route.says_of(method) {
        Says::Public(Public::Open | Public::Optional) => Strength::Nothing,
        Says::Rule(rule) => of_rule(config, rule, MAX_USES),
        Says::Nothing => Strength::Refused,
    }
}

/// `uses` bounds the way through `use:`, which may still be a circle.
fn of_rule(config: &Config, rule: &Rule, uses: usize) -> Strength {
    let inner = |rule: &Rule| of_rule(config, rule, uses);
    match &rule.kind {
        RuleKind::Public(_) => Strength::Nothing,
        RuleKind::Token(TokenKind::Any) | RuleKind::Not(_) => Strength::AnyToken,
        RuleKind::All(rules) => rules.iter().map(inner).max().unwrap_or(Strength::AnyToken),
        RuleKind::Any(rules) => rules.iter().map(inner).min().unwrap_or(Strength::Refused),
        RuleKind::Use(name) if uses > 0 => {
            let named = config.rules.iter().find(|(other, _)| other.value == *name);
            named.map_or(Strength::Rule, |(_, rule)| of_rule(config, rule, uses - 1))
        }
        RuleKind::Use(_)
        | RuleKind::Token(TokenKind::User | TokenKind::Client)
        | RuleKind::Scope(_)
        | RuleKind::Role(_)
        | RuleKind::Group(_)
        | RuleKind::Client(_)
        | RuleKind::Issuer(_)
        | RuleKind::Acr(_)
        | RuleKind::MaxAge(_)
        | RuleKind::Source(_)
        | RuleKind::Claim(..) => Strength::Rule,
    }
}

/// How deep named rules are followed.
const MAX_USES: usize = 4;
