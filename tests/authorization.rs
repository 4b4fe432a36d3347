//! Who may call what.

use serde_json::json;

use crate::harness::{Answer, Harness, ORDERS, Token};

/// Sends `GET path` with `token` and returns status and reason.
async fn get(t: &Harness, path: &str, token: &Token) -> (u16, String) {
    verdict(&t.get(path).bearer(&token.sign()).send().await)
}

fn verdict(answer: &Answer) -> (u16, String) {
    let reason = if answer.status().is_success() { String::new() } else { answer.reason() };
    (answer.status().as_u16(), reason)
}

fn ok() -> (u16, String) {
    (200, String::new())
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

const FULL: &str = "errors: { detail: full }\n";

/// AZ-01: what no route names is not there, whoever asks.
#[tokio::test]
async fn an_unknown_path_is_404_with_and_without_a_token() {
    let t = Harness::start(ORDERS).await;
    let anonymous = t.get("/nothing").send().await;
    let known = t.get("/nothing").bearer(&t.token().sign()).send().await;
    assert_eq!(verdict(&anonymous), refused(404, "no_route"));
    assert_eq!(verdict(&known), refused(404, "no_route"));
    t.backend.saw_nothing();
    assert_eq!(t.denials("-", "no_route").await, 2.0);
}

/// AZ-02.
#[tokio::test]
async fn scopes_are_compared_whole_and_case_sensitively() {
    let t = Harness::start("routes: { /r: { GET: read } }").await;
    for scope in ["read:all", "reader", "READ", "re ad", "read\twrite", ""] {
        assert_eq!(
            get(&t, "/r", &t.token().scope(scope)).await,
            refused(403, "missing_scope"),
            "{scope}"
        );
    }
    assert_eq!(get(&t, "/r", &t.token().scope("other read")).await, ok());
    assert_eq!(t.backend.seen().len(), 1);
}

/// Bypass 25: a scope claim that is absent, null, empty or of another type grants nothing.
#[tokio::test]
async fn a_scope_claim_of_another_type_grants_nothing() {
    let t = Harness::start("routes: { /r: { GET: read } }").await;
    let tokens = [
        t.token().without("scope"),
        t.token().claim("scope", json!(null)),
        t.token().claim("scope", json!({ "read": true })),
        t.token().claim("scope", json!(1)),
    ];
    for token in tokens {
        assert_eq!(get(&t, "/r", &token).await, refused(403, "missing_scope"));
    }
    t.backend.saw_nothing();
}

/// AZ-03.
#[tokio::test]
async fn a_broader_scope_implies_a_narrower_one_only_if_the_file_says_so() {
    let with = "issuers: { main: { url: '{issuer}', audience: https://api.example.com,
        implies: { admin: [write], write: [read] } } }
routes: { /r: { GET: read } }";
    let t = Harness::start(with).await;
    assert_eq!(get(&t, "/r", &t.token().scope("admin")).await, ok());
    assert_eq!(t.backend.saw_one().header("x-auth-scopes"), Some("admin"));
    let t = Harness::start("routes: { /r: { GET: read } }").await;
    assert_eq!(get(&t, "/r", &t.token().scope("admin")).await, refused(403, "missing_scope"));
}

/// AZ-04.
#[tokio::test]
async fn methods_are_case_sensitive_and_unlisted_ones_are_405() {
    let t = Harness::start("routes: { /r: { GET: read } }").await;
    let token = t.token().scope("read").sign();
    let answer = t.call("get", "/r").bearer(&token).send().await;
    assert_eq!(verdict(&answer), refused(400, "malformed_request"));
    for method in ["DELETE", "TRACE", "OPTIONS", "BREW"] {
        let answer = t.call(method, "/r").bearer(&token).send().await;
        assert_eq!(verdict(&answer), refused(405, "method_refused"), "{method}");
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
    t.backend.saw_nothing();
    let head = t.call("HEAD", "/r").send().await;
    assert_eq!((head.status().as_u16(), head.text().as_str()), (401, ""));
    assert_eq!(t.call("HEAD", "/r").bearer(&token).send().await.status(), 200);
    assert_eq!(t.backend.saw_one().method, "HEAD");
}

/// AZ-05.
#[tokio::test]
async fn no_header_overrides_the_method() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().scope("orders:write").sign();
    let mut call = t.call("POST", "/orders").bearer(&token);
    for name in ["x-http-method-override", "x-method-override", "x-http-method"] {
        call = call.header(name, "DELETE");
    }
    assert_eq!(call.send().await.status(), 200);
    let seen = t.backend.saw_one();
    assert_eq!(seen.method, "POST");
    assert!(!seen.headers.keys().any(|name| name.as_str().contains("method")));
}

/// AZ-06, AZ-07, AZ-08.
#[tokio::test]
async fn people_and_machines_are_told_apart() {
    let yaml = format!(
        "{FULL}routes:
  /people: {{ GET: {{ token: user }} }}
  /machines: {{ GET: {{ token: client }} }}
  /any: {{ GET: {{ token: any }} }}"
    );
    let t = Harness::start(&yaml).await;
    let person = t.token();
    let machine = t.token().machine("batch");
    assert_eq!(get(&t, "/people", &person).await, ok());
    assert_eq!(get(&t, "/people", &machine).await, refused(403, "wrong_token_kind"));
    assert_eq!(get(&t, "/machines", &person).await, refused(403, "wrong_token_kind"));
    t.backend.forget();
    assert_eq!(get(&t, "/machines", &machine).await, ok());
    let seen = t.backend.saw_one();
    assert_eq!(seen.header("x-auth-subject"), None);
    assert_eq!(seen.header("x-auth-client"), Some("batch"));
    assert_eq!(seen.header("x-auth-kind"), Some("client"));
    let unknown = t.token().without("client_id").without("auth_time");
    assert_eq!(get(&t, "/any", &unknown).await, ok());
    assert_eq!(get(&t, "/machines", &unknown).await, refused(403, "wrong_token_kind"));
}

/// AZ-09.
#[tokio::test]
async fn roles_groups_clients_and_claims_are_conditions() {
    let yaml = format!("{FULL}rules: {{ staff: {{ any: [{{ role: admin }}, {{ group: /staff }}] }} }}
routes:
  /staff: {{ GET: {{ use: staff }} }}
  /not: {{ GET: {{ all: [read, {{ not: {{ group: /suspended }} }}] }} }}
  /client: {{ GET: {{ client: batch }} }}
  /mail: {{ GET: {{ claim: {{ email: {{ ends_with: '@partner.example' }}, amr: {{ contains: mfa }} }} }} }}
  /level: {{ GET: {{ claim: {{ level: {{ in: [3, 4] }}, app.tier: gold }} }} }}");
    let t = Harness::start(&yaml).await;
    let token = || t.token().scope("read");
    assert_eq!(get(&t, "/staff", &token()).await, refused(403, "missing_role"));
    assert_eq!(get(&t, "/staff", &token().claim("roles", json!(["admin"]))).await, ok());
    assert_eq!(get(&t, "/staff", &token().claim("groups", json!(["/staff"]))).await, ok());
    assert_eq!(get(&t, "/not", &token()).await, ok());
    let suspended = token().claim("groups", json!(["/suspended"]));
    assert_eq!(get(&t, "/not", &suspended).await, refused(403, "claim_mismatch"));
    assert_eq!(get(&t, "/client", &token()).await, refused(403, "client_refused"));
    assert_eq!(get(&t, "/client", &token().machine("batch")).await, ok());
    let mail = token().claim("email", "a@partner.example");
    assert_eq!(get(&t, "/mail", &mail).await, refused(403, "claim_mismatch"));
    assert_eq!(get(&t, "/mail", &mail.claim("amr", json!(["pwd", "mfa"]))).await, ok());
    let level = token().claim("level", 3).claim("app", json!({ "tier": "gold" }));
    assert_eq!(get(&t, "/level", &level).await, ok());
    assert_eq!(get(&t, "/level", &level.claim("level", "3")).await, refused(403, "claim_mismatch"));
}

/// AZ-09: the tenant of the token is the tenant of the path.
#[tokio::test]
async fn a_claim_must_equal_a_path_parameter() {
    let yaml = format!(
        "{FULL}routes: {{ '/t/{{tenant}}/**': {{ allow: {{ claim: {{ tenant: '{{tenant}}' }} }} }} }}"
    );
    let t = Harness::start(&yaml).await;
    let of = |tenant: serde_json::Value| t.token().claim("tenant", tenant);
    assert_eq!(get(&t, "/t/a/x", &of(json!("a"))).await, ok());
    assert_eq!(get(&t, "/t/7", &of(json!(7))).await, ok());
    assert_eq!(get(&t, "/t/b%20c", &of(json!("b c"))).await, ok());
    assert_eq!(get(&t, "/t/a", &of(json!("b"))).await, refused(403, "claim_mismatch"));
    assert_eq!(get(&t, "/t/a", &of(json!(null))).await, refused(403, "claim_mismatch"));
    assert_eq!(get(&t, "/t/a", &t.token()).await, refused(403, "claim_mismatch"));
}

/// Networks, by the connection's own address.
#[tokio::test]
async fn a_source_network_is_a_condition() {
    let yaml = format!(
        "{FULL}routes:
  /near: {{ GET: {{ source: 127.0.0.0/8 }} }}
  /far: {{ GET: {{ source: [10.0.0.0/8, '2001:db8::/32'] }} }}"
    );
    let t = Harness::start(&yaml).await;
    assert_eq!(get(&t, "/near", &t.token()).await, ok());
    assert_eq!(get(&t, "/far", &t.token()).await, refused(403, "source_refused"));
    let spoofed = t.get("/far").bearer(&t.token().sign()).header("x-forwarded-for", "10.0.0.1");
    assert_eq!(verdict(&spoofed.send().await), refused(403, "source_refused"));
}

/// RFC 4291 §2.5.5.2: a mapped network that never matched would open what `not` closes.
#[tokio::test]
async fn a_network_of_mapped_addresses_is_one_of_ipv4() {
    let yaml = format!(
        "trusted_proxies: ['::ffff:127.0.0.0/104']\n{FULL}routes:
  /in: {{ GET: {{ source: '::ffff:192.0.2.0/120' }} }}
  /one: {{ GET: {{ source: '::ffff:192.0.2.7' }} }}
  /out: {{ GET: {{ not: {{ source: '::ffff:192.0.2.0/120' }} }} }}
  /six: {{ GET: {{ source: '::/0' }} }}"
    );
    let t = Harness::start(&yaml).await;
    let token = t.token().sign();
    for (address, opened) in [
        ("192.0.2.7", &["/in", "/one"][..]),
        ("::ffff:192.0.2.7", &["/in", "/one"]),
        ("192.0.2.8", &["/in"]),
        ("198.51.100.1", &["/out"]),
        ("2001:db8::1", &["/out", "/six"]),
    ] {
        for path in ["/in", "/one", "/out", "/six"] {
            let call = t.get(path).bearer(&token).header("x-forwarded-for", address);
            let expected = if opened.contains(&path) { 200 } else { 403 };
            assert_eq!(call.send().await.status(), expected, "{address}: {path}");
        }
    }
    assert_eq!(t.backend.seen().len(), 8);
    for (path, refused) in [("/in", 2.0), ("/one", 3.0), ("/out", 3.0), ("/six", 4.0)] {
        assert_eq!(t.denials(path, "source_refused").await, refused, "{path}");
    }
}

/// AZ-12, AZ-13 (RFC 9470).
#[tokio::test]
async fn a_weak_or_old_authentication_is_asked_to_step_up() {
    let t = Harness::start("routes: { /r: { GET: { acr: mfa, max_age: 5m } } }").await;
    let weak = t.get("/r").bearer(&t.token().claim("acr", "pwd").sign()).send().await;
    assert_eq!(weak.status(), 401);
    assert!(
        weak.header("www-authenticate")
            .starts_with("Bearer error=\"insufficient_user_authentication\"")
    );
    assert!(weak.header("www-authenticate").contains("acr_values=\"mfa\""));
    let strong = t.token().claim("acr", "mfa");
    assert_eq!(get(&t, "/r", &strong).await, ok());
    let old = strong.clone().without("auth_time");
    let old = t.get("/r").bearer(&old.sign()).send().await;
    assert!(old.header("www-authenticate").contains("max_age=\"300\""));
    let machine = strong.machine("batch").claim("acr", "pwd");
    assert_eq!(t.get("/r").bearer(&machine.sign()).send().await.status(), 403);
}

/// Report mode: nothing is refused, everything is said.
#[tokio::test]
async fn a_report_only_route_lets_through_and_says_what_it_would_refuse() {
    let t = Harness::start("routes: { /r: { mode: report, GET: read }, /s: { GET: read } }").await;
    assert_eq!(t.get("/r").send().await.status(), 200);
    assert_eq!(get(&t, "/r", &t.token().expired_by(99)).await, ok());
    assert_eq!(get(&t, "/r", &t.token().scope("write")).await, ok());
    let subjects: Vec<_> = t
        .backend
        .seen()
        .iter()
        .map(|seen| seen.header("x-auth-subject").map(str::to_owned))
        .collect();
    assert_eq!(subjects, [None, None, Some("alice".to_owned())]);
    let would = |reason| [("route", "/r"), ("decision", "would_deny"), ("reason", reason)];
    for reason in ["missing_token", "token_expired", "missing_scope"] {
        assert_eq!(t.metric("scopegate_decisions_total", &would(reason)).await, 1.0, "{reason}");
    }
    assert_eq!(t.call("POST", "/r").send().await.status(), 405);
    assert_eq!(t.get("/s").send().await.status(), 401);
}

/// Bypass 26: the verdict of a token is remembered, what it may do is asked each time.
#[tokio::test]
async fn a_remembered_token_is_judged_anew_on_each_route() {
    let t = Harness::start("routes: { /a: { GET: a }, /b: { GET: b } }").await;
    let token = t.token().scope("a");
    assert_eq!(get(&t, "/a", &token).await, ok());
    let signed = token.sign();
    assert_eq!(t.get("/a").bearer(&signed).send().await.status(), 200);
    assert_eq!(verdict(&t.get("/b").bearer(&signed).send().await), refused(403, "missing_scope"));
    let hits = t.metric("scopegate_token_cache_requests_total", &[("result", "hit")]).await;
    assert!(hits >= 1.0);
}

/// A refusal names the line of YAML in the log, and never in the answer.
#[tokio::test]
async fn the_log_names_the_rule_that_refused() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().scope("orders:write").sign();
    let answer = t.call("DELETE", "/orders/1").bearer(&token).send().await;
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json()["detail"], "Access denied.");
    let id = answer.header("x-request-id").to_owned();
    crate::harness::until("the log line", async || t.log().contains(&id)).await;
    let line = t.log().lines().find(|line| line.contains(&id)).map(str::to_owned).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["reason"], "missing_role");
    assert_eq!(line["decision"], "deny");
    assert_eq!(line["route"], "/orders/**");
    assert_eq!(line["sub"], "alice");
    let rule = line["rule"].as_str().unwrap();
    assert!(rule.ends_with(".yaml:11"), "{rule}");
    assert!(!answer.text().contains("yaml"));
}
