//! `scopegate check --online`: what issuers and a sample token tell.

use serde_json::{Value, json};

use super::folder;
use crate::harness::Issuer;
use crate::harness::command::{Ran, Scopegate};
use crate::harness::issuer::Behaviour;
use crate::harness::keys::Key;

/// The common case, with this issuer.
fn yaml(issuer: &str) -> String {
    format!(
        "issuers:\n  main: {{ url: '{issuer}', audience: api }}\nupstream: http://127.0.0.1:3000\n\
         routes:\n  /orders/**: {{ GET: orders:read, POST: orders:wriet }}\n"
    )
}

async fn check(yaml: &str, more: &[&str], input: &str) -> Ran {
    let folder = folder(yaml);
    let words: Vec<String> =
        ["check", "--online"].iter().chain(more).map(|word| (*word).to_owned()).collect();
    let input = input.to_owned();
    let run = move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Scopegate::within(folder.path(), &words).input(&input).run()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn without_time(ran: &Ran) -> &str {
    ran.stdout.rsplit_once(" (").expect("the time at the end").0
}

fn publish(issuer: &Issuer, changes: &Value) {
    let url = issuer.url();
    let mut metadata = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") });
    let members = metadata.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    issuer.set_metadata(metadata);
}

/// Metadata and keys are fetched as `serve` fetches them, and never without the flag.
#[tokio::test]
async fn an_issuer_in_order_is_no_news() {
    let issuer = Issuer::start().await;
    let yaml = yaml(&issuer.url());
    for scopes in [json!(null), json!(["orders:read", "orders:wriet", "openid"])] {
        publish(&issuer, &json!({ "scopes_supported": scopes }));
        let ran = check(&yaml, &[], "").await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        assert_eq!(without_time(&ran), "gateway.yaml: ok, 1 route");
    }
    assert_eq!(issuer.key_requests(), 2);
    let asked = issuer.requests().len();
    let folder = folder(&yaml);
    assert_eq!(super::run(folder.path(), &["check"]).code, 0);
    assert_eq!(issuer.requests().len(), asked);
}

/// A misspelled scope is found before nobody gets in.
#[tokio::test]
async fn a130_a_scope_that_no_issuer_lists() {
    let issuer = Issuer::start().await;
    publish(&issuer, &json!({ "scopes_supported": ["orders:read", "orders:write"] }));
    let yaml = yaml(&issuer.url());
    let ran = check(&yaml, &[], "").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let expected = "\
warning[A130]: no issuer lists the scope `orders:wriet`
 --> gateway.yaml:5:41
  |
5 |   /orders/**: { GET: orders:read, POST: orders:wriet }
  |                                         ^^^^^^^^^^^^ not in `scopes_supported`
  |
  = help: servers may leave scopes out: then write `# scopegate: allow A130`     (scopegate help A130)

gateway.yaml: 1 warning in 1 route";
    assert_eq!(without_time(&ran), expected);
    let silenced = check(&format!("# scopegate: allow A130\n{yaml}"), &[], "").await;
    assert_eq!(without_time(&silenced), "gateway.yaml: ok, 1 route");
    let ran = check(&yaml, &["--format", "json"], "").await;
    let problems: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&problems[0]["code"], &problems[0]["line"]), (&json!("A130"), &json!(5)));
}

/// KS-02, typical mistake 7.
#[tokio::test]
async fn e041_an_issuer_of_another_name() {
    let issuer = Issuer::start().await;
    let url = issuer.url();
    publish(&issuer, &json!({ "issuer": format!("{url}/") }));
    let ran = check(&yaml(&url), &[], "").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let expected = format!(
        "\
error[E041]: issuer URL and the server's own name differ
 --> gateway.yaml:2:16
  |
2 |   main: {{ url: '{url}', audience: api }}
  |                {} server says `{url}/`
  |
  = help: the trailing `/` matters: copy the server's value     (scopegate help E041)

gateway.yaml: 1 error in 1 route",
        "^".repeat(url.len() + 2)
    );
    assert_eq!(without_time(&ran), expected);
}

/// KS-01 to KS-05: whatever `serve` could not use.
#[tokio::test]
async fn e041_metadata_and_keys_that_cannot_be_used() {
    let issuer = Issuer::start().await;
    let url = issuer.url();
    let fails = async |sentence: &str| {
        let ran = check(&yaml(&url), &[], "").await;
        let expected = format!("error[E041]: the {sentence}\n");
        assert!(ran.code == 1 && ran.stdout.starts_with(&expected), "{sentence}: {}", ran.stdout);
    };
    let of = |what: &str| format!("{what} of issuer `main`");
    issuer.publish(&[]);
    fails(&format!("{} has no key that can be used", of("key set"))).await;
    issuer.publish(&[Key::es256("k").jwk()]);
    publish(&issuer, &json!({ "jwks_uri": null }));
    fails(&format!("{} cannot be used: it names no key set", of("metadata"))).await;
    issuer.behave(Behaviour::Broken(200, "<html></html>".into()));
    fails(&format!("{} cannot be used: it is not JSON", of("metadata"))).await;
    issuer.behave(Behaviour::Broken(500, "".into()));
    fails(&format!("{} cannot be fetched: the server answers 500", of("metadata"))).await;
    issuer.behave(Behaviour::Redirect("https://elsewhere.example".into()));
    fails(&format!("{} cannot be fetched: redirects are not followed", of("metadata"))).await;
    issuer.behave(Behaviour::Held);
    fails(&format!("{} cannot be fetched: no answer in 5 seconds", of("metadata"))).await;
}

/// Every issuer is asked, files are opened, and each trouble has its own place.
#[tokio::test]
async fn all_issuers_are_asked() {
    let (good, plain) = (Issuer::start().await, Issuer::start().await);
    let client = "client_id: gw, client_secret: \"${SECRET:-s}\"";
    let yaml = format!(
        "issuers:\n  good: {{ url: '{}', audience: api }}\n  \
         gone: {{ url: 'http://127.0.0.1:9', audience: api }}\n  \
         plain: {{ url: '{}', audience: api, introspection: true, {client} }}\n  \
         file: {{ url: 'https://ci.example', audience: api, jwks: none.json }}\n\
         upstream: http://127.0.0.1:3000\nroutes: {{ /a: {{ GET: a }} }}\n",
        good.url(),
        plain.url()
    );
    let ran = check(&yaml, &[], "").await;
    let told: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(ran.code, 1);
    assert_eq!(told.len(), 3, "{}", ran.stdout);
    let gone = "error[E041]: the metadata of issuer `gone` cannot be fetched: no connection";
    let plain = "error[E041]: the metadata of issuer `plain` names no introspection endpoint";
    assert_eq!(told[..2], [gone, plain]);
    assert!(told[2].starts_with("error[E042]"), "{}", told[2]);
    assert_eq!(good.key_requests(), 1);
}

/// A file with mistakes of its own asks nobody.
#[tokio::test]
async fn mistakes_come_first() {
    let issuer = Issuer::start().await;
    let ran = check(&yaml(&issuer.url()).replace("GET", "get"), &[], "").await;
    assert!(ran.code == 1 && ran.stdout.starts_with("error[E011]"), "{}", ran.stdout);
    assert!(issuer.requests().is_empty());
}

/// RFC 9700 §4.10: a sample tells how long tokens live, and is shown nowhere.
#[tokio::test]
async fn a152_tokens_that_live_long() {
    let issuer = Issuer::start().await;
    let yaml = yaml(&issuer.url());
    let token = |hours: u64| {
        let now = crate::harness::token::unix_now();
        issuer.token().claim("iat", now).claim("exp", now + hours * 3600).sign()
    };
    let day = token(24);
    let ran = check(&yaml, &["--token", "-"], &format!("Bearer {day}\n")).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let expected = format!(
        "\
warning[A152]: tokens of issuer `main` live 24 h
 --> gateway.yaml:2:3
  |
2 |   main: {{ url: '{}', audience: api }}
  |   ^^^^ `max_token_age` is not set
  |
  = help: whoever copies a token can use it as long; `max_token_age: 1h` shortens that     (scopegate help A152)

gateway.yaml: 1 warning in 1 route",
        issuer.url()
    );
    assert_eq!(without_time(&ran), expected);
    let bounded = yaml.replace("audience: api", "audience: api, max_token_age: 12h");
    for (yaml, token) in [(&yaml, token(1)), (&bounded, day.clone())] {
        let ran = check(yaml, &["--token", "-"], &token).await;
        assert_eq!(without_time(&ran), "gateway.yaml: ok, 1 route");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &day).unwrap();
    let ran = check(&yaml, &["--token", &file.path().display().to_string()], "").await;
    assert!(ran.stdout.starts_with("warning[A152]"), "{}", ran.stdout);
}

/// What is no sample is bad usage, and is not shown.
#[tokio::test]
async fn a_sample_that_says_nothing_is_told() {
    let issuer = Issuer::start().await;
    let yaml = yaml(&issuer.url());
    let other = issuer.token().claim("iss", "https://s3cret.example").sign();
    for (more, input, word) in [
        (&["--token", "-"][..], "gho_s3cret", "opaque"),
        (&["--token", "-"], "", "no token"),
        (&["--token", "-"], other.as_str(), "none of the issuers"),
        (&["--token", "s3cret/none.jwt"], "", "No such file"),
        (&["--token", "-", "-c", "-"], yaml.as_str(), "standard input"),
    ] {
        let ran = check(&yaml, more, input).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{more:?}");
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
        assert!(!ran.stderr.contains("gho_") && !ran.stderr.contains(&other), "{}", ran.stderr);
    }
    assert!(issuer.requests().is_empty());
    let folder = folder(&yaml);
    let ran = super::run(folder.path(), &["check", "--token", "-"]);
    assert!(ran.code == 2 && ran.stderr.contains("--online"), "{}", ran.stderr);
}
