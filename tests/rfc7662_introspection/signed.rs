//! Answers that are signed: RFC 9701.

use serde_json::{Value, json};

use super::OPAQUE;
use crate::harness::keys::Key;
use crate::harness::token::unix_now;
use crate::harness::{Harness, Token};

/// A good signed answer about a good token.
fn answer(t: &Harness) -> Token {
    let answer = t.answer(&json!({ "iss": null, "exp": null }));
    let bare = ["sub", "client_id", "exp", "jti", "auth_time"];
    let token = bare.iter().fold(t.issuer.token(), |token, name| token.without(name));
    token
        .header("typ", "token-introspection+jwt")
        .claim("aud", "gw")
        .claim("token_introspection", answer)
}

fn give(t: &Harness, answer: &Token) {
    t.issuer.introspection.knows(OPAQUE, Value::from(answer.sign()));
}

/// IN-13
#[tokio::test]
async fn a_signed_answer_is_read() {
    let t = Harness::introspecting("introspection_signed: true, cache: 0s").await;
    give(&t, &answer(&t));
    assert_eq!(t.with_opaque().await.status(), 200);
    assert_eq!(t.backend.saw_one().headers["x-auth-subject"], "alice");
    let asked = t.issuer.introspection.questions().remove(0);
    assert_eq!(asked.headers["accept"], "application/token-introspection+jwt");
    give(&t, &answer(&t).claim("aud", json!(["other", "https://api.example.com"])));
    assert_eq!(t.with_opaque().await.status(), 200);
    give(&t, &answer(&t).claim("token_introspection", json!({ "active": false })));
    assert_eq!(t.with_opaque().await.status(), 401);
}

/// IN-13: what is wrong with the answer says nothing of the token.
#[tokio::test]
async fn an_answer_that_is_not_signed_for_us_is_no_answer() {
    let t = Harness::introspecting("introspection_signed: true").await;
    let good = answer(&t);
    for (what, answer) in [
        ("another server's", good.clone().claim("aud", "other-api")),
        ("nobody's", good.clone().without("aud")),
        ("another issuer's", good.clone().claim("iss", "https://other.example.com")),
        ("an access token", good.clone().header("typ", "at+jwt")),
        ("no type", good.clone().without_header("typ")),
        ("a stranger's", good.clone().signed_by(&Key::es256("key-1"))),
        ("no algorithm", good.clone().header("alg", "none")),
        ("an old one", good.clone().claim("iat", unix_now() - 600)),
        ("one without a date", good.clone().without("iat")),
        ("one without content", good.clone().without("token_introspection")),
        ("one with nonsense", good.clone().claim("token_introspection", json!({ "active": 1 }))),
    ] {
        give(&t, &answer);
        t.is_unknown(OPAQUE, what).await;
    }
    // No way back to answers that anybody on the way can write.
    t.knows(&json!({}));
    t.is_unknown(OPAQUE, "not signed").await;
    assert_eq!(t.questions("invalid").await, 12.0);
}
