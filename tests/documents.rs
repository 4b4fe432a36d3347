//! The documents are true: every YAML block loads, every console block is typed in and answers so.

use crate::harness::command::{Scopegate, bash};
use crate::harness::demo::Demo;
use crate::harness::markdown::{Block, blocks, documents, root};

/// Every configuration that a reader may copy.
#[test]
fn every_yaml_block_loads() {
    let mut whole = 0;
    for block in all("yaml").filter(|block| !is_fragment(block)) {
        loads(&block, &block.text);
        whole += 1;
    }
    assert!(whole > 4, "only {whole} blocks were found");
}

/// A part of a configuration loads in a file that has the rest.
#[test]
fn every_fragment_loads_within_a_file() {
    let mut parts = 0;
    for block in all("yaml").filter(is_fragment) {
        loads(&block, &completed(&block.text));
        parts += 1;
    }
    assert!(parts > 2, "only {parts} fragments were found");
}

/// Everything behind a `$ ` is run, and what follows is what it prints.
#[test]
fn every_console_block_is_what_happens() {
    let mut run = 0;
    for document in documents() {
        let mut file = String::new();
        for block in blocks(&document) {
            match block.language.as_str() {
                "yaml" if !is_fragment(&block) => file = block.text,
                "console" => {
                    happens(&block, &file);
                    run += 1;
                }
                "bash" | "shell" | "yml" => panic!("{}: say sh, console or yaml", block.at),
                _ => {}
            }
        }
    }
    assert!(run > 3, "only {run} blocks were found");
}

/// What is too slow to be run here exists at least.
#[test]
fn commands_that_are_not_run_exist() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for command in ["cargo run --release -- demo", "tests/run", "tests/interop/run"] {
        assert!(readme.contains(command), "{command}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Scopegate::within(folder.path(), &["demo", "--help"]).run().code, 0);
    for script in ["tests/run", "tests/interop/run", ".ci/run"] {
        let runs = bash(root(), &format!("bash -n {script} && test -x {script} && echo yes"), &[]);
        assert_eq!(runs, "yes\n", "{script}");
    }
}

/// Links lead somewhere, and the README stays short.
#[test]
fn links_within_the_project_lead_to_files() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() < 150);
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let path = document.parent().unwrap().join(target.split('#').next().unwrap());
            assert!(path.exists(), "{}: {target}", document.display());
        }
    }
}

fn all(language: &str) -> impl Iterator<Item = Block> {
    let every = documents().into_iter().flat_map(|document| blocks(&document));
    every.filter(move |block| block.language == language)
}

fn is_fragment(block: &Block) -> bool {
    block.text.starts_with("# fragment")
}

#[track_caller]
fn loads(block: &Block, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    let keys = root().join("examples/keys.json");
    std::fs::copy(keys, folder.path().join("keys.json")).unwrap();
    let ran = Scopegate::within(folder.path(), &["check"]).run();
    assert_eq!(ran.code, 0, "{}\n{}{}", block.at, ran.stdout, ran.stderr);
}

/// A fragment with whatever it refers to but does not have.
fn completed(fragment: &str) -> String {
    let mut text = fragment.to_owned();
    let has = |key: &str| fragment.lines().any(|line| line.starts_with(key));
    for (key, line) in REST {
        if !has(key) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

const REST: [(&str, &str); 4] = [
    ("issuer", "issuer: https://id.example.com\naudience: orders-api"),
    ("upstream", "upstreams: { orders: http://127.0.0.1:3000 }"),
    ("plans:", "plans: { free: { rate: 60/min } }"),
    ("routes:", "routes: { /orders/**: { GET: orders:read } }"),
];

/// A line that is typed, and what is printed until the next.
struct Step {
    typed: String,
    printed: Vec<String>,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(typed), _) => {
                steps.push(Step { typed: typed.to_owned(), printed: Vec::new() });
            }
            (None, Some(step)) => step.printed.push(line.to_owned()),
            (None, None) => panic!("{} does not begin with `$ `", block.at),
        }
    }
    steps
}

/// Types a block into one shell, beside a demo if it needs one.
fn happens(block: &Block, file: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), file).unwrap();
    std::os::unix::fs::symlink(root().join("tests"), folder.path().join("tests")).unwrap();
    let steps = steps(block);
    let asks_a_demo = block.text.contains("localhost:8443") || block.text.contains("token mint");
    let elsewhere = tempfile::tempdir().unwrap();
    let demo = asks_a_demo.then(|| Demo::start(elsewhere.path()));
    let variables = demo.as_ref().map_or(Vec::new(), |demo| {
        vec![("API", demo.api.as_str()), ("SCOPEGATE_ISSUER", demo.issuer.as_str())]
    });
    let printed = bash(folder.path(), &script(&steps), &variables);
    let printed: Vec<&str> = printed.split(MARK).collect();
    assert_eq!(printed.len(), steps.len() + 1, "{}: {printed:?}", block.at);
    for (step, printed) in steps.iter().zip(printed) {
        let lines: Vec<&str> = printed.trim_end().lines().collect();
        let expected: Vec<&str> = step.printed.iter().map(String::as_str).collect();
        assert!(
            are_like(&expected, &lines),
            "{}: `{}` prints\n{}\nbut should print\n{}",
            block.at,
            step.typed,
            lines.join("\n"),
            expected.join("\n")
        );
    }
}

/// One script of all lines, with a mark behind what each prints. curl finds the demo where it is,
/// and says as much as on a terminal.
fn script(steps: &[Step]) -> String {
    let curl = r#"curl() { command curl -sS "${@//https:\/\/localhost:8443/$API}"; }"#;
    let mut script = format!("exec 2>&1\n{curl}\n");
    for step in steps {
        script.push_str(&format!("{}\nprintf '%s' '{MARK}'\n", step.typed));
    }
    script
}

const MARK: &str = "=-=-=";

/// Whether the lines are as expected; a line of `…` alone stands for any number of them.
fn are_like(expected: &[&str], lines: &[&str]) -> bool {
    match (expected, lines) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=lines.len()).any(|skip| are_like(rest, &lines[skip..])),
        ([first, rest @ ..], [line, lines @ ..]) => is_like(first, line) && are_like(rest, lines),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

/// Whether a line is as expected, where `…` stands for anything.
fn is_like(expected: &str, line: &str) -> bool {
    let Some((start, rest)) = expected.split_once('…') else { return expected == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    let ends = line.char_indices().map(|(index, _)| index).chain([line.len()]);
    ends.into_iter().any(|index| is_like(rest, &line[index..]))
}

#[test]
fn dots_stand_for_anything_and_nothing_else_does() {
    assert!(is_like("a … (… ms)", "a b c (12 ms)"));
    assert!(!is_like("a … (… ms)", "a b c (12 ms) "));
    assert!(!is_like("a", "ab"));
    assert!(are_like(&["a", "…", "d"], &["a", "b", "c", "d"]));
    assert!(are_like(&["…"], &[]));
    assert!(!are_like(&["a", "…", "d"], &["a", "b", "c"]));
    assert!(!are_like(&["a"], &["a", "b"]));
}
