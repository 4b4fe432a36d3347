//! Tokens that are not what they seem: header, shape, and what is remembered of them.

use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use serde_json::{Value, json};

use crate::harness::keys::Key;
use crate::harness::verdicts::Bad;
use crate::harness::{Backend, Harness, ORDERS, Token, raw};

/// JT-08, JT-09: no extension is known, so none may be critical.
#[tokio::test]
async fn critical_extensions_are_refused() {
    let t = Harness::start(ORDERS).await;
    let with = |crit: Value| {
        let token = t.token().header("crit", crit).header("b64", true).header("exp", 1);
        ("crit", token.sign(), "malformed_token")
    };
    t.refuses(
        [
            json!(["b64"]),
            json!([]),
            json!("exp"),
            json!(["exp", "exp"]),
            json!(["alg"]),
            json!(["absent"]),
            json!(null),
            json!({}),
        ]
        .map(with),
    )
    .await;
    let unencoded = t.token().header("b64", false).header("crit", json!(["b64"])).sign();
    t.refuses([
        ("b64 without crit", t.token().header("b64", false).sign(), "malformed_token"),
        ("b64 with crit", unencoded, "malformed_token"),
        ("zip", t.token().header("zip", "DEF").sign(), "malformed_token"),
    ])
    .await;
    t.accepts([("unknown and not critical", t.token().header("x-vendor", "1").sign())]).await;
}

/// JT-10: a token never brings its own key, and never says where to fetch one.
#[tokio::test]
async fn keys_in_the_header_are_ignored() {
    let attacker = Key::es256("mine");
    let listener = Backend::start().await;
    let t = Harness::start(ORDERS).await;
    let url = format!("{}/keys", listener.url());
    let forged = |kid: &str| t.token().signed_by(&attacker).header("kid", kid);
    t.refuses([
        ("jwk", forged("key-1").header("jwk", attacker.jwk()).sign(), "bad_signature"),
        ("jwk, own kid", forged("mine").header("jwk", attacker.jwk()).sign(), "unknown_key"),
        ("jku", forged("mine").header("jku", url.as_str()).sign(), "unknown_key"),
        ("x5u", forged("mine").header("x5u", url.as_str()).sign(), "unknown_key"),
        ("x5c", forged("mine").header("x5c", json!(["MIIB"])).sign(), "unknown_key"),
        ("kid is a URL", forged(&url).sign(), "unknown_key"),
    ])
    .await;
    assert_eq!(listener.connections(), 0);
    t.accepts([("a good token with a jku", t.token().header("jku", url.as_str()).sign())]).await;
    assert_eq!(listener.connections(), 0);
}

/// JT-11: a kid is text of bounded length, and nothing is looked up by it.
#[tokio::test]
async fn a_kid_is_only_a_name() {
    let t = Harness::start(ORDERS).await;
    let names = |kid: &'static str| (kid, t.token().header("kid", kid).sign(), "unknown_key");
    t.refuses(
        [
            "../../etc/passwd",
            "/dev/null",
            "' OR 1=1 --",
            "key-1\u{0}",
            "KEY-1",
            "key-1 ",
            "${jndi:x}",
            "",
            "\r\n\u{1b}[2J",
        ]
        .map(names),
    )
    .await;
    let odd = [json!(1), json!(["key-1"]), json!(null), json!({}), json!("k".repeat(10 << 10))];
    t.refuses(odd.map(|kid| ("kid", t.token().header("kid", kid).sign(), "malformed_token"))).await;
    // What hostile text the log has, it has escaped: every line is JSON (OB-02).
    for line in t.log().lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

/// JT-12, JT-15: header and payload are one JSON object each, read in one way.
#[tokio::test]
async fn header_and_payload_are_json_objects() {
    let t = Harness::start(ORDERS).await;
    let (header, payload) = (t.token().header_text(), t.token().payload());
    let utf16: Vec<u8> = payload.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked = format!("\u{feff}{payload}");
    let deep =
        payload.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(2500), "]".repeat(2500)), 1);
    let not_utf8 = [&payload.as_bytes()[..payload.len() - 1], b",\"x\":\"\xff\"}"].concat();
    let twice = payload.replacen('{', "{\"sub\":\"root\",", 1);
    let escaped = payload.replacen('{', "{\"s\\u0075b\":\"root\",", 1);
    let inner = payload.replacen('{', "{\"act\":{\"a\":1,\"a\":2},", 1);
    let key = &t.issuer.key;
    let claims = |what, payload: &[u8]| -> Bad {
        (what, Token::sign_text(key, &header, payload), "malformed_token")
    };
    t.refuses([
        claims("a list", b"[]"),
        claims("a string", b"\"x\""),
        claims("null", b"null"),
        claims("nothing", b""),
        claims("two values", format!("{payload}{payload}").as_bytes()),
        claims("cut off", &payload.as_bytes()[..payload.len() - 1]),
        claims("a comma too many", payload.replace('}', ",}").as_bytes()),
        claims("UTF-16", &utf16),
        claims("a byte order mark", marked.as_bytes()),
        claims("not UTF-8", &not_utf8),
        claims("nested deeply", deep.as_bytes()),
        claims("a claim named twice", twice.as_bytes()),
        claims("a claim named twice, escaped", escaped.as_bytes()),
        claims("a member named twice below", inner.as_bytes()),
    ])
    .await;
    let headers = |what, header: &str| -> Bad {
        (what, Token::sign_text(key, header, &payload), "malformed_token")
    };
    t.refuses([
        headers("a list", "[]"),
        headers("nothing", "{}"),
        headers("alg named twice", &header.replacen('{', "{\"alg\":\"none\",", 1)),
        headers("kid named twice", &header.replacen('{', "{\"kid\":\"x\",", 1)),
        headers("not JSON", &header.replace('"', "'")),
    ])
    .await;
    t.accepts([("the same text, unspoiled", Token::sign_text(key, &header, &payload))]).await;
}

/// JT-13: three segments of base64url and nothing else.
#[tokio::test]
async fn only_the_compact_form_is_a_token() {
    let t = Harness::start(ORDERS).await;
    let token = t.token().sign();
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let bad = |what, token: String| -> Bad { (what, token, "malformed_token") };
    t.refuses([
        bad("one", header.to_owned()),
        bad("two", format!("{header}.{payload}")),
        bad("four", format!("{token}.{signature}")),
        bad("five, as in JWE", format!("{token}.{signature}.{signature}")),
        bad("a dot in front", format!(".{token}")),
        bad("a dot behind", format!("{token}.")),
        bad("only dots", "..".to_owned()),
        bad("opaque", "ory_at_c2VjcmV0".to_owned()),
        bad("plain base64, +", token.replacen('e', "+", 1)),
        bad("plain base64, /", token.replacen('e', "/", 1)),
    ])
    .await;
    let flattened = format!(
        "{{\"protected\":\"{header}\",\"payload\":\"{payload}\",\"signature\":\"{signature}\"}}"
    );
    // Not even the grammar of credentials: 400 (BR-03).
    for token in [flattened, format!("{header}=.{payload}.{signature}")] {
        let answer = t.get("/orders/1").bearer(&token).send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (400, "malformed_request"));
    }
    t.backend.saw_nothing();
}

/// JT-19, bypass 29: a remembered verdict ends with the token, with its key, and with the policy.
#[tokio::test]
async fn a_remembered_token_is_not_trusted_for_ever() {
    let t = Harness::start(ORDERS).await;
    let hits =
        async || t.metric("scopegate_token_cache_requests_total", &[("result", "hit")]).await;
    let (brief, long) = (t.token().claim("exp", crate::harness::token::unix_now() + 60), t.token());
    let (brief, long) =
        (brief.sign(), long.claim("aud", json!(["https://api.example.com", "b"])).sign());
    for token in [&brief, &brief, &long, &long] {
        assert_eq!(t.get("/orders/1").bearer(token).send().await.status(), 200);
    }
    assert_eq!(hits().await, 2.0);
    t.backend.forget();
    t.clock.advance(Duration::from_secs(91));
    t.refuses([("after exp and leeway", brief, "token_expired")]).await;

    t.rewrite(&format!("issuers: {{ main: {{ url: '{{issuer}}', audience: b }} }}\n{ORDERS}"));
    t.server.reload().await.expect("the file is good");
    t.ready().await;
    t.accepts([("for the new audience, too", long.clone())]).await;
    t.rewrite(&format!("issuers: {{ main: {{ url: '{{issuer}}', audience: c }} }}\n{ORDERS}"));
    t.server.reload().await.expect("the file is good");
    t.ready().await;
    t.backend.forget();
    t.refuses([("for an audience that is no more", long, "wrong_audience")]).await;
}

/// JT-19, bypass 28: a token that differs in one bit has a verdict of its own.
#[tokio::test]
async fn no_bit_of_a_remembered_token_can_be_changed() {
    let t = Harness::start(ORDERS).await;
    let good = t.token().sign();
    let send = async |token: &[u8]| {
        let start =
            b"GET /orders/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ";
        let answer = raw::exchange(t.address(), [start, token, b"\r\n\r\n"].concat()).await;
        raw::statuses(&answer)
    };
    assert_eq!(send(good.as_bytes()).await, [200]);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let places = (0..good.len(), 0..8u32);
    for _ in 0..300 {
        let (at, bit) = places.new_tree(&mut runner).unwrap().current();
        let mut changed = good.clone().into_bytes();
        changed[at] ^= 1 << bit;
        let statuses = send(&changed).await;
        assert!(statuses == [401] || statuses == [400], "byte {at}, bit {bit}: {statuses:?}");
    }
    t.backend.saw_one();
    assert_eq!(send(good.as_bytes()).await, [200]);
}
