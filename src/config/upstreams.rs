//! `upstreams:`, the short form `upstream:`, and the headers that backends get.

use std::time::Duration;

use http::HeaderName;

use super::issuers::twice;
use super::language::{TIMEOUT, UPSTREAM, WEIGHTED};
use super::pattern::parse_template;
use super::reading::{Fields, Reading};
use super::resilience::{resilience, weight};
use super::server::set;
use super::value::{self, at_least_one, entries, nowhere, parsed, wait};
use super::yaml::{Entry, Node, Value};
use super::{
    IdentityHeader, Located, Problem, Protocol, Resilience, Template, TemplatePart, Upstream,
    UpstreamTarget, UpstreamTls, network, upstream_tls,
};

/// All upstreams.
pub(super) fn upstreams(reading: &mut Reading<'_>, file: &Fields<'_>) -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    if let Some(node) = file.find(reading, "upstream") {
        let at = file.key_at("upstream").unwrap_or(node.at);
        let name = Located { value: "main".to_owned(), at };
        upstreams.push(upstream(reading, name, node));
    }
    let Some(node) = file.find(reading, "upstreams") else { return upstreams };
    if let Some(at) = file.key_at("upstream") {
        reading.note(twice(at, "upstream", "upstreams"));
    }
    for entry in entries(reading, node) {
        let name = value::name(reading, &entry.key);
        upstreams.push(upstream(reading, name, &entry.node));
    }
    upstreams
}

/// One upstream: a URL, or a mapping.
fn upstream(reading: &mut Reading<'_>, name: Located<String>, node: &Node) -> Upstream {
    let mut upstream = Upstream {
        name,
        targets: Vec::new(),
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(60),
        resilience: Resilience::default(),
        protocol: Protocol::default(),
        tls: UpstreamTls::default(),
    };
    if !matches!(node.value, Value::Map(_)) {
        upstream.targets.extend(target(reading, node));
        return upstream;
    }
    let owner = format!(" in upstream `{}`", *upstream.name);
    let Some(fields) = Fields::open(reading, node, &UPSTREAM, &owner) else { return upstream };
    upstream.targets = fields
        .read(reading, "targets", |reading, node| at_least_one(reading, node, target))
        .unwrap_or_default();
    if fields.key_at("targets").is_none() {
        let at = upstream.name.at;
        let message = format!("upstream `{}` has no `targets`", *upstream.name);
        let label = "write at least one, such as `http://127.0.0.1:3000`";
        reading.note(Problem::new("E007", at, message).label(label));
    }
    if let Some(node) = fields.find(reading, "timeout") {
        timeouts(reading, node, &mut upstream);
    }
    upstream.resilience = resilience(reading, &fields);
    upstream_tls::read(reading, &fields, &mut upstream);
    upstream
}

/// One server: a URL, or a mapping with its weight.
fn target(reading: &mut Reading<'_>, node: &Node) -> Option<Located<UpstreamTarget>> {
    if !matches!(node.value, Value::Map(_)) {
        return address(reading, node);
    }
    let fields = Fields::open(reading, node, &WEIGHTED, " in `targets`")?;
    let weight = fields.read(reading, "weight", weight);
    if fields.key_at("url").is_none() {
        let problem = Problem::new("E007", node.at, "a target has no `url`");
        reading.note(problem.label("write its `url`, such as `http://127.0.0.1:3000`"));
    }
    let mut target = fields.read(reading, "url", address)?;
    set(&mut target.value.weight, weight);
    Some(target)
}

fn address(reading: &mut Reading<'_>, node: &Node) -> Option<Located<UpstreamTarget>> {
    let value = parsed(reading, node, "a URL such as `http://orders:3000`", network::parse_target)?;
    Some(Located { value, at: node.at })
}

fn timeouts(reading: &mut Reading<'_>, node: &Node, upstream: &mut Upstream) {
    let Some(fields) = Fields::open(reading, node, &TIMEOUT, " in `timeout`") else { return };
    set(&mut upstream.connect_timeout, fields.read(reading, "connect", wait));
    set(&mut upstream.response_timeout, fields.read(reading, "response", wait));
    set(&mut upstream.idle_timeout, fields.read(reading, "idle", wait));
}

/// `identity_headers:`, or the default.
pub(super) fn identity_headers(
    reading: &mut Reading<'_>,
    file: &Fields<'_>,
) -> Vec<IdentityHeader> {
    let Some(node) = file.find(reading, "identity_headers") else { return default_headers() };
    let mut headers: Vec<IdentityHeader> = Vec::new();
    for entry in entries(reading, node) {
        let Some(header) = header(reading, entry) else { continue };
        if headers.iter().any(|other| *other.name == *header.name) {
            let message = format!("`{}` is written twice", entry.key.value);
            let label = "names of headers have no case";
            reading.note(Problem::new("E005", entry.key.at, message).label(label));
        }
        headers.push(header);
    }
    headers
}

fn header(reading: &mut Reading<'_>, entry: &Entry) -> Option<IdentityHeader> {
    let name = match parse_header_name(&entry.key.value) {
        Ok(name) => Some(Located { value: name, at: entry.key.at }),
        Err((what, label)) => {
            let message = format!("`{}` {what}", entry.key.value);
            reading.note(Problem::new("E071", entry.key.at, message).label(label));
            None
        }
    };
    if let Some(problem) = unquoted(&entry.node) {
        reading.note(problem);
        return None;
    }
    let template = parsed(reading, &entry.node, "a template such as `\"{sub}\"`", parse_template)?;
    Some(IdentityHeader { name: name?, template })
}

/// `X-User: {sub}` without quotes is a mapping with the key `sub` and no value.
pub(super) fn unquoted(node: &Node) -> Option<Problem> {
    let Value::Map(entries) = &node.value else { return None };
    let [Entry { key, node: Node { value: Value::Null, .. } }] = entries.as_slice() else {
        return None;
    };
    let problem = Problem::new("E070", node.at, "this is YAML for a mapping, not a template");
    Some(problem.label("YAML needs quotes here").help(format!("write `\"{{{}}}\"`", key.value)))
}

fn parse_header_name(name: &str) -> Result<HeaderName, (&'static str, String)> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| ("is not a header's name", "expected letters, digits and `-`".to_owned()))?;
    if name.contains('_') {
        let label = format!("did you mean `{}`?", name.replace('_', "-"));
        return Err(("has `_`, which many servers drop or take for `-`", label));
    }
    let lower = parsed.as_str();
    let reserved = RESERVED.contains(&lower)
        || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    if reserved {
        return Err((
            "belongs to HTTP or to the gateway",
            "choose another, such as `X-User`".into(),
        ));
    }
    Ok(parsed)
}

fn default_headers() -> Vec<IdentityHeader> {
    DEFAULT_HEADERS
        .into_iter()
        .map(|(name, claim)| IdentityHeader {
            name: Located { value: HeaderName::from_static(name), at: nowhere() },
            template: Template(vec![TemplatePart::Claim(claim.to_owned())]),
        })
        .collect()
}

/// The headers that tell backends who calls, unless the file says otherwise.
const DEFAULT_HEADERS: [(&str, &str); 5] = [
    ("x-auth-subject", "sub"),
    ("x-auth-client", "client"),
    ("x-auth-scopes", "scopes"),
    ("x-auth-issuer", "issuer"),
    ("x-auth-kind", "kind"),
];

/// Fields that frame or route the message (RFC 9110 §7.6.1, RFC 9112 §6), or that the gateway
/// writes itself: a claim must never decide what they say.
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "traceparent",
    "tracestate",
    "upgrade",
    "via",
    "x-real-ip",
    "x-request-id",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-http-method-override",
];

const RESERVED_PREFIXES: &[&str] = &["content-", "x-forwarded-", "if-", "sec-", "accept"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_headers_are_refused() {
        for name in [
            "Host",
            "Connection",
            "Transfer-Encoding",
            "Content-Length",
            "Authorization",
            "TE",
            "X-Forwarded-For",
            "X_User",
            "a b",
            "",
            "Cookie",
        ] {
            assert!(parse_header_name(name).is_err(), "{name}");
        }
        assert!(parse_header_name("X-Auth-Subject").is_ok());
        assert_eq!(default_headers().len(), 5);
    }
}
