//! Files that are no configuration: each is refused in bounded time, and says where.

use std::fmt::Write;
use std::time::{Duration, Instant};

use scopegate::config::{Variables, load_text};

use super::{GOOD, folder, run};

/// Checks a file that is broken and returns what is said of it.
fn refused(bytes: &[u8]) -> String {
    let folder = folder("");
    std::fs::write(folder.path().join("gateway.yaml"), bytes).unwrap();
    let start = Instant::now();
    let ran = run(folder.path(), &["check"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{}", ran.stdout);
    assert!(start.elapsed() < BOUND, "it took {:?}", start.elapsed());
    assert!(ran.stdout.contains("--> gateway.yaml:"), "{}", ran.stdout);
    ran.stdout
}

/// What an idle machine does in milliseconds.
const BOUND: Duration = Duration::from_secs(10);

#[test]
fn an_empty_file_says_what_is_missing() {
    for text in ["", "\n\n", "# nothing but a comment\n", "---\n"] {
        assert!(refused(text.as_bytes()).starts_with("error[E007]"), "{text:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_located() {
    let random: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert!(refused(&random).starts_with("error[E004]"));
    let late = [GOOD.as_bytes(), b"# \xff\n"].concat();
    let said = refused(&late);
    assert!(said.starts_with("error[E004]") && said.contains("gateway.yaml:6:"), "{said}");
    assert!(refused(b"\x7fELF\x02\x01\x01\0\0\0").starts_with("error[E004]"));
    assert!(!refused(b"issuer: \x1b[2J\x1b]0;owned\x07\n").contains('\u{1b}'));
}

#[test]
fn a_key_written_twice_is_told_with_both_places() {
    let said = refused(format!("{GOOD}audience: other\n").as_bytes());
    assert!(said.starts_with("error[E005]"), "{said}");
    assert!(said.contains("2 | audience: ") && said.contains("6 | audience: other"), "{said}");
}

/// A hundred million items out of a few hundred bytes.
#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    assert!(refused(bomb.as_bytes()).starts_with("error[E004]"));
}

#[test]
fn a_tower_of_brackets_is_refused() {
    let tower = format!("routes: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refused(tower.as_bytes()).starts_with("error[E004]"));
}

/// A file that was cut off anywhere is a configuration or has an error; it never confuses.
#[test]
fn a_truncated_file_is_refused_or_whole() {
    let whole = include_str!("../../examples/minimal.yaml");
    let mut refused = 0;
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        let loaded = load_text("gateway.yaml", &whole[..end], &Variables::default());
        assert_eq!(loaded.config.is_none(), loaded.problems.has_errors(), "{end}");
        drop(loaded.problems.render(&loaded.sources, false));
        refused += usize::from(loaded.config.is_none());
    }
    let routes = whole.find("routes:").unwrap();
    assert!(refused > routes, "{refused} of {}", whole.len());
}

#[test]
fn two_thousand_routes_are_checked_in_time() {
    let mut text = GOOD.to_owned();
    for number in 0..2_000 {
        writeln!(
            text,
            "  /service{number}/{{id}}/**:\n    GET: items:read\n    POST: {{ all: [a, b] }}"
        )
        .unwrap();
    }
    let good = folder(&text);
    let start = Instant::now();
    let ran = run(good.path(), &["check"]);
    assert!(ran.stdout.starts_with("gateway.yaml: ok, 2001 routes ("), "{}", ran.stdout);
    assert_eq!(ran.code, 0);
    assert_eq!(run(good.path(), &["routes"]).stdout.lines().count(), 2_002);
    assert!(start.elapsed() < 2 * BOUND, "it took {:?}", start.elapsed());
    // Two thousand mistakes are two thousand answers, and no slower.
    let said = refused(text.replace("{ all: [a, b] }", "[a, b]").as_bytes());
    assert_eq!(said.matches("error[E012]").count(), 2_000);
}
