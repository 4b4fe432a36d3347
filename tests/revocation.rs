//! A token that was revoked is refused, whatever kept it good (TX-01, TX-04).

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::client::Connection;
use crate::harness::command::Scopegate;
use crate::harness::keys::Key;
use crate::harness::process::Process;
use crate::harness::token::unix_now;
use crate::harness::{Answer, Backend, Call, Harness, Issuer, ORDERS, until};

/// One protected route, with whatever `revocation` says.
fn with(revocation: &str) -> String {
    format!("{ORDERS}revocation: {revocation}\n")
}

impl Harness {
    /// Enters a revocation through the admin port.
    async fn revoke(&self, order: Value) -> Answer {
        post(self.admin(), &order).send().await
    }

    /// `GET /orders/1` with a token that is expected to be refused as revoked.
    async fn is_refused(&self, token: &str) {
        let before = (self.backend.seen().len(), self.denials("/orders/**", "token_revoked").await);
        let answer = self.get("/orders/1").bearer(token).send().await;
        assert_eq!(answer.status(), 401);
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert_eq!(self.backend.seen().len(), before.0);
        assert_eq!(self.line(&answer).await["reason"], "token_revoked");
        assert_eq!(self.denials("/orders/**", "token_revoked").await, before.1 + 1.0);
    }

    async fn is_accepted(&self, token: &str) {
        let answer = self.get("/orders/1").bearer(token).send().await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
}

fn post(admin: std::net::SocketAddr, order: &Value) -> Call {
    Call::new(admin, "POST", "/revocations")
        .header("x-scopegate-admin", "1")
        .body(order.to_string())
}

fn sha256(token: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// TX-01: each kind of entry, on a token that the cache knows, and no other token of the kind.
#[tokio::test]
async fn each_kind_of_entry_refuses_its_tokens_and_no_others() {
    let t = Harness::start(&with("{}")).await;
    let base = || t.token().claim("sid", "s1");
    let token = |name: &str, value: &str| base().claim(name, value).sign();
    let one = base().sign();
    let cases = [
        (json!({ "token_sha256": sha256(&one) }), one, base().sign()),
        (json!({ "jti": "j1" }), token("jti", "j1"), token("jti", "j2")),
        (json!({ "subject": "bob" }), token("sub", "bob"), token("sub", "eve")),
        (json!({ "client": "stolen" }), token("client_id", "stolen"), token("client_id", "other")),
        (json!({ "session": "s9" }), token("sid", "s9"), token("sid", "s8")),
    ];
    for (order, revoked, other) in cases {
        t.is_accepted(&revoked).await;
        let hits = [("result", "hit")];
        t.is_accepted(&revoked).await;
        assert!(t.metric("scopegate_token_cache_requests_total", &hits).await >= 1.0);
        let answer = t.revoke(order.clone()).await;
        assert_eq!(answer.status(), 200, "{order}: {}", answer.text());
        t.is_refused(&revoked).await;
        t.is_refused(&revoked).await;
        t.is_accepted(&other).await;
    }
    let labels = [("result", "accepted"), ("source", "admin")];
    assert_eq!(t.metric("scopegate_revocations_total", &labels).await, 5.0);
    assert_eq!(t.metric("scopegate_revocation_entries", &[]).await, 5.0);
    let labels = [("result", "token_revoked")];
    assert_eq!(t.metric("scopegate_tokens_total", &labels).await, 10.0);
}

/// TX-04: "all tokens of this user issued before T"; a token without `iat` fails closed.
#[tokio::test]
async fn a_subject_is_revoked_as_of_a_time() {
    let t = Harness::start(&with("{}")).await;
    let time = unix_now() - 60;
    let issued = |at: u64| t.token().claim("iat", at).sign();
    let endless = t.token().without("iat").sign();
    t.is_accepted(&endless).await;
    let order = json!({ "subject": "alice", "issued_before": time });
    assert_eq!(t.revoke(order).await.status(), 200);
    t.is_refused(&issued(time - 1)).await;
    t.is_refused(&endless).await;
    t.is_accepted(&issued(time)).await;
    t.is_accepted(&issued(time + 1)).await;
    // Left out, it is now, and as much later as the issuer's clock may be ahead.
    let answer = t.revoke(json!({ "subject": "alice" })).await;
    assert_eq!(answer.status(), 200);
    let before = answer.json()["issued_before"].as_u64().unwrap();
    assert!((30..=32).contains(&(before - unix_now())), "{before}");
    t.is_refused(&issued(unix_now())).await;
    t.is_refused(&issued(before - 1)).await;
    t.clock.advance(Duration::from_secs(5));
    t.is_accepted(&issued(before)).await;
}

/// An id is a text or a whole number, and is revoked by the same spelling, in any way to revoke.
#[tokio::test]
async fn an_id_that_is_a_number_is_revoked_by_its_digits() {
    let t = Harness::start(&with("{}")).await;
    let base = || t.token().claim("sid", "s1");
    for (name, order) in [("jti", json!({ "jti": "777" })), ("sid", json!({ "session": "777" }))] {
        let (number, text) = (base().claim(name, 777).sign(), base().claim(name, "777").sign());
        let other = base().claim(name, 778).sign();
        t.is_accepted(&number).await;
        assert_eq!(t.revoke(order).await.status(), 200);
        t.is_refused(&number).await;
        t.is_refused(&text).await;
        t.is_accepted(&other).await;
    }
    for (name, odd) in [
        ("jti", json!(7.5)),
        ("jti", json!(1e40)),
        ("sid", json!(true)),
        ("sid", json!(["s1"])),
        ("jti", json!({ "id": "x" })),
        ("sub", json!(7)),
    ] {
        let answer =
            t.get("/orders/1").bearer(&base().claim(name, odd.clone()).sign()).send().await;
        assert_eq!(answer.status(), 401, "{name}: {odd}");
        assert_eq!(t.line(&answer).await["reason"], "malformed_token", "{name}: {odd}");
    }
}

/// The same where the configuration reads the subject elsewhere: `sub` is still one to revoke by.
#[tokio::test]
async fn a_registered_claim_is_revoked_beside_the_configured_one() {
    let claims = "issuers: { main: { url: \"{issuer}\", audience: https://api.example.com, \
        claims: { subject: uid, token_id: tid, session: sess } } }\n";
    let t = Harness::start(&format!("{claims}{}", with("{}"))).await;
    let base = || t.token().claim("uid", "u1").claim("tid", 1).claim("sess", 2).claim("sub", 9);
    t.is_accepted(&base().sign()).await;
    for (order, claim, value) in [
        (json!({ "subject": "10" }), "sub", json!(10)),
        (json!({ "subject": "u2" }), "uid", json!("u2")),
        (json!({ "jti": "11" }), "tid", json!(11)),
        (json!({ "session": "12" }), "sess", json!(12)),
        (json!({ "session": "13" }), "sid", json!(13)),
    ] {
        let token = base().claim(claim, value).sign();
        t.is_accepted(&token).await;
        assert_eq!(t.revoke(order.clone()).await.status(), 200);
        t.is_refused(&token).await;
    }
}

/// A client's tokens are those that name it in any way, whichever of them the configuration reads.
#[tokio::test]
async fn a_client_is_revoked_by_each_of_its_names() {
    let t = Harness::start(&with("{}")).await;
    let token = |client: &str, azp: &str| t.token().claim("client_id", client).claim("azp", azp);
    let (first, second) = (token("web", "stolen").sign(), token("stolen", "web").sign());
    let other = token("web", "app").sign();
    for token in [&first, &second] {
        t.is_accepted(token).await;
    }
    assert_eq!(t.revoke(json!({ "client": "stolen" })).await.status(), 200);
    for token in [&first, &second] {
        t.is_refused(token).await;
    }
    t.is_accepted(&other).await;
}

/// Nobody needs a key to make `(r, n - s)` of a signature `(r, s)`: the revoked token is refused
/// with either, however it was revoked, and whichever of the two was named.
#[tokio::test]
async fn a_revoked_token_is_refused_with_its_other_signature() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("revoked.yaml");
    std::fs::write(&list, "[]\n").unwrap();
    let es384 = Key::es384("key-384");
    let issuer = Issuer::start().await;
    issuer.publish(&[issuer.key.jwk(), es384.jwk()]);
    let backend = Backend::start().await;
    let yaml = format!(
        "issuers: {{ main: {{ url: \"{{issuer}}\", audience: https://api.example.com, \
         algorithms: [ES256, ES384] }} }}\n{}",
        with(&format!("{{ file: {} }}", list.display()))
    );
    let t = Harness::start_with(&yaml, issuer, backend).await;
    let es384 = || t.token().header("alg", "ES384").header("kid", "key-384").signed_by(&es384);
    for token in [t.token().sign(), es384().sign()] {
        let other = other_signature(&token);
        t.is_accepted(&token).await;
        t.is_accepted(&other).await;
        assert_eq!(t.revoke(json!({ "token_sha256": sha256(&token) })).await.status(), 200);
        t.is_refused(&other).await;
        t.is_refused(&token).await;
    }
    // By the command, which was given the second spelling.
    let token = t.token().sign();
    let (admin, other) = (t.admin().to_string(), other_signature(&token));
    let folder = tempfile::tempdir().unwrap();
    let done = tokio::task::spawn_blocking(move || {
        let words = ["revoke", "--admin", &admin, "--token", "-"];
        Scopegate::within(folder.path(), &words).input(&other).run()
    });
    let done = done.await.unwrap();
    assert_eq!(done.code, 0, "{}", done.stderr);
    t.is_refused(&token).await;
    t.is_refused(&other_signature(&token)).await;
    // By the file.
    let token = t.token().sign();
    let other = other_signature(&token);
    let entry = json!([{ "token_sha256": sha256(&token), "until": unix_now() + 600 }]);
    std::fs::write(&list, entry.to_string()).unwrap();
    until("the list", async || t.get("/orders/1").bearer(&token).send().await.status() == 401)
        .await;
    t.is_refused(&other).await;
    t.is_accepted(&t.token().sign()).await;
}

/// The same token with `(r, n - s)` for its signature.
fn other_signature(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = signature.split_at(signature.len() / 2);
    let order = if r.len() == 32 { P256 } else { P384 };
    let digits = |at: usize| u8::from_str_radix(&order[2 * at..2 * at + 2], 16).unwrap();
    let (mut negated, mut borrow) = (vec![0; s.len()], 0);
    for at in (0..s.len()).rev() {
        let digit = 256 + i32::from(digits(at)) - i32::from(s[at]) - borrow;
        borrow = i32::from(digit < 256);
        negated[at] = u8::try_from(digit % 256).unwrap();
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode([r, &negated].concat()))
}

/// The orders of the groups (SEC 2 §2.4.2, §2.5.1).
const P256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P384: &str = "ffffffffffffffffffffffffffffffffffffffffffffffff\
    c7634d81f4372ddf581a0db248b0a77aecec196accc52973";

/// A token without `jti`, `sid` or client matches no entry by them, and equal names of two issuers
/// are two names.
#[tokio::test]
async fn what_a_token_does_not_say_cannot_be_revoked_by_it() {
    let other = Issuer::start().await;
    let yaml = format!(
        "issuers:
  main: {{ url: \"{{issuer}}\", audience: https://api.example.com }}
  other: {{ url: \"{}\", audience: https://api.example.com }}
revocation: {{}}
{ORDERS}",
        other.url()
    );
    let t = Harness::start(&yaml).await;
    let bare = t.token().without("jti").without("client_id").sign();
    let others = other.token().scope("orders:read").sign();
    for order in [
        json!({ "jti": "x", "issuer": "main" }),
        json!({ "session": "x", "issuer": "main" }),
        json!({ "client": "x", "issuer": "main" }),
        json!({ "subject": "alice", "issuer": "other" }),
        json!({ "jti": "j1", "issuer": other.url() }),
    ] {
        assert_eq!(t.revoke(order).await.status(), 200);
    }
    t.is_accepted(&bare).await;
    t.is_accepted(&t.token().claim("jti", "j1").sign()).await;
    t.is_refused(&other.token().scope("orders:read").claim("jti", "j1").claim("sub", "x").sign())
        .await;
    t.is_refused(&others).await;
    // With two issuers an order that names none is nobody's.
    assert_eq!(t.revoke(json!({ "subject": "alice" })).await.status(), 422);
    assert_eq!(t.revoke(json!({ "subject": "alice", "issuer": "mian" })).await.status(), 422);
}

/// Each entry has an end, and makes room then.
#[tokio::test]
async fn an_entry_ends_and_makes_room() {
    let t = Harness::start(&with("{ max_entries: 2 }")).await;
    let token = |jti: &str| t.token().claim("jti", jti).sign();
    let exp = unix_now() + 100_000;
    let long = t.token().claim("jti", "a").claim("exp", exp).sign();
    assert_eq!(t.revoke(json!({ "jti": "a", "for": "1h" })).await.status(), 200);
    assert_eq!(t.revoke(json!({ "jti": "b", "for": "2h" })).await.status(), 200);
    t.is_refused(&long).await;
    // Full: the new one is refused, out loud, and no old one is forgotten.
    let answer = t.revoke(json!({ "jti": "c" })).await;
    assert_eq!(answer.status(), 507, "{}", answer.text());
    assert_eq!(answer.json()["enforced"], json!([]));
    assert_eq!(t.metric("scopegate_revocations_total", &[("result", "full")]).await, 1.0);
    t.is_accepted(&token("c")).await;
    t.is_refused(&long).await;
    // What is there can still be extended.
    assert_eq!(t.revoke(json!({ "jti": "b", "for": "3h" })).await.status(), 200);
    t.clock.advance(Duration::from_secs(3_601));
    t.is_accepted(&long).await;
    assert_eq!(t.revoke(json!({ "jti": "c", "for": "1h" })).await.status(), 200);
    assert_eq!(t.metric("scopegate_revocation_entries", &[("kind", "jti")]).await, 2.0);
}

/// A reload forgets nothing; neither does one that takes `revocation` away.
#[tokio::test]
async fn a_reload_keeps_what_is_revoked() {
    let t = Harness::start(&with("{}")).await;
    let token = t.token().claim("jti", "a").sign();
    t.is_accepted(&token).await;
    assert_eq!(t.revoke(json!({ "jti": "a" })).await.status(), 200);
    t.rewrite(&format!("{}keep_authorization: true\n", with("{ keep: 2h }")));
    t.server.reload().await.unwrap();
    t.is_refused(&token).await;
    t.rewrite(ORDERS);
    t.server.reload().await.unwrap();
    t.is_refused(&token).await;
    assert_eq!(t.revoke(json!({ "jti": "b" })).await.status(), 404);
}

/// A mistake can be taken back, and what is in force can be seen, as hashes alone.
#[tokio::test]
async fn entries_can_be_listed_and_withdrawn() {
    let t = Harness::start(&with("{}")).await;
    let token = t.token().sign();
    let order = json!({ "subject": "alice", "why": "laptop stolen", "by": "root" });
    let entered = t.revoke(order).await.json();
    t.is_refused(&token).await;
    let list = Call::new(t.admin(), "GET", "/revocations").send().await;
    assert_eq!(list.json()["entries"][0]["id"], entered["id"]);
    assert_eq!(list.json()["entries"][0]["why"], "laptop stolen");
    assert!(!list.text().contains("alice"), "{}", list.text());
    let path = format!("/revocations/{}", entered["id"].as_str().unwrap());
    let delete = |path: &str| Call::new(t.admin(), "DELETE", path);
    assert_eq!(delete(&path).send().await.status(), 403);
    let guarded = |path: &str| delete(path).header("x-scopegate-admin", "1");
    assert_eq!(guarded(&path).send().await.status(), 200);
    t.is_accepted(&token).await;
    assert_eq!(guarded(&path).send().await.status(), 404);
    assert_eq!(guarded("/revocations/nonsense").send().await.status(), 404);
}

/// Pages of a browser, other names and other methods get nothing; without `revocation` there is
/// nothing to get.
#[tokio::test]
async fn the_admin_pages_are_guarded() {
    let t = Harness::start(&with("{}")).await;
    let order = json!({ "subject": "alice" });
    let bare = Call::new(t.admin(), "POST", "/revocations").body(order.to_string());
    assert_eq!(bare.send().await.status(), 403);
    assert_eq!(post(t.admin(), &order).host("evil.example").send().await.status(), 421);
    let put = Call::new(t.admin(), "PUT", "/revocations").send().await;
    assert_eq!((put.status().as_u16(), put.header("allow")), (405, "GET, HEAD, POST"));
    for body in
        ["", "[]", "{", "{\"subject\":1}", &format!("{{\"why\":\"{}\"}}", "x".repeat(20_000))]
    {
        let call = Call::new(t.admin(), "POST", "/revocations").header("x-scopegate-admin", "1");
        assert_eq!(call.body(body.to_owned()).send().await.status(), 400, "{body:.20}");
    }
    t.is_accepted(&t.token().sign()).await;
    let off = Harness::start(ORDERS).await;
    assert_eq!(off.revoke(order).await.status(), 404);
}

/// With a secret, nobody without it reads or writes.
#[tokio::test]
async fn a_secret_is_asked_for() {
    let t = Harness::start(&with("{ secret: 0123456789abcdef }")).await;
    let order = json!({ "subject": "alice" });
    for (sent, status) in [
        (None, 401),
        (Some("Bearer 0123456789abcde"), 401),
        (Some("Bearer 0123456789abcdeg"), 401),
        (Some("0123456789abcdef"), 401),
        (Some("Bearer 0123456789abcdef"), 200),
    ] {
        let get = Call::new(t.admin(), "GET", "/revocations");
        let calls = [get, post(t.admin(), &order)];
        for call in calls {
            let call = match sent {
                Some(sent) => call.header("authorization", sent),
                None => call,
            };
            assert_eq!(call.send().await.status(), status, "{sent:?}");
        }
    }
}

/// The watched file: good, changed, bad, gone.
#[tokio::test]
async fn a_file_is_read_whenever_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revoked.yaml");
    let write = |jti: &str| {
        let until = unix_now() + 3_600;
        std::fs::write(&file, format!("- {{ jti: {jti}, until: {until}, why: leaked }}\n"))
            .unwrap();
    };
    write("a");
    let t = Harness::start(&with(&format!("{{ file: {} }}", file.display()))).await;
    let token = |jti: &str| t.token().claim("jti", jti).sign();
    let status =
        async |jti: &str| t.get("/orders/1").bearer(&token(jti)).send().await.status().as_u16();
    t.is_refused(&token("a")).await;
    write("b");
    until("the change", async || status("b").await == 401).await;
    until("a to be taken out", async || status("a").await == 200).await;
    let up = async || t.metric("scopegate_revocation_up", &[("part", "file")]).await;
    assert_eq!(up().await, 1.0);
    // What cannot be read changes nothing, and is told.
    for bad in ["- { jti: c }\n", "nonsense: [", "", "- { jti: c, untill: 1 }\n"] {
        std::fs::write(&file, bad).unwrap();
        until("the fault", async || up().await == 0.0).await;
        t.is_refused(&token("b")).await;
        write("b");
        until("the mending", async || up().await == 1.0).await;
    }
    std::fs::remove_file(&file).unwrap();
    until("the loss", async || up().await == 0.0).await;
    t.is_refused(&token("b")).await;
    std::fs::write(&file, "[]").unwrap();
    until("the empty list", async || status("b").await == 200).await;
    // What the file says is the file's to take back.
    write("b");
    until("the change", async || status("b").await == 401).await;
    let list = Call::new(t.admin(), "GET", "/revocations").send().await.json();
    let path = format!("/revocations/{}", list["entries"][0]["id"].as_str().unwrap());
    let delete = Call::new(t.admin(), "DELETE", &path).header("x-scopegate-admin", "1");
    assert_eq!(delete.send().await.status(), 409);
}

/// Half of a list is a list, too: while the file is written, what it listed before stays in force,
/// and what is new counts at once.
#[tokio::test]
async fn a_list_that_is_written_slowly_takes_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revoked.yaml");
    let until_when = unix_now() + 3_600;
    let line = |jti: &str| format!("- {{ jti: {jti}, until: {until_when} }}\n");
    std::fs::write(&file, line("last")).unwrap();
    let yaml = with(&format!("{{ file: {} }}", file.display()));
    let t = Harness::start(&yaml).await;
    let token = |jti: &str| t.token().claim("jti", jti).sign();
    let status =
        async |jti: &str| t.get("/orders/1").bearer(&token(jti)).send().await.status().as_u16();
    let mut text = String::new();
    for jti in ["a", "b", "c", "d"] {
        text += &line(jti);
        std::fs::write(&file, &text).unwrap();
        until("the next line", async || {
            assert_eq!(status("last").await, 401, "it was taken back before {jti}");
            status(jti).await == 401
        })
        .await;
    }
    // A reload reads the file as it is, too.
    t.rewrite(&yaml);
    t.server.reload().await.expect("the list is one");
    t.is_refused(&token("last")).await;
    // Now nobody writes any more.
    until("the end", async || status("last").await == 200).await;
    t.is_refused(&token("d")).await;
}

/// Where a route only reports, a revoked token is let through as nobody's, and told of.
#[tokio::test]
async fn a_route_that_reports_says_so_and_forwards_no_identity() {
    let yaml = with("{}").replace("  /orders/**:\n", "  /orders/**:\n    mode: report\n");
    let t = Harness::start(&yaml).await;
    let token = t.token().sign();
    assert_eq!(t.revoke(json!({ "subject": "alice" })).await.status(), 200);
    t.is_accepted(&token).await;
    let labels = [("decision", "would_deny"), ("reason", "token_revoked")];
    assert_eq!(t.metric("scopegate_decisions_total", &labels).await, 1.0);
    let seen = t.backend.seen();
    assert!(seen.last().unwrap().headers.get("x-auth-subject").is_none());
}

/// A process with a store, an issuer and a backend of the test's own.
fn stored(issuer: &Issuer, backend: &Backend, store: &Path) -> String {
    format!(
        "listen: 127.0.0.1:0
admin: 127.0.0.1:0
issuer: {}
audience: https://api.example.com
upstream: {}
revocation:
  store: {}
{ORDERS}",
        issuer.url(),
        backend.url(),
        store.display()
    )
}

/// What was answered well survives `kill -9` between the answer and the restart.
#[tokio::test]
async fn a_killed_gateway_remembers_what_it_was_told() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let yaml = stored(&issuer, &backend, &folder.path().join("revocations.redb"));
    let mut process = Process::start(&yaml).await;
    assert!(process.log().contains("an empty one was made"), "{}", process.log());
    let token = issuer.token().scope("orders:read").sign();
    for round in 0..5 {
        let get = async |token: &str| {
            Call::new(process.proxy, "GET", "/orders/1").bearer(token).send().await
        };
        let fresh = issuer.token().scope("orders:read").claim("jti", format!("r{round}")).sign();
        assert_eq!(get(&fresh).await.status(), 200);
        let order = json!({ "jti": format!("r{round}"), "why": "test" });
        let answer = post(process.admin, &order).send().await;
        assert_eq!((answer.status().as_u16(), &answer.json()["durable"]), (200, &json!(true)));
        process.signal("KILL");
        process.ended().await;
        process = Process::start(&yaml).await;
        let answer = Call::new(process.proxy, "GET", "/orders/1").bearer(&fresh).send().await;
        assert_eq!(answer.status(), 401, "round {round}");
        eprintln!("round {round}: revoked, kill -9, restarted: {}", answer.status());
    }
    let answer = Call::new(process.proxy, "GET", "/orders/1").bearer(&token).send().await;
    assert_eq!(answer.status(), 200);
    let list = Call::new(process.admin, "GET", "/revocations").send().await;
    assert_eq!(list.json()["total"], 5);
}

/// How soon a revocation counts: from sending the order to the first refusal, on a connection that
/// asks without pause.
#[tokio::test]
async fn a_revocation_counts_at_once() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let process =
        Process::start(&stored(&issuer, &backend, &folder.path().join("revocations.redb"))).await;
    let mut delays = Vec::new();
    for round in 0..20 {
        let token = issuer.token().scope("orders:read").claim("jti", format!("d{round}")).sign();
        let mut connection = Connection::open(process.proxy).await;
        assert_eq!(connection.get("/orders/1", &token).await, 200);
        let order = post(process.admin, &json!({ "jti": format!("d{round}") }));
        let sent = Instant::now();
        let answered = tokio::spawn(async move {
            let answer = order.send().await;
            (answer.status().as_u16(), Instant::now())
        });
        while connection.get("/orders/1", &token).await == 200 {
            assert!(sent.elapsed() < Duration::from_secs(10));
        }
        let refused = sent.elapsed();
        let (status, answered) = answered.await.unwrap();
        assert_eq!(status, 200);
        delays.push((refused, answered - sent));
    }
    let median = |mut values: Vec<Duration>| {
        values.sort_unstable();
        (values[values.len() / 2], values[values.len() - 1])
    };
    let refused = median(delays.iter().map(|delay| delay.0).collect());
    let durable = median(delays.iter().map(|delay| delay.1).collect());
    eprintln!("revocation to refusal: median {:?}, most {:?}", refused.0, refused.1);
    eprintln!("revocation to durable answer: median {:?}, most {:?}", durable.0, durable.1);
    assert!(refused.1 < Duration::from_secs(2), "{delays:?}");
}

/// Starts with a store that was spoiled; returns exit code and standard error.
async fn refused_start(spoil: impl FnOnce(&Path)) -> (i32, String) {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("revocations.redb");
    let yaml = stored(&issuer, &backend, &store);
    let mut process = Process::start(&yaml).await;
    let answer = post(process.admin, &json!({ "jti": "a" })).send().await;
    assert_eq!(answer.status(), 200);
    process.signal("TERM");
    process.ended().await;
    spoil(&store);
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let path = folder.path().to_owned();
    let ran = tokio::task::spawn_blocking(move || Scopegate::within(&path, &["serve"]).run());
    let ran = ran.await.unwrap();
    (ran.code, ran.stderr)
}

/// A store that cannot be trusted stops the start, with file, line and way out.
#[tokio::test]
async fn a_spoiled_store_refuses_the_start() {
    let cut = |part: u64| {
        move |store: &Path| {
            let file = std::fs::File::options().write(true).open(store).unwrap();
            file.set_len(file.metadata().unwrap().len() * part / 10).unwrap();
        }
    };
    let read_only = |store: &Path| {
        let mut rights = std::fs::metadata(store).unwrap().permissions();
        rights.set_readonly(true);
        std::fs::set_permissions(store, rights).unwrap();
    };
    for (code, stderr) in [
        refused_start(cut(0)).await,
        refused_start(cut(3)).await,
        refused_start(cut(9)).await,
        refused_start(read_only).await,
        refused_start(|store| std::fs::write(store, "not a store").unwrap()).await,
    ] {
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("error[E085]"), "{stderr}");
        assert!(stderr.contains("gateway.yaml:7:10"), "{stderr}");
        assert!(stderr.contains("help: "), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        eprintln!(
            "{}\n",
            stderr.lines().filter(|l| !l.trim().is_empty()).collect::<Vec<_>>().join("\n")
        );
    }
}

/// A store that is taken away under the gateway: the revocation counts, and the answer says what
/// is missing.
#[tokio::test]
async fn a_store_that_fails_is_told_and_the_revocation_counts_all_the_same() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("revocations.redb");
    let process = Process::start(&stored(&issuer, &backend, &store)).await;
    let token = issuer.token().scope("orders:read").claim("jti", "a").sign();
    let get = async || Call::new(process.proxy, "GET", "/orders/1").bearer(&token).send().await;
    assert_eq!(get().await.status(), 200);
    std::fs::rename(&store, folder.path().join("elsewhere")).unwrap();
    let answer = post(process.admin, &json!({ "jti": "a" })).send().await;
    assert_eq!(answer.status(), 500, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["durable"], body["enforced"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(get().await.status(), 401);
    let scrape = async || Call::new(process.admin, "GET", "/metrics").send().await.text();
    let volatile = "scopegate_revocation_entries_not_durable{part=\"store\"} ";
    let up = "scopegate_revocation_up{part=\"store\"} ";
    let text = scrape().await;
    assert!(text.contains(&format!("{volatile}1")) && text.contains(&format!("{up}0")), "{text}");
    assert!(process.log().contains("the revocation store failed"), "{}", process.log());
    // When it is back, the next one takes both along.
    std::fs::rename(folder.path().join("elsewhere"), &store).unwrap();
    until("the retry", async || scrape().await.contains(&format!("{volatile}0"))).await;
    let list = Call::new(process.admin, "GET", "/revocations").send().await;
    assert_eq!(list.json()["total"], 1);
}

/// A disk that becomes full: what was kept stays kept, what cannot be counts until a restart, and
/// each answer says which.
#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing_that_was_kept() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("revocations.redb");
    let yaml = stored(&issuer, &backend, &store);
    let mut first = Process::start(&yaml).await;
    assert_eq!(post(first.admin, &json!({ "jti": "a" })).send().await.status(), 200);
    first.signal("TERM");
    first.ended().await;
    let mut process = Process::start_with_full_disk(&yaml, 128).await;
    let mut kept = vec!["a".to_owned()];
    let mut lost = Vec::new();
    for number in 0..400 {
        let jti = format!("f{number}");
        let order = json!({ "jti": jti, "why": "x".repeat(250) });
        let answer = post(process.admin, &order).send().await;
        match answer.status().as_u16() {
            200 => kept.push(jti),
            500 => lost.push(jti),
            other => panic!("{other}: {}", answer.text()),
        }
        if lost.len() == 3 {
            break;
        }
    }
    eprintln!("{} kept, then the disk was full", kept.len());
    assert_eq!(lost.len(), 3, "the disk never became full");
    let token = |jti: &str| issuer.token().scope("orders:read").claim("jti", jti).sign();
    let status = async |proxy: std::net::SocketAddr, jti: &str| {
        Call::new(proxy, "GET", "/orders/1").bearer(&token(jti)).send().await.status().as_u16()
    };
    for jti in kept.iter().chain(&lost).rev().take(8) {
        assert_eq!(status(process.proxy, jti).await, 401, "{jti}");
    }
    assert_eq!(status(process.proxy, "other").await, 200);
    process.signal("KILL");
    process.ended().await;
    let again = Process::start(&yaml).await;
    for jti in &kept {
        assert_eq!(status(again.proxy, jti).await, 401, "{jti}");
    }
}

/// `scopegate revoke`, its list and its undoing; the token itself never leaves the command.
#[tokio::test]
async fn the_command_revokes_lists_and_withdraws() {
    let t = Harness::start(&with("{}")).await;
    let token = t.token().claim("sub", "carol").sign();
    t.is_accepted(&token).await;
    let folder = tempfile::tempdir().unwrap();
    let admin = t.admin().to_string();
    let run = async |words: &[&str], input: &str| {
        let words: Vec<String> = [&["revoke", "--admin", &admin], words]
            .concat()
            .iter()
            .map(|w| (*w).to_owned())
            .collect();
        let (path, input) = (folder.path().to_owned(), input.to_owned());
        tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            Scopegate::within(&path, &words).env("USER", "root").input(&input).run()
        })
        .await
        .unwrap()
    };
    let ran = run(&["--token", "-", "--why", "leaked"], &format!("{token}\n")).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("revoked: token-"), "{}", ran.stdout);
    assert!(ran.stderr.contains("a restart forgets it"), "{}", ran.stderr);
    t.is_refused(&token).await;
    let list = run(&["--list"], "").await;
    assert!(list.stdout.contains("by root  why: leaked"), "{}", list.stdout);
    assert!(list.stdout.ends_with("1 in all\n"), "{}", list.stdout);
    let id = ran.stdout.split_whitespace().nth(1).unwrap();
    assert_eq!(run(&["--undo", id], "").await.code, 0);
    t.is_accepted(&token).await;
    assert_eq!(run(&["--undo", id], "").await.code, 1);
    // What was quoted or cut is no token, and nobody is told that it was revoked.
    for odd in [format!("\"{token}\""), format!("{token},"), "\u{feff}x".into()] {
        assert_eq!(run(&["--token", "-"], &odd).await.code, 2, "{odd}");
    }
    assert_eq!(run(&["--subject", "carol", "--issuer", "nobody"], "").await.code, 1);
    assert_eq!(run(&["--subject", "carol", "--jti", "x"], "").await.code, 2);
    assert_eq!(run(&[], "").await.code, 2);
    assert_eq!(run(&["--subject", "carol", "--until", "tomorrow"], "").await.code, 2);
}

/// Every request may ask at once while many are revoked: none is forgotten, none invented.
#[tokio::test]
async fn many_revocations_at_once_are_all_in_force() {
    let t = Harness::start(&with("{}")).await;
    let orders =
        (0..100).map(|number| post(t.admin(), &json!({ "jti": format!("m{number}") })).send());
    let mut tasks = Vec::new();
    for chunk in orders.collect::<Vec<_>>().into_iter() {
        tasks.push(tokio::spawn(chunk));
        if tasks.len() == 20 {
            for task in tasks.drain(..) {
                assert_eq!(task.await.unwrap().status(), 200);
            }
        }
    }
    for number in [0, 1, 37, 98, 99] {
        t.is_refused(&t.token().claim("jti", format!("m{number}")).sign()).await;
    }
    t.is_accepted(&t.token().claim("jti", "m100").sign()).await;
    assert_eq!(t.metric("scopegate_revocation_entries", &[]).await, 100.0);
}
