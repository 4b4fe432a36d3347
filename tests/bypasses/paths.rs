//! Rows 1 to 14: one path for the policy, another for the backend.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::ask;
use crate::harness::Harness;

/// A public tree, a closed one beside it, and the root open as a trap.
const TREES: &str = "routes:
  /public/**: { public: true }
  /admin/**: { GET: admin }
  /**: { public: true }";

/// Each of these targets is refused with 400, and none reaches the backend.
async fn all_refused(targets: &[&str]) {
    let t = Harness::start(TREES).await;
    for target in targets {
        assert_eq!(ask(&t, &format!("GET {target}"), "").await, [400], "{target}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.metric("scopegate_decisions_total", &[("decision", "allow")]).await, 0.0);
}

/// CVE-2019-9901 (Envoy).
#[tokio::test]
async fn row_01_dot_segments_are_refused() {
    all_refused(&[
        "/public/../admin",
        "/public/./../admin",
        "/public/%2e%2e/admin",
        "/public/.%2E/admin",
        "/public/%2e/x",
        "/public/..",
        "/../admin",
        "/./admin",
    ])
    .await;
}

/// CVE-2021-29492, CVE-2021-31920 (Envoy, Istio).
#[tokio::test]
async fn row_02_encoded_slashes_backslashes_and_double_slashes_are_refused() {
    all_refused(&[
        "/public%2fadmin",
        "/public/..%2Fadmin",
        "/public%5cadmin",
        "/public\\..\\admin",
        "//admin",
        "/public//admin",
        "/%2f/admin",
    ])
    .await;
}

/// CVE-2021-32779, CVE-2021-39156, GHSA-fvhj-4qfh-q2hm, GHSA-pxq7-h93f-9jrg.
#[tokio::test]
async fn row_03_a_fragment_opens_nothing() {
    let t = Harness::start(TREES).await;
    for target in ["/admin#x", "/admin#/public", "/admin/#/../public/", "/admin?#x"] {
        let statuses = ask(&t, &format!("GET {target}"), "").await;
        assert!(statuses == [400] || statuses == [401], "{target}: {statuses:?}");
    }
    t.backend.saw_nothing();
}

/// CVE-2026-73553 (Envoy).
#[tokio::test]
async fn row_04_path_parameters_are_refused() {
    all_refused(&["/admin;x=1", "/admin;", "/admin;/x", "/public;/../admin", "/admin%3bx"]).await;
}

/// CVE-2026-73551 (Envoy).
#[tokio::test]
async fn row_05_dot_segments_with_parameters_are_refused() {
    all_refused(&[
        "/public/..;/admin",
        "/public/..;x=1/admin",
        "/public/.;/x",
        "/public/%2e%2e;/admin",
    ])
    .await;
}

/// CVE-2025-46821 (Envoy).
#[tokio::test]
async fn row_06_a_parameter_matches_every_character_of_a_segment() {
    let t = Harness::start("routes: { '/o/{x}': { GET: read }, /**: { public: true } }").await;
    let token = t.token().scope("read").sign();
    let characters = "aZ09-._~!$&'()*+,=:@".chars().map(String::from);
    for character in characters.chain(["%20", "%C3%A9", "%7B"].map(String::from)) {
        let path = format!("/o/x{character}");
        assert_eq!(ask(&t, &format!("GET {path}"), "").await, [401], "{path}");
        assert_eq!(t.get(&path).bearer(&token).send().await.status(), 200, "{path}");
        assert_eq!(t.backend.saw_one().target, path);
        t.backend.forget();
    }
}

/// CVE-2026-33494 (Oathkeeper).
#[tokio::test]
async fn row_07_what_is_forwarded_is_judged_the_same() {
    let t = Harness::start(TREES).await;
    let regex =
        "/(public|admin|%61dmin|%2e|\\.|\\.\\.|x)(/|//|;|%2f|/\\.\\./|\\\\)(admin|x|%2e%2e)?";
    let strategy = proptest::string::string_regex(regex).unwrap();
    let mut runner = TestRunner::deterministic();
    for _ in 0..150 {
        let path = strategy.new_tree(&mut runner).unwrap().current();
        t.backend.forget();
        if ask(&t, &format!("GET {path}"), "").await != [200] {
            t.backend.saw_nothing();
            continue;
        }
        let seen = t.backend.saw_one().target;
        assert!(!seen.starts_with("/admin"), "{path} got to {seen}");
        assert_eq!(ask(&t, &format!("GET {seen}"), "").await, [200], "{path} became {seen}");
    }
}

/// GHSA-r9fw-vxmp-hwf2, heimdall#3412.
#[tokio::test]
async fn row_08_captures_belong_to_the_route_that_matched() {
    let t = Harness::start(
        "routes:
  '/t/{tenant}/a/b': { GET: { claim: { tenant: '{tenant}' } } }
  '/t/special/{tenant}/c': { GET: { claim: { tenant: '{tenant}' } } }",
    )
    .await;
    let get = async |path: &str, tenant: &str| {
        let token = t.token().claim("tenant", tenant).sign();
        t.get(path).bearer(&token).send().await.status().as_u16()
    };
    // The search tries `special` as a word first, and captures `a` before it turns back.
    assert_eq!(get("/t/special/a/b", "a").await, 403);
    t.backend.saw_nothing();
    assert_eq!(get("/t/special/a/b", "special").await, 200);
    assert_eq!(get("/t/special/a/c", "a").await, 200);
    t.backend.forget();
    assert_eq!(get("/t/b%20%c3%a9/a/b", "b \u{e9}").await, 200);
    assert_eq!(t.backend.saw_one().target, "/t/b%20%C3%A9/a/b");
}

/// CVE-2026-48020 (Traefik).
#[tokio::test]
async fn row_09_a_prefix_is_stripped_from_what_was_judged() {
    let t = Harness::start(
        "routes: { /api/**: { public: true, strip_prefix: /api }, /admin: { GET: admin } }",
    )
    .await;
    for path in ["/api/../admin", "/api//admin", "/api/%2e%2e/admin"] {
        assert_eq!(ask(&t, &format!("GET {path}"), "").await, [400], "{path}");
    }
    t.backend.saw_nothing();
    assert_eq!(ask(&t, "GET /api/x%41", "").await, [200]);
    assert_eq!(t.backend.saw_one().target, "/xA");
}

/// CVE-2023-20860, CVE-2026-22754 (Spring): what decides is compared with a naive reading.
#[tokio::test]
async fn row_10_the_router_agrees_with_a_naive_one() {
    const PATTERNS: [&str; 10] = [
        "/**",
        "/a",
        "/a/**",
        "/a/{x}",
        "/a/{x}/c",
        "/a/b",
        "/a/b/**",
        "/{x}/b",
        "/{x}/b/c",
        "/{x}/{y}/a",
    ];
    let routes: String = PATTERNS
        .iter()
        .enumerate()
        .map(|(index, pattern)| format!("  '{pattern}': {{ GET: s{index} }}\n"))
        .collect();
    let t = Harness::start(&format!("errors: {{ detail: full }}\nroutes:\n{routes}")).await;
    let token = t.token().without("scope").sign();
    for number in 0..340u32 {
        let digits = [number % 4, number / 4 % 4, number / 16 % 4, number / 64 % 6];
        let words = digits.into_iter().take_while(|digit| *digit > 0);
        let path: String =
            words.map(|digit| ["", "/a", "/b", "/c", "/d", "/A"][digit as usize]).collect();
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let answer = t.get(&path).bearer(&token).send().await;
        let expected = naive(&PATTERNS, &path);
        assert_eq!(answer.json()["required_scopes"], json!([format!("s{expected}")]), "{path}");
    }
    t.backend.saw_nothing();
}

/// The best pattern: of all that match, the one that is more precise in the first segment in which
/// two of them differ.
fn naive(patterns: &[&str], path: &str) -> usize {
    let segments: Vec<_> = path[1..].split('/').filter(|segment| !segment.is_empty()).collect();
    let rank = |pattern: &str| -> Option<Vec<u8>> {
        let mut ranks = Vec::new();
        let mut rest = segments.iter();
        for part in pattern[1..].split('/') {
            match part {
                "**" => return Some([ranks, vec![2]].concat()),
                _ if part.starts_with('{') => {
                    rest.next()?;
                    ranks.push(1);
                }
                _ => {
                    rest.next().filter(|segment| **segment == part)?;
                    ranks.push(0);
                }
            }
        }
        rest.next().is_none().then_some(ranks)
    };
    let ranked = patterns.iter().enumerate().filter_map(|(index, p)| Some((rank(p)?, index)));
    ranked.min().expect("a pattern that matches").1
}

/// CVE-2022-22978 (Spring Security).
#[tokio::test]
async fn row_11_control_bytes_are_refused_before_matching() {
    all_refused(&[
        "/admin%0a",
        "/admin%0d%0ax",
        "/public/%00",
        "/admin%09",
        "/%7f",
        "/admin%c2%85",
    ])
    .await;
}

/// CVE-2025-54576 (oauth2-proxy).
#[tokio::test]
async fn row_12_a_query_is_no_part_of_the_path() {
    let t = Harness::start(TREES).await;
    for query in ["x=/public", "/public/x", "/../public", "%2fpublic", "?/public/"] {
        assert_eq!(ask(&t, &format!("GET /admin?{query}"), "").await, [401], "{query}");
    }
    // PA-09: a fragment is never sent, so it is not taken for a part of the query.
    assert_eq!(ask(&t, "GET /admin?x#/public", "").await, [400]);
    t.backend.saw_nothing();
}

/// GHSA-68wm-pfjf-wqp6 (Authelia).
#[tokio::test]
async fn row_13_a_malformed_target_is_400() {
    all_refused(&[
        "/%", "/%zz", "/a%4", "/%c0%ae", "/\u{ff}", "/a b", "x", "", "*", "http://", "/{", "/a|b",
    ])
    .await;
}

/// CVE-2020-8595 (Istio).
#[tokio::test]
async fn row_14_an_exact_route_is_exact() {
    let t = Harness::start("routes: { /admin: { GET: admin }, /x: { public: true } }").await;
    for target in ["/admin", "/admin?", "/admin?x", "/%61dmin", "/adm%69n?a=b"] {
        assert_eq!(ask(&t, &format!("GET {target}"), "").await, [401], "{target}");
    }
    for target in ["/Admin", "/ADMIN", "/admin/", "/admin/x", "/admi", "/admin.json", "/admin%20"] {
        assert_eq!(ask(&t, &format!("GET {target}"), "").await, [404], "{target}");
    }
    t.backend.saw_nothing();
}
