//! The examples load, and do what they say.

use std::path::Path;

use serde_json::json;

use crate::harness::command::Scopegate;
use crate::harness::markdown::{folder, root};
use crate::harness::{Answer, Call, Harness, Token};

/// Whoever copies an example gets a file without a single complaint.
#[test]
fn every_example_passes_check() {
    let mut files = folder(&root().join("examples"), "yaml");
    files.push(root().join("gateway.yaml"));
    for file in files {
        let name = file.display().to_string();
        let ran = Scopegate::within(root(), &["check", "-c", &name]).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
        assert!(ran.stdout.starts_with(&format!("{name}: ok, ")), "{}", ran.stdout);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    }
}

/// The first thing in an example is what it is for.
#[test]
fn every_example_begins_with_a_sentence() {
    for file in folder(&root().join("examples"), "yaml") {
        let text = std::fs::read_to_string(&file).unwrap();
        let comment: Vec<_> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();
        let comment = comment.join(" ");
        let name = file.display();
        assert!(comment.starts_with(|c: char| c.is_ascii_uppercase()), "{name}: {comment}");
        assert!(comment.contains('.'), "{name}: {comment}");
    }
}

/// Every example that a request can be sent through is named below.
#[test]
fn every_example_is_tried() {
    let own = std::fs::read_to_string(root().join("tests/examples.rs")).unwrap();
    for file in folder(&root().join("examples"), "yaml") {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(own.contains(&format!("started(\"{name}\")")), "{name} is not tried");
    }
}

#[tokio::test]
async fn minimal() {
    let t = started("minimal").await;
    assert_eq!(ask(t.get("/orders/1"), &t.token()).await.text(), "hello");
    assert_eq!(t.backend.saw_one().target, "/orders/1");
    let refused = ask(t.call("DELETE", "/orders/1"), &t.token().scope("orders:write")).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(t.get("/status").send().await.status(), 200);
    assert_eq!(t.backend.seen().len(), 2);
}

#[tokio::test]
async fn behind_proxy() {
    let t = started("behind-proxy").await;
    assert_eq!(t.get("/status").send().await.status(), 200);
    t.backend.forget();
    // The connection does not come from one of the proxies, so what it says counts for nothing.
    let forged = t.get("/reports/1").header("x-forwarded-for", "192.0.2.1");
    assert_eq!(ask(forged, &t.token().scope("reports:read")).await.status(), 403);
    t.backend.saw_nothing();
    assert_eq!(t.denials("/reports/**", "source_refused").await, 1.0);
}

#[tokio::test]
async fn full() {
    let t = started("full").await;
    assert_eq!(ask(t.get("/orders/1"), &keycloaks(t.token())).await.status(), 200);
    let files = keycloaks(t.token()).scope("openid files:read");
    let files = ask(t.get("/FILES/a%2Fb"), &files).await;
    assert_eq!(files.status(), 200);
    assert_eq!(t.backend.seen()[1].target, "/FILES/a%2Fb");
    // The right machine of the wrong issuer.
    let machine = machine_of_keycloak(t.token(), "acme-batch");
    let refused = ask(t.call("POST", "/jobs/1"), &machine).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(t.denials("/jobs/**", "client_refused").await, 1.0);
}

#[tokio::test]
async fn hosts() {
    let t = started("hosts").await;
    let token = t.token().scope("orders:read billing:read").claim("tenant", "acme");
    let of = |host: &str, path: &str| t.get(path).host(host);
    assert_eq!(ask(of("api.example.com", "/orders/1"), &token).await.status(), 200);
    let seen = t.backend.saw_one();
    assert_eq!((seen.header("x-user"), seen.header("x-tenant")), (Some("alice"), Some("acme")));
    assert_eq!(seen.header("x-caller"), Some("user:web-app"));
    t.backend.forget();
    assert_eq!(ask(of("partners.example.com", "/v1/orders/1"), &token).await.status(), 200);
    let seen = t.backend.saw_one();
    assert_eq!(seen.target, "/orders/1");
    assert!(seen.header("authorization").is_some());
    assert_eq!(ask(of("www.example.com", "/orders/1"), &token).await.status(), 404);
}

#[tokio::test]
async fn introspection() {
    let t = started("introspection").await;
    let answer = json!({
        "active": true, "aud": "https://api.example.com", "sub": "alice", "scope": "orders:read",
    });
    t.issuer.introspection.knows("opaque", answer);
    assert_eq!(t.get("/orders/1").bearer("opaque").send().await.status(), 200);
    let jwt = t.token().scope("orders:read payments:write");
    assert_eq!(ask(t.get("/orders/1"), &jwt).await.status(), 200);
    assert_eq!(t.issuer.introspection.asked(), 1);
    assert_eq!(ask(t.call("POST", "/payments/1"), &jwt).await.status(), 401);
    assert_eq!(t.issuer.introspection.asked(), 2);
    assert_eq!(t.denials("/payments/**", "token_inactive").await, 1.0);
}

#[tokio::test]
async fn keycloak() {
    let t = started("keycloak").await;
    let with_roles = |roles: &[&str]| {
        let access = json!({ "orders-api": { "roles": roles } });
        keycloaks(t.token()).claim("aud", "orders-api").claim("resource_access", access)
    };
    assert_eq!(ask(t.get("/orders/1"), &with_roles(&["orders-read"])).await.status(), 200);
    assert_eq!(ask(t.get("/orders/1"), &with_roles(&["orders-write"])).await.status(), 403);
    let person = with_roles(&["orders-import"]);
    assert_eq!(ask(t.call("POST", "/orders/import"), &person).await.status(), 403);
    let without_mapper = with_roles(&["orders-read"]).claim("aud", "account");
    assert_eq!(ask(t.get("/orders/1"), &without_mapper).await.status(), 401);
    assert_eq!(t.backend.seen().len(), 1);
}

#[tokio::test]
async fn multi_issuer() {
    let t = started("multi-issuer").await;
    assert_eq!(ask(t.get("/orders/1"), &keycloaks(t.token())).await.status(), 200);
    t.backend.forget();
    let feed = machine_of_keycloak(t.token(), "acme").scope("orders:write");
    assert_eq!(ask(t.call("POST", "/orders/partner-feed"), &feed).await.status(), 403);
    let tag = keycloaks(t.token()).claim("ref", "refs/tags/v1");
    assert_eq!(ask(t.call("PUT", "/artifacts/app/1"), &tag).await.status(), 403);
    t.backend.saw_nothing();
}

#[tokio::test]
async fn plans() {
    let t = started("plans").await;
    let answer = ask(t.get("/orders/1"), &t.token()).await;
    assert_eq!(answer.header("ratelimit-policy"), "\"free\";q=60;w=60");
    let partner = t.token().claim("plan", "partner").claim("client_id", "other");
    let answer = ask(t.get("/orders/1"), &partner).await;
    assert!(answer.header("ratelimit-policy").starts_with("\"partner\";q=50;w=1"));
    let usage = t.token().scope("usage:read").claim("tenant", "acme");
    assert_eq!(ask(t.get("/tenants/acme/usage"), &usage).await.status(), 200);
    assert_eq!(ask(t.get("/tenants/other/usage"), &usage).await.status(), 403);
}

#[tokio::test]
async fn report_mode() {
    let t = started("report-mode").await;
    assert_eq!(t.get("/admin/users").send().await.status(), 200);
    let would = [("route", "/admin/**"), ("decision", "would_deny"), ("reason", "missing_token")];
    assert_eq!(t.metric("scopegate_decisions_total", &would).await, 1.0);
    assert_eq!(t.get("/orders/1").send().await.status(), 401);
    assert_eq!(t.backend.seen().len(), 1);
}

#[tokio::test]
async fn rules() {
    let t = started("rules").await;
    let billing = t.token().scope("billing").claim("tenant", "acme");
    assert_eq!(ask(t.get("/tenants/acme/invoices/1"), &billing).await.status(), 200);
    assert_eq!(ask(t.get("/tenants/other/invoices/1"), &billing).await.status(), 403);
    let staff = t.token().scope("orders:write").claim("groups", json!(["/staff"]));
    assert_eq!(ask(t.call("DELETE", "/orders/1"), &staff).await.status(), 200);
    let export = t.token().scope("orders:export").claim("email", "a@example.com");
    assert_eq!(ask(t.call("POST", "/orders/export"), &export).await.status(), 200);
    let stale = t.token().scope("payments:write");
    let answer = ask(t.call("POST", "/payments/1"), &stale).await;
    assert_eq!(answer.status(), 401);
    assert!(answer.header("www-authenticate").contains("acr_values=\"mfa\""));
    assert_eq!(t.get("/recommendations").send().await.status(), 200);
    assert_eq!(t.backend.seen().len(), 4);
}

#[tokio::test]
async fn tls() {
    let t = started("tls").await;
    assert_eq!(ask(t.get("/anything"), &t.token().scope("api:read")).await.status(), 200);
    assert_eq!(t.get("/anything").send().await.status(), 401);
    assert_eq!(t.backend.saw_one().target, "/anything");
}

/// A person's token as Keycloak writes it.
fn keycloaks(token: Token) -> Token {
    let token = token.header("typ", "JWT").claim("typ", "Bearer").without("client_id");
    token.claim("azp", "web-app").claim("sid", "1f7c2e90")
}

/// The token of a service account.
fn machine_of_keycloak(token: Token, client: &str) -> Token {
    keycloaks(token)
        .without("sid")
        .without("auth_time")
        .claim("azp", client)
        .claim("client_id", client)
}

async fn ask(call: Call, token: &Token) -> Answer {
    call.bearer(&token.sign()).send().await
}

/// A gateway with an example's policy, between our issuer and our backend.
async fn started(example: &str) -> Harness {
    let file = root().join("examples").join(example).with_extension("yaml");
    let text = std::fs::read_to_string(file).unwrap();
    Harness::start(&moved(&text, &root().join("examples"))).await
}

/// An example with our issuer and backend in place of its own, and without what says where to
/// listen. Its other issuers are where nobody answers.
fn moved(text: &str, beside: &Path) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut dropped = false;
    for line in text.lines() {
        let continues = line.starts_with([' ', '#']) || line.is_empty();
        dropped =
            if continues { dropped } else { ELSEWHERE.iter().any(|key| line.starts_with(key)) };
        if !dropped {
            lines.push(line.replace("jwks: keys.json", &keys_in(beside)));
        }
    }
    let mut text = lines.join("\n");
    for (theirs, ours) in PLACES {
        text = text.replace(theirs, ours);
    }
    text
}

fn keys_in(folder: &Path) -> String {
    format!("jwks: {}", folder.join("keys.json").display())
}

const ELSEWHERE: [&str; 7] =
    ["listen:", "tls:", "admin:", "include:", "issuer:", "audience:", "upstream:"];

const PLACES: [(&str, &str); 11] = [
    ("https://keycloak.internal:8443/realms/acme", "{issuer}"),
    ("https://id.example.com/realms/prod", "{issuer}"),
    ("https://id.example.com/realms/acme", "{issuer}"),
    ("https://login.partner.example", "http://127.0.0.1:9/partner"),
    ("https://sso.internal", "http://127.0.0.1:9/internal"),
    ("https://ci.example.com", "http://127.0.0.1:9/ci"),
    ("[http://billing-1.internal:3000, http://billing-2.internal:3000]", "[\"{backend}\"]"),
    ("[http://billing-1:3000, http://billing-2:3000]", "[\"{backend}\"]"),
    ("http://orders.internal:3000", "{backend}"),
    ("http://artifacts.internal:3000", "{backend}"),
    ("http://orders:3000", "{backend}"),
];
