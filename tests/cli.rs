//! What people type, and what they read: commands, their output and their exit codes.

mod broken;
mod check;
mod concealed;
mod online;
mod schema;
mod serving;
mod token;

use std::path::Path;

use tempfile::TempDir;

use crate::harness::command::{Ran, Scopegate};

/// The common case, correct.
const GOOD: &str = "\
issuer: https://id.example.com
audience: https://api.example.com
upstream: http://127.0.0.1:3000
routes:
  /orders/**: { GET: orders:read }
";

/// A folder with this `gateway.yaml`.
fn folder(yaml: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    folder
}

fn run(folder: &Path, words: &[&str]) -> Ran {
    Scopegate::within(folder, words).run()
}

/// `serve` never falls back to the demo: it names the ways out.
#[test]
fn without_a_file_the_ways_out_are_named() {
    let empty = tempfile::tempdir().unwrap();
    for (command, ways) in [
        ("serve", &["scopegate demo", "scopegate init", "--config"][..]),
        ("check", &["scopegate init", "-c FILE"]),
        ("routes", &["scopegate init", "-c FILE"]),
        ("reload", &["--config", "--admin"]),
    ] {
        let ran = run(empty.path(), &[command]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{command}");
        assert!(ran.stderr.starts_with("error: there is "), "{}", ran.stderr);
        for way in ways {
            assert!(ran.stderr.contains(way), "{command}: {}", ran.stderr);
        }
    }
}

/// A file that is named but cannot be read is bad usage.
#[test]
fn a_file_that_is_not_there_is_exit_code_2() {
    let empty = tempfile::tempdir().unwrap();
    for command in ["serve", "check", "routes", "reload"] {
        for file in ["nothing.yaml", "."] {
            let ran = run(empty.path(), &[command, "-c", file]);
            assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{command} {file}");
            assert!(ran.stderr.contains("error: "), "{command}: {}", ran.stderr);
            assert!(ran.stderr.contains(file), "{command}: {}", ran.stderr);
        }
    }
}

/// A word that no command has is bad usage; help and version are answers.
#[test]
fn usage_is_told_apart_from_answers() {
    let folder = folder(GOOD);
    for words in [
        &["frobnicate"][..],
        &[],
        &["check", "--format", "xml"],
        &["check", "--color", "sometimes"],
        &["check", "extra"],
        &["init"],
        &["token"],
        &["token", "inspect"],
        &["token", "mint"],
        &["serve", "--listen", "8443"],
        &["serve", "--workers", "0"],
    ] {
        let ran = run(folder.path(), words);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{words:?}");
        assert!(!ran.stderr.is_empty(), "{words:?}");
    }
    let version = run(folder.path(), &["--version"]);
    assert_eq!(version.code, 0);
    assert_eq!(version.stdout, concat!("scopegate ", env!("CARGO_PKG_VERSION"), "\n"));
    for words in [&["--help"][..], &["-h"], &["help"]] {
        let help = run(folder.path(), words);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""));
        for word in ["demo", "serve", "check", "routes", "token", "Exit codes: 0 fine"] {
            assert!(help.stdout.contains(word), "{words:?} lacks {word}");
        }
    }
}

/// Every command explains itself.
#[test]
fn every_command_has_help() {
    let folder = tempfile::tempdir().unwrap();
    for command in
        ["demo", "serve", "reload", "health", "init", "check", "routes", "token", "schema", "help"]
    {
        let long = run(folder.path(), &[command, "--help"]);
        assert_eq!(long.code, 0, "{command}");
        assert!(long.stdout.contains("Usage: scopegate"), "{}", long.stdout);
        assert_eq!(run(folder.path(), &["help", command]).code, 0, "{command}");
    }
}

/// `help CODE` for every code there is, and a hint for what there is not.
#[test]
fn every_code_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let codes = (0..100).map(|n| format!("E{n:03}")).chain((100..230).map(|n| format!("A{n}")));
    let known = codes.filter(|code| is_explained(folder.path(), code)).count();
    assert!(known >= 38, "only {known} codes are known");
    let ran = run(folder.path(), &["help", "E999"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("nothing is called `E999`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("codes E001 to "), "{}", ran.stderr);
}

/// The sections of the file, as help lists them.
#[test]
fn every_section_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let listed = run(folder.path(), &["help", "nothing"]).stderr;
    let (_, sections) = listed.split_once("sections ").unwrap();
    let sections: Vec<_> = sections.trim().split(", ").collect();
    assert!(sections.contains(&"routes") && sections.contains(&"issuers"));
    for section in sections {
        let ran = run(folder.path(), &["help", section]);
        assert_eq!(ran.code, 0, "{section}");
        assert!(ran.stdout.lines().count() > 2, "{section}: {}", ran.stdout);
    }
}

/// A file that `init` wrote needs nothing but the audience.
#[test]
fn what_init_writes_passes_check() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["init", "https://id.example.com/realms/prod", "http://127.0.0.1:3000"];
    let with_audience = [&words[..], &["--audience", "https://api.example.com"]].concat();
    let ran = run(folder.path(), &with_audience);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(ran.stderr, "wrote gateway.yaml · next: scopegate check\n");
    let written = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    assert_eq!(written.lines().count(), 11);
    assert_eq!(run(folder.path(), &["check"]).code, 0);

    let again = run(folder.path(), &words);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    let forced = run(folder.path(), &[&words[..], &["--force"]].concat());
    assert_eq!(forced.code, 0);
    assert!(forced.stderr.contains("write the audience"), "{}", forced.stderr);
    let check = run(folder.path(), &["check"]);
    assert_eq!(check.code, 1);
    assert!(check.stdout.contains("error[E020]"), "{}", check.stdout);

    let shown = run(folder.path(), &[&with_audience[..], &["-o", "-"]].concat());
    assert_eq!((shown.stdout.as_str(), shown.stderr.as_str()), (written.as_str(), ""));
    let bad =
        run(folder.path(), &["init", "id.example.com", "http://127.0.0.1:1", "-o", "new.yaml"]);
    assert_eq!((bad.code, bad.stdout.as_str()), (2, ""));
    assert!(bad.stderr.contains("error[E022]"), "{}", bad.stderr);
    assert!(!folder.path().join("new.yaml").exists());
}

/// Colours are for terminals, and for whoever insists.
#[test]
fn colours_are_for_terminals_alone() {
    let folder = folder(&GOOD.replace("upstream", "upstreem"));
    let colored = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = Scopegate::within(folder.path(), words);
        for (name, value) in variables {
            command = command.env(name, value);
        }
        let ran = command.run();
        assert_eq!(ran.code, 1);
        ran.stdout.contains('\u{1b}')
    };
    assert!(!colored(&["check"], &[]));
    assert!(colored(&["check", "--color", "always"], &[]));
    assert!(colored(&["check", "--color", "always"], &[("NO_COLOR", "1")]));
    assert!(!colored(&["check", "--color", "never"], &[]));
    assert!(colored(&["check"], &[("SCOPEGATE_COLOR", "always")]));
    // util-linux's script lends a terminal.
    let on_a_terminal = |command: &str, variables: &[(&str, &str)]| {
        let script = format!("script --quiet --return --command '{command}' /dev/null");
        let said = crate::harness::command::bash(folder.path(), &script, variables);
        assert!(said.contains("E001"), "{said}");
        said.contains('\u{1b}')
    };
    assert!(on_a_terminal("scopegate check", &[]));
    assert!(on_a_terminal("scopegate check", &[("NO_COLOR", "")]));
    assert!(!on_a_terminal("scopegate check", &[("NO_COLOR", "1")]));
    assert!(!on_a_terminal("scopegate check --color never", &[]));
}

/// Every flag has a twin in the environment.
#[test]
fn the_environment_can_say_it_all() {
    let folder = folder("");
    std::fs::rename(folder.path().join("gateway.yaml"), folder.path().join("empty.yaml")).unwrap();
    std::fs::write(folder.path().join("other.yaml"), GOOD).unwrap();
    let check = |variables: &[(&str, &str)], words: &[&str]| {
        let mut command = Scopegate::within(folder.path(), words);
        for (name, value) in variables {
            command = command.env(name, value);
        }
        command.run()
    };
    let ran = check(&[("SCOPEGATE_CONFIG", "other.yaml")], &["check"]);
    assert!(ran.stdout.starts_with("other.yaml: ok, 1 route ("), "{}", ran.stdout);
    let json = [("SCOPEGATE_CONFIG", "other.yaml"), ("SCOPEGATE_FORMAT", "json")];
    assert_eq!(check(&json, &["check"]).stdout.trim(), "[]");
    // What is typed beats what is set.
    let ran = check(&[("SCOPEGATE_CONFIG", "other.yaml")], &["check", "-c", "empty.yaml"]);
    assert_eq!(ran.code, 1);
}

/// Explains a code if there is one; what is explained has all its parts.
fn is_explained(folder: &Path, code: &str) -> bool {
    let ran = run(folder, &["help", code]);
    if ran.code != 0 {
        assert_eq!(ran.code, 2, "{code}");
        return false;
    }
    assert!(ran.stdout.starts_with(&format!("{code}: ")), "{}", ran.stdout);
    for part in ["\nWrong:\n    ", "\nRight:\n    "] {
        assert!(ran.stdout.contains(part), "{code} has no{part}");
    }
    true
}
