//! `scopegate token inspect` says where each field comes from.

use serde_json::{Value, json};

use super::samples::{Sample, World};
use crate::harness::command::Scopegate;
use crate::harness::keys::RSA;

/// With a configuration: the issuer's own settings.
#[tokio::test]
async fn a_configured_issuer_reads_its_tokens() {
    let t = World::start("auth0").await;
    let folder = t.folder();
    let yaml = "issuers:
  main:
    url: https://acme.eu.auth0.com/
    audience: https://orders.example.com
    preset: auth0
    jwks: keys.json
    claims: { roles: [[\"https://acme.example/roles\"], [roles]] }
upstream: http://127.0.0.1:1
routes: { /a: { GET: a } }
";
    std::fs::write(folder.join("gateway.yaml"), yaml).unwrap();
    let token = Sample::of("auth0", "person").sign(&RSA);
    let ran = Scopegate::within(folder, &["token", "inspect", &token]).run();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    for line in [
        "verified: signature, issuer, audience and time",
        "note: lives 24 h; `max_token_age` shortens that",
        "  read by preset auth0:",
        "    kind      user  ← rule sub-of-connection",
        "    subject   auth0|6553da60a54af58e29493993  ← sub",
        "    client    K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja  ← azp",
        "    tenant    org_9ybsU1dN2dKfDkBi  ← org_id",
        "    scopes    openid profile read:orders  ← scope",
        "    roles     manager  ← [https://acme.example/roles]",
    ] {
        assert!(ran.stdout.contains(line), "{line} is not in\n{}", ran.stdout);
    }
}

/// Without one: the preset that is asked for.
#[test]
fn a_preset_can_be_tried_on_a_token() {
    let empty = tempfile::tempdir().unwrap();
    let token = Sample::of("entra", "machine-without-idtyp").sign(&RSA);
    let words = ["token", "inspect", "--preset", "entra", "--format", "json", &token];
    let ran = Scopegate::within(empty.path(), &words).run();
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["verified"], Value::Null);
    assert_eq!(said["kind"], "client");
    let read = &said["read"];
    assert_eq!(read["kind"], json!({ "value": "client", "rule": "oid-is-sub-without-scp" }));
    assert_eq!(read["token_id"]["claim"], "uti");
    assert_eq!(read["roles"], json!({ "value": ["Orders.Upload.All"], "claim": "roles" }));
    let ran = Scopegate::within(empty.path(), &["token", "inspect", "--preset", "x", &token]).run();
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("pingone"), "{}", ran.stderr);
}

/// A token that calls its issuer by another of its names is judged, too.
#[tokio::test]
async fn other_names_of_an_issuer_are_known() {
    let t = World::start("entra").await;
    let folder = t.folder();
    let yaml = format!(
        "{}\n    jwks: keys.json\nupstream: http://127.0.0.1:1\nroutes: {{ /a: {{ GET: a }} }}\n",
        super::samples::issuers("entra").trim_end()
    );
    std::fs::write(folder.join("gateway.yaml"), yaml).unwrap();
    let token = Sample::of("entra", "machine").sign(&RSA);
    let ran = Scopegate::within(folder, &["token", "inspect", &token]).run();
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("kind      client  ← rule idtyp-app"), "{}", ran.stdout);
}
