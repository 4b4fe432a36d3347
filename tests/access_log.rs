//! One line for each request: what it says, and what it never says.

use serde_json::{Value, json};

use crate::harness::{Call, Harness, raw, until};

const POLICY: &str = "
plans: { free: { rate: 1000/s } }
default_plan: free
routes:
  /orders/{id}: { GET: orders:read, POST: orders:write }
  /status: { public: true }
  /soon: { mode: report, GET: admin }
";

/// The log's lines, once there are this many.
async fn lines(t: &Harness, count: usize) -> Vec<Value> {
    until("the log", async || t.log().lines().count() >= count).await;
    let log = t.log();
    assert!(log.ends_with('\n'), "{log}");
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), count, "{log}");
    lines
}

async fn only_line(t: &Harness, call: Call) -> Value {
    let before = t.log().lines().count();
    call.send().await;
    lines(t, before + 1).await.pop().unwrap()
}

/// OB-03 and the contract: every field with its type.
#[tokio::test]
async fn a_line_has_every_field() {
    let t = Harness::start(POLICY).await;
    let call = t.call("POST", "/orders/7?secret=q").body("four").header("user-agent", "ua/1");
    let token = t.token().scope("orders:write orders:read").claim("jti", "jti-1").sign();
    let line = only_line(&t, call.bearer(&token)).await;
    let fields: [Field; 32] = [
        ("time", is_time),
        ("level", |v| v == "info"),
        ("msg", |v| v == "request"),
        ("request_id", |v| v.as_str().is_some_and(|id| id.len() == 26)),
        ("client_ip", |v| v == "127.0.0.1"),
        ("method", |v| v == "POST"),
        ("host", |v| v == "127.0.0.1"),
        ("path", |v| v == "/orders/7"),
        ("route", |v| v == "/orders/{id}"),
        ("rule", |v| v.as_str().is_some_and(|rule| rule.contains("gateway.yaml:"))),
        ("protocol", |v| v == "HTTP/1.1"),
        ("status", |v| v == 200),
        ("decision", |v| v == "allow"),
        ("mode", |v| v == "enforce"),
        ("issuer", |v| v == "main"),
        ("sub", |v| v == "alice"),
        ("client", |v| v == "web-app"),
        ("token_kind", |v| v == "user"),
        ("scopes", |v| v == "orders:read orders:write" || v == "orders:write orders:read"),
        ("jti_hash", |v| v.as_str().is_some_and(|hash| !hash.contains("jti-1") && hash.len() >= 8)),
        ("plan", |v| v == "free"),
        ("limit_remaining", Value::is_u64),
        ("upstream", |v| v == "main"),
        ("tries", |v| v == 1),
        ("target", |v| v.as_str().is_some_and(|target| target.starts_with("127.0.0.1:"))),
        ("upstream_status", |v| v == 200),
        ("duration_ms", Value::is_f64),
        ("upstream_ms", Value::is_f64),
        ("overhead_us", Value::is_u64),
        ("bytes_in", |v| v == 4),
        ("bytes_out", |v| v == 5),
        ("user_agent", |v| v == "ua/1"),
    ];
    for (name, is_right) in fields {
        assert!(is_right(&line[name]), "{name}: {}", line[name]);
    }
    let known = |name: &String| fields.iter().any(|(known, _)| known == name);
    let others: Vec<_> = line.as_object().unwrap().keys().filter(|name| !known(name)).collect();
    assert!(others.is_empty(), "{others:?} are not in the contract");
    for secret in [token.as_str(), "secret", "four", "authorization"] {
        assert!(!t.log().contains(secret), "{secret}");
    }
}

/// A field's name, and whether its value is right.
type Field = (&'static str, fn(&Value) -> bool);

/// `2026-11-23T10:42:03.123Z`.
fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

/// A refusal names its reason and the rule; a failing backend is no denial.
#[tokio::test]
async fn refusals_and_failures_say_why() {
    let t = Harness::start(POLICY).await;
    let token = t.token().sign();
    let line = only_line(&t, t.call("POST", "/orders/1").bearer(&token)).await;
    assert_eq!(
        [&line["status"], &line["decision"], &line["reason"], &line["required_scopes"]],
        [&json!(403), &json!("deny"), &json!("missing_scope"), &json!(["orders:write"])]
    );
    assert!(line["rule"].as_str().unwrap().contains("gateway.yaml:"), "{}", line["rule"]);
    assert!(line.get("upstream").is_none());

    let line = only_line(&t, t.call("PUT", "/orders/1")).await;
    assert_eq!(
        [&line["status"], &line["reason"], &line["route"]],
        [&json!(405), &json!("method_refused"), &json!("/orders/{id}")]
    );
    let line = only_line(&t, t.get("/nothing")).await;
    assert_eq!([&line["reason"], &line["route"]], [&json!("no_route"), &Value::Null]);
    let line = only_line(&t, t.get("/a%2F..%2Fb")).await;
    assert_eq!([&line["status"], &line["path"]], [&json!(400), &Value::Null]);

    let line = only_line(&t, t.get("/soon").bearer(&token)).await;
    assert_eq!(
        [&line["status"], &line["decision"], &line["reason"], &line["mode"]],
        [&json!(200), &json!("would_deny"), &json!("missing_scope"), &json!("report")]
    );
    let admin = t.token().scope("admin").sign();
    let line = only_line(&t, t.get("/soon").bearer(&admin)).await;
    assert_eq!([&line["decision"], &line["mode"]], [&json!("allow"), &json!("report")]);
    assert!(line.get("reason").is_none());
}

/// A backend that is not there is the backend's fault, at the level of an error.
#[tokio::test]
async fn a_failing_backend_is_named() {
    let t = Harness::start(
        "upstreams: { down: http://127.0.0.1:9 }\nroutes: { /status: { public: true } }",
    )
    .await;
    let line = only_line(&t, t.get("/status")).await;
    assert_eq!(
        [&line["status"], &line["decision"], &line["reason"], &line["upstream"], &line["level"]],
        [
            &json!(502),
            &json!("allow"),
            &json!("upstream_unreachable"),
            &json!("down"),
            &json!("error")
        ]
    );
}

/// OB-02, CWE-117: text of clients neither breaks a line nor paints a terminal.
#[tokio::test]
async fn hostile_text_stays_within_its_line() {
    let t = Harness::start(POLICY).await;
    let subject = "eve\r\n{\"msg\":\"forged\"}\u{1b}[2J\u{9b}31m";
    let token = t.token().claim("sub", subject).claim("client_id", "c\nd\u{1b}]0;x\u{7}").sign();
    let forged = t.token().header("kid", "k\r\n\u{1b}[31m").sign();
    let long = "x".repeat(5000);
    let calls = [
        t.get("/orders/1").bearer(&token),
        t.get("/orders/1").bearer(&forged),
        t.get("/orders/%0d%0a%1b%5b31m"),
        t.get("/orders/1?a=%0d%0aSet-Cookie"),
        t.get("/status").header("user-agent", "a\"b\\c\tü\u{9b}31m"),
        t.get("/status").header("user-agent", &long),
        t.get("/status").host("e%0avil\"example"),
        t.call("G'ET", "/status"),
    ];
    let count = calls.len();
    for call in calls {
        call.send().await;
    }
    let found = lines(&t, count).await;
    assert_eq!(found[0]["sub"], subject);
    assert!(found[5]["user_agent"].as_str().unwrap().len() <= 256);
    let log = t.log();
    let control = |c: char| c.is_control() && c != '\n';
    let bad: Vec<char> = log.chars().filter(|c| control(*c)).collect();
    assert_eq!(bad, [], "{log:?}");

    // What no client library sends.
    let bytes = "GET /status HTTP/1.1\r\nhost: a\r\nuser-agent: \u{9b}x\x1b[31m\r\n\
                 connection: close\r\n\r\n";
    raw::exchange(t.address(), bytes).await;
    for line in t.log().lines() {
        serde_json::from_str::<Value>(line).expect(line);
    }
    assert!(!t.log().contains(control));
}

/// The same for people.
#[tokio::test]
async fn lines_for_people_cannot_be_painted_either() {
    let t = Harness::start(&format!("logs: {{ format: human }}\n{POLICY}")).await;
    let subject = "eve\r\n  10:42:03 200 GET\u{1b}[2J\u{202e}\u{2066}";
    let token = t.token().claim("sub", subject).claim("client_id", "\u{1b}]0;x\u{7}").sign();
    t.get("/orders/1").bearer(&token).send().await;
    t.call("POST", "/orders/1").bearer(&token).send().await;
    until("the log", async || t.log().lines().count() == 2).await;
    let log = t.log();
    assert!(!log.contains(['\u{1b}', '\r', '\u{7}', '\u{202e}', '\u{2066}']), "{log:?}");
    let lines: Vec<_> = log.lines().collect();
    assert!(lines[0].contains(" 200 GET    /orders/1 "), "{}", lines[0]);
    assert!(lines[1].contains("missing_scope orders:write"), "{}", lines[1]);
    assert!(lines[1].contains("gateway.yaml:"), "{}", lines[1]);
}

/// OB-03: a client's own id is kept if it is short and safe, and is the same everywhere.
#[tokio::test]
async fn request_ids_are_the_same_in_answer_log_and_backend() {
    let t = Harness::start(POLICY).await;
    let long = "x".repeat(65);
    let very_long = "x".repeat(1024);
    for (sent, kept) in [
        (Some("abc-123_X.y"), true),
        (Some(&long[..64]), true),
        (Some(&long[..]), false),
        (Some(&very_long[..]), false),
        (Some("a b"), false),
        (Some("a\"b"), false),
        (Some("{\"a\":1}"), false),
        (Some("\u{e9}"), false),
        (Some(""), false),
        (None, false),
    ] {
        t.backend.forget();
        let mut call = t.get("/status");
        if let Some(sent) = sent {
            call = call.header("x-request-id", sent);
        }
        let before = t.log().lines().count();
        let answer = call.send().await;
        let id = answer.header("x-request-id");
        assert_eq!(Some(id) == sent, kept, "{sent:?}: {id}");
        assert!(kept || id.len() == 26, "{sent:?}: {id}");
        assert_eq!(t.backend.saw_one().header("x-request-id"), Some(id));
        assert_eq!(lines(&t, before + 1).await[before]["request_id"], id);
    }
}

/// Two ids cannot be told apart later, and a refusal has the id in its body as well.
#[tokio::test]
async fn one_id_is_left_of_two_and_refusals_name_it() {
    let t = Harness::start(POLICY).await;
    let two = t.get("/status").header("x-request-id", "one").header("x-request-id", "two");
    let answer = two.send().await;
    assert_eq!(t.backend.saw_one().header("x-request-id"), Some(answer.header("x-request-id")));
    let answer = t.get("/orders/1").header("x-request-id", "mine-1").send().await;
    assert_eq!(
        (answer.header("x-request-id"), &answer.json()["request_id"]),
        ("mine-1", &json!("mine-1"))
    );
    // A backend cannot put its own in place of ours.
    t.backend.reply(crate::harness::Reply {
        headers: vec![("x-request-id", "theirs".into())],
        ..Default::default()
    });
    let answer = t.get("/status").header("x-request-id", "mine-2").send().await;
    assert_eq!(answer.header("x-request-id"), "mine-2");
}

/// `logs.identity`: a hash that ties the lines of one person together, or nothing.
#[tokio::test]
async fn identities_are_hashed_or_left_out_on_request() {
    for (identity, shows) in [("full", true), ("hash", false), ("none", false)] {
        let t = Harness::start(&format!("logs: {{ identity: {identity} }}\n{POLICY}")).await;
        let ask = |sub: &str| t.get("/orders/1").bearer(&t.token().claim("sub", sub).sign());
        let first = only_line(&t, ask("alice")).await;
        let again = only_line(&t, ask("alice")).await;
        let other = only_line(&t, ask("bob")).await;
        assert_eq!(t.log().contains("alice"), shows, "{identity}");
        match identity {
            "hash" => {
                assert!(first["sub"].as_str().unwrap().starts_with('#'));
                assert_eq!(first["sub"], again["sub"]);
                assert_ne!(first["sub"], other["sub"]);
            }
            "none" => assert!(first.get("sub").is_none()),
            _ => assert_eq!(other["sub"], "bob"),
        }
    }
}

/// `logs.access: off` writes nothing; what is counted is still counted.
#[tokio::test]
async fn the_access_log_can_be_off() {
    let t = Harness::start(&format!("logs: {{ access: off }}\n{POLICY}")).await;
    assert_eq!(t.get("/status").send().await.status(), 200);
    assert_eq!(t.get("/orders/1").send().await.status(), 401);
    assert_eq!(t.denials("/orders/{id}", "missing_token").await, 1.0);
    assert_eq!(t.log(), "");
}

/// One line, also for a client that goes away before its answer is complete.
#[tokio::test]
async fn a_client_that_goes_away_leaves_one_line() {
    let t = Harness::start(POLICY).await;
    t.backend
        .reply(crate::harness::Reply { body: vec![b'x'; 32 << 20].into(), ..Default::default() });
    let mut stream = tokio::net::TcpStream::connect(t.address()).await.unwrap();
    let request = "GET /status HTTP/1.1\r\nhost: a\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut some = [0; 1024];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut some).await.unwrap();
    drop(stream);
    let line = lines(&t, 1).await.pop().unwrap();
    assert_eq!([&line["status"], &line["cut"]], [&json!(200), &json!(true)]);
    assert!(line["bytes_out"].as_u64().unwrap() < 32 << 20);
}
