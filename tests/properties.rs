//! Whatever bytes come: what reaches the backend is what was judged, and is one message.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::harness::strict::Strict;
use crate::harness::{Harness, raw};

/// That many values, the same in every run.
fn samples<S: Strategy>(count: usize, strategy: &S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Routes that overlap, with the prefix that each strips.
const ROUTES: [(&str, &str); 9] = [
    ("/**", ""),
    ("/a/**", ""),
    ("/a/{x}/b", ""),
    ("/a/b:drop", ""),
    ("/@me/**", ""),
    ("/admin", ""),
    ("/v1/**", "/v1"),
    ("/v1/a/{x}", "/v1"),
    ("/v1/a/b/**", "/v1/a"),
];

/// PA-01, PA-13: for any bytes as a target, the route in the log is the route of the path that the
/// backend got, decoded once, with dot segments resolved, and with the stripped prefix put back.
#[tokio::test]
async fn the_route_in_the_log_is_the_route_of_what_the_backend_got() {
    let routes = ROUTES.map(|(pattern, strip)| match strip {
        "" => format!("  '{pattern}': {{ public: true }}\n"),
        strip => format!("  '{pattern}': {{ public: true, strip_prefix: {strip} }}\n"),
    });
    let t = Harness::start(&format!("routes:\n{}", routes.concat())).await;
    let (mut passed, mut refused) = (0, 0);
    for target in samples(500, &target()) {
        t.backend.forget();
        let request = [b"GET ", &*target, b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"];
        let answer = raw::exchange(t.address(), request.concat()).await;
        let shown = target.escape_ascii();
        if raw::statuses(&answer) != [200] {
            assert!(matches!(raw::statuses(&answer)[..], [400 | 414]), "{shown}: {answer}");
            t.backend.saw_nothing();
            refused += 1;
            continue;
        }
        let line = t.logged(&raw::field(&answer, "x-request-id")).await;
        let route = line["route"].as_str().unwrap();
        let strip = ROUTES.iter().find(|(pattern, _)| *pattern == route).unwrap().1;
        let seen = t.backend.saw_one().target;
        let path = format!("{strip}{}", read(&seen));
        assert_eq!(route_of(&path), route, "{shown} came as {seen}");
        passed += 1;
    }
    assert!(passed > 100 && refused > 100, "{passed} passed, {refused} refused");
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"/",
        b"/a",
        b"/a/b",
        b"/b:drop",
        b"/b%3adrop",
        b"/@me",
        b"/%40me/",
        b"/admin",
        b"/v1",
        b"/v1/a/",
        b"/v1/a/b/",
        b"a",
        b"b",
        b"%61",
        b"/./",
        b"/../",
        b"/%2e%2e/",
        b"//",
        b"%2f",
        b"%5c",
        b"\\",
        b";x",
        b"%3b",
        b"%25",
        b"2e",
        b"%32e",
        b"%00",
        b"\0",
        b"%c3%a9",
        b"\xc3\xa9",
        b"%c0%ae",
        b"%ff",
        b"?",
        b"?/admin",
        b"#",
        b"%23",
        b" ",
        b"%20",
        b"%",
        b"~",
    ];
    let piece = prop_oneof![
        12 => select(pieces).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1),
    ];
    let good = select(vec!["/a", "/v1", "/v1/a", "/v1/a/b", "", "/a/b", "http://a/a"]);
    (good, vec(piece, 1..5)).prop_map(|(good, more)| [good.as_bytes(), &more.concat()].concat())
}

/// The path of a target as an obliging backend reads it.
fn read(target: &str) -> String {
    let path = target.split('?').next().unwrap();
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let text = String::from_utf8(bytes).unwrap().replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/').map(|segment| segment.split(';').next().unwrap()) {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let end = if text.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// The route for a path by the rules of `docs/configuration.md`, written out.
fn route_of(path: &str) -> &'static str {
    let segments: Vec<&str> = path[1..].split('/').collect();
    match segments[..] {
        ["v1", "a", "b", ..] => "/v1/a/b/**",
        ["v1", "a", x] if !x.is_empty() => "/v1/a/{x}",
        ["v1", ..] => "/v1/**",
        ["admin"] => "/admin",
        ["@me", ..] => "/@me/**",
        ["a", "b:drop"] => "/a/b:drop",
        ["a", x, "b"] if !x.is_empty() => "/a/{x}/b",
        ["a", ..] => "/a/**",
        _ => "/**",
    }
}

/// SM-01 to SM-07, SM-12: whatever the fields and the body, what the gateway lets through the backend
/// gets as messages with one framing each, as many as were answered, and not a byte beside them.
#[tokio::test]
async fn what_the_backend_gets_has_exactly_one_framing() {
    let backend = Strict::start().await;
    let t = Harness::start(&format!(
        "limits: {{ header_timeout: 300ms, idle_timeout: 300ms }}
upstreams: {{ main: {{ targets: ['{}'], timeout: {{ idle: 300ms }} }} }}
routes: {{ /**: {{ GET: {{ public: true }}, POST: {{ public: true }} }} }}",
        backend.url()
    ))
    .await;
    let (mut passed, mut refused) = (0, 0);
    for batch in samples(640, &message()).chunks(32) {
        let exchanges: Vec<_> = batch
            .iter()
            .map(|bytes| tokio::spawn(raw::exchange(t.address(), bytes.clone())))
            .collect();
        let mut statuses = Vec::new();
        for exchange in exchanges {
            statuses.extend(raw::statuses(&exchange.await.unwrap()));
        }
        let (seen, faults) = backend.take();
        let shown: Vec<_> = batch.iter().map(|bytes| bytes.escape_ascii().to_string()).collect();
        assert!(faults.is_empty(), "{faults:?} after {shown:#?}");
        statuses.retain(|status| *status != 100);
        let is_known = |status: &u16| matches!(status, 200 | 400 | 408 | 413 | 431);
        assert!(statuses.iter().all(is_known), "{statuses:?} after {shown:#?}");
        let good = statuses.iter().filter(|status| **status == 200).count();
        // A message whose body broke off had begun, and is answered otherwise.
        let counts = good <= seen.len() && seen.len() <= statuses.len();
        assert!(counts, "{seen:#?} {statuses:?} after {shown:#?}");
        passed += good;
        refused += statuses.len() - good;
    }
    assert!(passed > 100 && refused > 200, "{passed} passed, {refused} refused");
}

/// A head whose fields may frame its body in any way, and something behind it.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let fields: Vec<&'static [u8]> = vec![
        b"Content-Length: 5\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"content-length: 44\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length : 5\r\n",
        b"Content_Length: 9\r\n",
        b"Content-Length: 5\n",
        b"Content-Length:\t5 \r\n",
        b"Content-Length: 5\r\n x\r\n",
        b"Content-Length: \xa05\r\n",
        b"Content-Length: 5\0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"transfer-encoding: Chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer_Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"X: y\r\nTransfer-Encoding: chunked\r\n",
        b"X: y\rTransfer-Encoding: chunked\r\n",
        b"X: y\nTransfer-Encoding: chunked\r\n",
        b"Trailer: content-length\r\n",
        b"TE: trailers, chunked\r\n",
        b"Upgrade: h2c\r\n",
        b"Connection: content-length\r\n",
        b"Connection: transfer-encoding, x\r\n",
        b"Connection: keep-alive\r\n",
        b"Connection: close\r\n",
        b"Keep-Alive: timeout=5\r\n",
        b"Expect: 100-continue\r\n",
        b"Host: b\r\n",
        b"X-\xff: y\r\n",
        b"X: \xff\r\n",
        b": y\r\n",
        b"X\r\n",
        b"\r\n",
        b"X: y\r\n\r\n",
    ];
    let bodies: Vec<&'static [u8]> = vec![
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"GET /smuggled HTTP/1.1\r\nHost: a\r\nX: yyyyy\r\n\r\n",
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\nhello",
    ];
    let line = select(vec![
        "GET /x HTTP/1.1\r\n",
        "POST /x HTTP/1.1\r\n",
        "POST /x HTTP/1.1\r\n",
        "POST /x HTTP/1.0\r\n",
        "GET /x HTTP/1.1\n",
    ]);
    let field = prop_oneof![
        20 => select(fields).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..12),
    ];
    (line, vec(field, 0..4), select(bodies)).prop_map(|(line, fields, body)| {
        [line.as_bytes(), b"Host: a\r\n", &fields.concat(), b"\r\n", body].concat()
    })
}
