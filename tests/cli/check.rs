//! `scopegate check` and `scopegate routes`: mistakes, each with its place and the way out.

use serde_json::{Value, json};

use super::{GOOD, folder, run};
use crate::harness::command::{Ran, Scopegate};
use crate::harness::markdown::root;

/// What `check` says of a file, without the time it took.
fn said(yaml: &str) -> String {
    let ran = run(folder(yaml).path(), &["check"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{}", ran.stdout);
    without_time(&ran)
}

fn without_time(ran: &Ran) -> String {
    let (text, _) = ran.stdout.rsplit_once(" (").expect("the time at the end");
    text.to_owned()
}

fn good_but(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    GOOD.replace(from, to)
}

/// Typical mistake 1.
#[test]
fn e001_an_unknown_key() {
    let yaml = good_but("{ GET", "{ upstreem: orders, GET");
    let expected = "\
error[E001]: unknown key `upstreem` in route /orders/**
 --> gateway.yaml:5:17
  |
5 |   /orders/**: { upstreem: orders, GET: orders:read }
  |                 ^^^^^^^^ did you mean `upstream`?
  |
  = help: `scopegate help routes` lists the keys     (scopegate help E001)

gateway.yaml: 1 error in 1 route";
    assert_eq!(said(&yaml), expected);
}

/// Typical mistake 2.
#[test]
fn e002_an_unknown_upstream() {
    let yaml = "\
issuer: https://id.example.com
audience: https://api.example.com
upstreams:
  orders: http://orders:3000
  billing: http://billing:3000
routes:
  /orders/**: { upstream: order, GET: orders:read }
";
    let expected = "\
error[E002]: no upstream is called `order`
 --> gateway.yaml:7:27
  |
7 |   /orders/**: { upstream: order, GET: orders:read }
  |                           ^^^^^ did you mean `orders`? (defined at line 4)
  |
  = help: upstreams: orders, billing     (scopegate help E002)

gateway.yaml: 1 error in 1 route";
    assert_eq!(said(yaml), expected);
}

/// Typical mistake 3.
#[test]
fn e003_a_route_without_a_rule() {
    let yaml = good_but("{ GET: orders:read }", "{ timeout: 5m }");
    let expected = "\
error[E003]: /orders/** does not say who may call it
 --> gateway.yaml:5:3
  |
5 |   /orders/**: { timeout: 5m }
  |   ^^^^^^^^^^ add a rule here
  |
  = help: `allow: { token: any }` for any valid token, `public: true` for no token     (scopegate help E003)

gateway.yaml: 1 error in 1 route";
    assert_eq!(said(&yaml), expected);
}

/// Typical mistake 4.
#[test]
fn e012_a_list_that_does_not_say_all_or_any() {
    let yaml = good_but("GET: orders:read", "GET: [orders:read, orders:admin]");
    let expected = "\
error[E012]: a list of scopes must say whether all or any are needed
 --> gateway.yaml:5:22
  |
5 |   /orders/**: { GET: [orders:read, orders:admin] }
  |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^ all of these, or any one?
  |
  = help: write `GET: { any: [orders:read, orders:admin] }` or `{ all: [...] }`     (scopegate help E012)

gateway.yaml: 1 error in 1 route";
    assert_eq!(said(&yaml), expected);
}

/// Typical mistake 5.
#[test]
fn e020_an_issuer_without_audience() {
    let yaml = good_but("audience: https://api.example.com\n", "");
    let expected = "\
error[E020]: issuer `main` accepts tokens made for any API
 --> gateway.yaml:1:1
  |
1 | issuer: https://id.example.com
  | ^^^^^^ `audience` is missing
  |
  = help: use the API's identifier in the issuer; `scopegate token inspect` shows `aud` of a real token     (scopegate help E020)

gateway.yaml: 1 error in 1 route";
    assert_eq!(said(&yaml), expected);
}

/// Typical mistake 6.
#[test]
fn e030_a_variable_that_is_not_set() {
    let yaml = good_but("audience: https://api.example.com", "audience: ${API_AUDIENCE}");
    let expected = "\
error[E030]: environment variable API_AUDIENCE is not set
 --> gateway.yaml:2:11
  |
2 | audience: ${API_AUDIENCE}
  |           ^^^^^^^^^^^^^^^ used here
  |
  = help: set it, or give a default `${API_AUDIENCE:-...}`, or `${file:...}`     (scopegate help E030)

gateway.yaml: 1 error in 1 route";
    assert_eq!(said(&yaml), expected);
    let folder = folder(&yaml);
    let set = Scopegate::within(folder.path(), &["check"]).env("API_AUDIENCE", "api");
    assert_eq!(set.run().code, 0);
}

/// Typical mistake 8; the seventh is found when the issuer answers, see `serving`.
#[test]
fn e050_two_routes_for_the_same_paths() {
    let yaml = format!(
        "{GOOD}  /a/{{id}}: {{ GET: a }}\n  /b: {{ GET: b }}\n  /a/{{name}}: {{ GET: b }}\n"
    );
    let expected = "\
error[E050]: two routes match exactly the same paths
 --> gateway.yaml:8:3
  |
6 |   /a/{id}: { GET: a }
  |   ------- first defined here (line 6)
7 |   /b: { GET: b }
8 |   /a/{name}: { GET: b }
  |   ^^^^^^^^^ again here (line 8)
  |
  = help: merge them, or make one more specific     (scopegate help E050)

gateway.yaml: 1 error in 4 routes";
    assert_eq!(said(&yaml), expected);
}

/// Typical mistake 9, in both its forms.
#[test]
fn e060_numbers_without_a_unit() {
    let yaml = good_but("{ GET", "{ timeout: 30, limit: { rate: 60/minutes }, GET");
    let expected = "\
error[E060]: `30` has no unit
 --> gateway.yaml:5:26
  |
5 |   /orders/**: { timeout: 30, limit: { rate: 60/minutes }, GET: orders:read }
  |                          ^^ expected `30s`, `5m`, `1h`
  |
  = help: durations are Nms, Ns, Nm, Nh, Nd     (scopegate help E060)

error[E060]: `60/minutes` has no unit that is known
 --> gateway.yaml:5:45
  |
5 |   /orders/**: { timeout: 30, limit: { rate: 60/minutes }, GET: orders:read }
  |                                             ^^^^^^^^^^ expected `50/s`, `60/min`, `1000/h`
  |
  = help: rates are N/s, N/min, N/h, N/day     (scopegate help E060)

gateway.yaml: 2 errors in 1 route";
    assert_eq!(said(&yaml), expected);
}

/// Typical mistake 10.
#[test]
fn e070_a_template_without_quotes() {
    let yaml = format!("identity_headers: {{ X-User: {{sub}} }}\n{GOOD}");
    let expected = "\
error[E070]: this is YAML for a mapping, not a template
 --> gateway.yaml:1:29
  |
1 | identity_headers: { X-User: {sub} }
  |                             ^^^^^ YAML needs quotes here
  |
  = help: write `\"{sub}\"`     (scopegate help E070)

gateway.yaml: 1 error in 1 route";
    assert_eq!(said(&yaml), expected);
}

/// All mistakes of a file in one run, in the order of their lines.
#[test]
fn three_mistakes_are_told_at_once() {
    let ran = run(root(), &["check", "-c", "tests/mistakes.yaml"]);
    assert_eq!(ran.code, 1);
    let places: Vec<_> =
        ran.stdout.lines().filter_map(|line| line.split_once("--> ")).map(|(_, at)| at).collect();
    let expected =
        ["tests/mistakes.yaml:8:10", "tests/mistakes.yaml:10:5", "tests/mistakes.yaml:13:20"];
    assert_eq!(places, expected);
    assert!(without_time(&ran).ends_with("tests/mistakes.yaml: 3 errors in 3 routes"));
}

/// Warnings are shown and counted, and stop nothing.
#[test]
fn warnings_are_no_errors() {
    let yaml = format!("{GOOD}  /hooks: {{ POST: {{ public: true }} }}\n");
    let warned = folder(&yaml);
    let ran = run(warned.path(), &["check"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.starts_with("warning[A120]: "), "{}", ran.stdout);
    assert_eq!(without_time(&ran).lines().last(), Some("gateway.yaml: 1 warning in 2 routes"));
    let silenced = folder(&format!("# scopegate: allow A120\n{yaml}"));
    let ran = run(silenced.path(), &["check"]);
    assert!(ran.stdout.starts_with("gateway.yaml: ok, 2 routes ("), "{}", ran.stdout);
}

/// `--format json` has the same, for programs.
#[test]
fn json_names_code_place_and_help() {
    let folder_ = folder(&good_but("upstream:", "upstreem:"));
    let ran = run(folder_.path(), &["check", "--format", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let problems: Value = serde_json::from_str(&ran.stdout).unwrap();
    let first = &problems[0];
    assert_eq!(first["code"], "E001");
    assert_eq!(first["severity"], "error");
    let place = [&first["file"], &first["line"], &first["column"]];
    assert_eq!(place, [&json!("gateway.yaml"), &json!(3), &json!(1)]);
    assert_eq!(first["label"], "did you mean `upstream`?");
    assert!(first["message"].is_string() && first["help"].is_string());
    let good = run(folder(GOOD).path(), &["check", "--format", "json"]);
    assert_eq!((good.code, good.stdout.as_str()), (0, "[]\n"));
}

/// `-` is standard input, and `-q` says nothing when there is nothing to say.
#[test]
fn standard_input_is_checked_too() {
    let empty = tempfile::tempdir().unwrap();
    let check =
        |words: &[&str], text: &str| Scopegate::within(empty.path(), words).input(text).run();
    let ran = check(&["check", "-c", "-"], GOOD);
    assert!(ran.code == 0 && ran.stdout.starts_with("-: ok, 1 route ("), "{}", ran.stdout);
    assert_eq!(check(&["check", "-c", "-", "-q"], GOOD).stdout, "");
    let ran = check(&["check", "-q", "-c", "-"], &good_but("GET", "get"));
    assert!(ran.code == 1 && ran.stdout.starts_with("error[E011]"), "{}", ran.stdout);
}

/// What a variable stands for is a secret, also where it is wrong.
#[test]
fn values_of_variables_are_not_shown() {
    let folder = folder(&good_but("http://127.0.0.1:3000", "${BACKEND}"));
    let check =
        |value: &str| Scopegate::within(folder.path(), &["check"]).env("BACKEND", value).run();
    assert_eq!(check("http://127.0.0.1:3000").code, 0);
    let ran = check("s3cret");
    assert_eq!(ran.code, 1);
    assert!(!ran.stdout.contains("s3cret") && ran.stdout.contains("${BACKEND}"), "{}", ran.stdout);
}

/// Who may call what, at a glance.
#[test]
fn routes_are_a_table() {
    let yaml = "\
issuer: https://id.example.com
audience: https://api.example.com
upstreams: { orders: http://127.0.0.1:3000, billing: http://127.0.0.1:3001 }
rules: { staff: { any: [{ role: admin }, { group: /staff }] } }
routes:
  /status: { upstream: orders, public: true }
  /orders/**: { upstream: orders, GET: orders:read, POST: orders:write, DELETE: { scope: orders:write, use: staff } }
  /tenants/{tenant}/invoices/**: { upstream: billing, allow: { scope: billing, claim: { tenant: \"{tenant}\" } } }
  /admin/**: { upstream: billing, mode: report, allow: { use: staff, acr: mfa } }
";
    let ran = run(folder(yaml).path(), &["routes"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let expected = "
  PATH                           GET          POST          PUT/PATCH  DELETE                TO
  /status                        public       405           405        405                   orders
  /orders/**                     orders:read  orders:write  405        orders:write + staff  orders
  /tenants/{tenant}/invoices/**  billing + tenant = {tenant}  ·····························  billing
! /admin/**                      report-only: staff + acr mfa  ····························  billing
";
    assert_eq!(format!("\n{}", ran.stdout), expected);
    let ran = run(folder(yaml).path(), &["routes", "--format", "json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(4), "{json:#}");
}

/// The answer is on standard output, so mistakes are not: a table in a pipe stays a table.
#[test]
fn routes_of_a_broken_file_are_not_shown() {
    let ran = run(folder(&good_but("GET", "get")).path(), &["routes"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.starts_with("error[E011]"), "{}", ran.stderr);
}
