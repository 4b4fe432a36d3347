//! What is written in a configuration and is secret is in no message about it.

use super::{folder, run};
use crate::harness::Call;
use crate::harness::command::Scopegate;
use crate::harness::process::Process;

/// Files with one mistake or more, the secret on the line of one of them.
const FAULTY: &[&str] = &[
    // A user, a query or a fragment in a URL, wherever URLs are read.
    "upstream: http://u:SECRET@h",
    "upstream: http://SECRET@h",
    "upstream: u:SECRET@h:80",
    "upstream: http://u:x SECRET@h",
    "upstream: http://u:x/SECRET@h",
    "upstream: 'http://u:a@SECRET@h'",
    "upstream: http://h/?key=SECRET",
    "upstream: http://h/#SECRET",
    "upstream: http://a-very-long-user-name-that-is-cut-off-in-messages:SECRETSECRETSECRET@h",
    "upstreams: { a: { targets: [http://u:SECRET@h, http://b] } }",
    "upstreams: { a: { targets: [{ url: http://u:SECRET@h, wieght: 2 }] } }",
    "public_url: https://u:SECRET@h",
    "tracing: { otlp: http://u:SECRET@h }",
    "tracing: { otlp: http://h?token=SECRET }",
    "issuer: https://u:SECRET@h",
    "issuers: { a: { url: https://u:SECRET@h, audience: a } }",
    "issuers: { a: { url: https://h, audience: a, jwks_url: https://u:SECRET@h } }",
    "issuers: { a: { url: https://h, audience: a, metadata_url: https://h?k=SECRET } }",
    "issuers: { a: { audience: a, introspection: https://u:SECRET@h } }",
    "errors: { docs: https://u:SECRET@h }",
    "cors: { origins: [https://u:SECRET@h] }",
    "listen: http://u:SECRET@h",
    "admin: http://u:SECRET@h:80",
    // The same beside another mistake, and where no URL belongs.
    "{ upstream: http://u:SECRET@h, upstreem: x }",
    "upstream: http://u:SECRET@h\nupstream: http://u:SECRET@h",
    "http://u:SECRET@h: x",
    "upstreem: http://u:SECRET@h",
    "mode: http://u:SECRET@h",
    "flood: http://u:SECRET@h",
    "upstream: http://u:SECRET@${NOT_SET}",
    "upstream: http://${not set:-SECRET}@h",
    "upstream: [http://u:SECRET@h",
    "routes: { /a: http://u:SECRET@h }",
    "routes: { /a: { upstream: http://u:SECRET@h, GET: a } }",
    // Keys that hold secrets, right and misspelled, and whatever is wrong near them.
    "revocation: { secret: SECRET }",
    "revocation: { secret: SECRET, kep: 1h }",
    "revocation: { secret: [SECRET] }",
    "revocation: { secret: { a: SECRET } }",
    "revocation: { secret: SECRET, secret: SECRET }",
    "revocation: { secrt: SECRET }",
    "revocation:\n  secret: |\n    SECRET\n  kep: 1h",
    "revocation:\n  secret: SECRET\n   SECRET: x",
    "revocation: { secret: ${SECRET!} }",
    "revocation:\n  secret: \"${no such:-SECRET}\"",
    "revocation:\n  secret: \"${NOT_SET}SECRET\"",
    "revocation:\n  secret: *SECRET",
    "revocation:\n  secret: !SECRET x",
    "revocation:\n  secret: \"SECRET",
    "revocation:\n  secret: 'SECRET' SECRET",
    "revocation:\n  secret: @SECRET",
    "client_secret: SECRET",
    "client_secret SECRET",
    "client_secret = SECRET\nx",
    "client_secret:SECRET",
    "password: SECRET",
    "database_password: SECRET",
    "access_token: SECRET",
    "issuers: { a: { url: https://h, audience: a, client_key: SECRET, x: 1 } }",
    "tls: { cert: a, key: \"-----BEGIN PRIVATE KEY-----\\nSECRET\", x: 1 }",
];

const SECRET: &str = "hunter2hunter2";

fn files() -> impl Iterator<Item = String> {
    FAULTY.iter().map(|text| format!("{}\n", text.replace("SECRET", SECRET)))
}

#[test]
fn no_message_about_a_file_shows_a_secret() {
    for text in files() {
        let folder = folder(&text);
        for words in [&["check"][..], &["check", "--format", "json"], &["routes"], &["serve"]] {
            let ran = run(folder.path(), words);
            assert_ne!(ran.code, 0, "{words:?}: {text}");
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!said.contains("hunter2"), "{words:?}: {text}{said}");
            assert!(said.contains("gateway.yaml"), "{words:?}: {text}{said}");
        }
    }
}

/// Where the secret comes from the environment, the value is not in the file at all.
#[test]
fn a_value_of_a_variable_is_not_shown_either() {
    for line in ["upstream: ${X}", "tracing: { otlp: '${X}' }", "revocation: { secret: '${X}' }"] {
        let folder = folder(&format!("{line}\n"));
        for value in [format!("http://u:{SECRET}@h"), "hunter2".to_owned()] {
            for format in ["human", "json"] {
                let words = ["check", "--format", format];
                let ran = Scopegate::within(folder.path(), &words).env("X", &value).run();
                let said = format!("{}{}", ran.stdout, ran.stderr);
                assert!(ran.code == 1 && !said.contains("hunter2"), "{line}: {said}");
            }
        }
    }
}

#[test]
fn init_shows_no_password_of_its_arguments() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        ["init", "https://u:hunter2@h", "http://127.0.0.1:1"],
        ["init", "https://h", "http://u:hunter2@h"],
        ["init", "https://h?k=hunter2", "u:hunter2@h"],
    ] {
        let ran = run(folder.path(), &words);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("E022") && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

/// A reload that is refused answers whoever asked, and is logged.
#[tokio::test]
async fn a_reload_shows_no_secret() {
    let good = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstream: http://127.0.0.1:1\n\
        routes: { /a: { public: true } }\n";
    let process = Process::start(good).await;
    let mut count = 0.0;
    for text in files() {
        std::fs::write(process.file(), format!("{good}{text}")).unwrap();
        let reload = Call::new(process.admin, "POST", "/reload").header("x-scopegate-admin", "1");
        let answer = reload.send().await.text();
        assert!(!answer.contains("hunter2"), "{text}{answer}");
        count += 1.0;
        let rejected = [("result", "rejected")];
        assert_eq!(
            process.metric("scopegate_config_reloads_total", &rejected).await,
            count,
            "{text}"
        );
    }
    assert!(process.log().contains("E022") && !process.log().contains("hunter2"));
}
