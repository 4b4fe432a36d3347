//! Scripts of other origins: what a browser is told (standards CO-01 to CO-06).

use crate::harness::{Answer, Call, Harness, Reply, raw};

const POLICY: &str = "
cors: { origins: [https://app.example.com, 'http://localhost:5173'], credentials: true, max_age: 1h, headers: [X-Own], expose: [X-Total] }
routes:
  /orders/**: { GET: orders:read, POST: orders:write }
  /catalog/**: { public: true, cors: { origins: any } }
  /own/**: { allow: { token: any }, cors: off }
  /asked/**: { public: true, OPTIONS: { public: true }, cors: { origins: [https://app.example.com], headers: any } }
";

const APP: &str = "https://app.example.com";

fn preflight(t: &Harness, path: &str, origin: &str, method: &str) -> Call {
    t.call("OPTIONS", path).header("origin", origin).header("access-control-request-method", method)
}

/// CO-01, CO-03, CO-04.
#[tokio::test]
async fn a_preflight_is_answered_before_anybody_is_asked_for_a_token() {
    let t = Harness::start(POLICY).await;
    let answer = preflight(&t, "/orders/1", APP, "POST")
        .header("access-control-request-headers", "authorization")
        .send()
        .await;
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, POST");
    let headers = answer.header("access-control-allow-headers").to_owned();
    assert!(headers.starts_with("Authorization, Content-Type, DPoP,"), "{headers}");
    assert!(headers.ends_with("X-Own") || headers.ends_with("x-own"), "{headers}");
    assert_eq!(answer.header("access-control-max-age"), "3600");
    let vary = answer.header("vary");
    assert_eq!(vary, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    assert_eq!(answer.header("www-authenticate"), "");
    t.backend.saw_nothing();

    let line = t.line(&answer).await;
    assert_eq!((&line["decision"], &line["route"]), (&"allow".into(), &"/orders/**".into()));
    assert_eq!(line["cors"], "preflight");
    let counted = [("route", "/orders/**"), ("method", "OPTIONS"), ("code", "204")];
    assert_eq!(t.metric("scopegate_http_requests_total", &counted).await, 1.0);
}

/// CO-02.
#[tokio::test]
async fn other_options_requests_need_what_the_route_says() {
    let t = Harness::start(POLICY).await;
    let wanted = "access-control-request-method";
    let plain = t.call("OPTIONS", "/orders/1").header("origin", APP).send().await;
    assert_eq!(plain.status(), 405);
    let no_origin = t.call("OPTIONS", "/orders/1").header(wanted, "GET").send().await;
    assert_eq!(no_origin.status(), 405);
    let other_method = t.get("/orders/1").header("origin", APP).header(wanted, "GET").send().await;
    assert_eq!(
        (other_method.status().as_u16(), other_method.reason()),
        (401, "missing_token".into())
    );
    assert_eq!(t.denials("/orders/**", "method_refused").await, 2.0);
    t.backend.saw_nothing();
}

/// CO-03: other schemes, ports and names that begin or end the same.
#[tokio::test]
async fn an_origin_that_is_not_listed_gets_nothing() {
    let t = Harness::start(POLICY).await;
    for origin in [
        "https://app.example.com.evil.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com:443",
        "https://app.example.com/",
        "https://APP.example.com",
        "https://xapp.example.com",
        "http://localhost",
        "null",
        "",
        "*",
    ] {
        let answer = preflight(&t, "/orders/1", origin, "GET").send().await;
        assert_eq!(answer.status(), 204, "{origin}");
        says_nothing(&answer, origin);
        assert_eq!(t.line(&answer).await["cors"], "foreign_origin", "{origin}");
        let answer = t.get("/orders/1").header("origin", origin).send().await;
        assert_eq!(answer.status(), 401, "{origin}");
        says_nothing(&answer, origin);
        assert_eq!(answer.header("vary"), "Origin", "{origin}");
    }
    t.backend.saw_nothing();
}

/// A second `Origin` line could be read either way.
#[tokio::test]
async fn two_origins_are_none() {
    let t = Harness::start(POLICY).await;
    let two =
        format!("GET /orders/1 HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\nOrigin: https://b\r\n\r\n");
    let answer = raw::exchange(t.address(), two).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(!answer.to_lowercase().contains("access-control-allow-origin"), "{answer}");
}

/// CO-05: scripts read the gateway's refusals.
#[tokio::test]
async fn refusals_can_be_read() {
    let t = Harness::start(&format!("flood: 3/s\n{POLICY}")).await;
    let poor = t.token().sign();
    let from_app = |call: Call| call.header("origin", APP);
    let answers = [
        (401, from_app(t.get("/orders/1")).send().await),
        (403, from_app(t.call("POST", "/orders/1")).bearer(&poor).send().await),
        (404, from_app(t.get("/nowhere")).send().await),
        (429, from_app(t.get("/orders/1")).send().await),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("access-control-allow-origin"), APP, "{status}");
        let exposed = answer.header("access-control-expose-headers");
        for name in ["WWW-Authenticate", "RateLimit", "Retry-After", "X-Request-Id", "x-total"] {
            assert!(exposed.contains(name), "{status}: {exposed}");
        }
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/**", "missing_token").await, 1.0);
}

/// CO-05: nor do failures of the backend look like failures of the network.
#[tokio::test]
async fn failures_of_the_backend_can_be_read() {
    let policy = format!("upstreams: {{ main: 'http://127.0.0.1:9' }}\n{POLICY}");
    let t = Harness::start(&policy).await;
    let answer = t.get("/catalog/1").header("origin", "https://any.example").send().await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

/// A path that no route has: the script asks, is let ask, and reads 404.
#[tokio::test]
async fn a_script_learns_that_there_is_no_route() {
    let t = Harness::start(POLICY).await;
    let answer = preflight(&t, "/nowhere", APP, "DELETE").send().await;
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.header("access-control-allow-methods"), "DELETE");
    let answer = preflight(&t, "/nowhere", "https://evil.example", "DELETE").send().await;
    says_nothing(&answer, "evil");
    t.backend.saw_nothing();
}

/// CO-06: one answer to the question whose scripts may read it, and it is the gateway's.
#[tokio::test]
async fn what_the_backend_says_of_origins_is_replaced() {
    let t = Harness::start(POLICY).await;
    let headers = vec![
        ("access-control-allow-origin", "*".to_owned()),
        ("access-control-allow-origin", "https://evil.example".to_owned()),
        ("access-control-allow-credentials", "true".to_owned()),
        ("access-control-expose-headers", "Set-Cookie".to_owned()),
        ("vary", "Accept-Encoding".to_owned()),
    ];
    t.backend.reply(Reply { headers, ..Reply::default() });
    let token = t.token().sign();
    let answer = t.get("/orders/1").bearer(&token).header("origin", APP).send().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert!(!answer.header("access-control-expose-headers").contains("Set-Cookie"));
    let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept-Encoding", "Origin"]);
    assert_eq!(t.backend.saw_one().header("origin"), Some(APP));

    let foreign = t.get("/orders/1").bearer(&token).header("origin", "https://evil.example");
    says_nothing(&foreign.send().await, "evil");
}

/// `cors: off`: the backend answers by itself, also preflights, if it is let.
#[tokio::test]
async fn a_route_can_leave_it_to_the_backend() {
    let t = Harness::start(POLICY).await;
    let own = vec![("access-control-allow-origin", "https://own.example".to_owned())];
    t.backend.reply(Reply { headers: own, ..Reply::default() });
    let answer = preflight(&t, "/own/1", APP, "GET").send().await;
    assert_eq!(answer.status(), 401);
    says_nothing(&answer, APP);
    assert_eq!(answer.header("vary"), "");
    t.backend.saw_nothing();
    let token = t.token().sign();
    let answer = t.get("/own/1").bearer(&token).header("origin", APP).send().await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://own.example");
}

/// A route's own setting replaces the file's as a whole: `any` never goes with cookies.
#[tokio::test]
async fn any_origin_gets_a_star_and_no_credentials() {
    let t = Harness::start(POLICY).await;
    for origin in ["https://any.example", "null", APP] {
        for answer in [
            preflight(&t, "/catalog/1", origin, "GET").send().await,
            t.get("/catalog/1").header("origin", origin).send().await,
        ] {
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            assert_eq!(answer.header("access-control-allow-credentials"), "");
        }
    }
}

/// `headers: any` names what is asked for, and nothing that is not a list of names.
#[tokio::test]
async fn asked_headers_are_named() {
    let t = Harness::start(POLICY).await;
    let ask = |asked: &str| {
        preflight(&t, "/asked/1", APP, "GET").header("access-control-request-headers", asked)
    };
    let answer = ask("authorization, x-new").send().await;
    assert_eq!(answer.header("access-control-allow-headers"), "authorization, x-new");
    let answer = ask("x-a: b;").send().await;
    assert_eq!(answer.header("access-control-allow-headers"), "");
    t.backend.saw_nothing();
}

/// Without `cors` a preflight is a request like any other.
#[tokio::test]
async fn without_cors_nothing_is_said() {
    let t = Harness::start("routes:\n  /orders/**: { GET: orders:read }\n").await;
    let answer = preflight(&t, "/orders/1", APP, "GET").send().await;
    assert_eq!(answer.status(), 405);
    says_nothing(&answer, APP);
    assert_eq!(answer.header("vary"), "");
    assert_eq!(t.denials("/orders/**", "method_refused").await, 1.0);
    t.backend.saw_nothing();
}

#[track_caller]
fn says_nothing(answer: &Answer, origin: &str) {
    for name in answer.headers().keys() {
        assert!(!name.as_str().starts_with("access-control-"), "{origin}: {name}");
    }
}
