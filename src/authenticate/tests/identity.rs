//! From claims to an identity: CL-10 to CL-13, AZ-03, AZ-06 to AZ-08, FW-04, FW-05, RL-02.

use std::sync::Arc;

use serde_json::{Value, json};

use super::signer::Signer;
use super::{World, at, es256, header, path, settings};
use crate::authenticate::reading::Reading;
use crate::authenticate::{Issuer, presets};
use crate::config::{self, IdentityHeader, KeySource, Template, TemplatePart};
use crate::identity::{Identity, Kind};

async fn identity(change: impl FnOnce(&mut config::Issuer), changes: Value) -> Arc<Identity> {
    let (signer, keys) = es256();
    let world = World::with(&keys, change);
    world.identify(&signer.token(&world.claims_with(changes))).await.unwrap()
}

async fn keycloak(changes: Value) -> Arc<Identity> {
    identity(|config| config.preset.value = "keycloak".to_owned(), changes).await
}

async fn with_headers(templates: &[IdentityHeader], changes: Value) -> Vec<(String, String)> {
    let (signer, keys) = es256();
    let world = World::empty();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), keys.to_string()).unwrap();
    let mut config = settings(super::URL);
    config.keys = KeySource::File(at(file.path().to_path_buf()));
    let issuer = Issuer::new(&config, templates, &world.clock, &world.metrics).unwrap();
    let world = world.with_issuers(vec![Arc::new(issuer)]);
    let found = world.identify(&signer.token(&world.claims_with(changes))).await.unwrap();
    headers_of(&found)
}

fn headers_of(identity: &Identity) -> Vec<(String, String)> {
    let lines = std::str::from_utf8(&identity.headers).unwrap();
    assert!(lines.is_empty() || lines.ends_with("\r\n"));
    let fields = lines.split_terminator("\r\n").map(|line| line.split_once(": ").unwrap());
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn texts(list: &[Box<str>]) -> Vec<&str> {
    list.iter().map(|text| &**text).collect()
}

/// CL-11
#[tokio::test]
async fn scopes_are_split_at_single_spaces_only() {
    let scopes = async |scope: Value| identity(|_| {}, json!({"scope": scope})).await;
    assert_eq!(texts(&scopes(json!("a b:c")).await.scopes), ["a", "b:c"]);
    assert_eq!(texts(&scopes(json!("read\twrite")).await.scopes), ["read\twrite"]);
    assert!(!scopes(json!("Read reader read:all")).await.has_scope("read"));
    assert!(scopes(json!(["read"])).await.scopes.is_empty());
    assert!(scopes(json!({"read": 1})).await.scopes.is_empty());
    assert!(scopes(json!("")).await.scopes.is_empty());
    assert!(scopes(json!(null)).await.scopes.is_empty());
}

/// CL-11: whoever names the claim knows its form.
#[tokio::test]
async fn a_named_scope_claim_may_be_a_list_and_replaces_the_presets() {
    let named = |config: &mut config::Issuer| {
        config.claims = vec![(at("scopes".to_owned()), vec![path(&["scp"])])];
    };
    let found = identity(named, json!({"scp": ["a", "b"], "scope": "c"})).await;
    assert_eq!(texts(&found.scopes), ["a", "b"]);
    let found = identity(named, json!({"scp": "a b"})).await;
    assert_eq!(texts(&found.scopes), ["a", "b"]);
    assert!(identity(named, json!({"scope": "c"})).await.scopes.is_empty());
}

/// CL-12
#[tokio::test]
async fn roles_are_read_from_a_string_or_a_list_at_any_path() {
    for (members, claims) in [
        (vec!["role"], json!({"role": "admin"})),
        (vec!["role"], json!({"role": ["admin"]})),
        (vec!["https://ns/roles"], json!({"https://ns/roles": ["admin"]})),
        (
            vec!["resource_access", "my.app", "roles"],
            json!({"resource_access": {"my.app": {"roles": ["admin"]}}}),
        ),
    ] {
        let named = |config: &mut config::Issuer| {
            config.claims = vec![(at("roles".to_owned()), vec![path(&members)])];
        };
        assert_eq!(texts(&identity(named, claims).await.roles), ["admin"], "{members:?}");
    }
    let found = identity(|_| {}, json!({"roles": ["a", 1, null], "groups": "/staff"})).await;
    assert_eq!((texts(&found.roles), texts(&found.groups)), (vec!["a"], vec!["/staff"]));
}

/// What a token says in another form than the preset's grants nothing, and is not absent either.
#[test]
fn what_cannot_be_read_is_not_absent_with_any_preset() {
    let nested = |path: &config::ClaimPath, value: Value| {
        let wrap = |value, name: &String| match name.parse::<usize>() {
            Ok(index) => Value::from([vec![Value::Null; index], vec![value]].concat()),
            Err(_) => json!({ name: value }),
        };
        path.0.iter().rev().fold(value, wrap)
    };
    let odd = [
        json!({ "bad": true }),
        json!([["bad"]]),
        json!([{ "name": "bad" }]),
        json!(["good", 7]),
        json!(7),
        json!(true),
    ];
    for name in presets::preset_names() {
        let mut config = settings(super::URL);
        config.preset.value = name.to_owned();
        let reading = Reading::new(&config, presets::find(name).unwrap(), &[]);
        let unread = |claims: &Value| reading.unread(claims.as_object().unwrap(), Some("t"));
        let nothing = unread(&json!({}));
        assert!(!nothing.groups && !nothing.roles && !nothing.scopes && !nothing.acr, "{name}");
        for (paths, what) in [(&reading.groups, 0), (&reading.roles, 1), (&reading.scopes, 2)] {
            let is_unread = |claims: &Value| {
                let unread = unread(claims);
                [unread.groups, unread.roles, unread.scopes][what]
            };
            let Some(path) = paths.first() else { continue };
            for value in &odd {
                // Zitadel's roles are an object of objects.
                let claims = nested(path, value.clone());
                assert!(is_unread(&claims), "{name}: {claims}");
            }
            assert!(!is_unread(&nested(path, json!(null))), "{name}");
            if path.0.len() > 1 {
                assert!(is_unread(&json!({ &path.0[0]: "bad" })), "{name}");
            }
            assert!(is_unread(&json!({ "_claim_names": { &path.0[0]: "src1" } })), "{name}");
        }
        assert!(unread(&json!({ "acr": ["mfa"] })).acr && !unread(&json!({ "acr": "1" })).acr);
        assert!(unread(&json!({})).auth_time && unread(&json!({ "auth_time": "1" })).auth_time);
        assert!(!unread(&json!({ "auth_time": 1 })).auth_time, "{name}");
    }
}

/// A claim that says nothing hides nothing that another says, and a mark in a form that nobody knows
/// makes neither a person nor a machine.
#[tokio::test]
async fn a_kind_is_told_by_what_can_be_read() {
    let kind = async |changes: Value| identity(|_| {}, changes).await.kind;
    assert_eq!(kind(json!({ "gty": "client-credentials" })).await, Kind::Client);
    assert_eq!(kind(json!({ "gty": ["client-credentials"] })).await, Kind::Unknown);
    assert_eq!(kind(json!({ "gty": { "a": 1 } })).await, Kind::Unknown);
    let found = identity(|_| {}, json!({ "client_id": "", "azp": "web" })).await;
    assert_eq!(found.client.as_deref(), Some("web"));
    let marked = async |expected: &str, changes: Value| {
        let mark = vec![(path(&["groups"]), expected.to_owned())];
        identity(|config| config.client_token_when = mark, changes).await.kind
    };
    for (expected, groups) in [
        ("machines", json!("machines")),
        ("machines", json!(["a", "machines"])),
        ("1", json!(1)),
        ("1", json!(1.0)),
        ("true", json!([true])),
    ] {
        assert_eq!(marked(expected, json!({ "groups": groups })).await, Kind::Client, "{groups}");
    }
    for groups in [json!({ "machines": 1 }), json!([["machines"]]), json!([{ "n": "machines" }])] {
        assert_eq!(marked("machines", json!({ "groups": groups })).await, Kind::Unknown);
    }
    assert_ne!(marked("machines", json!({ "groups": ["staff"] })).await, Kind::Client);
}

/// CL-13, RL-02
#[tokio::test]
async fn limit_keys_are_of_issuer_and_caller() {
    let (signer, keys) = es256();
    let world = World::empty();
    let first = world.file_issuer(&keys, settings(super::URL));
    let second = world.file_issuer(&keys, settings("https://b.example"));
    let world = world.with_issuers(vec![first, second]);
    let keys = async |changes: Value| {
        world.identify(&signer.token(&world.claims_with(changes))).await.unwrap().keys
    };
    let ours = keys(json!({})).await;
    assert_eq!(ours, keys(json!({"jti": "another token"})).await);
    let theirs = keys(json!({"iss": "https://b.example"})).await;
    assert_ne!(ours.client, theirs.client);
    assert_ne!(ours.user, theirs.user);
    // A client is never a user of the same name.
    let swapped = keys(json!({"sub": "web-app", "client_id": "alice"})).await;
    assert!(![ours.client, ours.user].contains(&swapped.client));
    assert!(![ours.client, ours.user].contains(&swapped.user));
    // Each stands in for the other if that is missing.
    let machine = keys(json!({"sub": null, "sid": null})).await;
    assert_eq!((machine.client, machine.user), (ours.client, ours.client));
    let no_client = keys(json!({"client_id": null})).await;
    assert_eq!((no_client.client, no_client.user), (ours.user, ours.user));
}

/// AZ-03
#[tokio::test]
async fn implied_scopes_are_granted_through_any_number_of_steps() {
    let implies = |config: &mut config::Issuer| {
        config.implies = vec![
            ("admin".into(), vec!["write".into()]),
            ("write".into(), vec!["read".into(), "list".into()]),
            ("list".into(), vec!["admin".into()]),
        ];
    };
    let found = identity(implies, json!({"scope": "admin other"})).await;
    assert_eq!(texts(&found.scopes), ["admin", "other"]);
    for scope in ["admin", "write", "read", "list", "other"] {
        assert!(found.has_scope(scope), "{scope}");
    }
    assert_eq!(found.scopes.len() + found.implied.len(), 5);
    assert!(!identity(implies, json!({"scope": "read"})).await.has_scope("write"));
}

/// AZ-06, AZ-07
#[tokio::test]
async fn the_generic_preset_tells_people_from_machines_or_says_that_it_cannot() {
    for (changes, kind) in [
        (json!({}), Kind::User),
        (json!({"sid": null, "auth_time": 1_700_000_000}), Kind::User),
        (json!({"sid": null, "auth_time": 0}), Kind::Unknown),
        (json!({"sid": null}), Kind::Unknown),
        (json!({"sub": null, "sid": null}), Kind::Client),
        (json!({"sub": null, "client_id": null}), Kind::Unknown),
        (json!({"sub": "web-app"}), Kind::Client),
        (json!({"sub": "web-app@clients"}), Kind::Client),
        (json!({"gty": "client-credentials"}), Kind::Client),
        (json!({"preferred_username": "service-account-web-app"}), Kind::Client),
        (json!({"client_id": null, "azp": "alice"}), Kind::Client),
    ] {
        assert_eq!(identity(|_| {}, changes.clone()).await.kind, kind, "{changes}");
    }
}

/// AZ-06
#[tokio::test]
async fn the_rfc9068_preset_compares_subject_and_client() {
    let (signer, keys) = es256();
    let world = World::with(&keys, |config| config.preset.value = "rfc9068".to_owned());
    for (sub, kind) in [("alice", Kind::User), ("web-app", Kind::Client)] {
        let header = json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"});
        let claims = world.claims_with(json!({"sub": sub, "jti": "1"}));
        let found = world.identify(&signer.token_with(&header, &claims)).await.unwrap();
        assert_eq!(found.kind, kind);
    }
}

/// AZ-06, AZ-07, CL-12: tokens as Keycloak makes them.
#[tokio::test]
async fn keycloak_tokens_are_read() {
    let person = keycloak(json!({
        "jti": "onrtac:6f0c2b1e-77aa", "aud": [super::AUDIENCE, "account"], "sub": "8c1f6a52",
        "typ": "Bearer", "azp": "web-shop", "client_id": null, "sid": "1f7c2e90", "acr": "1",
        "auth_time": 1_893_455_900, "scope": "openid orders.read",
        "realm_access": {"roles": ["customer"]},
        "resource_access": {"orders-api": {"roles": ["orders-read"]}, "x": {"roles": "r"}},
        "groups": ["/staff"], "preferred_username": "ana",
    }))
    .await;
    assert_eq!(person.kind, Kind::User);
    assert_eq!(person.subject.as_deref(), Some("8c1f6a52"));
    assert_eq!(person.client.as_deref(), Some("web-shop"));
    assert_eq!(texts(&person.roles), ["customer", "orders-api:orders-read", "x:r"]);
    assert_eq!(texts(&person.groups), ["/staff"]);
    assert_eq!(person.acr.as_deref(), Some("1"));
    assert_eq!(person.auth_time.unwrap().as_secs(), 1_893_455_900);
    let machine = json!({
        "jti": "trrtcc:b6f28bba", "sub": "b4768e19", "typ": "Bearer", "azp": "nightly-job",
        "client_id": "nightly-job", "sid": null, "clientHost": "10.0.0.9",
        "preferred_username": "service-account-nightly-job",
    });
    assert_eq!(keycloak(machine.clone()).await.kind, Kind::Client);
    // Each sign alone is enough, and without any nobody knows.
    for (drop, kind) in [
        (vec!["jti", "preferred_username"], Kind::Client),
        (vec!["jti", "client_id"], Kind::Client),
        (vec!["client_id", "preferred_username"], Kind::Client),
        (vec!["jti", "client_id", "preferred_username"], Kind::Unknown),
    ] {
        let mut claims = machine.clone();
        drop.iter().for_each(|name| claims[*name] = json!(null));
        assert_eq!(keycloak(claims).await.kind, kind, "without {drop:?}");
    }
}

/// AZ-06: the configuration's own marks come first.
#[tokio::test]
async fn configured_claims_mark_machines() {
    let marked = |config: &mut config::Issuer| {
        config.client_token_when = vec![(path(&["x", "bot"]), "true".to_owned())];
    };
    for (value, kind) in [
        (json!(true), Kind::Client),
        (json!("true"), Kind::Client),
        (json!(false), Kind::User),
        (json!(["true"]), Kind::Client),
        (json!({"true": 1}), Kind::Unknown),
    ] {
        assert_eq!(identity(marked, json!({"x": {"bot": value}})).await.kind, kind, "{value}");
    }
}

/// AZ-08
#[tokio::test]
async fn a_client_id_is_never_a_subject() {
    let found = identity(|_| {}, json!({"sub": "web-app"})).await;
    assert_eq!((found.subject.as_deref(), found.client.as_deref()), (None, Some("web-app")));
    let headers = headers_of(&found);
    let value = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, v)| &**v);
    assert_eq!((value("x-auth-subject"), value("x-auth-client")), (None, Some("web-app")));
    assert_eq!(value("x-auth-kind"), Some("client"));
    // Keycloak's machines have accounts.
    let found = keycloak(json!({"typ": "Bearer", "jti": "trrtcc:1", "azp": "job"})).await;
    assert_eq!(found.subject, None);
}

/// CL-13: the backend sees all parts of who calls.
#[tokio::test]
async fn the_default_headers_tell_who_calls() {
    let headers = with_headers(&super::default_headers(), json!({})).await;
    let expected = [
        ("x-auth-subject", "alice"),
        ("x-auth-client", "web-app"),
        ("x-auth-issuer", super::URL),
        ("x-auth-kind", "user"),
        ("x-auth-scopes", "orders:read profile"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// FW-04
#[tokio::test]
async fn claims_are_made_safe_by_percent_encoding() {
    let templates = [header("x-sub", "sub"), header("x-any", "deep.name")];
    for (sub, expected) in [
        ("a\r\nX-Admin: 1", "a%0D%0AX-Admin:%201"),
        ("Ægir", "%C3%86gir"),
        ("100%", "100%25"),
        ("a,b", "a,b"),
        ("\u{0}\u{7f}", "%00%7F"),
    ] {
        let headers = with_headers(&templates, json!({"sub": sub, "deep": {"name": sub}})).await;
        assert_eq!(headers[0], ("x-sub".to_owned(), expected.to_owned()));
        assert_eq!(headers[1].1, expected.replace(',', "%2C"));
        assert_eq!(headers.len(), 2);
    }
    let long = "x".repeat(3 << 10);
    assert_eq!(with_headers(&templates, json!({"sub": long})).await[0].1, long);
}

/// CVE-2026-44087: a claim that is absent, null or empty makes no header.
#[tokio::test]
async fn a_header_is_absent_if_a_claim_is() {
    let both = IdentityHeader {
        name: at("x-both".parse().unwrap()),
        template: Template(vec![
            TemplatePart::Text("tenant ".into()),
            TemplatePart::Claim("tenant".into()),
            TemplatePart::Text("/".into()),
            TemplatePart::Claim("sub".into()),
        ]),
    };
    let templates = [both, header("x-roles", "roles")];
    assert!(with_headers(&templates, json!({"tenant": null, "roles": []})).await.is_empty());
    let headers = with_headers(&templates, json!({"tenant": 7, "roles": ["a"]})).await;
    assert_eq!(headers[0].1, "tenant 7/alice");
    assert_eq!(headers[1].1, "a");
}

/// FW-05
#[tokio::test]
async fn lists_are_unambiguous_and_bounded() {
    let templates = [header("x-auth-groups", "groups"), header("x-auth-subject", "sub")];
    let headers = with_headers(&templates, json!({"groups": ["a,b", "c d", "e%2Cf"]})).await;
    assert_eq!(headers[1].1, "a%2Cb,c%20d,e%252Cf");
    let groups: Vec<_> =
        (0..400).map(|number| format!("group-{number}-{}", "x".repeat(11))).collect();
    let headers = with_headers(&templates, json!({ "groups": groups })).await;
    assert_eq!(headers[0], ("x-auth-subject".to_owned(), "alice".to_owned()));
    assert_eq!(headers[2], ("x-auth-groups-truncated".to_owned(), "1".to_owned()));
    let (_, value) = &headers[1];
    assert!(value.len() <= 8 << 10 && value.len() > 8000);
    assert!(value.split(',').all(|item| groups.iter().any(|group| group == item)));
}

/// FW-05: half a subject would be another subject.
#[tokio::test]
async fn a_value_that_cannot_be_cut_is_left_out_with_a_sign() {
    let templates = [header("x-auth-subject", "sub"), header("x-auth-client", "client")];
    let headers = with_headers(&templates, json!({"sub": "æ".repeat(2000)})).await;
    assert_eq!(headers[0], ("x-auth-subject-truncated".to_owned(), "1".to_owned()));
    assert_eq!(headers[1].0, "x-auth-client");
}

/// The id of a token is kept as a hash, and aliases are found.
#[tokio::test]
async fn jti_is_hashed_and_aliases_work() {
    let named = |config: &mut config::Issuer| {
        config.claims = vec![(at("tenant".to_owned()), vec![path(&["https://ns/tenant"])])];
    };
    let found = identity(named, json!({"jti": "secret-id", "https://ns/tenant": "acme"})).await;
    let hash = found.jti_hash.as_deref().unwrap();
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(found.claim("tenant").unwrap(), "acme");
    assert_eq!(identity(|_| {}, json!({})).await.jti_hash, None);
}

/// CL-14: a token goes to the issuer that it names, and to no other.
#[tokio::test]
async fn no_other_issuer_is_tried() {
    let (signer, keys) = es256();
    let world = World::empty();
    let refuses =
        world.file_issuer(&json!({"keys": [Signer::es256().jwk("k1")]}), settings(super::URL));
    let accepts = world.file_issuer(&keys, settings("https://b.example"));
    let world = world.with_issuers(vec![refuses, accepts]);
    assert_eq!(world.outcome(&signer.token(&world.claims())).await, "bad_signature");
    let b = Arc::clone(&world.authenticator.issuers()[1]);
    let only_b = world.authenticator_for(vec![b]);
    let found = world.identify_by(&only_b, &signer.token(&world.claims())).await;
    assert_eq!(found.unwrap_err().reason().as_str(), "unknown_issuer");
}
