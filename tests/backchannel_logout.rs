//! The issuer tells of a logout, and the tokens of what ended are refused (BL-01 to BL-06).

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::keys::Key;
use crate::harness::process::Process;
use crate::harness::token::{Token, unix_now};
use crate::harness::{Answer, Backend, Call, Harness, Issuer, ORDERS};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn yaml(more: &str) -> String {
    format!(
        "issuers:
  main:
    url: {{issuer}}
    audience: https://api.example.com
    backchannel_logout: {{ path: /signed-out, audience: web-app{more} }}
revocation: {{}}
{ORDERS}"
    )
}

/// A good logout token for alice's session `s1`.
fn logout_token(issuer: &Issuer) -> Token {
    issuer
        .token()
        .header("typ", "logout+jwt")
        .claim("aud", "web-app")
        .claim("exp", unix_now() + 120)
        .claim("sid", "s1")
        .claim("events", json!({ EVENT: {} }))
        .without("client_id")
        .without("auth_time")
}

fn form(body: String) -> impl Fn(std::net::SocketAddr) -> Call {
    move |address| {
        Call::new(address, "POST", "/signed-out")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.clone())
    }
}

impl Harness {
    async fn log_out(&self, token: &Token) -> Answer {
        form(format!("logout_token={}", token.sign()))(self.address()).send().await
    }

    async fn status(&self, token: &Token) -> u16 {
        self.get("/orders/1").bearer(&token.sign()).send().await.status().as_u16()
    }
}

fn is_refusal(answer: &Answer) {
    assert_eq!(answer.status(), 400, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json()["error"], "invalid_request");
}

/// BL-05, BL-06: `sid` ends that session and no other; a token that names no session is of none
/// that is known to go on.
#[tokio::test]
async fn a_session_ends_and_others_go_on() {
    let t = Harness::start(&yaml("")).await;
    let (first, second) = (t.token().claim("sid", "s1"), t.token().claim("sid", "s2"));
    let lone = t.token();
    for token in [&first, &second, &lone] {
        assert_eq!(t.status(token).await, 200);
    }
    t.backend.forget();
    let answer = t.log_out(&logout_token(&t.issuer)).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, ""));
    assert_eq!(answer.header("cache-control"), "no-store");
    t.backend.saw_nothing();
    assert_eq!(t.status(&first).await, 401);
    assert_eq!(t.status(&lone).await, 401);
    t.backend.saw_nothing();
    assert_eq!(t.status(&second).await, 200);
    assert_eq!(t.status(&t.token().claim("sub", "bob")).await, 200);
    // A token that was made behind the logout is of another login.
    assert_eq!(t.status(&t.token().claim("iat", unix_now() + 20)).await, 200);
    assert_eq!(t.denials("/orders/**", "token_revoked").await, 2.0);
    let labels = [("source", "backchannel_logout"), ("result", "accepted")];
    assert_eq!(t.metric("scopegate_revocations_total", &labels).await, 2.0);
}

/// BL-05: `sub` alone ends all sessions of that person at that issuer.
#[tokio::test]
async fn a_subject_without_session_ends_all_of_its_sessions() {
    let t = Harness::start(&yaml("")).await;
    let sessions = [t.token().claim("sid", "s1"), t.token().claim("sid", "s2"), t.token()];
    for token in &sessions {
        assert_eq!(t.status(token).await, 200);
    }
    assert_eq!(t.log_out(&logout_token(&t.issuer).without("sid")).await.status(), 200);
    for token in &sessions {
        assert_eq!(t.status(token).await, 401);
    }
    let later = t.token().claim("sid", "s3").claim("iat", unix_now() + 20);
    assert_eq!(t.status(&later).await, 200);
    assert_eq!(t.status(&t.token().claim("sub", "bob")).await, 200);
}

/// BL-05: a session that nobody knows ends well, and `sub` is the claim of that name whatever the
/// configuration reads the subject from.
#[tokio::test]
async fn sub_is_meant_whatever_names_the_person() {
    let text = yaml("")
        .replace("    audience: https", "    claims: { subject: email }\n    audience: https");
    let t = Harness::start(&text).await;
    let token = t.token().claim("email", "a@example.com");
    assert_eq!(t.status(&token).await, 200);
    let nobody = logout_token(&t.issuer).claim("sid", "never seen").claim("sub", "nobody");
    assert_eq!(t.log_out(&nobody).await.status(), 200);
    assert_eq!(t.status(&token).await, 200);
    assert_eq!(t.log_out(&logout_token(&t.issuer).without("sid")).await.status(), 200);
    assert_eq!(t.status(&token).await, 401);
}

/// BL-02, BL-03: whatever is not a logout token for us is refused and ends nothing.
#[tokio::test]
async fn bad_tokens_are_refused_and_end_nothing() {
    let t = Harness::start(&yaml("")).await;
    let other = Issuer::start().await;
    let good = || logout_token(&t.issuer);
    let bad: Vec<(&str, Token)> = vec![
        ("typ", good().header("typ", "JWT")),
        ("access token", t.token()),
        ("id token", t.token().header("typ", "JWT").claim("aud", "web-app").claim("nonce", "n")),
        ("nonce", good().claim("nonce", "n")),
        ("no events", good().without("events")),
        ("another event", good().claim("events", json!({ "http://a.example/e": {} }))),
        ("event without object", good().claim("events", json!({ EVENT: true }))),
        ("audience", good().claim("aud", "https://api.example.com")),
        ("no audience", good().without("aud")),
        ("no iat", good().without("iat")),
        ("iat in the future", good().claim("iat", unix_now() + 300)),
        ("no exp", good().without("exp")),
        ("expired", good().expired_by(60)),
        ("no jti", good().without("jti")),
        ("neither sub nor sid", good().without("sub").without("sid")),
        ("sid of the wrong type", good().claim("sid", true)),
        ("issuer", good().claim("iss", "https://other.example")),
        ("another's", logout_token(&other)),
        ("key", good().signed_by(&Key::es256("key-1"))),
        ("kid", good().signed_by(&Key::es256("key-9")).header("kid", "key-9")),
        ("crit", good().header("crit", json!(["x"]))),
    ];
    let count = bad.len();
    for (name, token) in bad {
        eprintln!("{name}");
        is_refusal(&t.log_out(&token).await);
    }
    let unsigned = format!("{}.", good().header("alg", "none").input());
    is_refusal(&form(format!("logout_token={unsigned}"))(t.address()).send().await);
    assert_eq!(t.status(&t.token().claim("sid", "s1")).await, 200);
    let labels = [("source", "backchannel_logout"), ("result", "rejected")];
    let rejected = t.metric("scopegate_revocations_total", &labels).await;
    assert_eq!(rejected, f64::from(u32::try_from(count + 1).unwrap()));
    assert_eq!(t.metric("scopegate_revocation_entries", &[]).await, 0.0);
}

/// A session that its issuer counts is ended by its number, however it is written.
#[tokio::test]
async fn a_session_may_be_a_number() {
    let t = Harness::start(&yaml("")).await;
    let session = |number: u64| t.token().claim("sid", number);
    assert_eq!(t.status(&session(7)).await, 200);
    assert_eq!(t.log_out(&logout_token(&t.issuer).claim("sid", 7)).await.status(), 200);
    assert_eq!(t.status(&session(7)).await, 401);
    assert_eq!(t.status(&t.token().claim("sid", "7")).await, 401);
    assert_eq!(t.status(&session(8)).await, 200);
}

/// BL-01: a form by POST, with one token in it, of a size that a token has.
#[tokio::test]
async fn the_request_is_a_small_form() {
    let t = Harness::start(&yaml("")).await;
    let token = logout_token(&t.issuer).sign();
    for method in ["GET", "PUT", "HEAD"] {
        let answer = Call::new(t.address(), method, "/signed-out").send().await;
        assert_eq!((answer.status().as_u16(), answer.header("allow")), (405, "POST"));
    }
    for body in [
        String::new(),
        "logout_token=".into(),
        format!("token={token}"),
        format!("logout_token={token}&logout_token={token}"),
        format!("logout_token={token}x"),
        "logout_token=a.b.c".into(),
    ] {
        is_refusal(&form(body)(t.address()).send().await);
    }
    let json = Call::new(t.address(), "POST", "/signed-out")
        .header("content-type", "application/json")
        .body(json!({ "logout_token": token }).to_string());
    is_refusal(&json.send().await);
    let long = form(format!("logout_token={}", "a".repeat(40_000)))(t.address()).send().await;
    assert_eq!(long.status(), 413);
    // No cookie, no guard, no token of a caller is needed, and other parameters do not matter.
    let good = form(format!("x=1&logout_token={token}"))(t.address()).send().await;
    assert_eq!(good.status(), 200);
    t.backend.saw_nothing();
}

/// BL-04: a token is carried out once.
#[tokio::test]
async fn a_logout_token_is_good_once() {
    let t = Harness::start(&yaml("")).await;
    let token = logout_token(&t.issuer);
    assert_eq!(t.log_out(&token).await.status(), 200);
    is_refusal(&t.log_out(&token).await);
    let again = token.clone().claim("jti", "another");
    assert_eq!(t.log_out(&again).await.status(), 200);
    // Forgotten no sooner than the token itself is too old.
    t.clock.advance(Duration::from_secs(149));
    is_refusal(&t.log_out(&token).await);
    t.clock.advance(Duration::from_secs(2));
    is_refusal(&t.log_out(&token).await);
}

/// BL-02: servers of old drafts send no `exp`; where that is allowed, `iat` must be fresh.
#[tokio::test]
async fn a_missing_exp_must_be_allowed() {
    let t = Harness::start(&yaml(", allow_missing_exp: true")).await;
    let token = logout_token(&t.issuer).without("exp");
    assert_eq!(t.log_out(&token).await.status(), 200);
    let old = token.claim("jti", "old").claim("iat", unix_now() - 200);
    is_refusal(&t.log_out(&old).await);
}

/// One address cannot keep the gateway busy with signatures.
#[tokio::test]
async fn too_many_logouts_from_one_address_wait() {
    let t = Harness::start(&yaml(", rate: 3/min")).await;
    for _ in 0..3 {
        is_refusal(&form("logout_token=a".into())(t.address()).send().await);
    }
    let answer = t.log_out(&logout_token(&t.issuer)).await;
    assert_eq!(answer.status(), 429);
    assert!(!answer.header("retry-after").is_empty());
    t.clock.advance(Duration::from_secs(60));
    assert_eq!(t.log_out(&logout_token(&t.issuer)).await.status(), 200);
}

/// Without keys nobody knows whether a logout is good: 503, and the issuer may try again.
#[tokio::test]
async fn without_keys_the_answer_is_503() {
    let issuer = Issuer::start().await;
    issuer.behave(crate::harness::issuer::Behaviour::Broken(500, "".into()));
    let t = Harness::launch(&yaml(""), issuer, Backend::start().await).await;
    t.ready().await;
    let answer = t.log_out(&logout_token(&t.issuer)).await;
    assert_eq!(answer.status(), 503);
    assert!(!answer.header("retry-after").is_empty());
}

/// Two issuers may share a path; each ends its own sessions only.
#[tokio::test]
async fn issuers_are_kept_apart() {
    let other = Issuer::start().await;
    let text = yaml("").replace(
        "revocation:",
        &format!(
            "  other:
    url: {}
    audience: https://api.example.com
    backchannel_logout: {{ path: /signed-out, audience: web-app }}
revocation:",
            other.url()
        ),
    );
    let t = Harness::start(&text).await;
    assert_eq!(t.log_out(&logout_token(&other)).await.status(), 200);
    assert_eq!(t.status(&t.token().claim("sid", "s1")).await, 200);
    let theirs = other.token().scope("orders:read").claim("sid", "s1");
    assert_eq!(t.status(&theirs).await, 401);
}

/// What a logout ended stays ended, and its token stays used, through `kill -9`.
#[tokio::test]
async fn a_logout_survives_a_kill() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("revocations.redb");
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstream: {}\n{}",
        backend.url(),
        yaml("")
    )
    .replace("{issuer}", &issuer.url())
    .replace("revocation: {}", &format!("revocation: {{ store: {} }}", store.display()));
    let token = logout_token(&issuer);
    let body = format!("logout_token={}", token.sign());
    let mut process = Process::start(&text).await;
    let access = issuer.token().scope("orders:read").claim("sid", "s1").sign();
    let get = async |process: &Process| {
        let call = Call::new(process.proxy, "GET", "/orders/1").bearer(&access);
        call.send().await.status().as_u16()
    };
    assert_eq!(get(&process).await, 200);
    assert_eq!(form(body.clone())(process.proxy).send().await.status(), 200);
    process.signal("KILL");
    process.ended().await;
    let process = Process::start(&text).await;
    assert_eq!(get(&process).await, 401);
    is_refusal(&form(body)(process.proxy).send().await);
    let log = process.log();
    assert!(!log.contains("alice"), "{log}");
}

/// A logout that cannot be kept is told to the issuer, counts nevertheless, and can be repeated.
#[tokio::test]
async fn a_logout_that_cannot_be_kept_can_be_repeated() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("revocations.redb");
    let text = yaml("")
        .replace("revocation: {}", &format!("revocation: {{ store: {} }}", store.display()));
    let t = Harness::start_with(&text, issuer, backend).await;
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&store, &elsewhere).unwrap();
    let token = logout_token(&t.issuer);
    let answer = t.log_out(&token).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.json()["error"], Value::from("temporarily_unavailable"));
    assert_eq!(t.status(&t.token().claim("sid", "s1")).await, 401);
    std::fs::rename(&elsewhere, &store).unwrap();
    assert_eq!(t.log_out(&token).await.status(), 200);
    is_refusal(&t.log_out(&token).await);
}
