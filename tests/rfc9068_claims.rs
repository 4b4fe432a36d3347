//! Signed tokens that are not for this API, not for now, or not access tokens.

use serde_json::{Value, json};

use crate::harness::token::unix_now;
use crate::harness::verdicts::Bad;
use crate::harness::{Answer, Harness, Issuer, ORDERS, Token};

/// The payload with this text in place of `"exp": <number>`.
fn with_exp(token: &Token, text: &str) -> String {
    let payload = token.clone().claim("exp", "EXP").payload();
    payload.replace("\"EXP\"", text)
}

/// CL-01: the issuer is compared byte for byte.
#[tokio::test]
async fn an_issuer_has_one_name() {
    let t = Harness::start(ORDERS).await;
    let url = t.issuer.url();
    let named =
        |iss: String| -> Bad { ("iss", t.token().claim("iss", iss).sign(), "unknown_issuer") };
    t.refuses(
        [
            format!("{url}/"),
            url.replace("http", "HTTP"),
            url.replace("http:", "https:"),
            url.replace("127.0.0.1", "localhost"),
            url.replace("127.0.0.1", "127.1"),
            format!("{url} "),
            format!("{url}#"),
            format!("{url}/.."),
            String::new(),
            "https://id.example.com".to_owned(),
        ]
        .map(named),
    )
    .await;
    let typed =
        |iss: Value| -> Bad { ("iss", t.token().claim("iss", iss).sign(), "malformed_token") };
    t.refuses([json!(1), json!(null), json!([url]), json!({ "iss": url })].map(typed)).await;
    t.refuses([("no iss", t.token().without("iss").sign(), "unknown_issuer")]).await;
    let unassigned = [("issuer", "-"), ("result", "unknown_issuer")];
    assert_eq!(t.metric("scopegate_tokens_total", &unassigned).await, 11.0);
}

/// CL-02, bypass 37: a token for another API of the same issuer is of no use here.
#[tokio::test]
async fn a_token_must_be_for_this_api() {
    let t = Harness::start(ORDERS).await;
    let ours = "https://api.example.com";
    let aud = |value: Value, reason: &'static str| -> Bad {
        ("aud", t.token().claim("aud", value).sign(), reason)
    };
    t.refuses([
        ("no aud", t.token().without("aud").sign(), "wrong_audience"),
        aud(json!("https://other.example.com"), "wrong_audience"),
        aud(json!("https://api.example.com/"), "wrong_audience"),
        aud(json!("https://API.example.com"), "wrong_audience"),
        aud(json!("https://api.example.com.evil.com"), "wrong_audience"),
        aud(json!(format!("{ours} account")), "wrong_audience"),
        aud(json!(""), "wrong_audience"),
        aud(json!([]), "wrong_audience"),
        aud(json!(["a", "b"]), "wrong_audience"),
        aud(json!(null), "malformed_token"),
        aud(json!(7), "malformed_token"),
        aud(json!({ "0": ours }), "malformed_token"),
        aud(json!([ours, 7]), "malformed_token"),
        aud(json!([[ours]]), "malformed_token"),
    ])
    .await;
    t.accepts([
        ("a string", t.token().claim("aud", ours).sign()),
        ("one of several", t.token().claim("aud", json!(["account", ours])).sign()),
    ])
    .await;
}

/// CL-03, CL-04, bypasses 30 and 31: `exp` is there, a number, and ahead.
#[tokio::test]
async fn a_token_ends_when_it_says() {
    let t = Harness::start(ORDERS).await;
    let (token, now) = (t.token(), unix_now());
    let text =
        |text: &str| Token::sign_text(&t.issuer.key, token.header_text(), with_exp(&token, text));
    let odd = |exp: &'static str| -> Bad { (exp, text(exp), "malformed_token") };
    t.refuses(
        [
            "\"9999999999\"",
            "\"x\"",
            "null",
            "true",
            "[9999999999]",
            "{}",
            "-1",
            "1e400",
            "9e99",
            "NaN",
            "Infinity",
            "-1e400",
            "9007199254740994",
            "18446744073709551616",
            "0x7fffffff",
        ]
        .map(odd),
    )
    .await;
    t.refuses([
        ("no exp", token.clone().without("exp").sign(), "malformed_token"),
        ("the epoch", text("0"), "token_expired"),
        ("minus zero", text("-0"), "token_expired"),
        ("a small fraction", text("1e-9"), "token_expired"),
        ("the leeway is over", token.clone().claim("exp", now - 30).sign(), "token_expired"),
    ])
    .await;
    t.accepts([
        ("inside the leeway", token.clone().claim("exp", now - 5).sign()),
        ("a fraction", text(&format!("{}.5", now + 60))),
        ("an exponent", text("4.0e9")),
    ])
    .await;
}

/// CL-05, CL-06: nothing from the future, and nothing too old where the file says so.
#[tokio::test]
async fn a_token_begins_when_it_says() {
    let issuer = Issuer::start().await;
    let t = Harness::with_issuer_settings("max_token_age: 10m", issuer).await;
    let (token, now) = (t.token(), unix_now());
    let mut odd: Vec<Bad> = Vec::new();
    for name in ["nbf", "iat"] {
        for value in [json!("1"), json!(null), json!(true), json!([]), json!(-1), json!(1e300)] {
            odd.push((name, token.clone().claim(name, value).sign(), "malformed_token"));
        }
        let later = token.clone().claim(name, now + 40).sign();
        odd.push((name, later, "token_not_yet_valid"));
    }
    t.refuses(odd).await;
    t.refuses([
        ("no iat, so of unknown age", token.clone().without("iat").sign(), "malformed_token"),
        ("too old", token.clone().claim("iat", now - 630).sign(), "token_expired"),
    ])
    .await;
    t.accepts([
        ("nbf 0", token.clone().claim("nbf", 0).sign()),
        ("nbf inside the leeway", token.clone().claim("nbf", now + 20).sign()),
        ("iat inside the leeway", token.clone().claim("iat", now + 20).sign()),
        ("not yet too old", token.claim("iat", now - 590).sign()),
    ])
    .await;
}

/// CL-07, CL-10: the strict profile takes `at+jwt` alone, and all its claims.
#[tokio::test]
async fn the_strict_profile_is_strict() {
    let t = Harness::with_issuer_settings("preset: rfc9068", Issuer::start().await).await;
    let typ = |typ: &'static str| (typ, t.token().header("typ", typ).sign());
    t.accepts(["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"].map(typ)).await;
    let refused = ["JWT", "jwt", "", "at+jwt ", "at", "text/at+jwt", "application/", "at+jwt;v=1"];
    t.refuses(refused.map(typ).map(|(typ, token)| (typ, token, "wrong_token_type"))).await;
    t.refuses([("no typ", t.token().without_header("typ").sign(), "wrong_token_type")]).await;
    let lacks = |name: &'static str| (name, t.token().without(name).sign(), "malformed_token");
    t.refuses(["sub", "client_id", "iat", "jti"].map(lacks)).await;
}

/// CL-08, CL-09: every other kind of token says somewhere what it is.
#[tokio::test]
async fn other_kinds_of_tokens_are_no_access_tokens() {
    let t = Harness::start(ORDERS).await;
    let plain = || t.token().without_header("typ");
    let typ = |typ: &'static str| -> Bad {
        (typ, t.token().header("typ", typ).sign(), "wrong_token_type")
    };
    t.refuses(
        [
            "dpop+jwt",
            "logout+jwt",
            "secevent+jwt",
            "token-introspection+jwt",
            "oauth-authz-req+jwt",
            "id_token",
            "JWE",
            "at+jwtx",
            "rt+jwt",
        ]
        .map(typ),
    )
    .await;
    let claim = |name: &'static str, value: Value| -> Bad {
        (name, plain().claim(name, value).sign(), "wrong_token_type")
    };
    t.refuses([
        claim("at_hash", json!("x")),
        claim("c_hash", json!("x")),
        claim("nonce", json!("n-0S6_WzA2Mj")),
        claim("events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} })),
        claim("typ", json!("ID")),
        claim("typ", json!("Refresh")),
        claim("typ", json!("Offline")),
        claim("typ", json!("Logout")),
        claim("token_use", json!("id")),
        claim("token_use", json!(["access"])),
        claim("token_type", json!("refresh_token")),
    ])
    .await;
    t.refuses([
        ("typ is a list", t.token().header("typ", json!(["at+jwt"])).sign(), "malformed_token"),
        ("typ is null", t.token().header("typ", json!(null)).sign(), "malformed_token"),
        (
            "an ID token that says at+jwt",
            t.token().claim("at_hash", "x").sign(),
            "wrong_token_type",
        ),
    ])
    .await;
    t.accepts([
        ("JWT", plain().header("typ", "JWT").sign()),
        ("jwt", plain().header("typ", "jwt").sign()),
        ("no typ", plain().sign()),
        ("a nonce in an access token", t.token().claim("nonce", "x").sign()),
    ])
    .await;
}

/// RFC 7800 §3.1: a token that is bound to a key is nobody's bearer token.
#[tokio::test]
async fn a_token_bound_to_a_sender_is_no_bearer_token() {
    let t = Harness::start(ORDERS).await;
    let bound =
        |cnf: Value| -> Bad { ("cnf", t.token().claim("cnf", cnf).sign(), "sender_mismatch") };
    t.refuses(
        [
            json!({ "jkt": "x" }),
            json!({ "x5t#S256": "x" }),
            json!({ "new": 1 }),
            json!({}),
            json!(null),
        ]
        .map(bound),
    )
    .await;
}

/// What the backend is told, after a good answer.
async fn told(
    t: &Harness,
    path: &str,
    token: &Token,
) -> (Answer, Vec<crate::harness::backend::Seen>) {
    t.backend.forget();
    let answer = t.get(path).bearer(&token.sign()).send().await;
    (answer, t.backend.seen())
}

/// CL-11, bypass 25: scopes are words between spaces, in one claim and one form.
#[tokio::test]
async fn scopes_are_read_from_one_place_in_one_form() {
    let t = Harness::start("routes: { /r: { GET: read } }").await;
    let none = t.token().without("scope");
    let lacking = [
        none.clone().claim("scope", json!(["read"])),
        none.clone().claim("scope", json!({ "read": true })),
        none.clone().claim("scope", true),
        none.clone().claim("scp", "read"),
        none.clone().claim("scopes", json!(["read"])),
        none.clone().claim("permissions", json!(["read"])),
        none.clone().scope("Read"),
        none.clone().scope("read\twrite"),
        none.clone().scope("read,write"),
        none.clone().scope("\u{ff52}ead"),
        none.clone().scope("read\u{a0}write"),
        none.clone(),
    ];
    for token in lacking {
        let (answer, seen) = told(&t, "/r", &token).await;
        assert_eq!((answer.status().as_u16(), seen.len()), (403, 0), "{}", token.payload());
        assert_eq!(t.line(&answer).await["reason"], "missing_scope");
    }
    assert_eq!(t.denials("/r", "missing_scope").await, 12.0);
    let (answer, seen) = told(&t, "/r", &none.scope("  write   read ")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(seen[0].header("x-auth-scopes"), Some("write read"));
}

/// CL-12: one role or a list of them, under a plain, nested, dotted or URL name.
#[tokio::test]
async fn roles_are_found_where_the_file_says() {
    let shapes = [
        ("roles", json!({ "roles": "admin" })),
        ("roles", json!({ "roles": ["x", "admin"] })),
        ("realm_access.roles", json!({ "realm_access": { "roles": ["admin"] } })),
        ("['https://ns.example/roles']", json!({ "https://ns.example/roles": ["admin"] })),
        (
            "[resource_access, my.app, roles]",
            json!({ "resource_access": { "my.app": { "roles": ["admin"] } } }),
        ),
    ];
    for (path, claims) in shapes {
        let issuer = Issuer::start().await;
        let t =
            Harness::with_issuer_settings(&format!("claims: {{ roles: {path} }}"), issuer).await;
        let remove = async |token: Token| {
            let token = token.scope("orders:write").sign();
            t.call("DELETE", "/orders/1").bearer(&token).send().await.status().as_u16()
        };
        assert_eq!(remove(t.token()).await, 403, "{path}");
        assert_eq!(remove(t.token().claim("role", "admin")).await, 403, "{path}");
        t.backend.saw_nothing();
        let mut token = t.token();
        for (name, value) in claims.as_object().unwrap() {
            token = token.claim(name, value.clone());
        }
        assert_eq!(remove(token).await, 200, "{path}");
        t.backend.saw_one();
    }
}

/// CL-13: who somebody is, is the issuer and the subject.
#[tokio::test]
async fn equal_subjects_of_two_issuers_are_two_people() {
    let other = Issuer::start().await;
    let yaml = format!(
        "issuers:
  main: {{ url: '{{issuer}}', audience: https://api.example.com }}
  other: {{ url: '{}', audience: https://api.example.com }}
routes: {{ /r: {{ GET: read, limit: {{ rate: 1/day, per: user }} }} }}",
        other.url()
    );
    let t = Harness::start(&yaml).await;
    for token in [t.issuer.token().scope("read"), other.token().scope("read")] {
        let (answer, seen) = told(&t, "/r", &token).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(seen[0].header("x-auth-subject"), Some("alice"));
        assert_eq!(seen[0].header("x-auth-issuer"), token.claims()["iss"].as_str());
        let (again, _) = told(&t, "/r", &token).await;
        assert_eq!(again.status(), 429);
    }
}

/// Identity that is not text is no identity: it is never turned into some.
#[tokio::test]
async fn identity_claims_are_text() {
    let t = Harness::start(ORDERS).await;
    let mut odd: Vec<Bad> = Vec::new();
    for name in ["sub", "client_id"] {
        for value in [json!(0), json!(true), json!(["alice"]), json!({ "id": "alice" })] {
            odd.push((name, t.token().claim(name, value).sign(), "malformed_token"));
        }
    }
    t.refuses(odd).await;
    let (answer, seen) = told(&t, "/orders/1", &t.token().without("sub")).await;
    assert_eq!((answer.status().as_u16(), seen[0].header("x-auth-subject")), (200, None));
}
