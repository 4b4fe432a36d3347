//! One issuer for many customers: who is not listed is nobody, and keys stay at home.

use serde_json::{Value, json};

use super::samples::{Sample, World, text};
use crate::harness::command::Scopegate;
use crate::harness::keys::{Key, RSA};
use crate::harness::{Backend, Harness, Issuer, Token};

const OURS: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const PARTNER: &str = "0d9f6a1c-4c2b-4b6e-9a7d-5f1e2d3c4b5a";
const STRANGER: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn v2(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

fn v1(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

/// A person of this tenant.
fn person(tenant: &str) -> Sample {
    Sample::of("entra", "person").with("iss", v2(tenant)).with("tid", tenant)
}

/// A key whose JWK says whose it is.
fn owned(key: &Key, owner: &str) -> Value {
    let mut jwk = key.jwk();
    jwk["issuer"] = owner.into();
    jwk
}

/// CL-01: every tenant that is listed, and no other, by either version's name.
#[tokio::test]
async fn tenants_that_are_not_listed_are_refused() {
    let t = World::start("entra-multi-tenant").await;
    for tenant in [OURS, PARTNER] {
        let seen = t.passes("POST", "/any", &person(tenant)).await;
        assert_eq!(seen.header("x-read-tenant"), Some(tenant));
        t.passes("POST", "/any", &person(tenant).with("iss", v1(tenant))).await;
    }
    for iss in [
        v2(STRANGER),
        v1(STRANGER),
        v2("{tenantid}"),
        v2("common"),
        v2("organizations"),
        v2(""),
        v2(&OURS.to_uppercase()),
        v2(&format!("{OURS}/{OURS}")),
        v2(&format!("x/../{OURS}")),
        v2(&format!("{OURS}%2F")),
        format!("{}/", v2(OURS)),
        v1(OURS).trim_end_matches('/').to_owned(),
        format!("https://login.microsoftonline.com.evil.example/{OURS}/v2.0"),
        format!("https://login.microsoftonline.com/{OURS}"),
    ] {
        let token = person(OURS).with("iss", iss);
        t.refuses("POST", "/any", &token, 401, "unknown_issuer").await;
    }
}

/// The two places that name the tenant must agree.
#[tokio::test]
async fn a_token_names_one_tenant() {
    let t = World::start("entra-multi-tenant").await;
    for other in [PARTNER, STRANGER] {
        let token = person(OURS).with("tid", other);
        t.refuses("POST", "/any", &token, 401, "unknown_issuer").await;
    }
    t.refuses("POST", "/any", &person(OURS).without("tid"), 401, "wrong_token_type").await;
    // A rule about the tenant reads what was checked, not a claim that the tenant may invent.
    let ours = person(OURS).with("tenant", PARTNER);
    t.passes("GET", &format!("/tenants/{OURS}/reports"), &ours).await;
    let path = format!("/tenants/{PARTNER}/reports");
    t.refuses("GET", &path, &ours, 403, "claim_mismatch").await;
}

/// KS: a key that says whose it is signs for nobody else.
#[tokio::test]
async fn a_key_of_one_tenant_does_not_sign_for_another() {
    let text = text("entra-multi-tenant");
    for (owner, accepted) in [
        (v2("{tenantid}"), [true, true]),
        (v2(OURS), [true, false]),
        (v2(PARTNER), [false, true]),
        (v2(STRANGER), [false, false]),
        (v1(OURS), [true, false]),
        ("https://evil.example/{tenantid}".to_owned(), [false, false]),
        (String::new(), [false, false]),
    ] {
        let t = World::start_with(&text, &[owned(&RSA, &owner)]).await;
        for (tenant, is_accepted) in [OURS, PARTNER].into_iter().zip(accepted) {
            for iss in [v2(tenant), v1(tenant)] {
                let token = person(tenant).with("iss", iss);
                match is_accepted {
                    true => drop(t.passes("POST", "/any", &token).await),
                    false => t.refuses("POST", "/any", &token, 401, "unknown_key").await,
                }
            }
        }
    }
}

/// The same for an issuer of one tenant whose keys come from the place that all tenants share.
#[tokio::test]
async fn a_key_of_another_tenant_does_not_sign_for_the_only_one() {
    let text = text("entra");
    for (owner, is_accepted) in
        [(v2("{tenantid}"), true), (v2(OURS), true), (v1(OURS), true), (v2(STRANGER), false)]
    {
        let t = World::start_with(&text, &[owned(&RSA, &owner)]).await;
        match is_accepted {
            true => drop(t.passes("POST", "/any", &person(OURS)).await),
            false => t.refuses("POST", "/any", &person(OURS), 401, "unknown_key").await,
        }
    }
}

/// One key id for keys of two tenants: each token is checked with its own.
#[tokio::test]
async fn keys_of_two_tenants_may_share_an_id() {
    let other = Key::rsa(RSA.kid(), RSA.alg());
    let keys = [owned(&other, &v2(PARTNER)), owned(&RSA, &v2(OURS))];
    let t = World::start_with(&text("entra-multi-tenant"), &keys).await;
    t.passes("POST", "/any", &person(OURS)).await;
    t.refuses("POST", "/any", &person(PARTNER), 401, "bad_signature").await;
}

/// Who somebody is does not depend on the version of the token, and does on the tenant.
#[tokio::test]
async fn people_are_the_same_in_both_versions_and_others_in_another_tenant() {
    let limited = text("entra-multi-tenant")
        + "  /once: { POST: { token: any }, limit: { rate: 1/day, per: user } }\n";
    let t = World::start_with(&limited, &[RSA.jwk()]).await;
    t.passes("POST", "/once", &person(OURS)).await;
    let again = person(OURS).with("iss", v1(OURS)).with("ver", "1.0");
    t.refuses("POST", "/once", &again, 429, "rate_limited").await;
    t.passes("POST", "/once", &person(PARTNER)).await;
}

/// Over 200 groups Entra leaves them out: then nobody may conclude that one is missing.
#[tokio::test]
async fn groups_that_are_elsewhere_are_not_absent() {
    let text = text("entra")
        + "  /good: { POST: { all: [{ token: any }, { not: { group: suspended } }] } }\n";
    let t = World::start_with(&text, &[RSA.jwk()]).await;
    t.passes("POST", "/good", &person(OURS)).await;
    t.passes("POST", "/good", &person(OURS).with("groups", json!(["staff"]))).await;
    for (name, value) in [
        ("groups", json!(["suspended"])),
        ("_claim_names", json!({ "groups": "src1" })),
        ("hasgroups", json!(true)),
    ] {
        let token = person(OURS).with(name, value);
        t.refuses("POST", "/good", &token, 403, "claim_mismatch").await;
    }
}

/// KS-02: metadata of all tenants names itself by the template, to the letter. Where no claim is
/// known to name the tenant, a rule about it is met by nobody, whatever the token says.
#[tokio::test]
async fn keys_of_all_tenants_are_discovered() {
    let issuer = Issuer::start().await;
    let template = format!("{}/{{tenantid}}/v2.0", issuer.url());
    let jwks = format!("{}/jwks", issuer.url());
    issuer.serve_at("/common/metadata", json!({ "issuer": template, "jwks_uri": jwks }));
    issuer.serve_at("/other/metadata", json!({ "issuer": issuer.url(), "jwks_uri": jwks }));
    let with = |metadata: &str, more: &str| {
        format!(
            "issuers:
  main:
    url: '{template}'
    tenants: acme
    metadata_url: {{issuer}}/{metadata}/metadata
    audience: https://api.example.com
    {more}
routes:
  /any: {{ POST: {{ token: any }} }}
  /tenants/{{tenant}}: {{ POST: {{ claim: {{ tenant: \"{{tenant}}\" }} }} }}
"
        )
    };
    let t = Harness::start_with(&with("common", ""), issuer, Backend::start().await).await;
    let of = |tenant: &str| template.replace("{tenantid}", tenant);
    let token = t.token().claim("iss", of("acme")).claim("tenant", "acme").claim("tid", "acme");
    let post = async |path: &str, token: &Token| {
        t.call("POST", path).bearer(&token.sign()).send().await.status().as_u16()
    };
    assert_eq!(post("/any", &token).await, 200);
    assert_eq!(post("/tenants/acme", &token).await, 403);
    assert_eq!(post("/any", &token.clone().claim("iss", of("other"))).await, 401);
    t.rewrite(&with("common", "claims: { tenant: tid }"));
    t.server.reload().await.unwrap();
    t.ready().await;
    assert_eq!(post("/tenants/acme", &token).await, 200);
    assert_eq!(post("/tenants/other", &token).await, 403);
    assert_eq!(post("/any", &token.clone().claim("tid", "other")).await, 401);
    t.rewrite(&with("other", ""));
    t.server.reload().await.unwrap();
    t.ready().await;
    assert_eq!(post("/any", &token.claim("jti", "another")).await, 503);
}

/// E029: what would accept whoever is a customer is no configuration.
#[test]
fn a_template_needs_its_tenants() {
    let good = text("entra-multi-tenant");
    let tenants = good.find("    tenants:").unwrap()..good.find("    issuer_aliases:").unwrap();
    let listed = &good[tenants];
    for (what, bad) in [
        ("no tenants", good.replace(listed, "")),
        ("a wildcard", good.replace(OURS, "\"*\"")),
        ("a path", good.replace(OURS, "a/b")),
        ("an empty list", good.replace(listed, "    tenants: []\n")),
        ("no place", good.replace("com/{tenantid}", "com/common")),
        ("another placeholder", good.replace("com/{tenantid}", "com/{tenant}")),
        ("an alias without place", good.replace("net/{tenantid}", "net/common")),
        ("no place for keys", {
            let at = good.find("    metadata_url:").unwrap()..good.find("    audience:").unwrap();
            good.replace(&good[at], "")
        }),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), bad).unwrap();
        let ran = Scopegate::within(folder.path(), &["check"]).run();
        assert_eq!(ran.code, 1, "{what}: {}", ran.stdout);
        let is_told = ran.stdout.contains("error[E029]") || what == "an empty list";
        assert!(is_told && ran.stdout.contains("gateway.yaml:"), "{what}: {}", ran.stdout);
    }
}
