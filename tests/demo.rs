//! `scopegate demo`: the first thing that people run.

use std::time::{Duration, Instant};

use crate::harness::command::{Scopegate, bash};
use crate::harness::demo::Demo;

/// What is printed to be pasted does what is printed beside it, and appears as a line.
#[test]
fn what_it_says_to_type_gives_the_answers_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let mut demo = Demo::start(folder.path());
    let took = start.elapsed();
    println!("the demo was up in {took:?}");
    // A second is the promise of a release build on an idle machine.
    assert!(took < Duration::from_secs(5), "{took:?}");

    let banner = demo.banner();
    let tokens: String =
        banner.lines().filter(|line| line.starts_with("export ")).collect::<Vec<_>>().join("\n");
    let calls: Vec<_> = banner.lines().filter_map(|line| line.split_once("  → ")).collect();
    assert_eq!(calls.len(), 5, "{banner}");
    for (call, promised) in &calls {
        let answered = statuses(folder.path(), &tokens, call);
        let codes: Vec<_> =
            promised.split(' ').take_while(|word| word.parse::<u16>().is_ok()).collect();
        assert!(!codes.is_empty(), "{promised}");
        assert_eq!(answered, codes.join(" "), "{call}");
    }
    let promised: Vec<_> = calls.iter().map(|(_, promised)| &promised[..3]).collect();
    assert_eq!(promised, ["200", "401", "403", "403", "200"]);

    for line in [
        "200 GET    /timesheets/42 ",
        "401 GET    /timesheets/42 ",
        "403 DELETE /timesheets/42 ",
        "403 POST   /timesheets/42/approval ",
        "200 POST   /batch ",
        "429 POST   /batch ",
    ] {
        demo.running.line(line);
    }
    let refused = demo.running.line("403 DELETE");
    assert!(refused.contains("alice via web-app"), "{refused}");
    assert!(refused.contains("missing_scope delete:timesheets"), "{refused}");
    let refused = demo.running.line("403 POST ");
    assert!(refused.contains("nightly-uploader"), "{refused}");
    assert!(refused.contains("wrong_token_kind"), "{refused}");

    let health = Scopegate::within(folder.path(), &["health", "--admin", &demo.admin]).run();
    assert_eq!((health.code, health.stdout.as_str()), (0, "ready\n"));
    demo.running.signal("INT");
    assert_eq!(demo.running.end(), 0);
}

/// The last command of the banner, with the demo's own issuer.
#[test]
fn other_scopes_are_minted_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path());
    let mint = demo.running.line("scopegate token mint");
    let sheet = format!("{}/timesheets/42", demo.api);
    let script = format!(
        "set -e\nT=$({mint})\n\
         curl -sk -o /dev/null -w '%{{http_code}}' -X DELETE {sheet} -H \"Authorization: Bearer $T\""
    );
    assert_eq!(bash(folder.path(), &script, &[]), "200");
    demo.running.line("200 DELETE /timesheets/42 ");
}

/// The demo's keys are nobody's secret: it must never be reachable from outside.
#[test]
fn it_refuses_to_leave_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    for option in ["--listen", "--admin", "--issuer", "--api"] {
        let ran = Scopegate::within(folder.path(), &["demo", option, "0.0.0.0:0"]).run();
        assert_eq!(ran.code, 2, "{option}");
        assert!(ran.stderr.contains("the demo stays on this machine"), "{}", ran.stderr);
    }
    let ran = Scopegate::within(folder.path(), &["demo"]).env("SCOPEGATE_LISTEN", "[::]:0").run();
    assert_eq!(ran.code, 2);
}

/// A port that is taken is named, with the way out.
#[test]
fn a_taken_port_is_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let any = "127.0.0.1:0";
    for (option, others) in [
        ("--issuer", ["--listen", "--admin", "--api"]),
        ("--listen", ["--issuer", "--admin", "--api"]),
        ("--admin", ["--issuer", "--listen", "--api"]),
    ] {
        let mut words = vec!["demo", option, &address];
        words.extend(others.iter().flat_map(|other| [*other, any]));
        let ran = Scopegate::within(folder.path(), &words).run();
        assert_eq!(ran.code, 3, "{option}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("cannot listen on {address}")), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("help: {option} ")), "{}", ran.stderr);
    }
}

/// A policy of one's own that the demo's issuer has no part in is explained, and one with a
/// mistake is shown.
#[test]
fn a_policy_that_does_not_fit_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    let any = "127.0.0.1:0";
    let words =
        ["demo", "-c", "mine.yaml", "--listen", any, "--admin", any, "--issuer", any, "--api", any];
    let policy = "issuer: https://id.example.com\naudience: a\nupstream: http://127.0.0.1:1\n\
                  routes: { /a: { GET: a } }\n";
    std::fs::write(&file, policy).unwrap();
    let ran = Scopegate::within(folder.path(), &words).run();
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("help: write `issuer: ${SCOPEGATE_DEMO_ISSUER}`"),
        "{}",
        ran.stderr
    );
    std::fs::write(&file, policy.replace("GET: a", "GET: [a, b]")).unwrap();
    let ran = Scopegate::within(folder.path(), &words).run();
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("error[E012]"), "{}", ran.stderr);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(Scopegate::within(folder.path(), &words).run().code, 2);
}

/// The status codes that a printed line leads to, joined by spaces.
fn statuses(folder: &std::path::Path, tokens: &str, call: &str) -> String {
    // The line that prints codes itself stays as it is; of the others the code is all we want.
    let shown = "curl() { command curl -sS -o /dev/null -w '%{http_code} ' \"$@\"; }";
    let own = if call.contains("%{http_code}") { "" } else { shown };
    let answered = bash(folder, &format!("{tokens}\n{own}\n{call}"), &[]);
    answered.trim_end().to_owned()
}
