//! `revocation:`, and `backchannel_logout:` of an issuer.

use std::path::PathBuf;
use std::time::Duration;

use super::introspection;
use super::language::{BACKCHANNEL_LOGOUT, REVOCATION};
use super::pattern::parse_pattern;
use super::reading::{Fault, Fields, Reading};
use super::server::{flag, path, set};
use super::value::{count, parsed, rate, some, text, wait};
use super::yaml::{Node, Value};
use super::{Config, Issuer, Located, Place, Problem, Rate, Secret, Segment};

/// Where revocations come from and are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The file that keeps them through restarts. Default none: a restart forgets.
    pub store: Option<Located<PathBuf>>,
    /// A list of them that is read whenever it changes.
    pub file: Option<Located<PathBuf>>,
    /// How many are kept at most; more are refused. Default 100 000.
    pub max_entries: usize,
    /// How long one lasts that does not say. Default 24 h.
    pub keep: Duration,
    /// What callers of `/revocations` on the admin port must know.
    pub secret: Option<Secret>,
}

/// Where an issuer tells of logouts (OIDC Back-Channel Logout 1.0 §2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackchannelLogout {
    /// The canonical path on the public listener.
    pub path: Located<String>,
    /// The client ids of which a logout token needs one in `aud`. Never empty.
    pub audience: Vec<String>,
    /// How many logouts one address may send. Default 100 a second.
    pub rate: Rate,
    /// Whether logout tokens may lack `exp`, as drafts of the specification had it. Default false.
    pub allow_missing_exp: bool,
}

/// `revocation:`
pub(super) fn revocation(reading: &mut Reading<'_>, node: &Node) -> Option<Revocation> {
    let fields = Fields::open(reading, node, &REVOCATION, " in `revocation`")?;
    let mut revocation = Revocation {
        store: fields.read(reading, "store", path),
        file: fields.read(reading, "file", path),
        max_entries: 100_000,
        keep: Duration::from_secs(24 * 3_600),
        secret: fields.read(reading, "secret", |r, n| secret(r, &fields, n)),
    };
    let most = fields.read(reading, "max_entries", |r, n| count(r, n, 1, MOST_ENTRIES));
    set(&mut revocation.max_entries, most.and_then(|most| usize::try_from(most).ok()));
    set(&mut revocation.keep, fields.read(reading, "keep", wait));
    Some(revocation)
}

fn secret(reading: &mut Reading<'_>, fields: &Fields<'_>, node: &Node) -> Option<Secret> {
    let secret = introspection::secret(reading, fields, "secret", node)?;
    let is_sendable = secret.reveal().bytes().all(|byte| byte.is_ascii_graphic());
    if is_sendable && secret.reveal().len() >= SHORTEST_SECRET {
        return Some(secret);
    }
    let problem = Problem::new("E061", node.at, "the secret can be guessed, or cannot be sent");
    let label = "at least 16 characters, all of them visible ASCII";
    reading.note(problem.label(label).help("`openssl rand -hex 32` makes one"));
    None
}

/// `backchannel_logout:`
pub(super) fn backchannel_logout(
    reading: &mut Reading<'_>,
    node: &Node,
) -> Option<BackchannelLogout> {
    let fields = Fields::open(reading, node, &BACKCHANNEL_LOGOUT, " in `backchannel_logout`")?;
    for name in ["path", "audience"] {
        if fields.key_at(name).is_none() {
            let message = format!("`backchannel_logout` has no `{name}`");
            reading.note(Problem::new("E007", node.at, message).label("both are needed").help(
                "such as `{ path: /backchannel_logout, audience: the client id at the issuer }`",
            ));
        }
    }
    let path = fields.read(reading, "path", logout_path);
    let audience = fields.read(reading, "audience", audience);
    let mut rate_limit = Rate { count: 100, period: Duration::from_secs(1) };
    set(&mut rate_limit, fields.read(reading, "rate", rate));
    let allow_missing_exp = flag(reading, &fields, "allow_missing_exp");
    Some(BackchannelLogout {
        path: path?,
        audience: audience?,
        rate: rate_limit,
        allow_missing_exp,
    })
}

fn audience(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<String>> {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        let problem = Problem::new("E020", node.at, "logouts made for any client would count");
        reading.note(problem.label("at least one client id is needed"));
        return None;
    }
    Some(some(reading, node, text))
}

/// A canonical path without parameters, so that exactly one request target leads there.
fn logout_path(reading: &mut Reading<'_>, node: &Node) -> Option<Located<String>> {
    let value = parsed(reading, node, "a path", |text| {
        let pattern = parse_pattern(text)?;
        let is_literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        if pattern.host.is_some() || !pattern.segments.iter().all(is_literal) || text == "/" {
            let what = "is not one path";
            return Err(Fault::new("E010", what, "such as `/backchannel_logout`, all literal"));
        }
        Ok(text.to_owned())
    })?;
    Some(Located { value, at: node.at })
}

/// Checks what revocation has to do with other sections.
pub(super) fn check(reading: &mut Reading<'_>, config: &Config) {
    for issuer in &config.issuers {
        check_logout(reading, config, issuer);
    }
    let Some(revocation) = &config.revocation else { return };
    if revocation.secret.is_none() && config.admin.value.is_exposed() {
        reading.note(
            Problem::new("E087", config.admin.at, "anyone who reaches it could undo revocations")
                .label("the admin port is not on loopback")
                .help("write `revocation: { secret: \"${file:/run/secrets/admin}\" }`"),
        );
    }
    for issuer in config.issuers.iter().filter(|issuer| issuer.max_token_age.is_none()) {
        warn_endless(reading, revocation, issuer.name.at, &issuer.name);
    }
}

fn warn_endless(reading: &mut Reading<'_>, revocation: &Revocation, at: Place, issuer: &str) {
    let seconds = revocation.keep.as_secs();
    let message = format!("revocations may end before the tokens of issuer `{issuer}` do");
    reading.note(
        Problem::new("A151", at, message)
            .label("`max_token_age` is not set")
            .help(format!("it bounds how long tokens live; revocations last {seconds} s here")),
    );
}

fn check_logout(reading: &mut Reading<'_>, config: &Config, issuer: &Issuer) {
    let Some(logout) = &issuer.backchannel_logout else { return };
    if config.revocation.is_none() {
        let problem = Problem::new("E007", logout.path.at, "nothing keeps what logouts revoke");
        reading.note(
            problem
                .label("`revocation` is missing")
                .help("write `revocation: { store: revocations.redb }` beside `issuers`"),
        );
    }
    let is_same = |text: &str| text == logout.path.value;
    if let Some(route) = config.routes.iter().find(|route| is_same(&route.pattern.text)) {
        reading.note(
            Problem::new("E014", logout.path.at, "logouts would be taken from a route's callers")
                .label("this path is a route, too")
                .also(route.pattern.at, "the route"),
        );
    }
}

/// What fits into memory many times over, at some 300 bytes each.
const MOST_ENTRIES: u64 = 10_000_000;

/// What cannot be guessed even if each character is a hexadecimal digit.
const SHORTEST_SECRET: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::{Variables, load_text};

    const HEAD: &str = "upstream: http://127.0.0.1:1\nroutes: { /a/**: { GET: a } }\n";

    fn codes(rest: &str) -> Vec<&'static str> {
        let variables = Variables::default().with("SECRET", "0123456789abcdef");
        let loaded = load_text("gateway.yaml", &format!("{HEAD}{rest}"), &variables);
        loaded.problems.0.iter().map(|problem| problem.code).collect()
    }

    fn issuer(more: &str) -> String {
        format!("issuers: {{ main: {{ url: https://id.example, audience: api{more} }} }}\n")
    }

    #[test]
    fn revocations_need_a_bound_and_a_guard() {
        let bounded = issuer(", max_token_age: 1h");
        let with = |revocation: &str| codes(&format!("{bounded}revocation: {revocation}\n"));
        assert_eq!(with("{ store: a.redb, secret: \"${SECRET}\" }"), [""; 0]);
        assert_eq!(with("{ store: a.redb, secret: 0123456789abcdef }"), ["A102"]);
        assert_eq!(codes(&format!("{}revocation: {{}}\n", issuer(""))), ["A151"]);
        assert_eq!(with("{}\nadmin: 0.0.0.0:8081"), ["A220", "E087"]);
        assert_eq!(with("{ secret: \"${SECRET}\" }\nadmin: 0.0.0.0:8081"), ["A220"]);
        for bad in ["short", "\"0123456789 abcdef\"", "\"0123456789abcd\\tf\""] {
            assert_eq!(with(&format!("{{ secret: {bad} }}")), ["A102", "E061"], "{bad}");
        }
        assert_eq!(with("{ max_entries: 0 }"), ["E061"]);
        assert_eq!(with("{ stroe: a.redb }"), ["E001"]);
    }

    #[test]
    fn logouts_have_a_path_of_their_own_and_a_place_to_be_kept() {
        let logout = |settings: &str, rest: &str| {
            let more = format!(", max_token_age: 1h, backchannel_logout: {settings}");
            codes(&format!("{}{rest}", issuer(&more)))
        };
        let good = "{ path: /out, audience: web }";
        assert_eq!(logout(good, "revocation: {}\n"), [""; 0]);
        assert_eq!(logout(good, ""), ["E007"]);
        for (bad, code) in [
            ("{ path: /out }", "E007"),
            ("{ audience: web }", "E007"),
            ("{ path: /out, audience: [] }", "E020"),
            ("{ path: /out/**, audience: web }", "E010"),
            ("{ path: \"/{a}\", audience: web }", "E010"),
            ("{ path: /, audience: web }", "E010"),
            ("{ path: api.example.com/out, audience: web }", "E010"),
            ("{ path: /out/../in, audience: web }", "E010"),
        ] {
            assert_eq!(logout(bad, "revocation: {}\n"), [code], "{bad}");
        }
        let taken = format!("{HEAD}routes: {{ /out: {{ GET: a }} }}\n");
        let text = taken.replace("routes: { /a/**: { GET: a } }\n", "");
        let text = format!(
            "{text}{}revocation: {{}}\n",
            issuer(", max_token_age: 1h, backchannel_logout: { path: /out, audience: web }")
        );
        let loaded = load_text("gateway.yaml", &text, &Variables::default());
        let found: Vec<_> = loaded.problems.0.iter().map(|problem| problem.code).collect();
        assert_eq!(found, ["E014"]);
    }
}
