//! `routes:`, patterns and who may call them.

use http::Method;

use super::cors;
use super::language::ROUTE;
use super::pattern::parse_pattern;
use super::plans::route_limit;
use super::reading::{Fault, Fields, Reading, shorten};
use super::rules::{self, public, rule};
use super::server::{flag, mode};
use super::suggest::nearest;
use super::value::{at_least_one, entries, located, located_switch, parsed, wait, word};
use super::yaml::{Entry, Node, Value};
use super::{Located, MethodRule, Pattern, Place, Problem, Public, Route, RuleKind};
use crate::method;

/// All routes of one file.
pub(super) fn routes(reading: &mut Reading<'_>, node: &Node) -> Vec<Route> {
    let mut routes = Vec::new();
    let entries = entries(reading, node);
    reading.routes += entries.len();
    for entry in entries {
        routes.extend(route(reading, entry));
    }
    routes
}

fn route(reading: &mut Reading<'_>, entry: &Entry) -> Option<Route> {
    let pattern = pattern(reading, &entry.key);
    let owner = format!(" in route {}", shorten(&entry.key.value));
    if matches!(entry.node.value, Value::Null) {
        reading.note(says_nothing(&entry.key));
        return None;
    }
    if let Value::Text(_) = &entry.node.value {
        let message = format!("{} is not a mapping", shorten(&entry.key.value));
        let problem = Problem::new("E006", entry.node.at, message).label("a rule needs a key");
        let rule = shorten(&entry.node.shown());
        reading
            .note(problem.help(format!("write `{{ allow: {rule} }}`, or a rule for each method")));
        return None;
    }
    let fields = Fields::open(reading, &entry.node, &ROUTE, &owner)?;
    let route = Route {
        pattern: pattern?,
        upstream: fields.read(reading, "upstream", located),
        allow: fields.read(reading, "allow", |r, node| Some(rule(r, node, "allow"))),
        methods: methods(reading, &fields),
        public: whole_public(reading, &fields),
        strip_prefix: fields.read(reading, "strip_prefix", located),
        limit: fields.read(reading, "limit", |r, node| route_limit(r, node, &owner)),
        timeout: fields.read(reading, "timeout", wait),
        mode: fields.read(reading, "mode", |r, node| {
            mode(r, node).map(|value| Located { value, at: node.at })
        }),
        case_insensitive: flag(reading, &fields, "case_insensitive"),
        allow_encoded_slash: flag(reading, &fields, "allow_encoded_slash"),
        keep_authorization: fields.read(reading, "keep_authorization", located_switch),
        upgrade: fields
            .read(reading, "upgrade", |reading, node| at_least_one(reading, node, protocol))
            .unwrap_or_default(),
        introspect: fields.read(reading, "introspect", introspect),
        cors: fields.read(reading, "cors", |r, node| cors::of_route(r, node, &owner)),
    };
    check_callers(reading, &fields, &route, &entry.key);
    Some(route)
}

fn pattern(reading: &mut Reading<'_>, key: &Located<String>) -> Option<Located<Pattern>> {
    match parse_pattern(&key.value) {
        Ok(value) => Some(Located { value, at: key.at }),
        Err(fault) => {
            let message = format!("the pattern `{}` {}", shorten(&key.value), fault.what);
            reading.note(Problem::new(fault.code, key.at, message).label(fault.label));
            None
        }
    }
}

/// `introspect: always`, the one thing that a route can say of it.
fn introspect(reading: &mut Reading<'_>, node: &Node) -> Option<Place> {
    word(reading, node, &[("always", node.at)])
}

/// The name of a protocol for `Upgrade` (RFC 9110 §7.8), in lower case.
fn protocol(reading: &mut Reading<'_>, node: &Node) -> Option<String> {
    parsed(reading, node, "a protocol such as `websocket`", |text| {
        let name = text.to_ascii_lowercase();
        let is_token = Method::from_bytes(name.as_bytes()).is_ok();
        match name.as_str() {
            _ if !is_token => {
                Err(Fault::new("E008", "is not the name of a protocol", "such as `websocket`"))
            }
            // Another HTTP behind the gateway's back would carry requests that nobody judged.
            "h2c" | "h2" | "http" | "tls" => Err(Fault::new(
                "E008",
                "would carry requests that nobody checks",
                "only protocols that are not HTTP, such as `websocket`",
            )),
            _ => Ok(name),
        }
    })
}

/// `public:` of the whole route; `false` is an error, for a route is closed unless it says so.
fn whole_public(reading: &mut Reading<'_>, fields: &Fields<'_>) -> Option<Located<Public>> {
    let node = fields.find(reading, "public")?;
    public(reading, node).map(|value| Located { value, at: node.at })
}

fn methods(reading: &mut Reading<'_>, fields: &Fields<'_>) -> Vec<MethodRule> {
    let mut rules: Vec<MethodRule> = Vec::new();
    for entry in fields.methods() {
        let methods = split_methods(reading, &entry.key);
        for method in &methods {
            let known = rules.iter().flat_map(|rule| &rule.methods);
            if let Some(first) = known.into_iter().find(|other| other.value == method.value) {
                let message = format!("{} has two rules", method.value);
                let problem = Problem::new("E005", method.at, message).label("again here");
                let label = format!("first here (line {})", first.at.line);
                reading.note(problem.also(first.at, label).help("keep one of them"));
            }
        }
        let rule = rules::of_method(reading, &entry.node, &entry.key.value);
        warn_public_write(reading, &methods, &rule.kind);
        rules.push(MethodRule { methods, rule });
    }
    warn_uncovered(reading, fields, &rules);
    rules
}

/// `POST, PUT`: the methods of a key, each with its place.
fn split_methods(reading: &mut Reading<'_>, key: &Located<String>) -> Vec<Located<Method>> {
    let mut methods: Vec<Located<Method>> = Vec::new();
    // A quoted key begins one character later than its place.
    let quote = usize::from(reading.written(key.at).starts_with(['"', '\'']));
    let mut offset = quote;
    for part in key.value.split(',') {
        let name = part.trim();
        let lead = part.len() - part.trim_start().len();
        let start = key.at.start + offset + lead;
        let column = key.at.column + offset + lead;
        offset += part.len() + 1;
        let at = super::Place { column, start, end: start + name.len(), ..key.at };
        match is_method(name).then(|| Method::from_bytes(name.as_bytes())) {
            Some(Ok(value)) if methods.iter().any(|method| method.value == value) => {
                let problem = Problem::new("E005", at, format!("{value} is written twice"));
                reading.note(problem.label("again here"));
            }
            Some(Ok(value)) => methods.push(Located { value, at }),
            Some(Err(_)) | None => reading.note(unknown_method(name, at)),
        }
    }
    methods
}

/// A method that is known, or one of the backend's own that cannot be taken for a known one: a slip
/// must not leave the method that was meant to `allow`.
fn is_method(name: &str) -> bool {
    if method::known().any(|known| known == name) {
        return !method::is_never_forwarded(name);
    }
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let begins = name.starts_with(|first: char| first.is_ascii_uppercase());
    begins && name.chars().all(plain) && nearest(name, method::known()).is_none()
}

fn unknown_method(name: &str, at: super::Place) -> Problem {
    let message = format!("`{}` is not a method", shorten(name));
    let upper = name.to_ascii_uppercase();
    let label = match nearest(&upper, method::known()) {
        Some(method) if method::is_never_forwarded(method) => "never forwarded".to_owned(),
        Some(method) => format!("did you mean `{method}`?"),
        None => "unknown method".to_owned(),
    };
    let usual: Vec<&str> = method::USUAL.iter().map(Method::as_str).collect();
    let help = format!("methods are written in capitals, such as {}", usual.join(", "));
    Problem::new("E011", at, message).label(label).help(help)
}

/// `allow` stands for the usual methods. Who names one method of WebDAV beside it may think that it
/// opens the others too.
fn warn_uncovered(reading: &mut Reading<'_>, fields: &Fields<'_>, rules: &[MethodRule]) {
    let Some(allow) = fields.key_at("allow") else { return };
    let listed = || rules.iter().flat_map(|rule| &rule.methods);
    let is_listed = |name: &&str| listed().any(|method| method.value.as_str() == *name);
    let Some(first) = listed().find(|method| WEBDAV.contains(&method.value.as_str())) else {
        return;
    };
    let refused: Vec<&str> = WEBDAV.into_iter().filter(|name| !is_listed(name)).collect();
    if refused.is_empty() {
        return;
    }
    let message = format!("`allow` does not stand for {}", refused.join(", "));
    reading.note(
        Problem::new("A121", allow, message)
            .label("the methods of RFC 9110 and PATCH, but for CONNECT and TRACE")
            .also(first.at, "a method of WebDAV, written out")
            .help(format!("they are 405 here; open them by name: `{}: RULE`", refused.join(", "))),
    );
}

fn warn_public_write(reading: &mut Reading<'_>, methods: &[Located<Method>], kind: &RuleKind) {
    if !matches!(kind, RuleKind::Public(_)) {
        return;
    }
    for method in methods.iter().filter(|method| !SAFE.contains(&method.as_str())) {
        reading.note(
            Problem::new("A120", method.at, format!("anyone may {} without a token", method.value))
                .label("a public method that writes")
                .help("if that is meant, write `# scopegate: allow A120` in the file"),
        );
    }
}

/// Every route says who may call it, and says it once.
fn check_callers(
    reading: &mut Reading<'_>,
    fields: &Fields<'_>,
    route: &Route,
    key: &Located<String>,
) {
    let (public, allow) = (fields.key_at("public"), fields.key_at("allow"));
    if public.is_none() && allow.is_none() && fields.methods().next().is_none() {
        reading.note(says_nothing(key));
    }
    let Some(public) = public else { return };
    if let Some(allow) = allow {
        reading.note(
            Problem::new("E014", allow, "there is both `public` and `allow`")
                .label("this would close what `public` opens")
                .also(public, "opened here")
                .help("write a rule for each method instead of `allow`"),
        );
    }
    let reads = route.methods.iter().flat_map(|rule| &rule.methods);
    for method in reads.filter(|method| matches!(method.value, Method::GET | Method::HEAD)) {
        reading.note(
            Problem::new("E014", method.at, format!("{} is open and has a rule", method.value))
                .label("this would close what `public` opens")
                .also(public, "`public` opens GET and HEAD")
                .help("delete one of them"),
        );
    }
}

fn says_nothing(key: &Located<String>) -> Problem {
    let message = format!("{} does not say who may call it", shorten(&key.value));
    Problem::new("E003", key.at, message)
        .label("add a rule here")
        .help("`allow: { token: any }` for any valid token, `public: true` for no token")
}

/// Methods that change nothing (RFC 9110 §9.2.1).
const SAFE: &[&str] = &["GET", "HEAD", "OPTIONS", "QUERY", "PROPFIND", "REPORT", "SEARCH"];

/// RFC 4918 §9.
const WEBDAV: [&str; 7] = ["COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "UNLOCK"];
