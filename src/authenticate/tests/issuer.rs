//! Discovery and refresh over the network: KS-01 to KS-13.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::server::{Answer, METADATA, Server};
use super::signer::Signer;
use super::{World, at, es256, settings, until};
use crate::authenticate::Issuer;
use crate::config::{self, KeySource};
use crate::rejection::{Reason, Rejection};

const INSERTED: &str = "/.well-known/oauth-authorization-server";

/// A world whose one issuer is `server`, started.
fn world_of(server: &Server, change: impl FnOnce(&mut config::Issuer)) -> World {
    let mut config = settings(&server.url());
    change(&mut config);
    let world = World::empty();
    let issuer = world.issuer(&config);
    issuer.start();
    world.with_issuers(vec![issuer])
}

async fn ready_world(server: &Server) -> World {
    let world = world_of(server, |_| {});
    issuer(&world).first_attempt().await;
    assert_eq!(issuer(&world).status().problem, None);
    world
}

fn issuer(world: &World) -> &Arc<Issuer> {
    &world.authenticator.issuers()[0]
}

fn problem(world: &World) -> String {
    issuer(world).status().problem.unwrap()
}

fn token(world: &World, signer: &Signer, kid: &str) -> String {
    signer.token_of(kid, &world.claims_with(json!({"iss": issuer(world).url()})))
}

fn requests(world: &World, kind: &str, result: &str) -> u64 {
    world.metrics.issuer_requests.with_label_values(&["main", kind, result]).get()
}

fn keys_of(signer: &Signer, kid: &str) -> Value {
    json!({"keys": [signer.jwk(kid)]})
}

/// KS-01, KS-13
#[tokio::test]
async fn keys_are_discovered() {
    let (signer, keys) = es256();
    let server = Server::issuer(&keys).await;
    let world = ready_world(&server).await;
    assert_eq!(server.seen(), [METADATA, "/keys"]);
    assert_eq!(world.outcome(&token(&world, &signer, "k1")).await, "ok");
    let status = issuer(&world).status();
    assert!(status.ready);
    assert_eq!((status.keys, status.algorithms), (1, vec!["ES256".to_owned()]));
    assert_eq!(requests(&world, "discovery", "ok"), 1);
    assert_eq!(requests(&world, "keys", "ok"), 1);
    assert_eq!(world.metrics.issuer_up.with_label_values(&["main"]).get(), 1);
    let last = world.metrics.issuer_keys_last_success.with_label_values(&["main"]).get();
    assert!(last > 1e9);
}

/// KS-01: the second form is asked for on 404.
#[tokio::test]
async fn the_inserted_form_is_tried_after_the_appended() {
    let (_, keys) = es256();
    let server = Server::start().await;
    let url = format!("{}/t", server.url());
    server.set("/keys", Answer::Json(keys));
    let metadata = json!({"issuer": url, "jwks_uri": format!("{}/keys", server.url())});
    server.set(&format!("{INSERTED}/t"), Answer::Json(metadata));
    let world = world_of(&server, |config| config.url = at(url));
    issuer(&world).first_attempt().await;
    assert!(issuer(&world).status().ready);
    assert_eq!(server.seen(), [&format!("/t{METADATA}"), &format!("{INSERTED}/t"), "/keys"]);
}

/// KS-01: explicit URLs.
#[tokio::test]
async fn metadata_and_keys_can_be_named() {
    let (_, keys) = es256();
    let server = Server::issuer(&keys).await;
    server.set("/m", Answer::Json(server.metadata("/keys")));
    let url = server.url();
    let world = world_of(&server, |config| {
        config.keys = KeySource::Metadata(at(format!("{url}/m")));
    });
    issuer(&world).first_attempt().await;
    assert!(issuer(&world).status().ready);
    let world = world_of(&server, |config| {
        config.keys = KeySource::Url(at(format!("{url}/keys")));
    });
    issuer(&world).first_attempt().await;
    assert!(issuer(&world).status().ready);
    assert_eq!(server.seen(), ["/m", "/keys", "/keys"]);
}

/// KS-02
#[tokio::test]
async fn metadata_of_another_issuer_is_not_used() {
    let (signer, keys) = es256();
    let server = Server::issuer(&keys).await;
    let mut metadata = server.metadata("/keys");
    metadata["issuer"] = json!(format!("{}/", server.url()));
    server.set(METADATA, Answer::Json(metadata));
    let world = world_of(&server, |_| {});
    issuer(&world).first_attempt().await;
    assert!(!issuer(&world).status().ready);
    let problem = problem(&world);
    assert!(problem.contains(&format!("server says \"{}/\"", server.url())), "{problem}");
    assert!(problem.contains(&format!("of \"{}\"", server.url())), "{problem}");
    assert_eq!(world.reason(&token(&world, &signer, "k1")).await, Reason::AuthUnavailable);
    assert_eq!(server.count("/keys"), 0);
}

/// KS-03
#[tokio::test]
async fn plain_http_off_loopback_is_not_asked() {
    let world = World::empty();
    let config = settings("http://as.example");
    let issuer = world.issuer(&config);
    issuer.start();
    issuer.first_attempt().await;
    assert!(issuer.status().problem.unwrap().contains("plain http"));
    for url in ["ftp://127.0.0.1/", "http://user@127.0.0.1/", "x"] {
        let issuer = world.issuer(&settings(url));
        issuer.start();
        issuer.first_attempt().await;
        let problem = issuer.status().problem.unwrap();
        assert!(problem.contains("URL"), "{url}: {problem}");
    }
}

/// KS-03: key sets named by metadata.
#[tokio::test]
async fn metadata_cannot_lead_to_plain_http() {
    let server = Server::start().await;
    let metadata = json!({"issuer": server.url(), "jwks_uri": "http://as.example/keys"});
    server.set(METADATA, Answer::Json(metadata));
    let world = world_of(&server, |_| {});
    issuer(&world).first_attempt().await;
    assert!(problem(&world).contains("plain http"));
}

/// KS-03: a certificate that no authority signed.
#[tokio::test]
async fn a_self_signed_certificate_is_refused() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_err()
    });
    let world = World::empty();
    let issuer = world.issuer(&settings(&format!("https://localhost:{port}")));
    issuer.start();
    issuer.first_attempt().await;
    let problem = issuer.status().problem.unwrap();
    assert!(problem.contains("certificate"), "{problem}");
    assert!(server.await.unwrap());
    assert_eq!(requests(&world, "discovery", "tls"), 1);
}

/// KS-04
#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Server::issuer(&json!({})).await;
    let server = Server::start().await;
    server.set(METADATA, Answer::Redirect(format!("{}{METADATA}", elsewhere.url())));
    let world = world_of(&server, |_| {});
    issuer(&world).first_attempt().await;
    assert!(problem(&world).contains("redirect"));
    assert!(elsewhere.seen().is_empty());
    assert_eq!(requests(&world, "discovery", "redirect"), 1);
}

/// KS-04
#[tokio::test]
async fn huge_documents_are_given_up() {
    let server = Server::issuer(&json!({})).await;
    server.set("/keys", Answer::Spaces(50 << 20));
    let world = world_of(&server, |_| {});
    issuer(&world).first_attempt().await;
    assert!(problem(&world).contains("1 MiB"));
    assert_eq!(requests(&world, "keys", "too_large"), 1);
}

/// KS-04: five seconds, on the clock.
#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::issuer(&json!({})).await;
    server.close();
    let world = world_of(&server, |_| {});
    until("the request", || !server.seen().is_empty()).await;
    world.clock.advance(Duration::from_secs(5));
    issuer(&world).first_attempt().await;
    assert!(problem(&world).contains("5 seconds"));
    assert_eq!(requests(&world, "discovery", "timeout"), 1);
}

/// KS-04, KS-08: whatever is no key set is a failure with a word of its own.
#[tokio::test]
async fn other_failures_have_their_words() {
    for (answer, word) in [
        (Answer::Status(500), "http_status"),
        (Answer::Status(204), "http_status"),
        (Answer::Text("<html>garbage\u{7}</html>".into()), "invalid"),
        (Answer::Json(json!({"keys": []})), "empty"),
        (Answer::Json(json!({"keys": [{"kty": "oct", "k": "AAAA"}]})), "empty"),
    ] {
        let server = Server::issuer(&json!({})).await;
        server.set("/keys", answer);
        let world = world_of(&server, |_| {});
        issuer(&world).first_attempt().await;
        assert_eq!(requests(&world, "keys", word), 1, "{word}");
        let problem = problem(&world);
        assert!(!problem.contains("garbage") && !problem.contains("/keys"), "{problem}");
    }
    let world = World::empty();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let issuer = world.issuer(&settings(&format!("http://{free}")));
    issuer.start();
    issuer.first_attempt().await;
    assert_eq!(requests(&world, "discovery", "connect"), 1);
}

/// KS-05: single flight on a cold start.
#[tokio::test]
async fn a_thousand_first_requests_cause_one_fetch() {
    let (signer, keys) = es256();
    let server = Server::issuer(&keys).await;
    server.close();
    let world = Arc::new(world_of(&server, |_| {}));
    let token = token(&world, &signer, "k1");
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let (world, token) = (Arc::clone(&world), token.clone());
            tokio::spawn(async move { world.outcome(&token).await })
        })
        .collect();
    until("the request", || !server.seen().is_empty()).await;
    server.open();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "ok");
    }
    assert_eq!(server.seen(), [METADATA, "/keys"]);
}

/// KS-05: the server's `Cache-Control` counts, within bounds.
#[tokio::test]
async fn keys_are_refreshed_before_they_expire() {
    let (_, keys) = es256();
    for (control, early, late) in [
        ("public, max-age=900", 700, 900),
        ("max-age=5", 45, 60),
        ("no-store", 45, 60),
        ("max-age=999999", 2800, 3600),
        ("private", 470, 600),
    ] {
        let server = Server::issuer(&keys).await;
        server.set("/keys", Answer::Cached(keys.clone(), control));
        let world = ready_world(&server).await;
        world.clock.advance(Duration::from_secs(early));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.count("/keys"), 1, "{control}");
        world.clock.advance(Duration::from_secs(late - early));
        until(control, || server.count("/keys") == 2).await;
    }
}

/// KS-06
#[tokio::test]
async fn a_rotated_key_works_on_the_first_try() {
    let (old, keys) = es256();
    let server = Server::issuer(&keys).await;
    let world = ready_world(&server).await;
    assert_eq!(world.outcome(&token(&world, &old, "k1")).await, "ok");
    let new = Signer::es256();
    server.set("/keys", Answer::Json(json!({"keys": [old.jwk("k1"), new.jwk("k2")]})));
    assert_eq!(world.outcome(&token(&world, &new, "k2")).await, "ok");
    assert_eq!(server.count("/keys"), 2);
}

/// KS-06: requests for a new key that come together cause one fetch and are all answered by it.
#[tokio::test]
async fn requests_share_a_refresh() {
    let (old, keys) = es256();
    let server = Server::issuer(&keys).await;
    let world = Arc::new(ready_world(&server).await);
    let new = Signer::es256();
    server.set("/keys", Answer::Json(json!({"keys": [old.jwk("k1"), new.jwk("k2")]})));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (world, token) = (Arc::clone(&world), token(&world, &new, "k2"));
            tokio::spawn(async move { world.outcome(&token).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "ok");
    }
    assert_eq!(server.count("/keys"), 2);
}

/// KS-07, row 39 of the bypasses
#[tokio::test]
async fn unknown_key_ids_cannot_flood_the_issuer() {
    let (signer, keys) = es256();
    for answer in
        [Answer::Json(keys.clone()), Answer::Status(500), Answer::Json(json!({"keys": []}))]
    {
        let server = Server::issuer(&keys).await;
        let world = ready_world(&server).await;
        let good = token(&world, &signer, "k1");
        server.set("/keys", answer);
        let claims = world.claims_with(json!({"iss": server.url()}));
        let unsigned = signer.token_of("k1", &claims);
        let (_, rest) = unsigned.split_once('.').unwrap();
        for number in 0..3000 {
            let header = json!({"alg": "ES256", "kid": format!("random-{number}")}).to_string();
            let token = format!("{}.{rest}", super::signer::encode(header.as_bytes()));
            assert_eq!(world.reason(&token).await, Reason::UnknownKey);
        }
        assert_eq!(world.outcome(&good).await, "ok");
        assert_eq!(server.count("/keys"), 2);
    }
}

/// KS-07: after half a minute the issuer may be asked again.
#[tokio::test]
async fn the_throttle_opens_with_time() {
    let (signer, keys) = es256();
    let server = Server::issuer(&keys).await;
    let world = ready_world(&server).await;
    assert_eq!(world.reason(&token(&world, &signer, "x")).await, Reason::UnknownKey);
    assert_eq!(world.reason(&token(&world, &signer, "y")).await, Reason::UnknownKey);
    assert_eq!(server.count("/keys"), 2);
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.reason(&token(&world, &signer, "z")).await, Reason::UnknownKey);
    assert_eq!(server.count("/keys"), 3);
}

/// KS-06: a request does not wait for ever.
#[tokio::test]
async fn a_request_waits_three_seconds_for_a_refresh() {
    let (signer, keys) = es256();
    let server = Server::issuer(&keys).await;
    let world = Arc::new(ready_world(&server).await);
    server.close();
    let token = token(&world, &signer, "new");
    let request = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.outcome(&token).await }
    });
    until("the refresh", || server.count(METADATA) == 2).await;
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(request.await.unwrap(), "unknown_key");
}

/// KS-08
#[tokio::test]
async fn the_last_good_keys_stay_until_their_limit() {
    let (signer, keys) = es256();
    let server = Server::issuer(&keys).await;
    let world = ready_world(&server).await;
    let last = world.metrics.issuer_keys_last_success.with_label_values(&["main"]).get();
    // One token is remembered and one is not: both depend on the keys.
    let known = token(&world, &signer, "k1");
    assert_eq!(world.outcome(&known).await, "ok");
    server.set("/keys", Answer::Status(500));
    world.clock.advance(Duration::from_secs(3600));
    until("a failure", || issuer(&world).status().problem.is_some()).await;
    assert_eq!(world.metrics.issuer_up.with_label_values(&["main"]).get(), 0);
    let fresh = |world: &World| token(world, &signer, "k1");
    assert_eq!(world.outcome(&fresh(&world)).await, "ok");
    assert_eq!(world.reason(&token(&world, &signer, "other")).await, Reason::UnknownKey);
    let still = world.metrics.issuer_keys_last_success.with_label_values(&["main"]).get();
    assert!((last - still).abs() < f64::EPSILON);
    let remembered = fresh(&world);
    assert_eq!(world.outcome(&remembered).await, "ok");
    world.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(world.reason(&fresh(&world)).await, Reason::AuthUnavailable);
    assert!(!issuer(&world).status().ready);
    // Wall-clock time has passed as well: what matters is that no old verdict is used.
    assert_eq!(world.reason(&remembered).await, Reason::AuthUnavailable);
    server.set("/keys", Answer::Json(keys));
    world.clock.advance(Duration::from_secs(60));
    until("recovery", || issuer(&world).status().ready).await;
    assert_eq!(world.outcome(&fresh(&world)).await, "ok");
}

/// KS-09, JT-19: a key that is gone verifies nothing more, remembered tokens included.
#[tokio::test]
async fn a_removed_key_stops_verifying() {
    let (signer, keys) = es256();
    let server = Server::issuer(&keys).await;
    let world = ready_world(&server).await;
    let token = token(&world, &signer, "k1");
    assert_eq!(world.outcome(&token).await, "ok");
    assert_eq!(world.verdicts.len(), 1);
    server.set("/keys", Answer::Json(keys_of(&Signer::es256(), "k2")));
    world.clock.advance(Duration::from_secs(600));
    until("a refresh", || requests(&world, "keys", "ok") == 2).await;
    assert_eq!(world.outcome(&token).await, "unknown_key");
}

/// JT-19: a refresh that brings the same keys keeps the verdicts.
#[tokio::test]
async fn the_same_keys_in_another_order_are_the_same() {
    let (first, second) = (Signer::es256(), Signer::ed25519());
    let server = Server::issuer(&json!({"keys": [first.jwk("k1"), second.jwk("k2")]})).await;
    let world = ready_world(&server).await;
    let token = token(&world, &first, "k1");
    assert_eq!(world.outcome(&token).await, "ok");
    server.set("/keys", Answer::Json(json!({"keys": [second.jwk("k2"), first.jwk("k1")]})));
    world.clock.advance(Duration::from_secs(600));
    until("a refresh", || requests(&world, "keys", "ok") == 2).await;
    assert_eq!(world.outcome(&token).await, "ok");
    assert_eq!(world.metrics.token_cache_requests.with_label_values(&["hit"]).get(), 1);
}

/// KS-12, row 40 of the bypasses: the process starts before its issuer does.
#[tokio::test]
async fn without_keys_there_is_503_until_the_issuer_is_up() {
    let (signer, keys) = es256();
    let server = Server::start().await;
    let world = world_of(&server, |_| {});
    issuer(&world).first_attempt().await;
    let refused = world.identify(&token(&world, &signer, "k1")).await.unwrap_err();
    let Rejection::AuthUnavailable { retry_after } = refused else { panic!("{refused:?}") };
    assert!((1..=60).contains(&retry_after));
    server.set(METADATA, Answer::Json(server.metadata("/keys")));
    server.set("/keys", Answer::Json(keys));
    world.clock.advance(Duration::from_secs(60));
    until("keys", || issuer(&world).status().ready).await;
    assert_eq!(world.outcome(&token(&world, &signer, "k1")).await, "ok");
}

/// KS-12: never started, or still at it: 503 all the same.
#[tokio::test]
async fn a_cold_start_waits_a_second_and_no_longer() {
    let (signer, keys) = es256();
    let server = Server::issuer(&keys).await;
    server.close();
    let world = Arc::new(world_of(&server, |_| {}));
    until("the request", || !server.seen().is_empty()).await;
    let request = tokio::spawn({
        let (world, token) = (Arc::clone(&world), token(&world, &signer, "k1"));
        async move { world.outcome(&token).await }
    });
    while !request.is_finished() {
        world.clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    assert_eq!(request.await.unwrap(), "auth_unavailable");
    let idle = World::empty();
    let never_started = idle.issuer(&settings(&server.url()));
    let idle = idle.with_issuers(vec![never_started]);
    assert_eq!(idle.reason(&token(&idle, &signer, "k1")).await, Reason::AuthUnavailable);
}

/// KS-12
#[tokio::test]
async fn a_moved_key_set_is_found() {
    let (old, keys) = es256();
    let server = Server::issuer(&keys).await;
    let world = ready_world(&server).await;
    let new = Signer::es256();
    server.set(METADATA, Answer::Json(server.metadata("/moved")));
    server.set("/moved", Answer::Json(keys_of(&new, "k2")));
    world.clock.advance(Duration::from_secs(600));
    until("the move", || server.count("/moved") == 1).await;
    until("the keys", || requests(&world, "keys", "ok") == 2).await;
    assert_eq!(world.outcome(&token(&world, &new, "k2")).await, "ok");
    assert_eq!(world.outcome(&token(&world, &old, "k1")).await, "unknown_key");
}

/// Requests may run on another runtime than the refresh.
#[test]
fn requests_on_other_threads_get_their_keys() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (signer, keys) = es256();
    let background =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = background.block_on(Server::issuer(&keys));
    let world = background.block_on(async { world_of(&server, |_| {}) });
    let token_of = |signer: &Signer, kid: &str| token(&world, signer, kid);
    assert_eq!(runtime().block_on(world.outcome(&token_of(&signer, "k1"))), "ok");
    let new = Signer::es256();
    server.set("/keys", Answer::Json(keys_of(&new, "k2")));
    assert_eq!(runtime().block_on(world.outcome(&token_of(&new, "k2"))), "ok");
}

/// The work ends with the issuer.
#[tokio::test]
async fn dropping_the_issuer_ends_its_requests() {
    let (_, keys) = es256();
    let server = Server::issuer(&keys).await;
    let world = ready_world(&server).await;
    let keyring = Arc::downgrade(&issuer(&world).keyring);
    let clock = world.clock.clone();
    drop(world);
    until("the end of the task", || keyring.upgrade().is_none()).await;
    clock.advance(Duration::from_secs(3600));
    assert_eq!(server.count("/keys"), 1);
}

/// A reload keeps what is the same.
#[tokio::test]
async fn an_issuer_knows_what_it_was_made_from() {
    let world = World::empty();
    let config = settings(super::URL);
    let issuer = world.issuer(&config);
    let headers = super::default_headers();
    assert!(issuer.is_made_from(&config, &headers));
    assert!(!issuer.is_made_from(&config, &headers[1..]));
    let mut moved = config.clone();
    moved.url.at.line = 99;
    assert!(issuer.is_made_from(&moved, &headers));
    let mut changed = config;
    changed.audience.push("more".to_owned());
    assert!(!issuer.is_made_from(&changed, &headers));
    assert_eq!(&**issuer.name(), "main");
}
