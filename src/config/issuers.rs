//! `issuers:`, and the short form `issuer:`.

use std::time::Duration;

use http::Uri;
use jsonwebtoken::Algorithm;

use super::claims::{accept_typ, claim_paths, claims, marks, required};
use super::language::{ALGORITHMS, ISSUER, PRESETS};
use super::reading::{Fault, Fields, Reading};
use super::revocation::backchannel_logout;
use super::server::{flag, path, set};
use super::value::{
    self, at_least_one, entries, located, parsed, some, text, unknown_word, wait, word,
};
use super::yaml::{Node, Value};
use super::{Issuer, KeySource, Located, Place, Problem, Provider, introspection, names, network};

/// All issuers.
pub(super) fn issuers(reading: &mut Reading<'_>, file: &Fields<'_>) -> Vec<Issuer> {
    let mut issuers: Vec<Issuer> = short(reading, file).into_iter().collect();
    let Some(node) = file.find(reading, "issuers") else { return issuers };
    if let Some(at) = file.key_at("issuer") {
        reading.note(twice(at, "issuer", "issuers"));
    }
    for entry in entries(reading, node) {
        let name = value::name(reading, &entry.key);
        issuers.push(issuer(reading, name, &entry.node));
    }
    issuers
}

/// The error of a section that is written in its short form and its long form.
pub(super) fn twice(at: Place, short: &str, long: &str) -> Problem {
    Problem::new("E014", at, format!("there is both `{short}` and `{long}`"))
        .label("the short form is for a file with only one")
        .help(format!("move it into `{long}`, under a name of its own"))
}

/// `issuer:` with `audience:` and `preset:` beside it; its name is `main`.
fn short(reading: &mut Reading<'_>, file: &Fields<'_>) -> Option<Issuer> {
    let audience = file.find(reading, "audience");
    let preset = file.read(reading, "preset", preset);
    let Some(node) = file.find(reading, "issuer") else {
        for key in ["audience", "preset"] {
            if let (Some(at), None) = (file.key_at(key), file.key_at("issuer")) {
                reading.note(
                    Problem::new("E014", at, format!("`{key}` here belongs to `issuer`"))
                        .label("there is no `issuer`")
                        .help("an issuer in `issuers` has its own"),
                );
            }
        }
        return None;
    };
    let key_at = file.key_at("issuer").unwrap_or(node.at);
    let mut issuer = draft(Located { value: "main".to_owned(), at: key_at });
    url(reading, node, &mut issuer);
    audiences(reading, audience, &mut issuer, file.key_at("audience").is_some());
    set(&mut issuer.preset, preset);
    let audience = names::shared_audience(&issuer, file.key_at("audience"));
    let nameless = nameless_app(&issuer);
    for problem in names::misfit(&issuer).into_iter().chain(audience).chain(nameless) {
        reading.note(problem);
    }
    Some(issuer)
}

/// The short form has no place for the app's id and secret.
fn nameless_app(issuer: &Issuer) -> Option<Problem> {
    let message = format!("preset `{}` needs to know the app", *issuer.preset);
    let problem = || {
        Problem::new("E028", issuer.preset.at, message)
            .label("tokens are accepted of one app only")
            .help("write it in `issuers`, with `client_id`; docs/providers.md has an example")
    };
    Provider::is_preset(&issuer.preset).then(problem)
}

fn issuer(reading: &mut Reading<'_>, name: Located<String>, node: &Node) -> Issuer {
    let mut issuer = draft(name);
    let owner = format!(" in issuer `{}`", issuer.name.value);
    let Some(fields) = Fields::open(reading, node, &ISSUER, &owner) else { return issuer };
    issuer.insecure = flag(reading, &fields, "insecure");
    warn_insecure(reading, &fields, &issuer);
    set(&mut issuer.preset, fields.read(reading, "preset", preset));
    let is_asked = fields.key_at("introspection").is_some() || Provider::is_preset(&issuer.preset);
    match fields.find(reading, "url") {
        Some(node) => url(reading, node, &mut issuer),
        None if fields.key_at("url").is_some() || is_asked => {}
        None => reading.note(
            Problem::new("E007", issuer.name.at, format!("issuer `{}` has no `url`", *issuer.name))
                .label("`url` is missing")
                .help("the issuer identifier: what tokens say in `iss`, to the letter"),
        ),
    }
    let audience = fields.find(reading, "audience");
    audiences(reading, audience, &mut issuer, fields.key_at("audience").is_some());
    set(&mut issuer.algorithms, fields.read(reading, "algorithms", algorithms));
    set(&mut issuer.leeway, fields.read(reading, "leeway", leeway));
    issuer.max_token_age = fields.read(reading, "max_token_age", wait);
    set(&mut issuer.claims, fields.read(reading, "claims", claims));
    set(&mut issuer.client_token_when, fields.read(reading, "client_token_when", marks));
    set(&mut issuer.user_token_when, fields.read(reading, "user_token_when", marks));
    issuer.kind_unknown_by_default =
        fields.read(reading, "kind_default", kind_default) == Some(true);
    set(&mut issuer.audience_claim, fields.read(reading, "audience_claim", claim_paths));
    set(&mut issuer.accept_typ, fields.read(reading, "accept_typ", accept_typ));
    set(&mut issuer.required_claims, fields.read(reading, "required_claims", required));
    set(&mut issuer.implies, fields.read(reading, "implies", implies));
    set(&mut issuer.max_stale, fields.read(reading, "max_stale", wait));
    issuer.backchannel_logout = fields.read(reading, "backchannel_logout", backchannel_logout);
    fields.read(reading, "sender_constraint", sender_constraint);
    keys(reading, &fields, &mut issuer);
    introspection::introspection(reading, &fields, &mut issuer);
    names::read(reading, &fields, &mut issuer);
    issuer
}

/// An issuer with the defaults of all its keys.
pub(crate) fn draft(name: Located<String>) -> Issuer {
    let at = name.at;
    Issuer {
        name,
        url: Located { value: String::new(), at },
        audience: Vec::new(),
        preset: Located { value: "generic".to_owned(), at },
        algorithms: vec![Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA],
        leeway: Duration::from_secs(30),
        max_token_age: None,
        issuer_aliases: Vec::new(),
        tenants: Vec::new(),
        audience_claim: Vec::new(),
        accept_typ: Vec::new(),
        required_claims: Vec::new(),
        claims: Vec::new(),
        client_token_when: Vec::new(),
        user_token_when: Vec::new(),
        kind_unknown_by_default: false,
        implies: Vec::new(),
        keys: KeySource::Discovery,
        insecure: false,
        max_stale: Duration::from_secs(24 * 3_600),
        introspection: None,
        backchannel_logout: None,
    }
}

fn warn_insecure(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &Issuer) {
    let Some(at) = fields.key_at("insecure").filter(|_| issuer.insecure) else { return };
    let message = format!("issuer `{}` may be read over plain http", *issuer.name);
    reading.note(
        Problem::new("A101", at, message)
            .label("whoever is on the way can replace its keys")
            .help("use https, and delete this line"),
    );
}

fn url(reading: &mut Reading<'_>, node: &Node, issuer: &mut Issuer) {
    if let Some(url) = secure_url(reading, node, issuer) {
        issuer.url = url;
    }
}

/// A URL that keys come from: https, or http to this machine, or `insecure: true`.
fn secure_url(reading: &mut Reading<'_>, node: &Node, issuer: &Issuer) -> Option<Located<String>> {
    let url: Uri = parsed(reading, node, "a URL", network::parse_url)?;
    if network::is_exposed(&url) && !issuer.insecure {
        let message = format!("issuer `{}` would be read over plain http", *issuer.name);
        reading.note(
            Problem::new("E021", node.at, message)
                .label("whoever is on the way could replace its keys")
                .help("use https, or write `insecure: true` in the issuer for tests"),
        );
    }
    located(reading, node)
}

fn audiences(
    reading: &mut Reading<'_>,
    node: Option<&Node>,
    issuer: &mut Issuer,
    is_written: bool,
) {
    if let Some(node) = node {
        issuer.audience = some(reading, node, text);
        if !matches!(&node.value, Value::List(items) if items.is_empty()) {
            return;
        }
    } else if is_written {
        return;
    }
    let at = node.map_or(issuer.name.at, |node| node.at);
    let message = format!("issuer `{}` accepts tokens made for any API", *issuer.name);
    reading.note(Problem::new("E020", at, message).label("`audience` is missing").help(
        "use the API's identifier in the issuer; `scopegate token inspect` shows `aud` of a real \
         token",
    ));
}

fn preset(reading: &mut Reading<'_>, node: &Node) -> Option<Located<String>> {
    let value = parsed(reading, node, "the name of a preset", |text| {
        if PRESETS.contains(&text) {
            return Ok(text.to_owned());
        }
        Err(unknown_word(text, PRESETS.iter().copied()))
    })?;
    Some(Located { value, at: node.at })
}

fn algorithms(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<Algorithm>> {
    let mut found = at_least_one(reading, node, |reading, node| {
        parsed(reading, node, "the name of an algorithm", parse_algorithm)
    })?;
    let mut seen = Vec::new();
    found.retain(|algorithm| {
        let fresh = !seen.contains(algorithm);
        seen.push(*algorithm);
        fresh
    });
    Some(found)
}

fn parse_algorithm(text: &str) -> Result<Algorithm, Fault> {
    if text.eq_ignore_ascii_case("none") {
        let what = "would accept tokens that nobody signed";
        return Err(Fault::new("E023", what, "never accepted (RFC 8725 section 3.2)"));
    }
    if matches!(text, "HS256" | "HS384" | "HS512") {
        let what = "would let whoever knows a key for checking make tokens";
        return Err(Fault::new("E023", what, "never accepted (RFC 8725 section 2.1)"));
    }
    if matches!(text, "ES512" | "ES256K" | "Ed448") {
        return Err(Fault::new("E090", "is not supported yet", "expected ES256, ES384 or another"));
    }
    let known = || unknown_word(text, ALGORITHMS.iter().copied());
    if !ALGORITHMS.contains(&text) {
        return Err(known());
    }
    text.parse().map_err(|_| known())
}

fn leeway(reading: &mut Reading<'_>, node: &Node) -> Option<Duration> {
    let found = value::duration(reading, node)?;
    if found > MAX_LEEWAY {
        reading.fault(node, Fault::new("E061", "is out of range", "at most 5m"));
        return None;
    }
    Some(found)
}

/// Whether a token without any sign is nobody's.
fn kind_default(reading: &mut Reading<'_>, node: &Node) -> Option<bool> {
    word(reading, node, &[("preset", false), ("unknown", true)])
}

fn implies(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<(String, Vec<String>)>> {
    let mut implies = Vec::new();
    for entry in entries(reading, node) {
        implies.push((entry.key.value.clone(), some(reading, &entry.node, text)));
    }
    Some(implies)
}

fn sender_constraint(reading: &mut Reading<'_>, node: &Node) -> Option<()> {
    if let Value::Text(text) = &node.value
        && matches!(text.as_str(), "dpop" | "mtls")
    {
        let what = "is not supported yet";
        let fault = Fault::new("E090", what, "tokens would be accepted without the proof");
        reading.fault(node, fault);
        return None;
    }
    word(reading, node, &[("none", ())])
}

/// The one place that keys come from.
fn keys(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &mut Issuer) {
    let mut sources = Vec::new();
    if let Some(node) = fields.find(reading, "metadata_url") {
        sources.extend(secure_url(reading, node, issuer).map(KeySource::Metadata));
    }
    if let Some(node) = fields.find(reading, "jwks_url") {
        sources.extend(secure_url(reading, node, issuer).map(KeySource::Url));
    }
    sources.extend(fields.read(reading, "jwks", path).map(KeySource::File));
    if sources.len() > 1 {
        let at = fields.key_at("jwks").or_else(|| fields.key_at("jwks_url"));
        let message = format!("issuer `{}` says twice where its keys are", *issuer.name);
        reading.note(
            Problem::new("E014", at.unwrap_or(issuer.name.at), message)
                .label("one of metadata_url, jwks_url and jwks is enough"),
        );
    }
    if let Some(source) = sources.pop() {
        issuer.keys = source;
    }
}

/// More skew than that is a clock to be set, not a leeway (RFC 7519 §4.1.4).
const MAX_LEEWAY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_that_prove_nothing_are_refused() {
        for text in ["none", "None", "HS256", "HS512"] {
            assert_eq!(parse_algorithm(text).unwrap_err().code, "E023");
        }
        assert_eq!(parse_algorithm("ES512").unwrap_err().code, "E090");
        assert_eq!(parse_algorithm("es256").unwrap_err().code, "E008");
        assert_eq!(parse_algorithm("ES256"), Ok(Algorithm::ES256));
        for name in ALGORITHMS {
            assert!(parse_algorithm(name).is_ok());
        }
    }
}
