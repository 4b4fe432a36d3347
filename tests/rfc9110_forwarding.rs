//! What a backend sees of a request and a client of an answer: everything that is theirs, nothing
//! that only the gateway may say.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::chaos::{Chaos, Step::*};
use crate::harness::{Harness, Reply, raw, until, within};

const OPEN: &str = "routes: { /**: { GET: { public: true }, POST: { public: true } } }";

/// HP-01, HP-02, HP-03, bypass 20: fields of the client's connection end here, and nominating ours
/// removes nothing.
#[tokio::test]
async fn fields_of_the_clients_connection_end_here() {
    let t = Harness::start("routes: { /r: { GET: read } }").await;
    let request = format!(
        "GET /r HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nX-Foo: 1\r\nX-Bar: 1\r\n\
         Connection: close, X-Foo, X-Auth-Subject, X-Forwarded-For, Host, Authorization\r\n\
         Connection: x-bar, X-Auth-Scopes, Via\r\nX-Baz: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\nTrailer: x\r\n\r\n",
        t.token().scope("read").sign()
    );
    let answer = raw::exchange(t.address(), request).await;
    assert_eq!(raw::statuses(&answer), [200], "{answer}");
    let seen = t.backend.saw_one();
    let gone = "x-foo x-bar connection keep-alive proxy-connection te upgrade http2-settings \
        trailer authorization";
    for name in gone.split_ascii_whitespace() {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-baz"), Some("1"));
    assert_eq!(seen.header("host"), Some("a"));
    assert_eq!(seen.header("x-auth-subject"), Some("alice"));
    assert_eq!(seen.header("x-auth-scopes"), Some("read"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("via"), Some("1.1 scopegate"));
}

/// HP-01: the same on the way back.
#[tokio::test]
async fn fields_of_the_backends_connection_end_here() {
    let t = Harness::start(OPEN).await;
    let chaos = Chaos::start(&[
        Head,
        Say("HTTP/1.1 200 OK\r\nconnection: close, x-foo\r\nx-foo: 1\r\nx-bar: 1\r\n"),
        Say("keep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nupgrade: h2c\r\n"),
        Say("proxy-connection: keep-alive\r\ncontent-length: 2\r\n\r\nok"),
    ])
    .await;
    t.rewrite(&format!("upstreams: {{ main: {} }}\n{OPEN}", chaos.url()));
    t.server.reload().await.expect("the file is good");
    let request = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    // Both requests come on one connection: the backend's `close` is not the client's.
    let answer = raw::exchange(t.address(), request.repeat(2)).await;
    assert_eq!(raw::statuses(&answer), [200, 200], "{answer}");
    let answer = answer.to_ascii_lowercase();
    for name in ["x-foo", "keep-alive", "proxy-authenticate", "upgrade", "connection"] {
        assert!(!answer.contains(&format!("\r\n{name}:")), "{name} in {answer}");
    }
    assert_eq!(answer.matches("\r\nx-bar: 1\r\n").count(), 2);
    assert_eq!(chaos.accepted(), 2);
}

/// HP-04: each hop is named by the version that it received.
#[tokio::test]
async fn via_names_every_hop() {
    let t = Harness::start(OPEN).await;
    for (version, via, sent) in [
        ("1.1", "", "1.1 scopegate"),
        ("1.1", "Via: 1.0 a\r\nVia: 1.1 b\r\n", "1.0 a, 1.1 b, 1.1 scopegate"),
        ("1.0", "Via: 1.0 a\r\n", "1.0 a, 1.0 scopegate"),
    ] {
        t.backend.forget();
        let request = format!("GET /x HTTP/{version}\r\nHost: a\r\n{via}Connection: close\r\n\r\n");
        assert_eq!(raw::statuses(&raw::exchange(t.address(), request).await), [200]);
        assert_eq!(t.backend.saw_one().header("via"), Some(sent));
    }
}

/// HP-04: a gateway that is its own backend ends the loop.
#[tokio::test]
async fn a_loop_ends() {
    let t = Harness::start(OPEN).await;
    t.rewrite(&format!("upstreams: {{ main: 'http://{}' }}\n{OPEN}", t.address()));
    t.server.reload().await.expect("the file is good");
    let answer = t.get("/x").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
    let status = answer.header("proxy-status");
    assert!(status.starts_with("scopegate; error=proxy_loop_detected"), "{status}");
    let passes = t.metric("scopegate_http_requests_total", &[("route", "/**")]).await;
    assert!((2.0..=20.0).contains(&passes), "{passes}");
    t.backend.saw_nothing();
}

/// HP-10: what follows a body changes nothing about its request.
#[tokio::test]
async fn trailers_of_a_request_are_dropped() {
    let t = Harness::start(OPEN).await;
    let request = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-Subject\r\n\
                   Connection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Auth-Subject: root\r\nX-Sum: 1\r\n\r\n";
    assert_eq!(raw::statuses(&raw::exchange(t.address(), request).await), [200]);
    let seen = t.backend.saw_one();
    assert_eq!(&*seen.body, b"hi");
    assert_eq!(seen.header("x-auth-subject"), None);
    assert_eq!(seen.header("x-sum"), None);
    assert_eq!(seen.header("trailer"), None);
}

/// HP-10: trailers of an answer keep what cannot change it.
#[tokio::test]
async fn trailers_of_an_answer_are_sifted() {
    let chaos = Chaos::start(&[
        Head,
        Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"),
        Say("trailer: x-sum, set-cookie, content-length\r\n\r\n2\r\nhi\r\n0\r\n"),
        Say("x-sum: 1\r\nset-cookie: a=1\r\ncontent-length: 5\r\n\r\n"),
    ])
    .await;
    let t = Harness::start(&format!("upstreams: {{ main: {} }}\n{OPEN}", chaos.url())).await;
    let request = "GET /x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te, close\r\n\r\n";
    let answer = raw::exchange(t.address(), request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\ntrailer: "), "{head}");
    assert_eq!(body, "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n");
}

/// HP-21: answers without a body have none, and say of its length what they may.
#[tokio::test]
async fn answers_without_a_body_have_none() {
    let t = Harness::start(OPEN).await;
    let cases: [(&str, &'static [crate::harness::chaos::Step], &str); 4] = [
        ("HEAD", &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")], "content-length: 5"),
        ("HEAD", &[Head, Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")], "date:"),
        (
            "GET",
            &[Head, Say("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\netag: x\r\n\r\n")],
            "etag: x",
        ),
        ("GET", &[Head, Say("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n")], "date:"),
    ];
    for (method, script, expected) in cases {
        let chaos = Chaos::start(script).await;
        t.rewrite(&format!("upstreams: {{ main: {} }}\n{OPEN}", chaos.url()));
        t.server.reload().await.expect("the file is good");
        let request = format!("{method} /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = raw::exchange(t.address(), request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "", "{answer}");
        assert!(head.contains(expected), "{head}");
        assert!(!(head.contains(" 204 ") && head.contains("content-length")), "{head}");
        assert!(!head.contains("transfer-encoding") || method == "HEAD", "{head}");
        assert!(!t.log().contains("\"cut\""), "{}", t.log());
    }
}

/// HP-21: lines of the same name stay apart and in order, in both directions.
#[tokio::test]
async fn lines_of_one_name_stay_apart() {
    let t = Harness::start(OPEN).await;
    let cookies = ["a=1; path=/", "b=2", "a=3"];
    let headers = cookies.map(|cookie| ("set-cookie", cookie.to_owned())).to_vec();
    t.backend.reply(Reply { headers, ..Reply::default() });
    let answer = t.get("/x").header("accept", "text/a").header("accept", "text/b").send().await;
    let received: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(received, cookies);
    let seen = t.backend.saw_one();
    let accepted: Vec<_> = seen.headers.get_all("accept").iter().collect();
    assert_eq!(accepted, ["text/a", "text/b"]);
}

/// What the backend says about itself and its answer passes; what is missing and needed is added.
#[tokio::test]
async fn the_backends_own_fields_pass() {
    let t = Harness::start(OPEN).await;
    let date = "Tue, 15 Nov 1994 08:12:31 GMT";
    let fields = [("date", date), ("server", "old"), ("etag", "\"x\""), ("x-powered-by", "y")];
    let headers = fields.map(|(name, value)| (name, value.to_owned())).to_vec();
    t.backend.reply(Reply { status: 418, headers, ..Reply::default() });
    let answer = t.get("/x").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.text()), (418, "hello"));
    for (name, value) in fields {
        assert_eq!(answer.header(name), value);
    }
    assert_eq!(answer.header("content-length"), "5");
    assert_eq!(answer.header("proxy-status"), "");
}

/// HP-24: a version of its own on each side, and a date where the backend gave none.
#[tokio::test]
async fn each_side_has_its_own_version() {
    let chaos = Chaos::start(&[Head, Say("HTTP/1.0 200 OK\r\n\r\nold")]).await;
    let t = Harness::start(&format!("upstreams: {{ main: {} }}\n{OPEN}", chaos.url())).await;
    let old = raw::exchange(t.address(), "GET /x HTTP/1.0\r\nHost: a\r\n\r\n").await;
    // RFC 9110 §6.2: the highest version of the same major one, whatever the client asked in.
    assert!(old.starts_with("HTTP/1.1 200 "), "{old}");
    assert!(old.ends_with("\r\n\r\nold"), "{old}");
    assert!(!old.contains("transfer-encoding"), "{old}");
    assert!(old.contains("\r\ndate: "), "{old}");
    assert!(!old.contains("\r\nserver: "), "{old}");
    let new = t.get("/x").send().await;
    assert_eq!((new.text().as_str(), new.header("transfer-encoding")), ("old", "chunked"));
    for head in chaos.heads() {
        assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
    }
}

/// HP-24: an HTTP/1.0 client may keep its connection, and is refused as others are.
#[tokio::test]
async fn an_old_client_is_served_by_the_same_rules() {
    let t = Harness::start("routes: { /open: { public: true }, /r: { GET: read } }").await;
    let keep = |path| format!("GET {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    let both = raw::exchange(t.address(), keep("/open") + &keep("/r")).await;
    assert_eq!(raw::statuses(&both), [200, 401], "{both}");
    assert!(both.contains("connection: keep-alive"), "{both}");
    let expect = "GET /r HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(raw::statuses(&raw::exchange(t.address(), expect).await), [401]);
    assert_eq!(t.backend.seen().len(), 1);
}

/// HP-07, HP-09 (RFC 9110 §10.1.1, §15.2): HTTP/1.0 knows no interim answers, neither ours nor the
/// backend's.
#[tokio::test]
async fn an_old_client_hears_the_final_answer_alone() {
    let chaos = Chaos::start(&[
        Head,
        Until("body"),
        Say("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ])
    .await;
    let t = Harness::start(&format!("upstreams: {{ main: {} }}\n{OPEN}", chaos.url())).await;
    for (version, statuses) in [("1.0", &[200][..]), ("1.1", &[100, 200])] {
        let head = format!(
            "POST /x HTTP/{version}\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n\
             Content-Length: 4\r\n\r\n"
        );
        let before = chaos.heads().len();
        let mut client = TcpStream::connect(t.address()).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        // Whoever would be asked for the body has been asked by now.
        until("the head", async || chaos.heads().len() > before).await;
        client.write_all(b"body").await.unwrap();
        let answer = within(raw::read_all(&mut client)).await;
        assert_eq!(raw::statuses(&answer), statuses, "{answer}");
    }
    assert!(chaos.heads().iter().all(|head| !head.to_lowercase().contains("expect")));
}

/// OB-03: one id for the client, the backend and the log, whatever either side says.
#[tokio::test]
async fn one_request_id_ties_everything_together() {
    let t = Harness::start(OPEN).await;
    let own = vec![("x-request-id", "of-the-backend".to_owned())];
    t.backend.reply(Reply { headers: own, ..Reply::default() });
    for (sent, kept) in [("abc-123", true), ("a b", false), ("<script>", false)] {
        t.backend.forget();
        let answer = t.get("/x").header("x-request-id", sent).send().await;
        let id = answer.header("x-request-id");
        assert_eq!(id == sent, kept, "{id}");
        assert_ne!(id, "of-the-backend");
        assert_eq!(t.backend.saw_one().header("x-request-id"), Some(id));
        assert_eq!(t.logged(id).await["status"], 200);
    }
}

/// BR-17: a backend's own refusal is its own.
#[tokio::test]
async fn a_backends_own_challenge_passes_unchanged() {
    let t = Harness::start("routes: { /r: { GET: read } }").await;
    let token = t.token().scope("read").sign();
    for (status, challenge) in [(401, "Basic realm=\"x\""), (403, "Bearer scope=\"other\"")] {
        let headers = vec![("www-authenticate", challenge.to_owned())];
        t.backend.reply(Reply { status, headers, ..Reply::default() });
        let answer = t.get("/r").bearer(&token).send().await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("www-authenticate"), challenge);
        assert_eq!(answer.text(), "hello");
        assert_eq!(answer.header("proxy-status"), "");
        assert_eq!(t.logged(answer.header("x-request-id")).await["decision"], "allow");
    }
    assert_eq!(t.metric("scopegate_decisions_total", &[("decision", "deny")]).await, 0.0);
}

/// Each route waits as long as it says, whatever its upstream's own limit.
#[tokio::test]
async fn a_routes_timeout_replaces_its_upstreams() {
    let slow = Chaos::start(&[Head, Wait, Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]);
    let slow = slow.await;
    let t = Harness::start(&format!(
        "upstreams: {{ main: {{ targets: [{}], timeout: {{ response: 300ms }} }} }}
routes:
  /short: {{ public: true }}
  /shorter: {{ public: true, timeout: 20ms }}
  /long: {{ public: true, timeout: 1h }}",
        slow.url()
    ))
    .await;
    let long = tokio::spawn(t.get("/long").send());
    until("the long request", async || slow.heads().len() == 1).await;
    let began = Instant::now();
    let answer = t.get("/shorter").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (504, "upstream_timeout"));
    assert!(began.elapsed() < Duration::from_millis(300));
    assert_eq!(t.get("/short").send().await.status(), 504);
    assert!(began.elapsed() > Duration::from_millis(300));
    slow.go();
    assert_eq!(long.await.unwrap().text(), "ok");
    let late = [("upstream", "main"), ("reason", "timeout")];
    assert_eq!(t.metric("scopegate_upstream_errors_total", &late).await, 2.0);
}

/// Routes lead where they say, with the prefix that the backend does not know taken off.
#[tokio::test]
async fn routes_lead_to_their_upstreams() {
    let (first, second) = (Chaos::start(&[Serve]).await, Chaos::start(&[Serve]).await);
    let t = Harness::start(&format!(
        "upstreams: {{ first: {}, second: {} }}
routes:
  /a/**: {{ upstream: first, public: true }}
  api.example.com/v1/**: {{ upstream: second, public: true, strip_prefix: /v1 }}",
        first.url(),
        second.url()
    ))
    .await;
    assert_eq!(t.get("/a/b?c=d").send().await.status(), 200);
    for (path, sent) in [("/v1/b?c=d", "/b?c=d"), ("/v1", "/"), ("/v1/?x", "/?x")] {
        let answer = t.get(path).host("api.example.com").send().await;
        assert_eq!(answer.status(), 200);
        let head = second.heads().pop().unwrap();
        assert!(head.starts_with(&format!("GET {sent} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("\r\nhost: api.example.com\r\n"), "{head}");
        let line = t.logged(answer.header("x-request-id")).await;
        assert_eq!(
            (&line["upstream"], &line["path"]),
            (&"second".into(), &path.split('?').next().unwrap().into())
        );
    }
    assert!(first.heads()[0].starts_with("GET /a/b?c=d HTTP/1.1\r\n"));
    assert_eq!((first.heads().len(), second.heads().len()), (1, 3));
    let ok = |upstream| [("upstream", upstream), ("code", "200")];
    assert_eq!(t.metric("scopegate_upstream_requests_total", &ok("first")).await, 1.0);
    assert_eq!(t.metric("scopegate_upstream_requests_total", &ok("second")).await, 3.0);
}

/// Targets share the work; one that is down is passed over, and all being down is 503.
#[tokio::test]
async fn targets_take_turns_and_stand_in_for_each_other() {
    let up = [Chaos::start(&[Serve]).await, Chaos::start(&[Serve]).await];
    let (_socket, down) = crate::harness::chaos::down();
    let yaml = |targets: String| {
        format!(
            "upstreams: {{ main: {{ targets: [{targets}] }} }}\nroutes: {{ /x: {{ public: true }} }}"
        )
    };
    let t = Harness::start(&yaml(format!("{}, {down}, {}", up[0].url(), up[1].url()))).await;
    for _ in 0..12 {
        assert_eq!(t.get("/x").send().await.status(), 200);
    }
    assert!(up.iter().all(|target| target.heads().len() >= 4));
    assert_eq!(t.metric("scopegate_upstream_up", &[("upstream", "main")]).await, 2.0);

    let (_other, also_down) = crate::harness::chaos::down();
    t.rewrite(&yaml(format!("{down}, {also_down}")));
    t.server.reload().await.expect("the file is good");
    let answer = t.get("/x").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (503, "no_healthy_upstream"));
    assert_eq!(answer.header("retry-after"), "1");
    let reason = |reason| [("upstream", "main"), ("reason", reason)];
    assert_eq!(t.metric("scopegate_upstream_errors_total", &reason("no_healthy")).await, 1.0);
    // Targets that the file no longer names are no longer shown.
    let series = t.series("scopegate_upstream_up").await;
    assert_eq!(series.len(), 2, "{series:?}");
}

/// HP-23: a body that grows too large while it streams ends in 413, counted as far as it came, and
/// the backend does not take the part for the whole.
#[tokio::test]
async fn a_body_too_large_while_it_streams_is_413() {
    let chaos = Chaos::start(&[Head, Hold]).await;
    let yaml = format!("limits: {{ body: 1KiB }}\nupstreams: {{ main: {} }}\n{OPEN}", chaos.url());
    let t = Harness::start(&yaml).await;
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = raw::exchange(t.address(), format!("{head}{chunk}{chunk}")).await;
    assert_eq!(raw::statuses(&answer), [413], "{answer}");
    assert!(answer.contains("\"reason\":\"body_too_large\""), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    until("the backend's connection to end", async || chaos.open() == 0).await;
    assert_eq!(t.denials("/**", "body_too_large").await, 1.0);
    let received = [("route", "/**"), ("direction", "in")];
    assert_eq!(t.metric("scopegate_http_body_bytes_total", &received).await, 1024.0);
    let working = [("upstream", "main"), ("state", "active")];
    assert_eq!(t.metric("scopegate_upstream_connections", &working).await, 0.0);
}

/// The bytes of both bodies are counted to the last one by the time the answer has ended.
#[tokio::test]
async fn bytes_are_counted_in_both_directions() {
    let t = Harness::start(OPEN).await;
    t.backend.reply(Reply { body: vec![b'y'; 70_000].into(), ..Reply::default() });
    for size in [0, 1, 100_000] {
        let answer = t.call("POST", "/x").body(vec![b'x'; size]).send().await;
        let line = t.logged(answer.header("x-request-id")).await;
        assert_eq!(line["bytes_in"], size);
        assert_eq!(line["bytes_out"], 70_000);
        assert_eq!(line["upstream_status"], 200);
        assert_eq!(line["cut"], serde_json::Value::Null);
    }
    let bytes = |direction| [("route", "/**"), ("direction", direction)];
    assert_eq!(t.metric("scopegate_http_body_bytes_total", &bytes("in")).await, 100_001.0);
    assert_eq!(t.metric("scopegate_http_body_bytes_total", &bytes("out")).await, 210_000.0);
}
