//! `scopegate token`: what a token says, and tokens for the demo.

use serde_json::Value;

use super::{folder, run};
use crate::harness::Issuer;
use crate::harness::command::Scopegate;
use crate::harness::demo::Demo;

/// A token on its own is read, and nothing of it is believed.
#[tokio::test]
async fn a_token_is_read_without_being_trusted() {
    let issuer = Issuer::start().await;
    let empty = tempfile::tempdir().unwrap();
    let token = issuer.token().scope("orders:read").sign();
    let ran = run(empty.path(), &["token", "inspect", &token]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let lines: Vec<_> = ran.stdout.lines().collect();
    let expected = format!(
        "  at+jwt ES256 kid key-1 · iss {} · sub alice · client web-app · a person · scopes orders:read",
        issuer.url()
    );
    assert_eq!(lines[0], expected);
    assert!(lines[1].ends_with("left · aud https://api.example.com"), "{}", lines[1]);
    assert!(lines[2].contains("not verified"), "{}", lines[2]);

    let ran = Scopegate::within(empty.path(), &["token", "inspect", "-"])
        .input(&format!("Authorization: Bearer {token}\n"))
        .run();
    assert_eq!(ran.stdout.lines().next(), Some(expected.as_str()));
    let ran = run(empty.path(), &["token", "inspect", &token, "--format", "json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["claims"]["sub"], "alice");
    assert_eq!((&json["verified"], &json["kind"]), (&Value::Null, &Value::from("user")));
}

/// Where the file names the issuer, the gateway's own checks are run.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_configured_issuer_is_judged() {
    let issuer = Issuer::start().await;
    let yaml = format!(
        "issuer: {}\naudience: https://api.example.com\nupstream: http://127.0.0.1:1\n\
         routes: {{ /a: {{ GET: a }} }}\n",
        issuer.url()
    );
    let folder = folder(&yaml);
    let inspect = |token: String| run(folder.path(), &["token", "inspect", &token]);
    let good = inspect(issuer.token().sign());
    assert_eq!(good.code, 0);
    assert!(good.stdout.contains("(issuer main)") && good.stdout.contains("verified: signature"));
    for (token, reason) in [
        (issuer.token().expired_by(90).sign(), "refused: token_expired"),
        (issuer.token().claim("aud", "other").sign(), "refused: wrong_audience"),
        (format!("{}.AAAA", issuer.token().input()), "refused: bad_signature"),
    ] {
        let ran = inspect(token);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.stdout.contains(reason), "{}", ran.stdout);
    }
}

/// What is no token is named, and not repeated.
#[test]
fn garbage_is_called_by_its_name() {
    let empty = tempfile::tempdir().unwrap();
    for (token, word) in [
        ("", "no token"),
        ("garbage", "not a JWT"),
        ("a.b", "not a JWT"),
        ("a.b.c", "first part"),
        ("eyJhbGciOiJFUzI1NiJ9.!.c", "second part"),
        ("e30.e30.c.d.e", "encrypted"),
        ("\u{1b}[31m", "not a JWT"),
    ] {
        let ran = run(empty.path(), &["token", "inspect", token]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{token}");
        assert!(ran.stderr.contains(word), "{token}: {}", ran.stderr);
        assert!(!ran.stderr.contains('\u{1b}'));
    }
    let many = "x".repeat(2 << 20);
    let ran = Scopegate::within(empty.path(), &["token", "inspect", "-"]).input(&many).run();
    assert_eq!(ran.code, 1);
    let no_file = run(empty.path(), &["token", "inspect", "a.b.c", "-c", "none.yaml"]);
    assert!(no_file.code == 1 || no_file.code == 2);
}

/// Tokens come from the demo, which has to run; what it refuses is exit code 1.
#[test]
fn minting_needs_a_running_demo_and_a_client_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let mint = |words: &[&str], issuer: &str| {
        let words = [&["token", "mint"][..], words].concat();
        Scopegate::within(folder.path(), &words).env("SCOPEGATE_ISSUER", issuer).run()
    };
    let machine = ["--client", "nightly-uploader", "--scope", "batch:upload"];
    let ran = mint(&machine, &demo.issuer);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout.trim_end().split('.').count(), 3);
    // The address that `demo --issuer` takes names it as well.
    let address = demo.issuer.strip_prefix("http://").unwrap();
    assert_eq!(mint(&machine, address).code, 0);

    let stranger = mint(&["--client", "stranger"], &demo.issuer);
    assert_eq!((stranger.code, stranger.stdout.as_str()), (1, ""));
    assert!(stranger.stderr.contains("invalid_client"), "{}", stranger.stderr);
    let far = mint(&machine, "http://192.0.2.1:80");
    assert_eq!(far.code, 2);
    assert!(far.stderr.contains("not an issuer on this machine"), "{}", far.stderr);
    drop(demo);
    let gone = mint(&machine, "http://127.0.0.1:9");
    assert_eq!(gone.code, 4);
    assert!(gone.stderr.contains("help: run `scopegate demo`"), "{}", gone.stderr);
}
