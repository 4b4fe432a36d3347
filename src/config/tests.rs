//! What whole files lead to.

use std::collections::BTreeSet;
use std::path::Path;

use super::language::SECTIONS;
use super::read::finish;
use super::reading::Reading;
use super::*;

/// Reads a file and renders its problems.
fn rendered(text: &str) -> String {
    let loaded = load_text("gateway.yaml", text, &Variables::default());
    assert_eq!(loaded.config.is_none(), loaded.problems.has_errors());
    loaded.problems.render(&loaded.sources, false)
}

/// The codes of a file's problems, in order.
fn codes(text: &str) -> Vec<&'static str> {
    let loaded = load_text("gateway.yaml", text, &Variables::default());
    loaded.problems.0.iter().map(|problem| problem.code).collect()
}

/// The codes of a file whose beginning is right and whose routes are these.
fn route_codes(routes: &str) -> Vec<&'static str> {
    codes(&format!("{HEAD}routes:\n{routes}"))
}

fn config(text: &str) -> Config {
    let loaded = load_text("gateway.yaml", text, &Variables::default());
    let problems = loaded.problems.render(&loaded.sources, false);
    loaded.config.unwrap_or_else(|| panic!("{problems}"))
}

#[test]
fn e001_an_unknown_key() {
    let text =
        format!("{HEAD}routes:\n  /orders/**:\n    upstreem: orders\n    GET: orders:read\n");
    let expected = "\
error[E001]: unknown key `upstreem` in route /orders/**
 --> gateway.yaml:6:5
  |
6 |     upstreem: orders
  |     ^^^^^^^^ did you mean `upstream`?
  |
  = help: `scopegate help routes` lists the keys     (scopegate help E001)

";
    assert_eq!(rendered(&text), expected);
}

#[test]
fn e002_an_unknown_upstream() {
    let text = "\
upstreams:
  orders: http://orders:3000
  billing: http://billing:3000
routes:
  /orders/**: { upstream: order, public: true }
";
    let expected = "\
error[E002]: no upstream is called `order`
 --> gateway.yaml:5:27
  |
5 |   /orders/**: { upstream: order, public: true }
  |                           ^^^^^ did you mean `orders`? (defined at line 2)
  |
  = help: upstreams: orders, billing     (scopegate help E002)

";
    assert_eq!(rendered(text), expected);
}

#[test]
fn e003_a_route_without_a_rule() {
    let text = format!("{HEAD}routes:\n  /reports/**:\n    timeout: 5m\n  /other:\n");
    let expected = "\
error[E003]: /reports/** does not say who may call it
 --> gateway.yaml:5:3
  |
5 |   /reports/**:
  |   ^^^^^^^^^^^ add a rule here
  |
  = help: `allow: { token: any }` for any valid token, `public: true` for no token     (scopegate help E003)

error[E003]: /other does not say who may call it
 --> gateway.yaml:7:3
  |
7 |   /other:
  |   ^^^^^^ add a rule here
  |
  = help: `allow: { token: any }` for any valid token, `public: true` for no token     (scopegate help E003)

";
    assert_eq!(rendered(&text), expected);
}

#[test]
fn e012_a_list_that_does_not_say_all_or_any() {
    let text = format!("{HEAD}routes:\n  /orders/**:\n    GET: [orders:read, orders:admin]\n");
    let expected = "\
error[E012]: a list of scopes must say whether all or any are needed
 --> gateway.yaml:6:10
  |
6 |     GET: [orders:read, orders:admin]
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^ all of these, or any one?
  |
  = help: write `GET: { any: [orders:read, orders:admin] }` or `{ all: [...] }`     (scopegate help E012)

";
    assert_eq!(rendered(&text), expected);
}

#[test]
fn e020_an_issuer_without_audience() {
    let text = "\
issuers:
  main:
    url: https://id.example.com
upstream: http://127.0.0.1:3000
routes:
  /**: { allow: { token: any } }
";
    let expected = "\
error[E020]: issuer `main` accepts tokens made for any API
 --> gateway.yaml:2:3
  |
2 |   main:
  |   ^^^^ `audience` is missing
  |
  = help: use the API's identifier in the issuer; `scopegate token inspect` shows `aud` of a real token     (scopegate help E020)

";
    assert_eq!(rendered(text), expected);
    assert_eq!(codes(&HEAD_TEXT.replace("audience: api\n", "")), ["E020"]);
    assert_eq!(codes(&HEAD_TEXT.replace("audience: api\n", "audience: []\n")), ["E020"]);
}

#[test]
fn e030_a_variable_that_is_not_set() {
    let text = HEAD_TEXT.replace("audience: api", "audience: [\"x-${INTROSPECT_SECRET}\"]");
    let expected = "\
error[E030]: environment variable INTROSPECT_SECRET is not set
 --> gateway.yaml:2:15
  |
2 | audience: [\"x-${INTROSPECT_SECRET}\"]
  |               ^^^^^^^^^^^^^^^^^^^^ used here
  |
  = help: set it, or give a default `${INTROSPECT_SECRET:-...}`, or `${file:...}`     (scopegate help E030)

";
    assert_eq!(rendered(&text), expected);
}

#[test]
fn e050_two_routes_for_the_same_paths() {
    let text = format!(
        "{HEAD}routes:\n  /orders/{{id}}: {{ GET: a }}\n\n\n\n\n  /orders/{{name}}: {{ GET: b }}\n"
    );
    let expected = "\
error[E050]: two routes match exactly the same paths
  --> gateway.yaml:10:3
   |
 5 |   /orders/{id}: { GET: a }
   |   ------------ first defined here (line 5)
...
10 |   /orders/{name}: { GET: b }
   |   ^^^^^^^^^^^^^^ again here (line 10)
   |
   = help: merge them, or make one more specific     (scopegate help E050)

";
    assert_eq!(rendered(&text), expected);
}

#[test]
fn e060_a_number_without_a_unit() {
    let text = format!(
        "{HEAD}plans: {{ free: {{ rate: 60/minutes }} }}\nroutes:\n  /a: {{ timeout: 30, GET: a }}\n"
    );
    let expected = "\
error[E060]: `60/minutes` has no unit that is known
 --> gateway.yaml:4:24
  |
4 | plans: { free: { rate: 60/minutes } }
  |                        ^^^^^^^^^^ expected `50/s`, `60/min`, `1000/h`
  |
  = help: rates are N/s, N/min, N/h, N/day     (scopegate help E060)

error[E060]: `30` has no unit
 --> gateway.yaml:6:19
  |
6 |   /a: { timeout: 30, GET: a }
  |                  ^^ expected `30s`, `5m`, `1h`
  |
  = help: durations are Nms, Ns, Nm, Nh, Nd     (scopegate help E060)

";
    assert_eq!(rendered(&text), expected.replace("6:19", "6:18"));
}

#[test]
fn e070_a_template_without_quotes() {
    let text = format!("{HEAD_TEXT}identity_headers:\n  X-User: {{sub}}\n");
    let expected = "\
error[E070]: this is YAML for a mapping, not a template
 --> gateway.yaml:6:11
  |
6 |   X-User: {sub}
  |           ^^^^^ YAML needs quotes here
  |
  = help: write `\"{sub}\"`     (scopegate help E070)

";
    assert_eq!(rendered(&text), expected);
}

#[test]
fn e021_an_issuer_over_plain_http() {
    let text = HEAD_TEXT.replace("https://id", "http://id");
    assert_eq!(codes(&text), ["E021"]);
    assert_eq!(codes(&HEAD_TEXT.replace("https://id.example.com", "http://127.0.0.1:1")), [""; 0]);
    let text = "issuers: { a: { url: \"http://id.test\", audience: x, insecure: true } }
upstream: http://127.0.0.1:3000
routes: { /a: { GET: a } }
";
    assert_eq!(codes(text), ["A101"]);
    assert!(codes(&format!("{text}# scopegate: allow A101, A120\n")).is_empty());
}

#[test]
fn all_mistakes_of_a_file_are_told() {
    let text = "\
issuer: id.example.com
audience: api
upstream: http://127.0.0.1:3000
lisen: 127.0.0.1:1
tls: { cert: a }
plans: { free: { burst: 0 } }
routes:
  /a: { get: a, timeout: 5 }
  /a/../b: { GET: a }
  /c: { POST: { public: true }, limit: gold }
";
    let expected = ["E022", "E001", "E007", "E061", "E007", "E011", "E060", "E010", "A120", "E002"];
    let found = codes(text);
    let sorted = |list: &[&'static str]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    assert_eq!(sorted(&found), sorted(&expected), "{}", rendered(text));
}

#[test]
fn columns_count_characters() {
    let text = format!("{HEAD_TEXT}# \u{e9}\nidentity_headers: {{ \"\u{e9}\": a, X:\t\"}}\" }}\n");
    let loaded = load_text("gateway.yaml", &text, &Variables::default());
    let columns: Vec<_> = loaded.problems.0.iter().map(|p| p.at.unwrap().column).collect();
    assert_eq!(columns, [21, 32]);
    let rendered = loaded.problems.render(&loaded.sources, false);
    let caret = rendered.lines().find(|line| line.contains('^')).unwrap();
    assert_eq!(caret.find('^').unwrap() - "  | ".len() + 1, 21);
    assert!(loaded.problems.render(&loaded.sources, true).contains("\u{1b}["));
}

#[test]
fn json_has_the_same_places() {
    let text = format!("{HEAD_TEXT}identity_headers: {{ X-User: {{sub}} }}\n");
    let loaded = load_text("gateway.yaml", &text, &Variables::default());
    let json = loaded.problems.to_json(&loaded.sources);
    assert_eq!(json[0]["code"], "E070");
    assert_eq!(json[0]["file"], "gateway.yaml");
    assert_eq!((json[0]["line"].as_u64(), json[0]["column"].as_u64()), (Some(5), Some(29)));
}

#[test]
fn yaml_that_cannot_be_read_is_located() {
    for (text, line) in [
        ("issuer: [a, b", 1),
        ("issuer: 'x", 1),
        ("a: b\n c: d\n", 2),
        ("a: b\n---\nc: d\n", 3),
        ("a: \"\u{0}\"", 1),
        ("a: *x", 1),
        ("\n\nroutes: { x: ${B} }", 3),
    ] {
        let loaded = load_text("gateway.yaml", text, &Variables::default());
        let problem = &loaded.problems.0[0];
        assert_eq!((problem.code, problem.at.unwrap().line), ("E004", line), "{text}");
        assert!(loaded.problems.render(&loaded.sources, false).contains("^"), "{text}");
    }
}

#[test]
fn bytes_that_are_no_text_are_located() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.yaml");
    std::fs::write(&path, b"issuer: x\naudience: \xff\xfe\n").unwrap();
    let loaded = load(&path, &Variables::default()).unwrap();
    assert_eq!(loaded.problems.0[0].code, "E004");
    assert_eq!(loaded.problems.0[0].at.unwrap().line, 2);
    assert!(load(&directory.path().join("none.yaml"), &Variables::default()).is_err());
}

#[test]
fn empty_files_say_nothing() {
    for text in ["", "\n\n", "# only a comment\n", "---\n"] {
        assert_eq!(codes(text), ["E007"], "{text}");
    }
    assert_eq!(codes("just text"), ["E006"]);
    assert_eq!(codes("- a\n- b"), ["E006"]);
}

#[test]
fn duplicate_keys_are_told_with_both_places() {
    let text = format!("{HEAD_TEXT}mode: enforce\nmode: report\n");
    let loaded = load_text("gateway.yaml", &text, &Variables::default());
    let problem = &loaded.problems.0[0];
    assert_eq!((problem.code, problem.at.unwrap().line), ("E005", 6));
    assert_eq!(problem.also[0].0.line, 5);
    assert_eq!(route_codes("  /a: { GET: a, 'GET': b }\n"), ["E005"]);
    assert_eq!(route_codes("  /a: { GET: a, 'GET, PUT': b }\n"), ["E005"]);
    assert_eq!(route_codes("  /a: { GET: a }\n  /a: { GET: b }\n"), ["E005"]);
}

#[test]
fn bombs_and_towers_are_refused_quickly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let start = std::time::Instant::now();
    assert_eq!(codes(&bomb), ["E004"]);
    assert!(start.elapsed() < std::time::Duration::from_secs(1));
    assert_eq!(codes(&format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000))), ["E004"]);
    let tower: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert_eq!(codes(&tower), ["E004"]);
}

#[test]
fn two_thousand_routes_are_read() {
    let mut text = format!("{HEAD}routes:\n");
    for number in 0..2_000 {
        text.push_str(&format!(
            "  /service{number}/{{id}}/items/**:\n    GET: items:read\n    POST, PUT: {{ scope: items:write, role: admin }}\n    timeout: 5s\n"
        ));
    }
    assert_eq!(config(&text).routes.len(), 2_000);
}

#[test]
fn aliases_are_read_where_they_are_used() {
    let text = format!("{HEAD}routes:\n  /a: &open {{ GET: a, timeout: 5 }}\n  /b: *open\n");
    assert_eq!(codes(&text), ["E060", "E060"]);
    let merged = format!("{HEAD}routes:\n  /a: {{ GET: a }}\n  /b: {{ <<: {{ GET: a }} }}\n");
    assert_eq!(codes(&merged), ["E003", "E001"]);
}

#[test]
fn variables_are_expanded_in_values_alone_and_never_shown() {
    let variables = Variables::default().with("UP", "http://s3cret").with("BAD", "s3cret value");
    let text = HEAD_TEXT.replace("http://127.0.0.1:3000", "${UP}");
    let loaded = load_text("gateway.yaml", &text, &variables);
    assert_eq!(loaded.config.unwrap().upstreams[0].targets[0].address.label(), "s3cret:80");
    let text = "\
issuer: ${BAD}
audience: api
upstream: ${BAD}
listen: ${BAD}
mode: ${BAD}
drain: { delay: \"${BAD}\" }
default_plan: ${BAD}
identity_headers: { X-A: \"${BAD}{\" }
routes:
  /a: { GET: \"${BAD}\", upstream: \"${BAD}\", strip_prefix: \"${BAD}\", limit: \"${BAD}\" }
  /b: { allow: { use: \"${BAD}\", max_age: \"${BAD}\", source: \"${BAD}\", token: \"${BAD}\" } }
  /${BAD}: { GET: a }
";
    let loaded = load_text("gateway.yaml", text, &variables);
    let shown = loaded.problems.render(&loaded.sources, false);
    assert!(loaded.problems.0.len() >= 14, "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!loaded.problems.to_json(&loaded.sources).to_string().contains("s3cret"));
}

#[test]
fn what_this_version_cannot_do_is_refused() {
    let line = "issuers: { a: { url: https://a, audience: b, sender_constraint: dpop } }";
    let found = codes(&format!("{HEAD_TEXT}{line}\n"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&"E090"), "{found:?}");
}

#[test]
fn rules_say_what_they_mean() {
    for (rule, code) in [
        ("[a]", "E012"),
        ("{ scope: [a, b] }", "E012"),
        ("{ role: [a, b] }", "E012"),
        ("{ claim: { a: [1, 2] } }", "E012"),
        ("{ any: [[a, b]] }", "E012"),
        ("{}", "E013"),
        ("public", "E013"),
        ("a b", "E013"),
        ("{ public: true, scope: a }", "E013"),
        ("{ any: [{ public: true }] }", "E013"),
        ("{ claim: { a: { in: [1], exists: true } } }", "E013"),
        ("{ claim: { a: {tenant} } }", "E070"),
        ("{ claim: { a: \"x{tenant}\" } }", "E016"),
        ("{ claim: { a: \"{tenant}\" } }", "E016"),
        ("{ any: [] }", "E006"),
        ("{ acr: [] }", "E006"),
        ("{ source: [] }", "E006"),
        ("{ source: 10.0.0.1/8 }", "E008"),
        ("{ token: usr }", "E008"),
        ("{ skope: a }", "E001"),
        ("{ use: nobody }", "E002"),
        ("{ issuer: nobody }", "E002"),
        ("{ public: false }", "E006"),
        ("42", "E006"),
        ("true", "E006"),
        ("\"\"", "E006"),
    ] {
        assert_eq!(route_codes(&format!("  /a: {{ GET: {rule} }}\n")), [code], "{rule}");
    }
    let text = format!("{HEAD_TEXT}rules: {{ open: {{ public: true }}, a: {{ use: a }} }}\n");
    assert_eq!(codes(&text), ["E013", "E015"]);
}

#[test]
fn routes_say_who_and_where() {
    assert_eq!(route_codes("  /a: { public: true, allow: a }\n"), ["E014"]);
    assert_eq!(route_codes("  /a: { public: true, GET: a }\n"), ["E014"]);
    assert_eq!(route_codes("  /a: { public: true, POST: a }\n"), [""; 0]);
    assert_eq!(route_codes("  /a: { allow: a, POST: b }\n"), [""; 0]);
    assert_eq!(route_codes("  /a: { allow: { public: true } }\n"), ["E013"]);
    assert_eq!(route_codes("  /a: { TRACE: a }\n"), ["E011"]);
    assert_eq!(route_codes("  /a: { GET POST: a }\n"), ["E011"]);
    assert_eq!(route_codes("  /a: orders:read\n"), ["E006"]);
    assert_eq!(route_codes("  /v1/a: { GET: a, strip_prefix: /v }\n"), ["E017"]);
    assert_eq!(route_codes("  /v1/a: { GET: a, strip_prefix: /v1 }\n"), [""; 0]);
    assert_eq!(route_codes("  /a: { GET: a, upstream: other }\n"), ["E002"]);
    let two = HEAD_TEXT.replace("upstream: http", "upstreams:\n  b: http://b\n  a: http");
    assert_eq!(codes(&two), ["E018"]);
    for (upstream, found) in [
        ("{ targets: http://b, protocol: h2 }", vec!["E014"]),
        ("{ targets: https://b, protocol: auto }", vec!["E014"]),
        ("{ targets: http://b, protocol: auto }", vec![]),
    ] {
        let one = format!("upstreams:\n  b: {upstream}");
        let text = format!("{HEAD}routes:\n  /a: {{ GET: a, upgrade: websocket }}\n");
        let text = text.replace("upstream: http://127.0.0.1:3000", &one);
        assert_eq!(codes(&text), found, "{upstream}");
    }
    let none = HEAD_TEXT.replace("upstream: http://127.0.0.1:3000\n", "");
    assert_eq!(codes(&none), ["E018"]);
    let anyone = HEAD_TEXT.replace("issuer: https://id.example.com\naudience: api\n", "");
    assert_eq!(codes(&anyone), ["E007"]);
    assert_eq!(codes("upstream: http://a\nroutes: {}\n"), ["E007"]);
    assert_eq!(codes("upstream: http://a\n"), ["E007"]);
}

#[test]
fn issuers_differ_in_their_urls() {
    let text = "issuers:
  a: { url: https://a.test, audience: x }
  b: { url: https://a.test, audience: y }
upstream: http://a
routes: { /a: { GET: a } }
";
    assert_eq!(codes(text), ["E005"]);
    assert_eq!(codes(&text.replacen("a.test", "a.test/", 1)), [""; 0]);
}

#[test]
fn overlaps_are_ranked_or_refused() {
    let fine = "  /a/{x}: { GET: a }\n  /a/b: { GET: a }\n  /a/**: { GET: a }\n  /a: { GET: a }\n  h.test/a: { GET: a }\n";
    assert_eq!(route_codes(fine), [""; 0]);
    let cased = "  /A: { GET: a, case_insensitive: true }\n  /a: { GET: b }\n";
    assert_eq!(route_codes(cased), ["E051"]);
    let apart = "  /A/x: { GET: a, case_insensitive: true }\n  /a/y: { GET: b }\n";
    assert_eq!(route_codes(apart), [""; 0]);
}

#[test]
fn a_slash_that_leads_to_a_weaker_rule_is_a_warning() {
    let without_case = |routes: &str| {
        let mut codes = route_codes(routes);
        codes.retain(|code| *code != "A141");
        codes
    };
    let weak = "  /**: { public: true }\n";
    assert_eq!(without_case(&format!("  /admin: {{ GET: a }}\n{weak}")), ["A140"]);
    assert_eq!(without_case(&format!("  /admin/: {{ GET: a }}\n{weak}")), ["A140"]);
    assert_eq!(without_case(&format!("  /admin/**: {{ GET: a }}\n{weak}")), [""; 0]);
    assert_eq!(without_case("  /admin: { GET: a }\n  /**: { allow: { token: any } }\n"), ["A140"]);
    assert_eq!(without_case("  /admin: { GET: a }\n  /**: { allow: b }\n"), [""; 0]);
    let both = format!("  /admin: {{ GET: a }}\n  /admin/: {{ GET: a }}\n{weak}");
    assert_eq!(without_case(&both), [""; 0]);
}

#[test]
fn a_case_that_leads_to_a_weaker_rule_is_a_warning() {
    let weak = "  /**: { public: true }\n";
    let warned = |routes: &str| route_codes(routes).iter().filter(|code| **code == "A141").count();
    for route in [
        "  /admin/**: { GET: a }\n",
        "  /ADMIN/**: { GET: a }\n",
        "  /{x}/admin/**: { GET: a }\n",
        "  h.test/admin/**: { GET: a }\n",
        "  /1/b/**: { GET: a }\n",
        "  /api/**: { public: true, case_insensitive: true }\n  /api/admin/**: { GET: a }\n",
        "  /api/**: { GET: a, case_insensitive: true }\n  /api/x/**: { PUT: a, allow: a }\n  /Api/y/**: { GET: a }\n",
    ] {
        let expected = usize::from(!route.contains("PUT"));
        assert_eq!(warned(&format!("{route}{weak}")), expected, "{route}");
    }
    for route in [
        "  /admin/**: { GET: a, case_insensitive: true }\n",
        "  /42/**: { GET: a }\n",
        "  /\u{e9}/**: { GET: a }\n",
        "  /%C3%A9/**: { GET: a }\n",
        "  /{x}/**: { GET: a }\n",
        "  /admin/**: { public: true }\n",
        "  /admin/**: { GET: a }\n  /Admin/**: { GET: a }\n",
    ] {
        assert_eq!(warned(&format!("{route}{weak}")), 0, "{route}");
    }
    let admin = "  /admin/**: { GET: a }\n";
    assert_eq!(warned(admin), 0, "404 in another case");
    assert_eq!(warned(&format!("{admin}  /**: {{ allow: b }}\n")), 0);
    assert_eq!(warned(&format!("{admin}  /**: {{ PUT: {{ token: any }} }}\n")), 0, "405");
    assert_eq!(warned(&format!("{admin}  /**: {{ allow: {{ token: any }} }}\n")), 1);
    assert_eq!(warned(&format!("{admin}{weak}  # scopegate: allow A141\n")), 0);
    let many = format!("{admin}  /b/**: {{ GET: a }}\n  /c/**: {{ GET: a }}\n{weak}");
    assert_eq!(warned(&many), 1);
    let shown = rendered(&format!("{HEAD}routes:\n{many}"));
    for words in [
        "/Admin/** asks for less than /admin/**",
        "2 more routes",
        "`case_insensitive: true`",
        ":5:3",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
fn plaintext_off_loopback_is_written_out() {
    assert_eq!(codes(&format!("{HEAD_TEXT}listen: 0.0.0.0:8443\n")), ["E024"]);
    assert_eq!(codes(&format!("{HEAD_TEXT}listen: 0.0.0.0:8443\ntls: off\n")), [""; 0]);
    assert_eq!(codes(&format!("{HEAD_TEXT}listen: 127.0.0.1:8443\n")), [""; 0]);
    assert_eq!(codes(&format!("{HEAD_TEXT}tls: false\n")), ["E006"]);
    assert_eq!(codes(&format!("{HEAD_TEXT}admin: 0.0.0.0:8081\n")), ["A220"]);
}

#[test]
fn the_short_forms_are_called_main() {
    let config = config(HEAD_TEXT);
    assert_eq!(*config.issuers[0].name, "main");
    assert_eq!(config.issuers[0].audience, ["api"]);
    assert_eq!(*config.upstreams[0].name, "main");
    assert_eq!(config.listen[0].value, Listen::Tcp("127.0.0.1:8443".parse().unwrap()));
    assert_eq!(config.identity_headers.len(), 5);
    assert_eq!(codes(&format!("{HEAD_TEXT}issuers: {{}}\n")), ["E014"]);
}

#[test]
fn includes_are_read_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let routes = directory.path().join("routes.d");
    std::fs::create_dir(&routes).unwrap();
    std::fs::write(routes.join("b.yaml"), "routes:\n  /b: { GET: b }\n").unwrap();
    std::fs::write(routes.join("a.yaml"), "routes:\n  /a: { GET: a }\n").unwrap();
    std::fs::write(routes.join(".hidden.yaml"), "nonsense").unwrap();
    std::fs::write(routes.join("c.yml"), "nonsense").unwrap();
    let path = directory.path().join("gateway.yaml");
    let include = |list: &str| {
        std::fs::write(&path, format!("{HEAD}include: {list}\n")).unwrap();
        load(&path, &Variables::default()).unwrap()
    };
    let loaded = include("[routes.d/*.yaml]");
    let patterns: Vec<_> =
        loaded.config.unwrap().routes.iter().map(|route| route.pattern.text.clone()).collect();
    assert_eq!(patterns, ["/a", "/b"]);
    let code = |list: &str| include(list).problems.0[0].code;
    assert_eq!(code("routes.d/none.yaml"), "E009");
    assert_eq!(code("none.d/*.yaml"), "E009");
    assert_eq!(code("\"*/a.yaml\""), "E009");
    std::fs::write(
        routes.join("d.yaml"),
        "listen: 127.0.0.1:1\nroutes: { '/{x}': { GET: a }, '/{y}': { GET: a } }",
    )
    .unwrap();
    let loaded = include("[routes.d/*.yaml]");
    let found: Vec<_> = loaded.problems.0.iter().map(|problem| problem.code).collect();
    assert_eq!(found, ["E001", "E050"]);
    let cited = loaded.sources.cite(loaded.problems.0[0].at.unwrap());
    assert!(cited.ends_with("routes.d/d.yaml:1"), "{cited}");
}

#[test]
fn what_is_included_says_which_routes_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.yaml");
    let file = directory.path().join("more.d");
    let found = |include: &str, own: &str, more: &str| {
        std::fs::write(&file, more).unwrap();
        std::fs::write(&path, format!("{HEAD}include: {include}\n{own}")).unwrap();
        let loaded = load(&path, &Variables::default()).unwrap();
        let codes: Vec<_> = loaded.problems.0.iter().map(|problem| problem.code).collect();
        (codes, loaded.problems.render(&loaded.sources, false))
    };
    let own = "routes: { /a: { GET: a } }\n";
    for (include, more, expected) in [
        ("more.d", "routes: {}", &[][..]),
        ("more.d", "routes: { /b: { GET: b } }", &[]),
        ("more.d", "", &["E019"]),
        ("more.d", "# later", &["E019"]),
        ("more.d", "{}", &["E019"]),
        ("more.d", "routes:", &["E006"]),
        ("more.d", "[]", &["E006"]),
        ("'*.nothing'", "", &["E019"]),
        ("[more.d, '*.nothing']", "routes: {}", &["E019"]),
    ] {
        assert_eq!(found(include, own, more).0, expected, "{include}: {more}");
    }
    assert_eq!(found("more.d", "", "routes: {}").0, ["E007"]);
    assert_eq!(found("more.d", "routes: {}", "routes: { /b: { GET: b } }").0, [""; 0]);
    let (_, shown) = found("more.d", own, "# later");
    assert!(shown.contains("more.d:1") && shown.contains("included here"), "{shown}");
    assert!(shown.contains("gateway.yaml:4:10"), "{shown}");
    assert!(shown.contains("for none, write `routes: {}`"), "{shown}");
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.yaml");
    let text = "issuers: { a: { url: https://a.test, audience: x, jwks: keys.json } }
upstream: http://a
tls: { cert: c.pem, key: /k.pem }
routes: { /a: { GET: a } }
";
    std::fs::write(&path, text).unwrap();
    let config = load(&path, &Variables::default()).unwrap().config.unwrap();
    let KeySource::File(file) = &config.issuers[0].keys else { panic!("not a file") };
    assert_eq!(file.value, directory.path().join("keys.json"));
    let Some(Tls::Pairs(pairs)) = config.tls.map(|tls| tls.value) else { panic!("no pairs") };
    assert_eq!(pairs[0].cert.value, directory.path().join("c.pem"));
    assert_eq!(pairs[0].key.value, Path::new("/k.pem"));
}

#[test]
fn every_key_of_the_language_is_read_and_no_other() {
    let variables = Variables::default();
    let mut reading = Reading::new(Path::new(""), &variables);
    let loaded = finish(&mut reading, "gateway.yaml", EVERYTHING.as_bytes().to_vec());
    assert_eq!(loaded.problems.render(&loaded.sources, false), "");
    assert!(loaded.config.is_some());
    let table: BTreeSet<_> = SECTIONS
        .iter()
        .filter(|section| section.name != "include")
        .flat_map(|section| {
            let keys = section.keys.iter().filter(|key| !key.later);
            keys.map(|key| (section.name, key.name))
        })
        .collect();
    assert_eq!(reading.asked, table);
}

#[test]
fn only_what_proxies_tell_can_be_kept() {
    let kept = |names: &str| format!("{HEAD_TEXT}headers: {{ request: {{ keep: {names} }} }}\n");
    let names = config(&kept("[True-Client-IP, X-Remote-User]")).kept_headers;
    assert_eq!(
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["true-client-ip", "x-remote-user"]
    );
    for (name, why) in [
        ("X-Auth-Subject", "the gateway writes it itself"),
        ("X-Forwarded-For", "the gateway writes it itself"),
        ("X.Forwarded.For", "the gateway writes it itself"),
        ("X-HTTP-Verb", "it would change what was authorised"),
        ("X-Original-URL", "it would change what was authorised"),
        ("Client-Cert", "who terminated TLS"),
        ("Proxy-Authorization", "for the next proxy"),
        ("True_Client_IP", "another spelling"),
        ("true.client.ip", "another spelling"),
        ("True-Client-IPs", "did you mean `true-client-ip`?"),
        ("Accept", "it is not removed"),
        ("\"a b\"", "expected a field's name"),
    ] {
        assert_eq!(codes(&kept(name)), ["E073"], "{name}");
        assert!(rendered(&kept(name)).contains(why), "{}", rendered(&kept(name)));
    }
    let own = "identity_headers: { Remote-User: \"{sub}\" }\n";
    assert_eq!(codes(&format!("{}{own}", kept("remote-user"))), ["E073"]);
    assert_eq!(codes(&kept("[]")), ["E006"]);
}

#[test]
fn scripts_of_any_origin_get_no_cookies() {
    let text = format!("{HEAD_TEXT}cors: {{ origins: any, credentials: true }}\n");
    let expected = "\
error[E082]: every website could act for whoever is logged in here
 --> gateway.yaml:5:23
  |
5 | cors: { origins: any, credentials: true }
  |         -------       ^^^^^^^^^^^ with the cookies of its visitors
  |         |
  |         for scripts of any origin
  |
  = help: list the `origins`, or delete `credentials`: bearer tokens do not need it     (scopegate help E082)

";
    assert_eq!(rendered(&text), expected);
    assert_eq!(
        route_codes("  /a: { GET: a, cors: { origins: any, credentials: true } }\n"),
        ["E082"]
    );
    for (cors, code) in [
        ("{ origins: [] }", "E006"),
        ("{ credentials: true }", "E007"),
        ("{ origins: '*' }", "E081"),
        ("{ origins: [https://a.example/] }", "E081"),
        ("{ origins: any, max_age: 2d }", "E061"),
        ("{ origins: any, headers: '*' }", "E008"),
        ("{ origins: any, expose: [a b] }", "E008"),
        ("{ origin: any }", "E001"),
        ("off", "E006"),
    ] {
        let found = codes(&format!("{HEAD_TEXT}cors: {cors}\n"));
        assert!(found.contains(&code), "{cors}: {found:?}");
    }
    assert!(route_codes("  /a: { GET: a, cors: off }\n").is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(150))]

    /// Whatever a file says, reading it ends, and its problems can be shown.
    #[test]
    fn broken_files_are_told_and_never_panic(
        cut in 0..EVERYTHING.len(),
        at in 0..EVERYTHING.len(),
        put in "[\\[\\]{}:,&*\"'\n\t #%\\\\${é/-]{0,4}",
    ) {
        let cut = &EVERYTHING[cut.min(at)..];
        let text = format!("{}{put}{cut}", &EVERYTHING[..at]);
        rendered(&text);
        rendered(&EVERYTHING[..at]);
    }
}

const HEAD: &str = "\
issuer: https://id.example.com
audience: api
upstream: http://127.0.0.1:3000
";

const HEAD_TEXT: &str = "\
issuer: https://id.example.com
audience: api
upstream: http://127.0.0.1:3000
routes: { /a: { GET: a } }
";

/// Every key of the language, once or more.
const EVERYTHING: &str = r#"
listen: [0.0.0.0:8443, "[::1]:9000"]
tls: { cert: tls.crt, key: tls.key }
public_url: https://api.example.com/
admin: 127.0.0.1:8081
trusted_proxies: [10.0.0.0/8]
include: []
issuers:
  main: { url: https://id.example.com/realms/prod, audience: api, preset: keycloak }
  partners:
    url: https://login.partner.example
    audience: [orders-api, other-api]
    algorithms: [ES256, PS256]
    leeway: 30s
    max_token_age: 1h
    max_stale: 12h
    claims: { roles: permissions, tenant: ["https://partner.example/tenant"] }
    client_token_when: { gty: client-credentials }
    sender_constraint: none
    implies: { "source:w": [source:r], a: b }
    insecure: false
    backchannel_logout:
      { path: /logout/partners, audience: [web], rate: 50/s, allow_missing_exp: true }
  offline: { url: https://ci.example.com, audience: x, jwks: keys.json }
  split: { url: https://a.example.com, audience: x, metadata_url: "http://localhost:1/x" }
  bare: { url: https://b.example.com, audience: x, jwks_url: https://c.example.com/jwks }
upstreams:
  orders: http://orders:3000
  billing:
    targets: [http://billing-1:3000, { url: https://billing-2:3000, weight: 2 }]
    protocol: auto
    tls: { ca: ca.pem, cert: c.pem, key: k.pem, server_name: billing, insecure_skip_verify: false }
    timeout: { connect: 2s, response: 30s, idle: 60s }
    health: { path: /h, host: a, every: 5s, timeout: 2s, healthy: 2, unhealthy: 3, status: 200, panic: 50% }
    ejection: { failures: 5, time: 30s, max_time: 5m, max_share: 50% }
    retry: { times: 1, on: [connect, 503], budget: 20% }
    slow_start: 30s
    max_connections: 100
    max_requests: 100
    max_pending: 100
identity_headers: { X-Auth-Subject: "{sub}", X-Auth-Where: "{issuer}/{client}" }
headers: { request: { keep: [True-Client-IP, x-azure-ref] } }
keep_authorization: false
plans:
  free: { rate: 60/min, burst: 20 }
  partner: { rate: 50/s, quota: 1000000/day, per: { claim: org } }
default_plan: free
plan_from: { claim: plan }
clients: { acme-batch: { plan: partner, name: ACME nightly sync }, 42: { name: old } }
flood: 200/s
# scopegate: allow A150, A151
revocation:
  { store: a.redb, file: a.yaml, max_entries: 5, keep: 1h, secret: "${ADMIN_SECRET:-0123456789abcdef}" }
mode: enforce
rules: { staff: { any: [{ role: admin }, { group: /staff }] } }
routes:
  /status: { upstream: orders, public: true }
  /catalog/**: { upstream: orders, GET: { public: optional }, "POST, PUT": catalog:write }
  /orders/**:
    upstream: orders
    GET: orders:read
    POST, PATCH: { all: [orders:write, { not: { group: /suspended } }] }
    DELETE: { scope: orders:write, use: staff }
  /jobs/**: { upstream: billing, allow: { token: client, client: a, issuer: partners } }
  /tenants/{tenant}/invoices/**:
    upstream: billing
    allow: { scope: billing, claim: { tenant: "{tenant}" } }
    limit: { rate: 10/s, per: user }
    case_insensitive: true
    allow_encoded_slash: true
    keep_authorization: true
    timeout: 5m
  /admin/**:
    upstream: billing
    mode: report
    limit: free
    allow: { use: staff, acr: mfa, max_age: 15m, source: 10.0.0.0/8 }
  partners.example.com/v1/**:
    upstream: orders
    strip_prefix: /v1
    allow: { token: any, claim: { email: { ends_with: "@partner.example" }, amr: { contains: m } } }
  /claims:
    upstream: orders
    GET: { claim: { a: { in: [1, x, true] }, b: { starts_with: y }, c: { exists: true }, d: 42 } }
cors: { origins: [https://app.example.com], credentials: true, max_age: 1h, headers: [X-Own], expose: X-Total }
tracing: { otlp: http://collector:4318, sample: 5%, trust: proxies }
server_timing: on
hsts: 365d
logs: { format: auto, access: on, identity: full }
errors: { detail: standard, docs: https://docs.example.com/errors }
drain: { delay: 5s, timeout: 30s }
limits:
  header_bytes: 64KiB
  headers: 100
  token: 16KiB
  body: 10MiB
  header_timeout: 10s
  idle_timeout: 60s
  connections: 10000
  verdicts: 1
  callers: 1
"#;
