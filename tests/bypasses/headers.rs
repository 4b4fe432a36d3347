//! Rows 15 to 23 and 45: fields that only a gateway may set.

use serde_json::json;

use super::ask;
use crate::harness::h2::{Http2, empty, request, secured};
use crate::harness::{Backend, Harness, Issuer, ORDERS, Reply, raw};

/// CVE-2026-40575, CVE-2026-76835, CVE-2026-35051 (oauth2-proxy, Traefik).
#[tokio::test]
async fn row_15_forwarded_fields_of_strangers_are_ignored() {
    let fields = "X-Forwarded-Uri: /status\r\nX-Forwarded-Prefix: /status\r\nX-Original-URL: /status\r\n\
        X-Rewrite-URL: /status\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: evil.example\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1;host=evil.example\r\n";
    for trusted in ["", "trusted_proxies: [192.0.2.0/24]\n"] {
        let t = Harness::start(&format!("{trusted}{ORDERS}")).await;
        assert_eq!(ask(&t, "GET /orders/1", fields).await, [401]);
        t.backend.saw_nothing();
        assert_eq!(ask(&t, "GET /status", fields).await, [200]);
        let seen = t.backend.saw_one();
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
        let all = format!("{:?}", seen.headers);
        assert!(!all.contains("evil") && !all.contains("10.0.0.1"), "{all}");
        for name in ["x-forwarded-uri", "x-forwarded-prefix", "x-original-url", "x-rewrite-url"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
    }
}

/// CVE-2023-27487, CVE-2024-45806 (Envoy).
#[tokio::test]
async fn row_16_our_own_fields_are_taken_from_nobody() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    let mut call = t.get("/orders/1").bearer(&token);
    for name in [
        "x-auth-subject",
        "x-auth-scopes",
        "x-auth-kind",
        "x-auth-issuer",
        "x-auth-roles",
        "x-auth-anything",
        "x-real-ip",
        "x-forwarded-client-cert",
        "client-cert",
        "x-ssl-client-verify",
    ] {
        call = call.header(name, "root").header(name, "root2");
    }
    assert_eq!(call.send().await.status(), 200);
    let seen = t.backend.saw_one();
    assert_eq!(seen.header("x-auth-subject"), Some("alice"));
    assert_eq!(seen.header("x-auth-scopes"), Some("orders:read"));
    assert!(!format!("{:?}", seen.headers).contains("root"), "{:?}", seen.headers);
}

/// CVE-2026-44087 (APISIX), Kong's OIDC plugin before 3.14.
#[tokio::test]
async fn row_17_a_claim_that_is_absent_leaves_no_room_for_the_clients_own() {
    let t = Harness::start(&format!(
        "identity_headers: {{ X-User: '{{sub}}', X-Plan: '{{plan}}', X-Who: '{{sub}}@{{tenant}}' }}\n{ORDERS}"
    ))
    .await;
    let fields = "X-User: root\r\nX-Plan: gold\r\nX-Who: root@x\r\nX-Auth-Subject: root\r\n";
    let machine = t.token().machine("batch").sign();
    let with_token = format!("{fields}Authorization: Bearer {machine}\r\n");
    assert_eq!(ask(&t, "GET /orders/1", &with_token).await, [200]);
    assert_eq!(ask(&t, "GET /status", fields).await, [200]);
    for seen in t.backend.seen() {
        for name in ["x-user", "x-plan", "x-who", "x-auth-subject"] {
            assert_eq!(seen.header(name), None, "{name} at {}", seen.target);
        }
    }
    assert_eq!(t.backend.seen().len(), 2);
}

/// What the backend has left of this one field, on a protected and on a public route.
async fn nothing_left_of(names: &[&str]) {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    for name in names {
        let field = format!("{name}: smuggled\r\n");
        let with_token = format!("{field}Authorization: Bearer {token}\r\n");
        assert_eq!(ask(&t, "GET /orders/1", &with_token).await, [200], "{name}");
        assert_eq!(ask(&t, "GET /status", &field).await, [200], "{name}");
    }
    for seen in t.backend.seen() {
        assert!(!format!("{:?}", seen.headers).contains("smuggled"), "{:?}", seen.headers);
    }
    assert_eq!(t.backend.seen().len(), 2 * names.len());
}

/// CVE-2025-64484, GHSA-x677-9fxg-v5c5 (oauth2-proxy, Traefik).
#[tokio::test]
async fn row_18_underscore_aliases_are_dropped() {
    nothing_left_of(&[
        "X_Auth_Subject",
        "x_auth_subject",
        "X-Auth_Subject",
        "X_Auth-Scopes",
        "X_Forwarded_For",
    ])
    .await;
}

/// CVE-2026-88011 (Traefik).
#[tokio::test]
async fn row_19_dot_aliases_are_dropped() {
    nothing_left_of(&[
        "X.Auth.Subject",
        "x.auth-subject",
        "X-Auth.Scopes",
        "X.Real.IP",
        "X~Auth~Subject",
    ])
    .await;
}

/// CVE-2024-45410, CVE-2021-32813 (Traefik).
#[tokio::test]
async fn row_20_a_nomination_removes_nothing_of_ours() {
    let t = Harness::start(ORDERS).await;
    let request = format!(
        "GET /orders/1 HTTP/1.1\r\nHost: a\r\nConnection: close, X-Auth-Subject, X-Auth-Scopes, X-Forwarded-For, \
         X-Forwarded-Host, Forwarded, Host, X-Request-Id, Via, X-Mine\r\nX-Mine: 1\r\nAuthorization: Bearer {}\r\n\r\n",
        t.token().sign()
    );
    assert_eq!(raw::statuses(&raw::exchange(t.address(), request).await), [200]);
    let seen = t.backend.saw_one();
    for name in [
        "x-auth-subject",
        "x-auth-scopes",
        "x-forwarded-for",
        "x-forwarded-host",
        "forwarded",
        "host",
        "x-request-id",
        "via",
    ] {
        assert!(seen.header(name).is_some(), "{name}: {:?}", seen.headers);
    }
    assert_eq!(seen.header("x-mine"), None);
}

/// mod_auth_openidc 2.1.5: scrubbed on every way to the backend, the token-free ones, too.
#[tokio::test]
async fn row_21_every_way_to_the_backend_is_scrubbed() {
    let yaml = "routes:
  /open: { GET: { public: true }, OPTIONS, POST: { public: true } }
  /maybe: { public: optional }
  /report: { mode: report, GET: read }";
    let yaml = yaml.replace("GET: { public: true }, OPTIONS, POST", "'GET, OPTIONS, POST'");
    let t = Harness::start(&yaml).await;
    let fields = "X-Auth-Subject: root\r\nX_Auth_Subject: root\r\nX-Auth-Roles: root\r\n";
    for line in
        ["GET /open", "HEAD /open", "OPTIONS /open", "POST /open", "GET /maybe", "GET /report"]
    {
        assert_eq!(ask(&t, line, fields).await, [200], "{line}");
    }
    assert_eq!(t.backend.seen().len(), 6);
    for seen in t.backend.seen() {
        assert!(!format!("{:?}", seen.headers).contains("root"), "{:?}", seen.headers);
    }
}

/// CVE-2026-34457 (oauth2-proxy).
#[tokio::test]
async fn row_22_no_user_agent_is_a_health_check() {
    let t = Harness::start(ORDERS).await;
    for agent in ["GoogleHC/1.0", "kube-probe/1.30", "ELB-HealthChecker/2.0", "scopegate/0.1.0", ""]
    {
        let fields = format!("User-Agent: {agent}\r\n");
        assert_eq!(ask(&t, "GET /orders/1", &fields).await, [401], "{agent}");
        for path in ["/livez", "/readyz", "/ping", "/healthz", "/metrics"] {
            assert_eq!(ask(&t, &format!("GET {path}"), &fields).await, [404], "{agent} {path}");
        }
    }
    t.backend.saw_nothing();
}

/// CVE-2026-41181 (Traefik): what the gateway asks of others has nothing of the client's request.
#[tokio::test]
async fn row_23_side_requests_carry_no_credentials() {
    let issuer = Issuer::start().await;
    let side = Backend::start().await;
    let keys = json!({ "keys": [issuer.key.jwk()] }).to_string();
    side.reply(Reply {
        headers: vec![("set-cookie", "s=1".into())],
        body: keys.into(),
        ..Reply::default()
    });
    let yaml = format!(
        "issuers: {{ main: {{ url: '{{issuer}}', audience: https://api.example.com, jwks_url: '{}/keys' }} }}\n{ORDERS}",
        side.url()
    );
    let t = Harness::start_with(&yaml, issuer, Backend::start().await).await;
    let call = t.get("/orders/1").bearer(&t.token().header("kid", "unknown").sign());
    assert_eq!(call.header("cookie", "session=1").header("x-mine", "1").send().await.status(), 401);
    assert_eq!(side.seen().len(), 2, "one fetch at the start, and one for the unknown key");
    for seen in side.seen() {
        let names: Vec<_> = seen.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "accept-encoding", "user-agent", "host"]);
    }
    t.backend.saw_nothing();
}

/// CVE-2025-41235 (Spring Cloud Gateway).
#[tokio::test]
async fn row_45_a_limit_per_address_counts_the_peer() {
    let yaml = "routes: { /open: { public: true, limit: { rate: 2/day, per: ip } } }";
    let spoof =
        |number: u32| format!("X-Forwarded-For: 10.0.0.{number}\r\nX-Real-IP: 10.0.0.{number}\r\n");
    let t = Harness::start(yaml).await;
    let mut statuses = Vec::new();
    for number in 0..4 {
        statuses.extend(ask(&t, "GET /open", &spoof(number)).await);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    let t = Harness::start(&format!("trusted_proxies: [127.0.0.0/8]\n{yaml}")).await;
    for number in 0..4 {
        assert_eq!(ask(&t, "GET /open", &spoof(number)).await, [200], "a trusted peer is believed");
    }
}

/// CVE-2022-24797 (Pomerium).
#[tokio::test]
async fn row_47_nothing_of_the_administration_is_on_the_public_port() {
    let t = Harness::start("routes: { /x/**: { public: true } }").await;
    for path in ["/", "/metrics", "/livez", "/readyz", "/reload", "/decide", "/debug/pprof/"] {
        for line in [format!("GET {path}"), format!("POST {path}")] {
            assert_eq!(ask(&t, &line, "X-Scopegate-Admin: 1\r\n").await, [404], "{line}");
        }
    }
    t.backend.saw_nothing();
}

/// A backend believes whoever tells it where a call comes from, or who calls. Strangers' copies go,
/// a trusted proxy's stay as it spells them.
#[tokio::test]
async fn what_only_a_proxy_may_tell_is_taken_from_proxies_alone() {
    let folded = |name: &&str| [name.replace('-', "."), name.to_uppercase().replacen('-', "~", 1)];
    let (_folder, pair, tls) = secured();
    for (trusted, plain) in [("", false), ("127.0.0.1", true), ("192.0.2.0/24", false)] {
        let yaml =
            format!("{tls}trusted_proxies: [{trusted}]\nroutes: {{ /x: {{ public: true }} }}");
        let t = Harness::start(&yaml).await;
        let mut client = Http2::connect(t.address(), &pair).await;
        for name in TOLD {
            let mut call = request("GET", "/x").header(*name, "told");
            for spelling in folded(name) {
                call = call.header(spelling.to_lowercase(), "folded");
            }
            assert_eq!(client.send(call.body(empty()).unwrap()).await.status(), 200, "{name}");
            seen_as_told(&t, name, plain);
        }
        for name in FROM_NOBODY {
            let call = request("GET", "/x").header(*name, "told").body(empty()).unwrap();
            assert_eq!(client.send(call).await.status(), 200, "{name}");
            seen_as_told(&t, name, false);
        }
    }
    for (trusted, plain) in [("", false), ("127.0.0.1", true)] {
        let yaml = format!("trusted_proxies: [{trusted}]\nroutes: {{ /x: {{ public: true }} }}");
        let t = Harness::start(&yaml).await;
        for name in TOLD {
            let [dots, tilde] = folded(name);
            let fields = format!("{name}: told\r\n{dots}: folded\r\n{tilde}: folded\r\n");
            let aliases = format!("{fields}{}: folded\r\n", name.replace('-', "_"));
            assert_eq!(ask(&t, "GET /x", &aliases).await, [200], "{name}");
            seen_as_told(&t, name, plain);
        }
        for name in FROM_NOBODY {
            assert_eq!(ask(&t, "GET /x", &format!("{name}: told\r\n")).await, [200], "{name}");
            seen_as_told(&t, name, false);
        }
    }
}

#[track_caller]
fn seen_as_told(t: &Harness, name: &str, passes: bool) {
    let seen = t.backend.saw_one();
    let all = format!("{:?}", seen.headers);
    assert!(!all.contains("folded"), "{name}: {all}");
    assert_eq!(all.contains("told"), passes, "{name}: {all}");
    assert_eq!(seen.header(&name.to_lowercase()).is_some(), passes, "{name}: {all}");
    t.backend.forget();
}

/// `headers.request.keep`: one passes from strangers, as it is written.
#[tokio::test]
async fn a_field_that_is_kept_passes_from_strangers() {
    let yaml = "headers: { request: { keep: [True-Client-IP] } }\nroutes: { /x: { public: true } }";
    let t = Harness::start(yaml).await;
    let fields = "TRUE-Client-IP: told\r\nTrue.Client.IP: folded\r\nX-Client-IP: folded\r\n";
    assert_eq!(ask(&t, "GET /x", fields).await, [200]);
    seen_as_told(&t, "True-Client-IP", true);
}

const TOLD: &[&str] = &[
    "True-Client-IP",
    "X-Client-IP",
    "CF-Connecting-IP",
    "X-Cluster-Client-IP",
    "Fastly-Client-IP",
    "X-Envoy-External-Address",
    "X-Azure-ClientIP",
    "X-Appengine-User-IP",
    "CloudFront-Viewer-Address",
    "X-Original-Host",
    "X-Host",
    "SSL-Client-Cert",
    "SSL-Client-Verify",
    "X-ARR-ClientCert",
    "WL-Proxy-Client-IP",
    "X-MS-Client-Principal",
    "X-MS-Client-Principal-Name",
    "Remote-User",
    "X-Remote-User",
    "X-Remote-User-Email",
    "X-Remote-Group",
    "X-Goog-Authenticated-User-Email",
    "X-Amzn-Oidc-Identity",
    "Cf-Access-Authenticated-User-Email",
    "Tailscale-User-Login",
    "X-Pomerium-Jwt-Assertion",
    "X-Consumer-Username",
    "X-Credential-Identifier",
    "X-Authenticated-Userid",
    "X-WEBAUTH-USER",
];

const FROM_NOBODY: &[&str] = &["X-HTTP-Verb", "X-Rewrite-URI", "X-Rewrite-URL", "X-SSL-Client-CN"];
