//! Methods that the gateway judges as one thing and a backend runs as another.

use http::StatusCode;

use crate::harness::{Backend, Harness, Issuer, h2};

/// A broad rule for every method beside a narrow one, as people write it.
const BROAD: &str = "
routes:
  /orders/**: { allow: read, DELETE: super, BREW: super }
  /status: { public: true }
";

/// Spellings that Werkzeug, Django, Symfony and others bring into capitals.
const MISSPELT: [&str; 12] = [
    "delete", "Delete", "DELETe", "brew", "Brew", "get", "Post", "pROPFIND", "trace", "Trace",
    "connect", "Purge",
];

/// The method's case (RFC 9110 §9.1): with a token that the broad rule lets in, over both protocols.
#[tokio::test]
async fn a_method_in_another_case_is_no_method() {
    let (_folder, pair, tls) = h2::secured();
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let t = Harness::start_with(&format!("{tls}{BROAD}"), issuer, backend).await;
    let token = t.issuer.token().scope("read").sign();
    let mut client = h2::Http2::connect(t.address(), &pair).await;
    for (count, method) in (1..).zip(MISSPELT) {
        let request = h2::request(method, "/orders/1")
            .header("authorization", format!("Bearer {token}"))
            .body(h2::empty());
        let answer = client.send(request.unwrap()).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{method}");
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(body.contains("malformed_request"), "{method}: {body}");
        assert_eq!(
            t.denials("/orders/**", "malformed_request").await,
            f64::from(count),
            "{method}"
        );
    }
    t.backend.saw_nothing();
}

#[tokio::test]
async fn a_method_in_another_case_is_no_method_over_http_1() {
    let t = Harness::start(BROAD).await;
    let token = t.issuer.token().scope("read").sign();
    for (count, method) in (1..).zip(MISSPELT) {
        let answer = t.call(method, "/orders/1").bearer(&token).send().await;
        assert_eq!(answer.status(), 400, "{method}");
        assert_eq!(answer.reason(), "malformed_request", "{method}");
        assert_eq!(answer.header("www-authenticate"), "", "{method}");
        assert_eq!(
            t.denials("/orders/**", "malformed_request").await,
            f64::from(count),
            "{method}"
        );
        let public = t.call(method, "/status").send().await;
        assert!([400, 405].contains(&public.status().as_u16()), "{method}: {public:?}");
    }
    t.backend.saw_nothing();
    let answer = t.call("DELETE", "/orders/1").bearer(&token).send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (403, "missing_scope"));
    t.backend.saw_nothing();
}

/// `allow` stands for the methods that everybody thinks of, and the others are written out.
#[tokio::test]
async fn a_rule_for_every_method_opens_none_that_nobody_thought_of() {
    let t = Harness::start(BROAD).await;
    let (read, all) = (t.issuer.token().scope("read"), t.issuer.token().scope("read super"));
    let (read, all) = (read.sign(), all.sign());
    for method in ["PROPFIND", "MKCOL", "PURGE", "QUERY", "WHEN", "when", "TRACE", "_GET", "GET!"] {
        let answer = t.call(method, "/orders/1").bearer(&all).send().await;
        assert_eq!(
            (answer.status().as_u16(), &*answer.reason()),
            (405, "method_refused"),
            "{method}"
        );
        let allowed = "DELETE, BREW, GET, HEAD, POST, PUT, PATCH, OPTIONS";
        assert_eq!(answer.header("allow"), allowed, "{method}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("/orders/**", "method_refused").await, 9.0);
    for (method, token) in [("GET", &read), ("PATCH", &read), ("OPTIONS", &read), ("BREW", &all)] {
        assert_eq!(
            t.call(method, "/orders/1").bearer(token).send().await.status(),
            200,
            "{method}"
        );
        assert_eq!(t.backend.saw_one().method, method);
        t.backend.forget();
    }
    assert_eq!(t.call("BREW", "/orders/1").bearer(&read).send().await.status(), 403);
}
