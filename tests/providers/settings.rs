//! What the file can say of an issuer beside its preset.

use serde_json::json;

use super::samples::{Sample, World, text};
use crate::harness::command::Scopegate;
use crate::harness::keys::RSA;
use crate::harness::markdown::root;

/// A provider's example with more settings for its issuer.
async fn with(example: &str, settings: &str) -> World {
    let preset = text(example).lines().find(|line| line.contains("preset:")).unwrap().to_owned();
    let text = text(example).replacen(&preset, &format!("{preset}\n    {settings}"), 1);
    World::start_with(&text, &[RSA.jwk()]).await
}

/// The codes that `check` finds in a provider's example with more settings for its issuer.
fn found(example: &str, settings: &str) -> String {
    let line = text(example).lines().find(|line| line.contains("preset:")).unwrap().to_owned();
    let text = text(example).replacen(&line, &format!("{line}\n    {settings}"), 1);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    let ran = Scopegate::within(folder.path(), &["check"]).run();
    assert_eq!(ran.code, 1, "{settings}: {}", ran.stdout);
    ran.stdout
}

/// CL-07: what is accepted as `typ` is what is listed, and nothing else.
#[tokio::test]
async fn accepted_types_replace_the_presets() {
    let mut person = Sample::of("duende", "person");
    let plain = World::start("duende").await;
    let listed = with("duende", "accept_typ: [JWT, absent]").await;
    for (typ, by_preset, by_list) in [
        (Some("at+jwt"), true, false),
        (Some("jwt"), false, true),
        (None, false, true),
        (Some("absent"), false, false),
        (Some(""), false, false),
    ] {
        person.set_type(typ);
        for (t, is_accepted) in [(&plain, by_preset), (&listed, by_list)] {
            match is_accepted {
                true => drop(t.passes("POST", "/any", &person).await),
                false => t.refuses("POST", "/any", &person, 401, "wrong_token_type").await,
            }
        }
    }
    assert!(found("duende", "accept_typ: [at+jwt, logout+jwt]").contains("error[E027]"));
}

/// CL-02: the audience is in one place, the first that is there.
#[tokio::test]
async fn the_audience_may_be_elsewhere() {
    let t = with("hydra", "audience_claim: [[ext, audience], [resource]]").await;
    let person = Sample::of("hydra", "person").without("aud");
    let ours = "https://orders.example.com";
    for (ext, resource, is_accepted) in [
        (json!({ "audience": ours }), json!("other"), true),
        (json!({ "audience": ["x", ours] }), json!(null), true),
        (json!({}), json!(ours), true),
        (json!({ "audience": "other" }), json!(ours), false),
        (json!({}), json!("other"), false),
    ] {
        let token = person.clone().with("ext", ext).with("resource", resource);
        match is_accepted {
            true => drop(t.passes("POST", "/any", &token).await),
            false => t.refuses("POST", "/any", &token, 401, "wrong_audience").await,
        }
    }
    // What is in `aud` does not matter any more.
    let token = person.with("aud", ours);
    t.refuses("POST", "/any", &token, 401, "wrong_audience").await;
}

/// AZ-07: nobody is concluded to be a person.
#[tokio::test]
async fn a_conclusion_can_be_turned_off() {
    let t = with("oidc-provider", "kind_default: unknown").await;
    let person = Sample::of("oidc-provider", "person");
    t.refuses("POST", "/people", &person, 403, "wrong_token_kind").await;
    t.refuses("POST", "/machines", &person, 403, "wrong_token_kind").await;
    t.passes("POST", "/machines", &Sample::of("oidc-provider", "machine")).await;
    let t = with("oidc-provider", "kind_default: preset").await;
    t.passes("POST", "/people", &person).await;
}

/// AZ-06: the file's own marks come first, and a machine's before a person's.
#[tokio::test]
async fn marks_decide_before_the_preset() {
    let settings = "user_token_when: { realm: [people, staff] }\n    client_token_when: { bot: [\"1\", \"2\"] }";
    let t = with("oidc-provider", settings).await;
    let machine = Sample::of("oidc-provider", "machine").with("realm", "staff");
    t.passes("POST", "/people", &machine).await;
    let both = machine.with("bot", 2);
    t.passes("POST", "/machines", &both).await;
    t.refuses("POST", "/people", &both, 403, "wrong_token_kind").await;
}

/// A token that does not say whose it is meets neither a kind nor its opposite.
#[tokio::test]
async fn unknown_is_not_the_opposite_of_either() {
    let routes = "
  /not-machines: { POST: { all: [{ token: any }, { not: { token: client } }] } }
  /not-people: { POST: { all: [{ token: any }, { not: { token: user } }] } }
  /not-not: { POST: { all: [{ token: any }, { not: { not: { token: user } } }] } }
";
    let t = World::start_with(&(text("zitadel") + routes), &[RSA.jwk()]).await;
    let nobody = Sample::of("zitadel", "person").without("account_kind");
    t.passes("POST", "/any", &nobody).await;
    for path in ["/people", "/machines", "/not-machines", "/not-people", "/not-not"] {
        t.refuses("POST", path, &nobody, 403, "wrong_token_kind").await;
    }
    t.passes("POST", "/not-machines", &Sample::of("zitadel", "person")).await;
    t.passes("POST", "/not-people", &Sample::of("zitadel", "machine")).await;
}

/// CL-12: a role of another organisation is no role, in either way of writing them.
#[tokio::test]
async fn roles_hold_in_their_own_organisation() {
    let t = World::start("zitadel").await;
    let roles = "urn:zitadel:iam:org:project:roles";
    let owner = "urn:zitadel:iam:user:resourceowner:id";
    let person = Sample::of("zitadel", "person");
    let elsewhere = json!({ "orders-admin": { "999000000000000009": "other.zitadel.cloud" } });
    let here = json!([{ "orders-admin": { "177000000000000001": "acme.zitadel.cloud" } }]);
    t.passes("GET", "/orders/1", &person).await;
    t.passes("GET", "/orders/1", &person.clone().with(roles, here)).await;
    for token in [
        person.clone().with(roles, elsewhere),
        person.clone().without(owner),
        person.clone().with(owner, "999000000000000009"),
        person.clone().with(roles, json!(["orders-admin"])),
        person.with(roles, json!({ "orders-admin": "177000000000000001" })),
    ] {
        t.refuses("GET", "/orders/1", &token, 403, "missing_role").await;
    }
}

/// AZ-07: a strict reading of RFC 9068 takes no machine with an account for a person.
#[tokio::test]
async fn the_strict_profile_knows_machines_with_accounts() {
    let yaml = text("oidc-provider").replace("preset: oidc-provider", "preset: rfc9068");
    let t = World::start_with(&yaml, &[RSA.jwk()]).await;
    let mut machine = Sample::of("keycloak", "machine").with("iss", "https://op.example.com");
    machine = machine.with("aud", "https://orders.example.com");
    machine.set_type(Some("at+jwt"));
    t.passes("POST", "/any", &machine).await;
    t.refuses("POST", "/people", &machine, 403, "wrong_token_kind").await;
}

/// Mistakes name the place and the way out.
#[test]
fn mistakes_are_told() {
    for (example, settings, code) in [
        ("hydra", "required_claims: { tier: \"{tier}\" }", "E016"),
        ("hydra", "required_claims: { tier: [gold, silver] }", "E012"),
        ("hydra", "kind_default: person", "E008"),
        ("hydra", "accept_typ: [\"at jwt\"]", "E008"),
        ("hydra", "audience_claim: a..b", "E008"),
        ("hydra", "tenants: [acme]", "E029"),
        ("hydra", "issuer_aliases: \"https://{tenantid}.example.com\"", "E029"),
        ("hydra", "issuer_alias: https://a.example", "E001"),
        ("hydra", "user_token_when: { kind: [] }", "E0"),
    ] {
        let told = found(example, settings);
        assert!(told.contains(&format!("error[{code}")), "{settings}: {told}");
        assert!(told.contains("gateway.yaml:"), "{told}");
    }
}

/// A token's `iss` picks its issuer: no spelling belongs to two.
#[test]
fn no_spelling_belongs_to_two_issuers() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "issuers:
  a: { url: https://a.example, audience: x, issuer_aliases: [https://b.example] }
  b: { url: https://b.example, audience: x }
upstream: http://127.0.0.1:3000
routes: { /a: { GET: a } }
";
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let ran = Scopegate::within(folder.path(), &["check"]).run();
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("error[E005]: issuers `a` and `b` have the same URL"));
}

/// A103: what nearly all tokens of a realm have is no audience.
#[test]
fn an_audience_that_tells_nothing_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = text("keycloak").replace("audience: orders-api", "audience: [account, orders-api]");
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let ran = Scopegate::within(folder.path(), &["check"]).run();
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert!(ran.stdout.contains("warning[A103]"), "{}", ran.stdout);
    let file = root().join("examples/keycloak.yaml");
    let ran = Scopegate::within(root(), &["check", "-c", &file.display().to_string()]).run();
    assert!(!ran.stdout.contains("A103"), "{}", ran.stdout);
}
