//! Who calls, and from where: backends hear it from the gateway alone.

use serde_json::json;

use crate::harness::{Harness, Seen};

const OPEN: &str = "routes: { /**: { GET: { public: true } } }";
const TRUSTING: &str = "trusted_proxies: [127.0.0.0/8]
routes: { /**: { GET: { public: true } }, /near: { GET: { source: 10.0.0.0/8 } } }";

/// The names of a recorded request's fields, folded as CGI does.
fn folded(seen: &Seen) -> Vec<String> {
    seen.headers.keys().map(|name| name.as_str().replace(['_', '.'], "-")).collect()
}

/// FW-01, FW-02: on a public route nobody is anybody, whatever the request says.
#[tokio::test]
async fn a_client_cannot_name_itself_on_a_public_route() {
    let t = Harness::start(OPEN).await;
    let mut call = t.get("/x").header("accept", "text/plain");
    let names = "X-Auth-Subject X_Auth_Subject x-auth_subject X.Auth.Subject X-AUTH-SUBJECT \
        X-Auth-Anything X-Auth-Scopes-Truncated X~Auth~Kind";
    for name in names.split_ascii_whitespace() {
        call = call.header(name, "root").header(name, "admin");
    }
    assert_eq!(call.send().await.status(), 200);
    let seen = t.backend.saw_one();
    let names = folded(&seen);
    assert!(!names.iter().any(|name| name.starts_with("x-auth")), "{names:?}");
    assert!(!seen.headers.values().any(|value| value == "root" || value == "admin"));
    assert_eq!(seen.header("accept"), Some("text/plain"));
}

/// FW-01, bypass 17: on a protected route only the token speaks, also where it is silent.
#[tokio::test]
async fn a_client_cannot_add_to_what_its_token_says() {
    let t = Harness::start("routes: { /r: { GET: { token: any } } }").await;
    let token = t.token().machine("batch").without("scope").sign();
    let call = t.get("/r").bearer(&token);
    let call = call.header("x-auth-subject", "root").header("X-Auth-Scopes", "admin");
    assert_eq!(call.header("x_auth_client", "root").send().await.status(), 200);
    let seen = t.backend.saw_one();
    assert_eq!(seen.header("x-auth-subject"), None);
    assert_eq!(seen.header("x-auth-scopes"), None);
    assert_eq!(seen.header("x-auth-client"), Some("batch"));
    assert_eq!(seen.header("x-auth-issuer"), Some(&*t.issuer.url()));
    assert_eq!(seen.header("x-auth-kind"), Some("client"));
    assert!(!folded(&seen).contains(&"x-auth-subject".to_owned()));
}

/// FW-03, bypass 15: no field changes what is asked for.
#[tokio::test]
async fn fields_that_route_elsewhere_have_no_effect() {
    let t = Harness::start("routes: { /open: { public: true }, /r: { GET: read } }").await;
    let names = "X-Original-URL X-Rewrite-URL X-Original-URI X-Forwarded-Uri X-Forwarded-Path \
        X-Forwarded-Prefix X-Original_Url";
    let with_all = |path: &str, value: &str| {
        let names = names.split_ascii_whitespace();
        names.fold(t.get(path), |call, name| call.header(name, value))
    };
    assert_eq!(with_all("/r", "/open").send().await.status(), 401);
    t.backend.saw_nothing();
    let method = with_all("/open", "/r").header("x-forwarded-method", "DELETE");
    assert_eq!(method.send().await.status(), 200);
    let seen = t.backend.saw_one();
    assert_eq!((&*seen.method, &*seen.target), ("GET", "/open"));
    let names = folded(&seen);
    let routing = |name: &&String| name.contains("original") || name.contains("rewrite");
    assert_eq!(names.iter().find(routing), None);
    assert!(!seen.headers.values().any(|value| value == "/r" || value == "DELETE"));
}

const CUSTOM: &str = "
identity_headers:
  X-User: '{sub}'
  X-Groups: '{groups}'
  X-Roles: 'r={roles}'
  X-Mail: '{email}'
  X-Note: 'via {client}'
routes: { /r: { GET: { token: any } }, /open: { public: true } }
";

/// FW-04: claims are made safe, and nothing of them is lost.
#[tokio::test]
async fn claims_that_are_no_header_values_are_percent_encoded() {
    let t = Harness::start(CUSTOM).await;
    let long = "n".repeat(3 << 10);
    let cases = [
        ("a\r\nX-Admin: 1", "a%0D%0AX-Admin:%201"),
        ("\u{c6}gir", "%C3%86gir"),
        ("100%", "100%25"),
        ("a,b", "a,b"),
        ("\u{0}\u{7f}", "%00%7F"),
        (&*long, &*long),
    ];
    for (sub, header) in cases {
        t.backend.forget();
        let token = t.token().claim("sub", sub).claim("email", json!("a,b c")).sign();
        assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200, "{sub:?}");
        let seen = t.backend.saw_one();
        assert_eq!(seen.header("x-user"), Some(header));
        assert_eq!(seen.header("x-mail"), Some("a%2Cb%20c"));
        assert_eq!(seen.header("x-note"), Some("via web-app"));
        assert!(!seen.headers.contains_key("x-admin"));
        // The default's own names are gone with the default.
        assert!(!seen.headers.contains_key("x-auth-subject"));
    }
}

/// FW-05: a list is unambiguous and bounded, and says when it is cut.
#[tokio::test]
async fn lists_have_one_reading_and_a_bound() {
    let t = Harness::start(CUSTOM).await;
    let roles = t.token().claim("roles", json!(["a,b", "c d", "e"]));
    assert_eq!(t.get("/r").bearer(&roles.sign()).send().await.status(), 200);
    let seen = t.backend.saw_one();
    assert_eq!(seen.header("x-roles"), Some("r=a%2Cb,c%20d,e"));
    assert_eq!(seen.header("x-groups"), None);
    assert_eq!(seen.header("x-groups-truncated"), None);

    t.backend.forget();
    let many: Vec<String> = (0..500).map(|n| format!("/g g g g-{n:04}")).collect();
    let token = t.token().claim("groups", json!(many)).sign();
    assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200);
    let seen = t.backend.saw_one();
    let groups = seen.header("x-groups").unwrap();
    assert!(groups.len() <= 8 << 10, "{}", groups.len());
    assert!(groups.split(',').all(|group| many.contains(&group.replace("%20", " "))));
    assert_eq!(seen.header("x-groups-truncated"), Some("1"));
    assert_eq!(seen.header("x-user"), Some("alice"));
}

/// FW-01, FW-05: the names that the file chooses are as much ours as the default's.
#[tokio::test]
async fn configured_names_are_stripped_everywhere() {
    let t = Harness::start(CUSTOM).await;
    let names =
        "X-User x_user X.User X-Groups X-Groups-Truncated x_groups_truncated X-Mail-Truncated";
    let names = names.split_ascii_whitespace();
    let call = names.fold(t.get("/open"), |call, name| call.header(name, "root"));
    assert_eq!(call.header("x-auth-subject", "root").send().await.status(), 200);
    let seen = t.backend.saw_one();
    assert!(!seen.headers.values().any(|value| value == "root"), "{:?}", seen.headers);
}

/// FW-06: nobody is trusted by default.
#[tokio::test]
async fn a_stranger_cannot_say_where_it_comes_from() {
    let t = Harness::start(OPEN).await;
    let answer = t
        .get("/x")
        .host("api.example.com:8443")
        .header("x-forwarded-for", "1.1.1.1")
        .header("x-forwarded-for", "2.2.2.2")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-port", "1")
        .header("x-real-ip", "1.1.1.1")
        .header("forwarded", "for=1.1.1.1;proto=https;host=evil.example")
        .send()
        .await;
    let seen = t.backend.saw_one();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("api.example.com:8443"));
    assert_eq!(seen.header("x-forwarded-port"), Some("8443"));
    assert_eq!(seen.header("host"), Some("api.example.com:8443"));
    let forwarded = "for=127.0.0.1;host=\"api.example.com:8443\";proto=http";
    assert_eq!(seen.header("forwarded"), Some(forwarded));
    let line = t.logged(answer.header("x-request-id")).await;
    assert_eq!(line["client_ip"], "127.0.0.1");
}

/// FW-06, FW-07: what a trusted proxy tells is passed on with the next hop behind it.
#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let t = Harness::start(TRUSTING).await;
    let call = t.get("/x").header("x-forwarded-for", "6.6.6.6, 2001:db8::1, 127.0.0.9");
    let call = call.header("x-forwarded-proto", "https").header("x-forwarded-host", "shop.example");
    let answer = call.send().await;
    let seen = t.backend.saw_one();
    let chain = "6.6.6.6, 2001:db8::1, 127.0.0.9, 127.0.0.1";
    assert_eq!(seen.header("x-forwarded-for"), Some(chain));
    assert_eq!(seen.header("x-real-ip"), Some("2001:db8::1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("shop.example"));
    assert_eq!(seen.header("x-forwarded-port"), Some("443"));
    let forwarded = seen.header("forwarded").unwrap();
    assert_eq!(forwarded.matches("for=").count(), 4, "{forwarded}");
    assert!(forwarded.contains("for=\"[2001:db8::1]\""), "{forwarded}");
    assert!(forwarded.contains("host=\"shop.example\";proto=https"), "{forwarded}");
    let line = t.logged(answer.header("x-request-id")).await;
    assert_eq!(line["client_ip"], "2001:db8::1");
}

/// FW-07: the rules judge by the right-most hop that is not trusted; garbage ends the walk.
#[tokio::test]
async fn a_rule_judges_by_the_nearest_untrusted_hop() {
    let t = Harness::start(TRUSTING).await;
    let token = t.token().sign();
    let status = async |lines: &[&str]| {
        let call = t.get("/near").bearer(&token);
        let call = lines.iter().fold(call, |call, line| call.header("x-forwarded-for", line));
        call.send().await.status().as_u16()
    };
    assert_eq!(status(&["10.0.0.1"]).await, 200);
    assert_eq!(status(&["6.6.6.6", "10.0.0.1"]).await, 200);
    assert_eq!(status(&["6.6.6.6, 10.0.0.1, 127.0.0.2"]).await, 200);
    t.backend.forget();
    assert_eq!(status(&[]).await, 403);
    assert_eq!(status(&["10.0.0.1", "6.6.6.6"]).await, 403);
    assert_eq!(status(&["10.0.0.1, garbage"]).await, 403);
    assert_eq!(status(&["10.0.0.1, unknown, 127.0.0.2"]).await, 403);
    t.backend.saw_nothing();
    assert_eq!(t.denials("/near", "source_refused").await, 4.0);
}

/// FW-08, bypass 22: health checks have a port of their own, not an appearance.
#[tokio::test]
async fn nothing_about_a_request_makes_it_a_health_check() {
    let t = Harness::start("routes: { /r: { GET: read }, /r/**: { GET: read } }").await;
    for agent in ["GoogleHC/1.0", "kube-probe/1.31", "ELB-HealthChecker/2.0"] {
        let answer = t.get("/r").header("user-agent", agent).send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (401, "missing_token"));
    }
    for path in ["/r/ping", "/r/healthz", "/r/livez", "/r/.well-known/x"] {
        assert_eq!(t.get(path).send().await.status(), 401, "{path}");
    }
    for path in ["/livez", "/readyz", "/metrics", "/ping", "/reload"] {
        assert_eq!(t.get(path).send().await.status(), 404, "{path}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("/r", "missing_token").await, 3.0);
}

/// BR-13: a token in the query reaches neither backend nor log.
#[tokio::test]
async fn a_token_in_the_query_goes_no_further() {
    let t = Harness::start(OPEN).await;
    let answer = t.get("/p?access_token=SECRET&x=1&Access%5FToken=SECRET").send().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(t.backend.saw_one().target, "/p?x=1");
    t.logged(answer.header("x-request-id")).await;
    assert!(!t.log().contains("SECRET"), "{}", t.log());
}

/// BR-15, bypass 23: credentials for proxies are nobody's here, and nobody is asked for them.
#[tokio::test]
async fn credentials_for_proxies_do_not_count() {
    let t = Harness::start("routes: { /r: { GET: read }, /open: { public: true } }").await;
    let bearer = format!("Bearer {}", t.token().scope("read").sign());
    let refused = t.get("/r").header("proxy-authorization", &bearer).send().await;
    assert_eq!((refused.status().as_u16(), &*refused.reason()), (401, "missing_token"));
    assert_eq!(refused.header("proxy-authenticate"), "");
    t.backend.saw_nothing();
    let open = t.get("/open").header("proxy-authorization", &bearer).send().await;
    assert_eq!(open.status(), 200);
    assert_eq!(t.backend.saw_one().header("proxy-authorization"), None);
}

/// BR-16: a backend gets the token only where the file says so.
#[tokio::test]
async fn the_token_is_passed_on_only_where_the_file_says_so() {
    let default = "routes:
  /a: { GET: read }
  /b: { GET: read, keep_authorization: true }
  /open: { public: true }";
    let t = Harness::start(default).await;
    let token = t.token().scope("read").sign();
    let seen = async |t: &Harness, path: &str| {
        t.backend.forget();
        let call = t.get(path).bearer(&token).header("dpop", "proof");
        assert_eq!(call.send().await.status(), 200, "{path}");
        t.backend.saw_one()
    };
    for path in ["/a", "/open"] {
        let seen = seen(&t, path).await;
        assert_eq!(seen.header("authorization"), None);
        assert_eq!(seen.header("dpop"), None);
        let holds = |value: &http::HeaderValue| value.to_str().unwrap().contains(&token);
        assert!(!seen.headers.values().any(holds), "{:?}", seen.headers);
    }
    let kept = seen(&t, "/b").await;
    assert_eq!(kept.header("authorization"), Some(&*format!("Bearer {token}")));
    assert_eq!(kept.header("x-auth-subject"), Some("alice"));

    t.rewrite("keep_authorization: true\nroutes: { /a: { GET: read }, /b: { GET: read, keep_authorization: false } }");
    t.server.reload().await.expect("the file is good");
    assert!(seen(&t, "/a").await.header("authorization").is_some());
    assert_eq!(seen(&t, "/b").await.header("authorization"), None);
}
