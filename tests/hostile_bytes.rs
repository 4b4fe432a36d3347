//! Whatever bytes come: nothing panics, nothing is a server's error, and nothing reaches the backend.

use std::cell::Cell;
use std::sync::Once;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::harness::token::unix_now;
use crate::harness::{Backend, Harness, Issuer, Token, raw, until};

/// No route is public: what gets through had a good token.
const CLOSED: &str = "routes: { /**: { allow: { token: any } } }";

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// A gateway whose tasks run on this thread, so that their panics are counted here.
async fn watched() -> Harness {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
    Harness::start(CLOSED).await
}

/// The gateway is as it was: no panic, no request left over, and a good token is good.
async fn is_unharmed(t: &Harness) {
    assert_eq!(PANICS.get(), 0, "the gateway panicked");
    t.backend.saw_nothing();
    let server_errors = t.log().lines().filter(|line| line.contains("\"status\":5")).count();
    assert_eq!(server_errors, 0, "{}", t.log());
    let allowed = [("decision", "allow")];
    assert_eq!(t.metric("scopegate_decisions_total", &allowed).await, 0.0);
    until("all requests end", async || {
        t.metric("scopegate_http_requests_in_flight", &[]).await == 0.0
    })
    .await;
    assert_eq!(t.get("/x").bearer(&t.token().sign()).send().await.status(), 200);
}

/// That many values, the same in every run.
fn samples<S: Strategy>(count: usize, strategy: &S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// A byte that may stand in a field's value.
fn field_byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=0xffu8]
}

async fn send(t: &Harness, authorization: &[u8]) -> Vec<u16> {
    let start = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: ";
    let answer = raw::exchange(t.address(), [start, authorization, b"\r\n\r\n"].concat()).await;
    raw::statuses(&answer)
}

#[tokio::test]
async fn any_bytes_as_a_token_are_refused() {
    let t = watched().await;
    let text = "[A-Za-z0-9_.-]{0,200}".prop_map(String::into_bytes);
    let shape = "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}";
    let bytes = prop_oneof![vec(field_byte(), 0..300), text, shape.prop_map(String::into_bytes)];
    for token in samples(400, &bytes) {
        let statuses = send(&t, &[b"Bearer ", token.as_slice()].concat()).await;
        assert!(matches!(statuses[..], [400 | 401]), "{statuses:?} for {}", token.escape_ascii());
    }
    is_unharmed(&t).await;
}

#[tokio::test]
async fn any_bytes_as_credentials_are_refused() {
    let t = watched().await;
    let scheme = "(Bearer|bearer|BEARER|Basic|DPoP|Bear|\"Bearer\"|)[ \t,=:]{0,3}[ -~]{0,80}";
    let bytes = prop_oneof![vec(field_byte(), 0..300), scheme.prop_map(String::into_bytes)];
    for value in samples(400, &bytes) {
        let statuses = send(&t, &value).await;
        assert!(matches!(statuses[..], [400 | 401]), "{statuses:?} for {}", value.escape_ascii());
    }
    is_unharmed(&t).await;
}

/// What is done to a good request's bytes.
#[derive(Clone, Debug)]
enum Damage {
    Replace(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
    Repeat(usize, usize),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        match *self {
            _ if bytes.is_empty() => {}
            Self::Replace(at, byte) => bytes[at % length] = byte,
            Self::Insert(at, byte) => bytes.insert(at % length, byte),
            Self::Remove(at) => drop(bytes.remove(at % length)),
            Self::Cut(at) => bytes.truncate(at % length),
            Self::Repeat(from, count) => {
                let from = from % length;
                let part = bytes[from..(from + count).min(length)].to_vec();
                bytes.extend(part);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0..4000usize;
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n\0:; ./%#?,=\"".to_vec())];
    prop_oneof![
        4 => (at.clone(), byte.clone()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        4 => (at.clone(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        2 => at.clone().prop_map(Damage::Remove),
        1 => at.clone().prop_map(Damage::Cut),
        1 => (at, 1..80usize).prop_map(|(from, count)| Damage::Repeat(from, count)),
    ]
}

#[tokio::test]
async fn any_bytes_as_a_request_are_survived() {
    let t = watched().await;
    let token = t.token().expired_by(3600).sign();
    let whole = [
        format!("GET /x?a=b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"),
        format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: y\r\nAuthorization: Bearer {token}\r\n\r\n4\r\nbody\r\n0\r\nY: z\r\n\r\n"),
        "PUT http://a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: x, close\r\nCookie: a=b\r\n\r\nbody".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nExpect: 100-continue\r\nUpgrade: h2c\r\n\r\n".to_owned(),
    ];
    let junk = vec(any::<u8>(), 0..400);
    let damaged = (prop::sample::select(whole.to_vec()), vec(damage(), 1..8)).prop_map(
        |(request, damages)| {
            let mut bytes = request.into_bytes();
            damages.iter().for_each(|damage| damage.apply(&mut bytes));
            bytes
        },
    );
    let mut answered = 0;
    for request in samples(800, &prop_oneof![1 => junk, 5 => damaged]) {
        let answer = raw::exchange_and_close(t.address(), &request).await;
        let statuses = raw::statuses(&String::from_utf8_lossy(&answer));
        // `OPTIONS *` asks the gateway itself.
        let is_refusal = |status: &u16| *status == 204 || (400..500).contains(status);
        assert!(statuses.iter().all(is_refusal), "{statuses:?} for {}", request.escape_ascii());
        answered += usize::from(!statuses.is_empty());
    }
    assert!(answered > 300, "only {answered} requests got an answer");
    is_unharmed(&t).await;
}

/// A member of header or payload, good first, then bad.
fn member(
    name: &'static str,
    values: Vec<Value>,
) -> impl Strategy<Value = (&'static str, Value, bool)> {
    let last = values.len() - 1;
    prop_oneof![6 => Just(0), 1 => 0..=last]
        .prop_map(move |index| (name, values[index].clone(), index == 0))
}

/// JT and CL together: a signed token is good if and only if all of it is.
#[tokio::test]
async fn one_fault_among_good_claims_is_enough() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let t = Harness::start_with(CLOSED, issuer, backend).await;
    let (url, now) = (t.issuer.url(), unix_now());
    let api = "https://api.example.com";
    let claims = (
        member("iss", vec![json!(url), json!(format!("{url}/")), json!(null), json!([url])]),
        member("aud", vec![json!([api, "b"]), json!("b"), json!([]), json!(null), json!({})]),
        member("exp", vec![json!(now + 600), json!(now - 600), json!("9"), json!(null), json!(-1)]),
        member("nbf", vec![json!(now - 9), json!(now + 600), json!("0"), json!(null)]),
        member("iat", vec![json!(now), json!(now + 600), json!(true)]),
        member("sub", vec![json!("alice"), json!(7), json!(["alice"])]),
        member("token_use", vec![json!("access"), json!("id"), json!(1)]),
    );
    let header = (
        member(
            "alg",
            vec![json!("ES256"), json!("none"), json!("RS256"), json!(null), json!("HS256")],
        ),
        member("kid", vec![json!("key-1"), json!("key-2"), json!(null), json!(1)]),
        member("typ", vec![json!("at+jwt"), json!("dpop+jwt"), json!(1)]),
    );
    let mut good = 0;
    for (claims, header) in samples(400, &(claims, header)) {
        let claims = [claims.0, claims.1, claims.2, claims.3, claims.4, claims.5, claims.6];
        let header = [header.0, header.1, header.2];
        let is_good = claims.iter().chain(&header).all(|(_, _, is_good)| *is_good);
        let token =
            claims.into_iter().fold(t.token(), |token, (name, value, _)| token.claim(name, value));
        let token: Token =
            header.into_iter().fold(token, |token, (name, value, _)| token.header(name, value));
        let (header, payload) = (token.header_text(), token.payload());
        let answer = t.get("/x").bearer(&token.sign()).send().await;
        let expected = if is_good { 200 } else { 401 };
        assert_eq!(answer.status(), expected, "{header} {payload} {}", answer.text());
        good += usize::from(is_good);
    }
    assert_eq!(t.backend.seen().len(), good);
    assert!((40..360).contains(&good), "{good} of the tokens were good");
}
