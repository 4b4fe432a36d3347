//! What an issuer is called: `issuer_aliases` and `tenants`, and whether the preset is for it.

use super::reading::{Fault, Fields, Reading};
use super::value::{at_least_one, located, parsed};
use super::yaml::Node;
use super::{Issuer, KeySource, Located, Place, Problem, TENANT};

/// Reads the spellings and tenants of `issuer`, whose URL, preset and keys have been read.
pub(super) fn read(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &mut Issuer) {
    if let Some(aliases) = fields.read(reading, "issuer_aliases", aliases) {
        issuer.issuer_aliases = aliases;
    }
    if let Some(tenants) = fields.read(reading, "tenants", tenants) {
        issuer.tenants = tenants;
    }
    let is_written = fields.key_at("tenants").is_some();
    let audience = shared_audience(issuer, fields.key_at("audience"));
    let found = faults(issuer, is_written).into_iter().chain(misfit(issuer)).chain(audience);
    for problem in found {
        reading.note(problem);
    }
}

/// A warning about an audience that every token of a realm of Keycloak has.
pub(super) fn shared_audience(issuer: &Issuer, at: Option<Place>) -> Option<Problem> {
    let is_shared = issuer.preset.value == "keycloak"
        && issuer.audience.iter().any(|audience| audience == "account");
    let message = format!("issuer `{}` accepts tokens made for any API", *issuer.name);
    let problem = || {
        Problem::new("A103", at.unwrap_or(issuer.name.at), message)
            .label("almost every token of a realm has the audience `account`")
            .help("add an audience mapper for this API to the client scope, and name that audience")
    };
    is_shared.then(problem)
}

/// Whether the preset is for such an issuer.
pub(super) fn misfit(issuer: &Issuer) -> Option<Problem> {
    let url = issuer.url.value.as_str();
    let (label, help) = match issuer.preset.value.as_str() {
        "google-id" if url != GOOGLE => (
            "it accepts ID tokens, which prove a login and no right to call an API",
            "write `url: https://accounts.google.com`, or another preset",
        ),
        // The keys of the organization's own server are not published, and what is in its tokens
        // may change.
        "okta" if !url.contains("/oauth2/") => (
            "tokens of Okta's org authorization server cannot be verified",
            "use a custom authorization server: `https://NAME.okta.com/oauth2/default`",
        ),
        _ => return None,
    };
    let message = format!("preset `{}` is not for the issuer `{}`", *issuer.preset, *issuer.name);
    let is_unread = url.is_empty();
    (!is_unread).then(|| Problem::new("E028", issuer.url.at, message).label(label).help(help))
}

fn aliases(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<Located<String>>> {
    at_least_one(reading, node, located)
}

fn tenants(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<Located<String>>> {
    at_least_one(reading, node, |reading, node| {
        let value = parsed(reading, node, "the name of a tenant", parse_tenant)?;
        Some(Located { value, at: node.at })
    })
}

/// A tenant becomes part of an issuer identifier, so it must not be able to change any other part.
fn parse_tenant(text: &str) -> Result<String, Fault> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.chars().all(is_plain) && !text.contains("..") {
        return Ok(text.to_owned());
    }
    let what = "is no tenant";
    Err(Fault::new("E029", what, "expected letters, digits, `-`, `_`, `.`: there is no wildcard"))
}

fn faults(issuer: &Issuer, is_written: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    let has_place = issuer.url.contains(TENANT);
    let rest = issuer.url.replace(TENANT, "");
    if rest.contains(['{', '}']) || issuer.url.matches(TENANT).count() > 1 {
        let help = "write it once, as the server's metadata does";
        found.push(fault(issuer.url.at, "the one placeholder is `{tenantid}`", help));
    }
    if has_place && !is_written {
        let help = "list the tenants whose tokens are accepted: `tenants: [...]`";
        found.push(fault(issuer.url.at, "tokens of whoever is a customer would be accepted", help));
    }
    if has_place && matches!(issuer.keys, KeySource::Discovery) {
        let help = "write `metadata_url`, `jwks_url` or `jwks`";
        found.push(fault(issuer.url.at, "there is no one place to discover keys at", help));
    }
    if let Some(tenant) = issuer.tenants.first().filter(|_| !has_place) {
        let help = "write `{tenantid}` in `url` where the tenant stands";
        found.push(fault(tenant.at, "`url` has no place for a tenant", help));
    }
    let odd = issuer.issuer_aliases.iter().find(|alias| {
        alias.contains(TENANT) != has_place || alias.replace(TENANT, "").contains(['{', '}'])
    });
    if let Some(alias) = odd {
        let help = "an alias has `{tenantid}` if `url` has it, and only then";
        found.push(fault(alias.at, "this does not name the same tenant as `url`", help));
    }
    found
}

fn fault(at: Place, label: &str, help: &str) -> Problem {
    Problem::new("E029", at, "it is not clear whose tokens are accepted").label(label).help(help)
}

/// The issuer whose ID tokens stand in for the JWT access tokens that it does not make.
const GOOGLE: &str = "https://accounts.google.com";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_cannot_be_more_than_a_name() {
        for text in ["72f988bf-86f1-41af-91ab-2d7cd011db47", "contoso.onmicrosoft.com", "a_b"] {
            assert_eq!(parse_tenant(text).as_deref(), Ok(text));
        }
        for text in ["", "*", "a/b", "a/../b", "..", "{tenantid}", "a b", "a%2Fb", "a#"] {
            assert!(parse_tenant(text).is_err(), "{text}");
        }
    }
}
