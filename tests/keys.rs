//! Where keys come from, and what happens while none do.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::harness::issuer::Behaviour;
use crate::harness::keys::Key;
use crate::harness::{Answer, Backend, Call, Harness, Issuer, ORDERS, until, within};

const INSERTED: &str = "/.well-known/oauth-authorization-server";
const APPENDED: &str = "/.well-known/openid-configuration";

/// An address at which nobody listens.
async fn vacant() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// [`ORDERS`] with this issuer, and whatever is said of it beside its URL.
fn trusting(url: &str, more: &str) -> String {
    format!(
        "issuers: {{ main: {{ url: '{url}', audience: https://api.example.com{more} }} }}\n{ORDERS}"
    )
}

/// A gateway in front of an issuer that behaves so from the start.
async fn start(behaviour: Behaviour) -> Harness {
    let issuer = Issuer::start().await;
    issuer.behave(behaviour);
    Harness::start_with(ORDERS, issuer, Backend::start().await).await
}

async fn readiness(t: &Harness) -> Answer {
    Call::new(t.admin(), "GET", "/readyz?verbose").send().await
}

/// Waits until `condition` holds after the issuer's next attempt, or one of those that follow. Time
/// is moved past the longest pause, then stands while the attempt is made.
async fn later(t: &Harness, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..20 {
        t.clock.advance(Duration::from_secs(61));
        let attempt = until(what, &mut condition);
        if tokio::time::timeout(Duration::from_millis(500), attempt).await.is_ok() {
            return;
        }
    }
    panic!("{what} takes too long");
}

/// Validity cannot be known: 503 and when to come again, not a 401 that makes clients throw good
/// tokens away; public routes are served, and readiness says why (KS-12).
async fn is_unavailable(t: &Harness, why: &str) {
    t.backend.forget();
    let answer = t.get("/orders/1").bearer(&t.token().sign()).send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (503, "auth_unavailable"), "{why}");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(answer.header("www-authenticate"), "");
    assert_eq!(t.line(&answer).await["reason"], "auth_unavailable");
    t.backend.saw_nothing();
    assert!(t.denials("/orders/**", "auth_unavailable").await >= 1.0);
    assert_eq!(t.metric("scopegate_issuer_up", &[("issuer", "main")]).await, 0.0);

    assert_eq!(t.get("/status").send().await.status(), 200);
    assert_eq!(t.get("/orders/1").send().await.status(), 401);
    assert_eq!(t.get("/orders/1").bearer("junk").send().await.status(), 401);
    let ready = readiness(t).await;
    assert_eq!(ready.status(), 503);
    assert!(ready.text().contains("[-] issuer main failed: "), "{}", ready.text());
    assert!(ready.text().contains(why), "{}", ready.text());
    assert_eq!(Call::new(t.admin(), "GET", "/livez").send().await.status(), 200);
}

async fn is_well(t: &Harness) {
    t.accepts([("a good token", t.token().sign())]).await;
    let ready = readiness(t).await;
    assert_eq!(ready.status(), 200, "{}", ready.text());
    assert!(ready.text().contains("[+] issuer main ok: "), "{}", ready.text());
    assert_eq!(t.metric("scopegate_issuer_up", &[("issuer", "main")]).await, 1.0);
}

/// How often the gateway counted an answer of the issuer like this.
async fn requests(t: &Harness, kind: &str, result: &str) -> f64 {
    t.metric("scopegate_issuer_requests_total", &[("kind", kind), ("result", result)]).await
}

/// KS-02, KS-04, KS-12: whatever is wrong with the issuer, nothing passes; once it is mended, the
/// gateway recovers by itself.
#[tokio::test]
async fn a_broken_issuer_closes_and_a_mended_one_opens() {
    let elsewhere = Backend::start().await;
    let html = Bytes::from_static(b"<!doctype html><title>Sign in</title>");
    let rows = [
        (Behaviour::Broken(200, html), "it is not JSON", "invalid"),
        (Behaviour::Broken(200, Bytes::from_static(b"\xff\0{")), "it is not JSON", "invalid"),
        (Behaviour::Broken(200, Bytes::from_static(b"{}")), "it names no issuer", "invalid"),
        (Behaviour::Broken(200, Bytes::new()), "it is not JSON", "invalid"),
        (Behaviour::Broken(500, Bytes::new()), "the server answers 500", "http_status"),
        (Behaviour::Broken(404, Bytes::new()), "the server answers 404", "http_status"),
        (Behaviour::Broken(204, Bytes::new()), "the server answers 204", "http_status"),
        (Behaviour::Redirect(elsewhere.url()), "redirects are not followed", "redirect"),
        (Behaviour::Broken(200, vec![b' '; 50 << 20].into()), "larger than 1 MiB", "too_large"),
    ];
    for (behaviour, why, result) in rows {
        let t = start(behaviour).await;
        is_unavailable(&t, why).await;
        assert!(requests(&t, "discovery", result).await >= 1.0, "{why}");
        t.issuer.behave(Behaviour::Good);
        later(&t, "recovery", async || t.server.is_ready()).await;
        is_well(&t).await;
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// KS-02, KS-10: documents that are JSON and still of no use.
#[tokio::test]
async fn a_misleading_document_closes() {
    let issuer = async |change: &dyn Fn(&Issuer)| {
        let issuer = Issuer::start().await;
        change(&issuer);
        Harness::start_with(ORDERS, issuer, Backend::start().await).await
    };
    let named = |name: fn(String) -> Value| {
        move |issuer: &Issuer| {
            let jwks_uri = format!("{}/jwks", issuer.url());
            issuer.set_metadata(json!({ "issuer": name(issuer.url()), "jwks_uri": jwks_uri }));
        }
    };
    let t = issuer(&named(|url| format!("{url}/").into())).await;
    is_unavailable(&t, "carries another issuer's name").await;
    assert_eq!(
        (t.issuer.key_requests(), requests(&t, "discovery", "other_issuer").await),
        (0, 1.0)
    );
    let t = issuer(&named(|_| "https://id.example.com".into())).await;
    is_unavailable(&t, "server says \"https://id.example.com\"").await;
    let t = issuer(&named(|url| json!([url]))).await;
    is_unavailable(&t, "it names no issuer").await;
    let t = issuer(&|issuer| issuer.set_metadata(json!({ "issuer": issuer.url() }))).await;
    is_unavailable(&t, "it names no key set").await;
    let afar = |issuer: &Issuer| {
        let jwks_uri = "http://169.254.169.254/keys";
        issuer.set_metadata(json!({ "issuer": issuer.url(), "jwks_uri": jwks_uri }));
    };
    is_unavailable(&issuer(&afar).await, "must not be fetched over plain http").await;
    let t = issuer(&|issuer| issuer.publish(&[])).await;
    is_unavailable(&t, "has no key that can be used").await;
    let many = |issuer: &Issuer| issuer.publish(&vec![issuer.key.jwk(); 101]);
    is_unavailable(&issuer(&many).await, "at most 100 keys").await;
}

/// KS-04, KS-12: an issuer that accepts and never answers costs a request a second, not a minute.
#[tokio::test]
async fn a_silent_issuer_holds_nobody_up() {
    let issuer = Issuer::start().await;
    issuer.behave(Behaviour::Held);
    let t = Harness::launch(ORDERS, issuer, Backend::start().await).await;
    let call = tokio::spawn(t.get("/orders/1").bearer(&t.token().sign()).send());
    until("the gateway asks", async || !t.issuer.requests().is_empty()).await;
    assert_eq!(t.get("/status").send().await.status(), 200);
    let mut call = std::pin::pin!(call);
    let answer = loop {
        tokio::select! {
            answer = &mut call => break answer.unwrap(),
            () = tokio::task::yield_now() => t.clock.advance(Duration::from_millis(50)),
        }
    };
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (503, "auth_unavailable"));
    later(&t, "the timeout", async || requests(&t, "discovery", "timeout").await >= 1.0).await;
    is_unavailable(&t, "no answer in 5 seconds").await;
    t.issuer.release();
    later(&t, "recovery", async || t.server.is_ready()).await;
    is_well(&t).await;
}

/// KS-05: many first requests are answered after one fetch, and wait for it.
#[tokio::test]
async fn first_requests_share_one_fetch() {
    let issuer = Issuer::start().await;
    issuer.behave(Behaviour::Held);
    let t = Harness::launch(ORDERS, issuer, Backend::start().await).await;
    let token = t.token().sign();
    let calls: Vec<_> =
        (0..50).map(|_| tokio::spawn(t.get("/orders/1").bearer(&token).send())).collect();
    until("the gateway asks", async || !t.issuer.requests().is_empty()).await;
    t.issuer.release();
    for call in calls {
        assert_eq!(within(call).await.unwrap().status(), 200);
    }
    assert_eq!(t.issuer.requests(), [APPENDED, "/jwks"]);
}

/// KS-01: RFC 8414's place is asked after OpenID Connect's, and only if that has nothing.
#[tokio::test]
async fn metadata_is_found_in_both_places() {
    let issuer = Issuer::start().await;
    let (url, appended) = (format!("{}/t", issuer.url()), format!("/t{APPENDED}"));
    let metadata = json!({ "issuer": url, "jwks_uri": format!("{}/jwks", issuer.url()) });
    issuer.serve_at(&format!("{INSERTED}/t"), metadata.clone());
    let t = Harness::start_with(&trusting(&url, ""), issuer, Backend::start().await).await;
    let token = t.token().claim("iss", url.as_str());
    t.accepts([("a tenant's token", token.sign())]).await;
    t.refuses([("the host's own token", t.token().sign(), "unknown_issuer")]).await;
    assert_eq!(t.issuer.requests(), [&appended, &format!("{INSERTED}/t"), "/jwks"]);

    let issuer = Issuer::start().await;
    issuer.serve_at(INSERTED, metadata);
    let t = Harness::start_with(ORDERS, issuer, Backend::start().await).await;
    assert_eq!(t.issuer.requests(), [APPENDED, "/jwks"]);
}

/// KS-12, bypass 40: the process starts without its issuer, and needs no restart once it is there.
#[tokio::test]
async fn an_issuer_may_come_after_the_gateway() {
    let address = vacant().await;
    let stranger = Issuer::start().await;
    let yaml = trusting(&format!("http://{address}"), "");
    let t = Harness::start_with(&yaml, stranger, Backend::start().await).await;
    let ready = readiness(&t).await;
    assert!(ready.text().contains("cannot be fetched: no connection"), "{}", ready.text());
    assert_eq!(
        (ready.status().as_u16(), t.get("/status").send().await.status().as_u16()),
        (503, 200)
    );
    let early = t.token().claim("iss", format!("http://{address}"));
    let answer = t.get("/orders/1").bearer(&early.sign()).send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (503, "auth_unavailable"));

    let issuer = Issuer::start_on(address).await;
    assert_eq!(issuer.address(), address);
    later(&t, "recovery", async || t.server.is_ready()).await;
    t.accepts([("a good token", issuer.token().scope("orders:read").sign())]).await;
    t.refuses([("a stranger's", early.sign(), "bad_signature")]).await;
}

/// KS-06, KS-09: a new key works at the first try, and a key that is gone works no more.
#[tokio::test]
async fn keys_rotate() {
    let t = Harness::start(ORDERS).await;
    let (old, new) = (t.token(), Key::es256("key-2"));
    let remembered = old.sign();
    t.accepts([("by the old key", remembered.clone())]).await;
    t.issuer.publish(&[new.jwk()]);
    t.clock.advance(Duration::from_secs(31));
    t.accepts([("by the new key", old.clone().signed_by(&new).header("kid", "key-2").sign())])
        .await;
    t.backend.forget();
    t.refuses([
        ("by the old key", old.claim("jti", "2").sign(), "unknown_key"),
        ("by the old key, seen before", remembered, "unknown_key"),
    ])
    .await;
    assert_eq!((t.issuer.key_requests(), requests(&t, "keys", "ok").await), (2, 2.0));
}

/// KS-09, KS-12: without anybody asking, too, and wherever the key set has moved.
#[tokio::test]
async fn a_refresh_takes_keys_away_and_follows_the_key_set() {
    let t = Harness::start(ORDERS).await;
    let new = Key::es256("key-1");
    t.accepts([("before", t.token().sign())]).await;
    t.backend.forget();
    t.issuer.serve_at("/moved", json!({ "keys": [new.jwk()] }));
    let moved = format!("{}/moved", t.issuer.url());
    t.issuer.set_metadata(json!({ "issuer": t.issuer.url(), "jwks_uri": moved }));
    t.clock.advance(Duration::from_secs(600));
    until("the refresh", async || requests(&t, "keys", "ok").await >= 2.0).await;
    t.refuses([("by the removed key", t.token().sign(), "bad_signature")]).await;
    t.accepts([("by the new key of that name", t.token().signed_by(&new).sign())]).await;
}

/// KS-07, bypass 39: unknown kids, however many, cost the issuer one fetch and good tokens nothing.
#[tokio::test]
async fn unknown_kids_are_no_flood() {
    for (behaviour, count) in [
        (Behaviour::Good, 10_000),
        (Behaviour::Broken(500, Bytes::new()), 2000),
        (Behaviour::Broken(200, Bytes::from_static(b"{\"keys\":[]}")), 2000),
    ] {
        let t = Harness::start(ORDERS).await;
        let fetched = t.issuer.requests().len();
        let began = t.clock.now().monotonic;
        t.issuer.behave(behaviour);
        let (token, good) = (t.token(), t.token().sign());
        let mut connection = crate::harness::client::Connection::open(t.address()).await;
        for number in 0..count {
            let forged = token.clone().header("kid", format!("k{number}"));
            // Any signature does: the key is looked up first.
            let forged = format!("{}.AAAA", forged.input());
            assert_eq!(connection.get("/orders/1", &forged).await, 401);
            if number % (count / 20) == 0 {
                t.clock.advance(Duration::from_secs(1));
                assert_eq!(connection.get("/orders/1", &good).await, 200);
                let fresh = token.clone().claim("jti", number).sign();
                assert_eq!(connection.get("/orders/1", &fresh).await, 200);
            }
        }
        let extra = t.issuer.requests().len() - fetched;
        // One fetch in 30 seconds: one request for the metadata and one for the keys.
        let windows = 1 + (t.clock.now().monotonic - began).as_secs() / 30;
        assert!(extra as u64 <= 2 * windows, "{extra} requests in {windows} windows");
        assert_eq!(t.denials("/orders/**", "unknown_key").await, f64::from(count));
        assert_eq!(t.backend.seen().len(), 40);
    }
}

/// KS-08: old keys serve while the issuer is away, but not for ever.
#[tokio::test]
async fn keys_outlive_their_issuer_up_to_a_limit() {
    let issuer = Issuer::start().await;
    let t = Harness::with_issuer_settings("max_stale: 1h", issuer).await;
    t.issuer.behave(Behaviour::Broken(503, Bytes::new()));
    t.clock.advance(Duration::from_secs(1800));
    until("a failed refresh", async || requests(&t, "discovery", "http_status").await > 0.0).await;
    let long = |name: &str| t.token().claim("exp", 4_000_000_000u64).claim("jti", name);
    t.accepts([("by a known key", long("1").sign())]).await;
    t.backend.forget();
    let unknown = long("2").header("kid", "new").sign();
    t.refuses([("by an unknown key", unknown, "unknown_key")]).await;
    assert_eq!(t.metric("scopegate_issuer_up", &[]).await, 0.0);
    assert_eq!(readiness(&t).await.status(), 200);

    t.clock.advance(Duration::from_secs(1900));
    let remembered = long("1").sign();
    for token in [long("3").sign(), remembered] {
        let answer = t.get("/orders/1").bearer(&token).send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (503, "auth_unavailable"));
        assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 60);
    }
    t.backend.saw_nothing();
    is_unavailable(&t, "the server answers 503").await;
    t.issuer.behave(Behaviour::Good);
    later(&t, "recovery", async || t.server.is_ready()).await;
    t.accepts([("after the recovery", long("4").sign())]).await;
}

/// KS-13: what the issuer signs ID tokens with says nothing of access tokens.
#[tokio::test]
async fn algorithms_of_the_metadata_are_not_adopted() {
    let issuer = Issuer::start().await;
    let url = issuer.url();
    issuer.set_metadata(json!({
        "issuer": url, "jwks_uri": format!("{url}/jwks"),
        "id_token_signing_alg_values_supported": ["none", "HS256", "ES384"],
    }));
    let t = Harness::start_with(ORDERS, issuer, Backend::start().await).await;
    let unsigned = format!("{}.", t.token().header("alg", "none").input());
    t.refuses([("none", unsigned, "algorithm_refused")]).await;
    t.accepts([("ES256", t.token().sign())]).await;
}

/// KS-14: a key file needs no network, and is read again at a reload.
#[tokio::test]
async fn keys_from_a_file_need_no_issuer() {
    let issuer = Issuer::start().await;
    issuer.behave(Behaviour::Broken(500, Bytes::new()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let publish = |keys: Value| std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    publish(json!([issuer.key.jwk()]));
    let yaml = trusting("{issuer}", &format!(", jwks: {}", file.display()));
    let t = Harness::start_with(&yaml, issuer, Backend::start().await).await;
    is_well(&t).await;
    t.backend.forget();
    t.refuses([("unknown", t.token().header("kid", "x").sign(), "unknown_key")]).await;
    t.clock.advance(Duration::from_secs(1000));
    t.refuses([("unknown", t.token().header("kid", "y").sign(), "unknown_key")]).await;
    publish(json!([Key::es256("key-1").jwk()]));
    t.server.reload().await.expect("the file is good");
    t.refuses([("by the replaced key", t.token().sign(), "bad_signature")]).await;
    assert!(t.issuer.requests().is_empty());
}

/// KS-03: plain http is for this machine.
#[tokio::test]
async fn an_issuer_over_plain_http_is_not_started_with() {
    use scopegate::server::{Options, Server};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let start = async |url: &str| {
        let yaml = trusting(url, "")
            + "upstream: http://127.0.0.1:9\nlisten: 127.0.0.1:0\nadmin: 127.0.0.1:0\n";
        std::fs::write(&file, yaml).unwrap();
        Server::start(Options { workers: Some(0), ..Options::new(file.clone()) }).await.err()
    };
    let error = start("http://id.example.com").await.expect("it starts").to_string();
    assert!(error.contains("E021"), "{error}");
    assert!(start("https://id.example.invalid").await.is_none());
}
