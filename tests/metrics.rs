//! What operators see: names and labels that dashboards and alerts are built on.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::scrape::{Family, Scrape};
use crate::harness::{Call, Harness, raw};

const POLICY: &str = "
plans: { free: { rate: 1000/s }, tiny: { rate: 1/h, burst: 1 } }
default_plan: free
clients: { nightly: { plan: free, name: Nightly } }
upstreams: { main: \"{backend}\", down: http://127.0.0.1:9 }
issuers: { main: { url: \"{issuer}\", audience: https://api.example.com } }
routes:
  /orders/{id}: { upstream: main, GET: orders:read, POST: orders:write }
  /limited: { upstream: main, GET: orders:read, limit: tiny }
  /soon: { upstream: main, mode: report, GET: admin }
  /down: { upstream: down, public: true }
  /status: { upstream: main, public: true }
";

/// Every family of the contract: its name, type and labels.
const FAMILIES: &[(&str, &str, &[&str])] = &[
    ("scopegate_http_requests_total", "counter", &["code", "method", "route"]),
    ("scopegate_http_request_duration_seconds", "histogram", &["outcome", "route"]),
    ("scopegate_overhead_seconds", "histogram", &[]),
    ("scopegate_http_requests_in_flight", "gauge", &["listener"]),
    ("scopegate_connections", "gauge", &["listener"]),
    ("scopegate_http_body_bytes_total", "counter", &["direction", "route"]),
    ("scopegate_decisions_total", "counter", &["decision", "reason", "route"]),
    ("scopegate_tokens_total", "counter", &["issuer", "result"]),
    ("scopegate_token_cache_requests_total", "counter", &["result"]),
    ("scopegate_token_cache_entries", "gauge", &[]),
    ("scopegate_issuer_up", "gauge", &["issuer"]),
    ("scopegate_issuer_keys", "gauge", &["issuer"]),
    ("scopegate_issuer_keys_last_success_timestamp_seconds", "gauge", &["issuer"]),
    ("scopegate_issuer_requests_total", "counter", &["issuer", "kind", "result"]),
    ("scopegate_issuer_request_duration_seconds", "histogram", &["issuer", "kind"]),
    ("scopegate_client_requests_total", "counter", &["client", "outcome", "plan"]),
    ("scopegate_rate_limited_total", "counter", &["plan", "route"]),
    ("scopegate_upstream_requests_total", "counter", &["code", "upstream"]),
    ("scopegate_upstream_request_duration_seconds", "histogram", &["upstream"]),
    ("scopegate_upstream_errors_total", "counter", &["reason", "upstream"]),
    ("scopegate_upstream_retries_total", "counter", &["result", "upstream"]),
    ("scopegate_upstream_ejections_total", "counter", &["upstream"]),
    ("scopegate_upstream_up", "gauge", &["target", "upstream"]),
    ("scopegate_upstream_connections", "gauge", &["state", "upstream"]),
    ("scopegate_config_reloads_total", "counter", &["result"]),
    ("scopegate_config_last_reload_successful", "gauge", &[]),
    ("scopegate_config_last_reload_success_timestamp_seconds", "gauge", &[]),
    ("scopegate_routes", "gauge", &["access"]),
    ("scopegate_build_info", "gauge", &["commit", "version"]),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_virtual_memory_bytes", "gauge", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
];

/// One request of each kind.
async fn one_of_each(t: &Harness) {
    let reader = t.token();
    let nightly = t.token().machine("nightly").scope("orders:write");
    let call = |method: &str, path: &str| t.call(method, path);
    let calls = [
        (call("GET", "/orders/1").bearer(&reader.sign()), 200),
        (call("POST", "/orders/1").bearer(&nightly.sign()).body("four"), 200),
        (call("GET", "/orders/1"), 401),
        (call("GET", "/orders/1").bearer(&reader.clone().expired_by(90).sign()), 401),
        (call("POST", "/orders/1").bearer(&reader.sign()), 403),
        (call("GET", "/nothing"), 404),
        (call("DELETE", "/orders/1").bearer(&reader.sign()), 405),
        (call("GET", "/limited").bearer(&reader.sign()), 200),
        (call("GET", "/limited").bearer(&reader.sign()), 429),
        (call("GET", "/soon").bearer(&reader.sign()), 200),
        (call("GET", "/down"), 502),
        (call("GET", "/status"), 200),
        (call("GET", "/a%2F..%2Fb"), 400),
    ];
    for (call, expected) in calls {
        assert_eq!(call.send().await.status(), expected);
    }
    assert!(t.server.reload().await.is_ok());
}

/// OB-05, OB-07, and the table of the contract.
#[tokio::test]
async fn every_family_is_there_with_its_labels() {
    let t = Harness::start(POLICY).await;
    one_of_each(&t).await;
    let scrape = Scrape::of(t.admin()).await;
    assert_eq!(scrape.content_type, "text/plain; version=0.0.4; charset=utf-8");
    for (name, kind, labels) in FAMILIES {
        let family = scrape.families.get(*name).unwrap_or_else(|| panic!("there is no {name}"));
        assert_eq!(family.kind, *kind, "{name}");
        assert!(family.help.ends_with('.'), "{name}: {}", family.help);
        assert!(!family.samples.is_empty(), "{name} has no series");
        for sample in &family.samples {
            let own: Vec<_> =
                sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(own, *labels, "{name}");
        }
    }
}

/// What each request adds, and to which series.
#[tokio::test]
async fn each_request_is_counted_where_it_belongs() {
    let t = Harness::start(POLICY).await;
    one_of_each(&t).await;
    let scrape = Scrape::of(t.admin()).await;
    let is = |name: &str, labels: &[(&str, &str)], expected: f64| {
        assert_eq!(scrape.value(name, labels), expected, "{name} {labels:?}");
    };
    let orders = ("route", "/orders/{id}");
    let requests = "scopegate_http_requests_total";
    is(requests, &[orders, ("method", "GET"), ("code", "200")], 1.0);
    is(requests, &[orders, ("method", "POST"), ("code", "200")], 1.0);
    is(requests, &[orders, ("method", "GET"), ("code", "401")], 2.0);
    is(requests, &[orders, ("method", "DELETE"), ("code", "405")], 1.0);
    is(requests, &[("route", "-"), ("method", "GET"), ("code", "404")], 1.0);
    is(requests, &[("route", "-"), ("method", "GET"), ("code", "400")], 1.0);

    let durations = "scopegate_http_request_duration_seconds_count";
    is(durations, &[orders, ("outcome", "ok")], 2.0);
    is(durations, &[orders, ("outcome", "denied")], 4.0);
    is(durations, &[("route", "/limited"), ("outcome", "limited")], 1.0);
    is(durations, &[("route", "/down"), ("outcome", "error")], 1.0);
    is("scopegate_overhead_seconds_count", &[], 13.0);

    let decisions = "scopegate_decisions_total";
    for (route, decision, reason, count) in [
        ("/orders/{id}", "allow", "-", 2.0),
        ("/orders/{id}", "deny", "missing_token", 1.0),
        ("/orders/{id}", "deny", "token_expired", 1.0),
        ("/orders/{id}", "deny", "missing_scope", 1.0),
        ("/orders/{id}", "deny", "method_refused", 1.0),
        ("/limited", "deny", "rate_limited", 1.0),
        ("/soon", "would_deny", "missing_scope", 1.0),
        ("/down", "allow", "upstream_unreachable", 1.0),
        ("-", "deny", "no_route", 1.0),
        ("-", "deny", "ambiguous_path", 1.0),
    ] {
        let labels = [("route", route), ("decision", decision), ("reason", reason)];
        is(decisions, &labels, count);
    }

    is("scopegate_tokens_total", &[("issuer", "main"), ("result", "token_expired")], 1.0);
    is("scopegate_tokens_total", &[("issuer", "main"), ("result", "bad_signature")], 0.0);
    is("scopegate_http_body_bytes_total", &[orders, ("direction", "in")], 4.0);
    is("scopegate_rate_limited_total", &[("plan", "/limited"), ("route", "/limited")], 1.0);
    let nightly = [("client", "nightly"), ("plan", "free"), ("outcome", "ok")];
    is("scopegate_client_requests_total", &nightly, 1.0);
    let others = [("client", "other"), ("plan", "free"), ("outcome", "ok")];
    assert!(scrape.value("scopegate_client_requests_total", &others) >= 1.0);
    for outcome in ["denied", "limited", "error"] {
        let labels = [("client", "other"), ("plan", "free"), ("outcome", outcome)];
        is("scopegate_client_requests_total", &labels, 1.0);
    }
    is("scopegate_upstream_requests_total", &[("upstream", "main"), ("code", "200")], 5.0);
    is("scopegate_upstream_errors_total", &[("upstream", "down"), ("reason", "refused")], 1.0);
    is("scopegate_upstream_errors_total", &[("upstream", "main"), ("reason", "refused")], 0.0);
    is("scopegate_issuer_up", &[("issuer", "main")], 1.0);
    is("scopegate_issuer_keys", &[("issuer", "main")], 1.0);
    is("scopegate_config_reloads_total", &[("result", "accepted")], 1.0);
    is("scopegate_config_reloads_total", &[("result", "rejected")], 0.0);
    is("scopegate_routes", &[("access", "public")], 2.0);
    is("scopegate_routes", &[("access", "protected")], 2.0);
    is("scopegate_routes", &[("access", "report")], 1.0);
}

/// OB-06: no client can make series, whatever it sends.
#[tokio::test]
async fn the_number_of_series_does_not_depend_on_clients() {
    let t = Harness::start(POLICY).await;
    one_of_each(&t).await;
    strange(&t, 0..10).await;
    let before = Scrape::of(t.admin()).await.series();
    strange(&t, 10..310).await;
    let after = Scrape::of(t.admin()).await;
    let new: Vec<_> = after.series().difference(&before).cloned().collect();
    assert_eq!(new, Vec::<String>::new());
    for made_up in ["x17", "FOO", "mallory", "kid-", "127.0.0.1:1"] {
        assert!(!after.text.contains(made_up), "{made_up}");
    }
}

/// Requests that differ in everything that a client chooses.
async fn strange(t: &Harness, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let method = format!("FOO{number}");
        let client = format!("mallory{number}");
        let token = t.token().machine(&client).scope(&format!("s{number}"));
        let forged = token.clone().header("kid", format!("kid-{number}"));
        let foreign = token.clone().claim("iss", format!("https://x{number}.example"));
        let of_a_host = t.get("/nothing").host(&format!("x{number}.example"));
        for (call, expected) in [
            (t.get(&format!("/orders/x{number}")), 401),
            (t.get(&format!("/x{number}")), 404),
            (t.call(&method, "/orders/1"), 405),
            (t.call(&method, &format!("/x{number}")), 404),
            (t.get(&format!("/orders/x{number}")).bearer(&token.sign()), 403),
            (t.get("/orders/1").bearer(&forged.sign()), 401),
            (t.get("/orders/1").bearer(&foreign.sign()), 401),
            (of_a_host.header("user-agent", &client).header("x-request-id", &client), 404),
        ] {
            assert_eq!(call.send().await.status(), expected, "{number}");
        }
    }
}

/// OB-05: histograms are whole, and no name breaks the rules of the format.
#[tokio::test]
async fn names_and_histograms_follow_the_format() {
    let t = Harness::start(POLICY).await;
    one_of_each(&t).await;
    for scrape in [Scrape::of(t.admin()).await, Scrape::open_metrics(t.admin()).await] {
        for (name, family) in &scrape.families {
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(letter), "{name}");
            let own = ["scopegate_", "process_"].iter().any(|prefix| name.starts_with(prefix));
            assert!(own && !family.help.is_empty(), "{name}");
            if family.kind == "histogram" {
                check_histogram(name, family);
            }
        }
        assert_eq!(
            scrape.series().len(),
            scrape.text.lines().filter(|l| !l.starts_with('#')).count()
        );
    }
}

/// Buckets grow towards `+Inf`, which is the count.
fn check_histogram(name: &str, family: &Family) {
    let counts = family.samples.iter().filter(|sample| sample.name == format!("{name}_count"));
    for count in counts {
        let of_series = |sample: &&crate::harness::scrape::Sample| {
            let mut labels = sample.labels.clone();
            labels.remove("le").is_some() && labels == count.labels
        };
        let buckets: Vec<_> = family.samples.iter().filter(of_series).collect();
        assert!(buckets.windows(2).all(|pair| pair[0].value <= pair[1].value), "{name}");
        let last = buckets.last().expect("buckets");
        assert_eq!((last.labels["le"].as_str(), last.value), ("+Inf", count.value), "{name}");
    }
}

/// OpenMetrics for whoever asks: counters without their suffix, and an end.
#[tokio::test]
async fn openmetrics_names_counters_as_it_should_and_ends() {
    let t = Harness::start(POLICY).await;
    one_of_each(&t).await;
    let scrape = Scrape::open_metrics(t.admin()).await;
    assert_eq!(scrape.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(scrape.text.ends_with("\n# EOF\n"));
    assert_eq!(scrape.text.matches("# EOF").count(), 1);
    for (name, kind, _) in FAMILIES {
        let bare = name.strip_suffix("_total").unwrap_or(name);
        let family = scrape.families.get(bare).unwrap_or_else(|| panic!("there is no {bare}"));
        assert_eq!(family.kind, *kind, "{name}");
        if *kind == "counter" {
            assert!(family.samples.iter().all(|sample| sample.name == *name), "{name}");
        }
    }
    let plain = Scrape::of(t.admin()).await;
    assert!(!plain.text.contains("# EOF"));
    let names = |scrape: &Scrape| -> BTreeSet<String> {
        let samples = scrape.families.values().flat_map(|family| &family.samples);
        samples.map(|sample| sample.name.clone()).collect()
    };
    assert_eq!(names(&plain), names(&scrape));
}

/// Series of routes that are gone disappear, and new ones start at 0.
#[tokio::test]
async fn a_reload_takes_the_series_of_removed_routes_along() {
    let t = Harness::start(POLICY).await;
    one_of_each(&t).await;
    t.rewrite(&POLICY.replace("/limited:", "/renamed:"));
    assert!(t.server.reload().await.is_ok());
    let scrape = Scrape::of(t.admin()).await;
    assert!(!scrape.text.contains("/limited"), "{}", scrape.text);
    let renamed = [("route", "/renamed"), ("decision", "allow"), ("reason", "-")];
    assert_eq!(scrape.value("scopegate_decisions_total", &renamed), 0.0);
    t.rewrite("routes: [");
    assert!(t.server.reload().await.is_err());
    let scrape = Scrape::of(t.admin()).await;
    assert_eq!(scrape.value("scopegate_config_last_reload_successful", &[]), 0.0);
    assert_eq!(scrape.value("scopegate_config_reloads_total", &[("result", "rejected")]), 1.0);
}

/// With TLS, the certificate's end is known.
#[tokio::test]
async fn the_end_of_a_certificate_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let made = scopegate::demo::certificate::self_signed().unwrap();
    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&cert, made.cert).unwrap();
    std::fs::write(&key, made.key).unwrap();
    let tls = format!("tls: {{ cert: {}, key: {} }}\n", cert.display(), key.display());
    let t = Harness::start(&(tls + "routes: { /a: { GET: a } }\n")).await;
    let scrape = Scrape::of(t.admin()).await;
    let family = &scrape.families["scopegate_tls_certificate_expiry_timestamp_seconds"];
    assert_eq!(family.samples.len(), 1);
    assert_eq!(family.samples[0].labels.keys().collect::<Vec<_>>(), ["name"]);
    assert!(family.samples[0].value > 4e9);
}

/// OB-08, bypass 47: what is for operators is not on the port for clients.
#[tokio::test]
async fn administration_is_not_on_the_data_port() {
    let t = Harness::start(POLICY).await;
    for path in ["/metrics", "/livez", "/readyz", "/decide", "/"] {
        let answer = t.get(path).send().await;
        assert_eq!(
            (answer.status().as_u16(), answer.reason().as_str()),
            (404, "no_route"),
            "{path}"
        );
    }
    let reload = t.call("POST", "/reload").header("x-scopegate-admin", "1").send().await;
    assert_eq!(reload.status(), 404);
    t.backend.saw_nothing();
    assert_eq!(t.denials("-", "no_route").await, 6.0);

    // Nor does a route for everything lead there: it leads to the backend.
    let t = Harness::start("routes: { /**: { public: true } }").await;
    for path in ["/metrics", "/livez", "/readyz"] {
        let answer = t.get(path).header("user-agent", "kube-probe/1.30").send().await;
        assert_eq!(answer.text(), "hello", "{path}");
    }
    assert_eq!(t.backend.seen().len(), 3);
}

/// The admin port answers only to its own name: a web page cannot read it by DNS rebinding, and
/// cannot make it reload.
#[tokio::test]
async fn the_admin_port_answers_only_to_its_own_name() {
    let t = Harness::start(POLICY).await;
    let ask = |method: &str, path: &str| Call::new(t.admin(), method, path);
    for host in ["rebound.example", "127.0.0.1.rebound.example", "localhost.rebound.example"] {
        for path in ["/metrics", "/livez", "/readyz", "/"] {
            let answer = ask("GET", path).host(host).send().await;
            assert_eq!(answer.status(), 421, "{host}{path}");
            assert!(!answer.text().contains("scopegate_"), "{host}{path}");
        }
    }
    for host in ["localhost", "127.0.0.1", "[::1]:8081", "10.1.2.3:8081"] {
        assert_eq!(ask("GET", "/livez").host(host).send().await.status(), 200, "{host}");
    }
    let without = raw::exchange(t.admin(), "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert_eq!(raw::statuses(&without), [421]);
    let absolute = "GET http://rebound.example/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(raw::statuses(&raw::exchange(t.admin(), absolute).await), [421]);

    assert_eq!(ask("POST", "/reload").send().await.status(), 403);
    assert_eq!(ask("GET", "/reload").send().await.status(), 405);
    let simple = ask("POST", "/reload").header("content-type", "text/plain").body("x");
    assert_eq!(simple.send().await.status(), 403);
    let scrape = Scrape::of(t.admin()).await;
    assert_eq!(scrape.value("scopegate_config_reloads_total", &[("result", "accepted")]), 0.0);
    let guarded = ask("POST", "/reload").header("x-scopegate-admin", "1").send().await;
    assert_eq!(guarded.status(), 200);
    assert_eq!(guarded.json()["changed"], json!(0));
}

/// Readiness says what stands in the way; liveness only that the process runs.
#[tokio::test]
async fn readiness_follows_the_issuer_and_liveness_does_not() {
    let issuer = crate::harness::Issuer::start().await;
    issuer.behave(crate::harness::issuer::Behaviour::Broken(500, "".into()));
    let backend = crate::harness::Backend::start().await;
    let t = Harness::start_with("routes: { /a: { GET: a } }", issuer, backend).await;
    let ask = |path: &str| Call::new(t.admin(), "GET", path);
    let not_ready = ask("/readyz").send().await;
    assert_eq!(not_ready.status(), 503);
    assert!(not_ready.text().starts_with("[-] issuer main failed: "), "{}", not_ready.text());
    assert_eq!(ask("/livez").send().await.status(), 200);
    let scrape = Scrape::of(t.admin()).await;
    assert_eq!(scrape.value("scopegate_issuer_up", &[("issuer", "main")]), 0.0);
}
