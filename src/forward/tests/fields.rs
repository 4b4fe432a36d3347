//! What a backend sees of a request's fields.

use std::sync::OnceLock;
use std::time::Duration;

use http_body::Frame;
use serde_json::Map;

use super::*;
use crate::identity::{Claims, Identity, Kind, LimitKeys};
use crate::rejection::Unreachable;

/// The head that a backend sees.
async fn head(request: Request<Script>, change: impl FnOnce(&mut Outgoing<'_>)) -> String {
    let backend = Backend::start(&[&[Serve]]).await;
    let sender = Sender::to(&[backend.port]);
    let body = sender.send_with(request, change).await.unwrap().response.into_body();
    text(body).await.unwrap();
    backend.text(0)
}

fn lines<'t>(head: &'t str, name: &str) -> Vec<&'t str> {
    let mine = |line: &&str| line.split(':').next() == Some(name);
    head.lines().filter(mine).map(|line| line[name.len() + 1..].trim()).collect()
}

fn identity() -> &'static Identity {
    let identity = Identity {
        issuer: "main".into(),
        issuer_url: "https://id.example".into(),
        subject: Some("alice".into()),
        client: None,
        kind: Kind::User,
        scopes: [].into(),
        implied: [].into(),
        roles: [].into(),
        groups: [].into(),
        unread: Default::default(),
        tenant: None,
        acr: None,
        auth_time: None,
        expires: Duration::MAX,
        not_before: Duration::ZERO,
        jti_hash: None,
        claims: Claims::new(Box::default(), Map::new()),
        aliases: [].into(),
        headers: (*b"x-auth-subject: alice\r\nx-auth-kind: user\r\n").into(),
        keys: LimitKeys { client: 0, user: 0 },
        marks: OnceLock::new(),
    };
    Box::leak(Box::new(identity))
}

/// The head as a whole: request line, Host, identity, forwarding fields, request id, Via.
#[tokio::test]
async fn a_backend_sees_who_calls_and_from_where() {
    let identity = identity();
    let head = head(get(), |outgoing| outgoing.identity = Some(identity)).await;
    let mut sorted: Vec<&str> = head.trim_end().lines().collect();
    sorted[1..].sort_unstable();
    let expected = [
        "GET /orders/1?x=1 HTTP/1.1",
        r#"forwarded: for=192.0.2.7;host="api.example.com";proto=https"#,
        "host: api.example.com",
        "via: 1.1 scopegate",
        "x-auth-kind: user",
        "x-auth-subject: alice",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: api.example.com",
        "x-forwarded-port: 443",
        "x-forwarded-proto: https",
        "x-real-ip: 192.0.2.7",
        "x-request-id: 01K3F9",
    ];
    assert_eq!(sorted, expected);
}

/// FW-01, FW-02, FW-03, FW-08, AZ-05, BR-15, BR-16, MT-03, bypasses 15 to 19, 21, 22: on a public
/// route too, for every method, and whatever the client calls itself.
#[tokio::test]
async fn what_only_the_gateway_may_say_is_stripped_from_anonymous_requests() {
    let fields = [
        ("X-Auth-Subject", "root"),
        ("x_auth_subject", "root"),
        ("X.Auth.Subject", "root"),
        ("X-User", "root"),
        ("X_User", "root"),
        ("X-Auth-Groups-Truncated", "root"),
        ("Authorization", "Bearer root"),
        ("Proxy-Authorization", "Bearer root"),
        ("DPoP", "root"),
        ("X-HTTP-Method-Override", "root"),
        ("X-Method-Override", "root"),
        ("X-HTTP-Method", "root"),
        ("X-Original-URL", "/root"),
        ("X-Rewrite-URL", "/root"),
        ("X-Forwarded-Uri", "/root"),
        ("X-Forwarded-Prefix", "/root"),
        ("X-Forwarded-Client-Cert", "root"),
        ("Client-Cert", "root"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "root"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Request-Id", "root"),
        ("User-Agent", "GoogleHC/1.0"),
        ("X-Kept", "yes"),
    ];
    for method in ["GET", "OPTIONS"] {
        let head = head(request(method, &fields, Script::empty()), |_| {}).await;
        assert!(!head.contains("root") && !head.contains("6.6.6.6"), "{head}");
        assert_eq!(lines(&head, "x-kept"), ["yes"]);
        assert_eq!(lines(&head, "x-request-id"), ["01K3F9"]);
    }
}

/// BR-16: by setting alone.
#[tokio::test]
async fn the_token_is_kept_only_when_the_route_says_so() {
    let fields = [("Authorization", "Bearer T")];
    let kept = head(request("GET", &fields, Script::empty()), |outgoing| {
        outgoing.keep_authorization = true;
    });
    assert_eq!(lines(&kept.await, "authorization"), ["Bearer T"]);
}

/// BR-13.
#[tokio::test]
async fn a_token_in_the_query_does_not_reach_the_backend() {
    let head = head(get(), |outgoing| {
        outgoing.path_and_query = "/p?access_token=T&x=1".parse().unwrap();
    });
    assert!(head.await.starts_with("GET /p?x=1 HTTP/1.1\r\n"));
}

/// HP-01, HP-02, HP-03, HP-11, bypass 20: nominations are obeyed, but before ours is added.
#[tokio::test]
async fn a_nomination_cannot_remove_what_the_gateway_adds() {
    let identity = identity();
    let nominated = "X-Auth-Subject, X-Forwarded-For, Forwarded, Via, X-Request-Id, Host, X-Foo";
    let fields = [
        ("Connection", nominated),
        ("Connection", "Upgrade, HTTP2-Settings, X-Bar"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("X-Foo", "1"),
        ("X-Bar", "1"),
        ("TE", "trailers"),
        ("Keep-Alive", "timeout=5"),
    ];
    let head = head(request("GET", &fields, Script::empty()), |outgoing| {
        outgoing.identity = Some(identity);
    });
    let head = head.await;
    for gone in ["connection", "upgrade", "http2-settings", "x-foo", "x-bar", "te", "keep-alive"] {
        assert!(lines(&head, gone).is_empty(), "{gone}: {head}");
    }
    assert_eq!(lines(&head, "x-auth-subject"), ["alice"]);
    assert_eq!(lines(&head, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(lines(&head, "host"), ["api.example.com"]);
    assert_eq!(lines(&head, "via"), ["1.1 scopegate"]);
}

/// HP-04.
#[tokio::test]
async fn via_is_appended_by_the_version_received() {
    let via = request("GET", &[("Via", "1.0 a"), ("Via", "1.1 b")], Script::empty());
    assert_eq!(lines(&head(via, |_| {}).await, "via"), ["1.0 a, 1.1 b, 1.1 scopegate"]);
    let mut h2 = get();
    *h2.version_mut() = Version::HTTP_2;
    assert_eq!(lines(&head(h2, |_| {}).await, "via"), ["2.0 scopegate"]);
    // HP-24: own version on each side.
    let mut old = get();
    *old.version_mut() = Version::HTTP_10;
    let head = head(old, |_| {}).await;
    assert!(head.starts_with("GET /orders/1?x=1 HTTP/1.1\r\n"));
    assert_eq!(lines(&head, "via"), ["1.0 scopegate"]);
}

/// HP-04: a route that leads back to the gateway ends.
#[tokio::test]
async fn a_loop_ends_before_the_backend() {
    let sender = Sender::to(&[closed_port().await]);
    let passes = ["1.1 scopegate"; 10].join(", ");
    let looped = request("GET", &[("Via", &passes)], Script::empty());
    let refused = sender.send(looped).await.unwrap_err();
    assert!(matches!(refused, Rejection::UpstreamUnreachable(Unreachable::Loop)), "{refused:?}");
}

/// HP-15.
#[tokio::test]
async fn cookie_crumbs_are_joined() {
    let crumbs = request("GET", &[("Cookie", "a=1"), ("Cookie", "b=2")], Script::empty());
    assert_eq!(lines(&head(crumbs, |_| {}).await, "cookie"), ["a=1; b=2"]);
}

/// FW-06: behind a trusted peer, all fields tell the same story, one element per hop.
#[tokio::test]
async fn a_trusted_peer_is_appended_to_what_it_told() {
    let fields = [
        ("X-Forwarded-For", "2001:db8::1"),
        ("X-Forwarded-For", "198.51.100.9"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "www.example.com:8080"),
        ("Forwarded", "for=6.6.6.6"),
    ];
    let request = request("GET", &fields, Script::empty());
    let peer = "[::ffff:10.0.0.2]:4000".parse().unwrap();
    let origin = Origin::of(peer, true, request.headers(), &["10.0.0.0/8".parse().unwrap()]);
    let head = head(request, |outgoing| {
        outgoing.peer_ip =
            HeaderValue::from_str(&origin.peer.ip().to_canonical().to_string()).unwrap();
        outgoing.origin = origin;
    })
    .await;
    assert_eq!(lines(&head, "x-forwarded-for"), ["2001:db8::1, 198.51.100.9, 10.0.0.2"]);
    assert_eq!(lines(&head, "x-real-ip"), ["198.51.100.9"]);
    assert_eq!(lines(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(lines(&head, "x-forwarded-host"), ["www.example.com:8080"]);
    assert_eq!(lines(&head, "x-forwarded-port"), ["8080"]);
    let forwarded = r#"for="[2001:db8::1]";host="www.example.com:8080";proto=http, for=198.51.100.9, for=10.0.0.2;host="api.example.com";proto=https"#;
    assert_eq!(lines(&head, "forwarded"), [forwarded]);
}

/// FW-06: `Forwarded` alone is told on in both spellings.
#[tokio::test]
async fn forwarded_of_a_trusted_peer_is_told_on() {
    let element = r#"for="[2001:db8::1]:99";proto=https, for=_x;proto=http;host=a.example"#;
    let request = request("GET", &[("Forwarded", element)], Script::empty());
    let peer = "10.0.0.2:4000".parse().unwrap();
    let origin = Origin::of(peer, true, request.headers(), &["10.0.0.0/8".parse().unwrap()]);
    let head = head(request, |outgoing| {
        outgoing.peer_ip =
            HeaderValue::from_str(&origin.peer.ip().to_canonical().to_string()).unwrap();
        outgoing.origin = origin;
    })
    .await;
    assert_eq!(lines(&head, "x-forwarded-for"), ["2001:db8::1, unknown, 10.0.0.2"]);
    assert_eq!(lines(&head, "x-forwarded-proto"), ["http"]);
    let forwarded = r#"for="[2001:db8::1]";host="a.example";proto=http, for=unknown, for=10.0.0.2;host="api.example.com";proto=https"#;
    assert_eq!(lines(&head, "forwarded"), [forwarded]);
}

/// What others than the trusted peer say of scheme and host is not believed in its place.
#[tokio::test]
async fn elements_before_the_trusted_peers_have_no_say() {
    let element = "for=6.6.6.6;proto=https;host=evil.example, for=198.51.100.9";
    let request = request("GET", &[("Forwarded", element)], Script::empty());
    let peer = "10.0.0.2:4000".parse().unwrap();
    let origin = Origin::of(peer, false, request.headers(), &["10.0.0.0/8".parse().unwrap()]);
    let head = head(request, |outgoing| outgoing.origin = origin).await;
    assert_eq!(lines(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(lines(&head, "x-forwarded-host"), ["api.example.com"]);
    assert_eq!(lines(&head, "x-real-ip"), ["198.51.100.9"]);
    assert!(!head.contains("evil.example"), "{head}");
}

/// A list of thousands of hops does not become a head of ten times its length.
#[tokio::test]
async fn very_many_hops_are_told_of_the_nearest() {
    let many = "x,".repeat(30_000) + "198.51.100.9";
    for (name, value) in [
        ("X-Forwarded-For", many.clone()),
        ("Forwarded", many.replace("x,", "for=x,").replace("198", "for=198")),
    ] {
        let request = request("GET", &[(name, value.as_str())], Script::empty());
        let peer = "10.0.0.2:4000".parse().unwrap();
        let origin = Origin::of(peer, true, request.headers(), &["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(origin.client.to_string(), "198.51.100.9");
        let head = head(request, |outgoing| outgoing.origin = origin).await;
        assert!(head.len() < 4 << 10, "{}", head.len());
        assert!(lines(&head, "x-forwarded-for")[0].contains("unknown, 198.51.100.9, "), "{head}");
    }
}

/// SM-12: whatever the method, the length is that of the body; none appears where none was.
#[tokio::test]
async fn a_body_is_framed_as_it_was_read_for_every_method() {
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        let lying = [("Content-Length", "4"), ("Transfer-Encoding", "chunked")];
        let seen = head(request(method, &lying, Script::full("GET /admin HTTP/1.1")), |_| {}).await;
        assert_eq!(lines(&seen, "content-length"), ["19"], "{method}");
        assert!(lines(&seen, "transfer-encoding").is_empty());
        assert!(seen.ends_with("\r\n\r\nGET /admin HTTP/1.1"));

        let (sender, body) = Script::fed(None);
        feed(&sender, "abc");
        drop(sender);
        let seen = head(request(method, &[("Content-Length", "3")], body), |_| {}).await;
        assert!(lines(&seen, "content-length").is_empty());
        assert_eq!(lines(&seen, "transfer-encoding"), ["chunked"], "{method}");
        assert!(seen.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));

        let seen = head(request(method, &[], Script::empty()), |_| {}).await;
        assert!(lines(&seen, "content-length").is_empty(), "{method}");
        assert!(lines(&seen, "transfer-encoding").is_empty(), "{method}");
    }
    let zero = request("POST", &[("Content-Length", "0")], Script::empty());
    assert_eq!(lines(&head(zero, |_| {}).await, "content-length"), ["0"]);
}

/// HP-10: trailers of a request are dropped, and so is their announcement.
#[tokio::test]
async fn request_trailers_do_not_reach_the_backend() {
    let (sender, body) = Script::fed(None);
    feed(&sender, "abc");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-auth-subject", HeaderValue::from_static("root"));
    sender.send(Ok(Frame::trailers(trailers))).unwrap();
    let head = head(request("POST", &[("Trailer", "X-Auth-Subject")], body), |_| {}).await;
    assert!(!head.to_lowercase().contains("x-auth-subject"), "{head}");
    assert!(head.ends_with("3\r\nabc\r\n0\r\n\r\n"));
}

/// HP-07: the expectation is met by the gateway.
#[tokio::test]
async fn expect_is_not_passed_on() {
    let expecting = request("POST", &[("Expect", "100-continue")], Script::full("abc"));
    assert!(lines(&head(expecting, |_| {}).await, "expect").is_empty());
}

/// Bypass 44: obs-text in a value is passed as it is; nothing here matches on values.
#[tokio::test]
async fn a_value_that_is_not_text_harms_nothing() {
    let mut odd = get();
    let value = HeaderValue::from_bytes(b"\xff, x-foo").unwrap();
    odd.headers_mut().insert("connection", value);
    odd.headers_mut().insert("x-foo", HeaderValue::from_static("1"));
    let head = head(odd, |_| {}).await;
    assert!(lines(&head, "x-foo").is_empty());
}
