//! `cors:` of the file and of a route.

use std::time::Duration;

use http::HeaderName;

use super::Problem;
use super::language::CORS;
use super::reading::{Fault, Fields, Reading};
use super::server::{flag, set};
use super::value::{at_least_one, duration, parsed, some};
use super::yaml::{Node, Value};

/// What scripts of other origins may do (Fetch, CORS protocol).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose scripts.
    pub origins: Origins,
    /// Whether they may send cookies and read the answers to requests with them. Default false.
    pub credentials: bool,
    /// How long browsers remember the answer to a preflight. Default 10 min, at most 24 h.
    pub max_age: Duration,
    /// The fields that they may send beside the usual ones.
    pub headers: SentHeaders,
    /// The fields that they may read beside the gateway's own.
    pub expose: Vec<HeaderName>,
}

/// Whose scripts may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Everybody's.
    Any,
    /// Those of these origins, as browsers write them: scheme, host, and a port that is not the
    /// scheme's own. Never empty.
    Listed(Vec<String>),
}

/// Which fields scripts may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentHeaders {
    /// Those that they ask for.
    Any,
    /// These, beside the usual ones.
    Listed(Vec<HeaderName>),
}

/// What a route says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteCors {
    /// `cors: off`: the backend answers preflights itself.
    Off,
    /// In place of what the file says.
    On(Cors),
}

/// `cors:` of a route.
pub(super) fn of_route(reading: &mut Reading<'_>, node: &Node, owner: &str) -> Option<RouteCors> {
    if matches!(&node.value, Value::Text(text) if text == "off") {
        return Some(RouteCors::Off);
    }
    cors(reading, node, owner).map(RouteCors::On)
}

/// `cors:`
pub(super) fn cors(reading: &mut Reading<'_>, node: &Node, owner: &str) -> Option<Cors> {
    let fields = Fields::open(reading, node, &CORS, &format!(" in `cors`{owner}"))?;
    let origins = fields.read(reading, "origins", origins);
    if fields.key_at("origins").is_none() {
        let problem = Problem::new("E007", node.at, "`cors` has no `origins`");
        reading.note(
            problem
                .label("whose scripts may read the answers?")
                .help("`origins: [https://app.example.com]`, or `origins: any`"),
        );
    }
    let credentials = flag(reading, &fields, "credentials");
    let mut max_age = Duration::from_secs(600);
    set(&mut max_age, fields.read(reading, "max_age", remembered));
    let headers = fields.read(reading, "headers", sent_headers);
    let expose = fields.read(reading, "expose", |r, node| Some(some(r, node, header)));
    if credentials && origins == Some(Origins::Any) {
        refuse_everybody(reading, &fields, node);
    }
    Some(Cors {
        origins: origins?,
        credentials,
        max_age,
        headers: headers.unwrap_or(SentHeaders::Listed(Vec::new())),
        expose: expose.unwrap_or_default(),
    })
}

/// Any page that a user visits could act with the user's cookies and read what comes back.
fn refuse_everybody(reading: &mut Reading<'_>, fields: &Fields<'_>, node: &Node) {
    let at = fields.key_at("credentials").unwrap_or(node.at);
    let mut problem =
        Problem::new("E082", at, "every website could act for whoever is logged in here")
            .label("with the cookies of its visitors")
            .help("list the `origins`, or delete `credentials`: bearer tokens do not need it");
    if let Some(origins) = fields.key_at("origins") {
        problem = problem.also(origins, "for scripts of any origin");
    }
    reading.note(problem);
}

fn origins(reading: &mut Reading<'_>, node: &Node) -> Option<Origins> {
    if matches!(&node.value, Value::Text(text) if text == "any") {
        return Some(Origins::Any);
    }
    let one = |r: &mut Reading<'_>, node: &Node| parsed(r, node, "an origin", parse_origin);
    at_least_one(reading, node, one).map(Origins::Listed)
}

/// `https://app.example.com`, in the one spelling that browsers use (RFC 6454 §6.2).
fn parse_origin(text: &str) -> Result<String, Fault> {
    let fault = |what: &str, label: &str| Err(Fault::new("E081", what, label));
    if text == "*" {
        return fault("is not an origin", "did you mean `origins: any`?");
    }
    if text == "null" {
        return fault("is the origin of every sandboxed page", "list the origins that you know");
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, authority)) = lower.split_once("://") else {
        return fault("has no scheme", "expected `https://app.example.com`");
    };
    if authority.contains('*') {
        return fault("has a `*` in it", "origins are compared exactly: list each");
    }
    if let Some(slash) = authority.find('/') {
        let label = format!("did you mean `{scheme}://{}`?", &authority[..slash]);
        return fault("has a path", &label);
    }
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let (host, port) = split_port(authority);
    if scheme.is_empty() || !scheme.bytes().all(letters) || !is_host(host) {
        return fault("is not an origin", "expected `https://app.example.com`");
    }
    match (scheme, port) {
        (_, None) | ("https", Some("443")) | ("http", Some("80")) => {
            Ok(format!("{scheme}://{host}"))
        }
        (_, Some(port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(lower),
        (_, Some(_)) => fault("has no valid port", "expected 1 to 65535"),
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address are within its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    }
}

/// What browsers send is ASCII; a name in another script is sent in its `xn--` form.
fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty() && host.bytes().all(known)
        }
    }
}

fn remembered(reading: &mut Reading<'_>, node: &Node) -> Option<Duration> {
    let found = duration(reading, node)?;
    if found <= LONGEST {
        return Some(found);
    }
    let problem = Problem::new("E061", node.at, "browsers do not remember a preflight that long");
    reading.note(problem.label("at most 24h"));
    None
}

fn sent_headers(reading: &mut Reading<'_>, node: &Node) -> Option<SentHeaders> {
    if matches!(&node.value, Value::Text(text) if text == "any") {
        return Some(SentHeaders::Any);
    }
    Some(SentHeaders::Listed(some(reading, node, header)))
}

fn header(reading: &mut Reading<'_>, node: &Node) -> Option<HeaderName> {
    parsed(reading, node, "the name of a header", |text| {
        let star = text == "*";
        let name = text.parse().ok().filter(|_| !star);
        let label =
            if star { "it does not cover Authorization: name each" } else { "expected a name" };
        name.ok_or_else(|| Fault::new("E008", "is not the name of a header", label))
    })
}

/// What Firefox remembers at most; others less.
const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for (text, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://APP.example.com:443", "https://app.example.com"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://a:80", "http://a"),
            ("http://a:443", "http://a:443"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(parse_origin(text).as_deref(), Ok(origin), "{text}");
        }
    }

    /// CO-03: nothing that could match more than one origin.
    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://*.a",
            "https://u@a",
            "https://a?b",
            "https://a:0",
            "https://a:x",
            "https://a:99999",
            "://a",
            "https://ä.example",
            "https://a b",
            "https://[::1",
            "https://[x]",
        ] {
            assert_eq!(parse_origin(text).map_err(|fault| fault.code), Err("E081"), "{text}");
        }
        let label = parse_origin("https://a.example/b").unwrap_err().label;
        assert_eq!(label, "did you mean `https://a.example`?");
    }
}
