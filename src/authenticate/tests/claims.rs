//! Claims and token kinds: CL-01 to CL-14.

use std::time::Duration;

use serde_json::{Value, json};

use super::signer::Signer;
use super::{World, es256};
use crate::config;

struct Case {
    world: World,
    signer: Signer,
}

impl Case {
    fn generic() -> Self {
        Self::with(|_| {})
    }

    fn preset(name: &str) -> Self {
        Self::with(|config| config.preset.value = name.to_owned())
    }

    fn with(change: impl FnOnce(&mut config::Issuer)) -> Self {
        let (signer, keys) = es256();
        Self { world: World::with(&keys, change), signer }
    }

    /// What becomes of a token with these changes to good claims.
    async fn outcome(&self, changes: Value) -> &'static str {
        self.world.outcome(&self.signer.token(&self.world.claims_with(changes))).await
    }

    /// The same for a claim in raw JSON.
    async fn raw(&self, name: &str, value: &str) -> &'static str {
        let claims = self.world.claims_with(json!({ name: null })).to_string();
        let claims = claims.replacen('{', &format!(r#"{{"{name}":{value},"#), 1);
        let token = self.signer.raw(r#"{"alg":"ES256","kid":"k1"}"#, claims.as_bytes());
        self.world.outcome(&token).await
    }

    /// The same for a header type.
    async fn typ(&self, typ: Option<&str>, changes: Value) -> &'static str {
        let mut header = json!({"alg": "ES256", "kid": "k1"});
        if let Some(typ) = typ {
            header["typ"] = json!(typ);
        }
        let claims = self.world.claims_with(changes);
        self.world.outcome(&self.signer.token_with(&header, &claims)).await
    }
}

/// CL-01
#[tokio::test]
async fn the_issuer_is_compared_byte_for_byte() {
    let case = Case::generic();
    assert_eq!(case.outcome(json!({})).await, "ok");
    for iss in [
        json!(null),
        json!("https://as.example/"),
        json!("HTTPS://as.example"),
        json!("https://AS.example"),
        json!("https://as.example:443"),
        json!("https://as%2Eexample"),
        json!(""),
    ] {
        assert_eq!(case.outcome(json!({"iss": iss})).await, "unknown_issuer", "{iss}");
    }
    for iss in [json!(1), json!([super::URL]), json!({})] {
        assert_eq!(case.outcome(json!({"iss": iss})).await, "malformed_token", "{iss}");
    }
}

/// CL-02
#[tokio::test]
async fn the_audience_must_be_ours() {
    let case = Case::generic();
    let ours = super::AUDIENCE;
    for aud in [json!(ours), json!([ours]), json!(["account", ours])] {
        assert_eq!(case.outcome(json!({"aud": aud})).await, "ok", "{aud}");
    }
    for aud in [json!(null), json!([]), json!("account"), json!("https://API.example"), json!("")] {
        assert_eq!(case.outcome(json!({"aud": aud})).await, "wrong_audience", "{aud}");
    }
    for aud in [json!({ours: 1}), json!(1), json!([ours, 1]), json!([[ours]])] {
        assert_eq!(case.outcome(json!({"aud": aud})).await, "malformed_token", "{aud}");
    }
}

/// CL-03
#[tokio::test]
async fn a_token_is_expired_from_exp_plus_leeway_on() {
    let case = Case::generic();
    let now = case.world.seconds();
    assert_eq!(case.outcome(json!({"exp": null})).await, "malformed_token");
    assert_eq!(case.outcome(json!({"exp": now - 25})).await, "ok");
    assert_eq!(case.outcome(json!({"exp": now - 30})).await, "token_expired");
}

/// CL-03: no more than five minutes, whatever the configuration says.
#[tokio::test]
async fn leeway_has_a_limit() {
    let case = Case::with(|config| config.leeway = Duration::MAX);
    let now = case.world.seconds();
    assert_eq!(case.outcome(json!({"exp": now - 290})).await, "ok");
    assert_eq!(case.outcome(json!({"exp": now - 301})).await, "token_expired");
}

/// CL-04
#[tokio::test]
async fn dates_are_numbers_of_sane_size() {
    let case = Case::generic();
    assert_eq!(case.raw("exp", "4102444800.5").await, "ok");
    assert_eq!(case.raw("exp", "9007199254740992").await, "ok");
    for name in ["exp", "nbf", "iat"] {
        for value in [
            r#""1893456000""#,
            "1e400",
            "-1",
            "9e99",
            "null",
            "true",
            "[]",
            "9007199254740994",
            "18446744073709551615",
            "NaN",
        ] {
            assert_eq!(case.raw(name, value).await, "malformed_token", "{name} {value}");
        }
    }
    assert_eq!(case.raw("exp", "0").await, "token_expired");
}

/// CL-05
#[tokio::test]
async fn nbf_is_honoured_with_leeway() {
    let case = Case::generic();
    let now = case.world.seconds();
    assert_eq!(case.outcome(json!({"nbf": now + 36})).await, "token_not_yet_valid");
    assert_eq!(case.outcome(json!({"nbf": now + 25})).await, "ok");
    assert_eq!(case.outcome(json!({"nbf": 0})).await, "ok");
}

/// CL-06
#[tokio::test]
async fn iat_is_not_in_the_future_and_not_too_old() {
    let case = Case::generic();
    let now = case.world.seconds();
    assert_eq!(case.outcome(json!({"iat": now + 3600})).await, "token_not_yet_valid");
    assert_eq!(case.outcome(json!({"iat": null})).await, "ok");
    let case = Case::with(|config| config.max_token_age = Some(Duration::from_secs(600)));
    assert_eq!(case.outcome(json!({"iat": now - 700})).await, "token_expired");
    assert_eq!(case.outcome(json!({"iat": now - 500})).await, "ok");
    assert_eq!(case.outcome(json!({"iat": null})).await, "malformed_token");
}

/// CL-07
#[tokio::test]
async fn rfc9068_wants_its_own_type() {
    let case = Case::preset("rfc9068");
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT", "Application/AT+jwt"] {
        assert_eq!(case.typ(Some(typ), json!({"jti": "1"})).await, "ok", "{typ}");
    }
    for typ in [Some("JWT"), Some("jwt"), None, Some(""), Some("at+jwt "), Some("x/at+jwt")] {
        assert_eq!(case.typ(typ, json!({"jti": "1"})).await, "wrong_token_type", "{typ:?}");
    }
}

/// CL-08
#[tokio::test]
async fn a_type_of_another_kind_is_refused_by_every_preset() {
    for preset in ["generic", "keycloak", "rfc9068"] {
        let case = Case::preset(preset);
        for typ in [
            "dpop+jwt",
            "logout+jwt",
            "secevent+jwt",
            "token-introspection+jwt",
            "oauth-authz-req+jwt",
            "application/logout+jwt",
            "anything",
        ] {
            let outcome = case.typ(Some(typ), json!({"typ": "Bearer", "jti": "1"})).await;
            assert_eq!(outcome, "wrong_token_type", "{preset} {typ}");
        }
    }
    let case = Case::generic();
    for typ in [None, Some("JWT"), Some("jwt"), Some("at+jwt"), Some("application/at+jwt")] {
        assert_eq!(case.typ(typ, json!({})).await, "ok", "{typ:?}");
    }
}

/// CL-09
#[tokio::test]
async fn id_refresh_and_logout_tokens_are_refused() {
    let case = Case::generic();
    for changes in [
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
        json!({"c_hash": "h"}),
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
        json!({"typ": "Offline"}),
        json!({"typ": "Logout"}),
        json!({"token_use": "id"}),
        json!({"token_use": "anything"}),
        json!({"token_use": 1}),
        json!({"token_type": "refresh"}),
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
    ] {
        assert_eq!(case.outcome(changes.clone()).await, "wrong_token_type", "{changes}");
    }
    assert_eq!(case.outcome(json!({"token_use": "access"})).await, "ok");
    assert_eq!(case.outcome(json!({"typ": "Bearer", "nonce": "n"})).await, "ok");
    assert_eq!(case.typ(Some("at+jwt"), json!({"nonce": "n"})).await, "ok");
}

/// CL-09: Keycloak says what each token is, and must.
#[tokio::test]
async fn keycloak_tokens_say_bearer() {
    let case = Case::preset("keycloak");
    assert_eq!(case.outcome(json!({"typ": "Bearer"})).await, "ok");
    for typ in
        [json!(null), json!("ID"), json!("Refresh"), json!("Offline"), json!("Logout"), json!(1)]
    {
        assert_eq!(case.outcome(json!({"typ": typ})).await, "wrong_token_type", "{typ}");
    }
}

/// A token that is bound to a key is no bearer token (RFC 7800 §3.1, RFC 9449 §7.2).
#[tokio::test]
async fn a_bound_token_is_refused() {
    let case = Case::generic();
    for cnf in [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({"new": 1}), json!({})] {
        assert_eq!(case.outcome(json!({"cnf": cnf})).await, "sender_mismatch", "{cnf}");
    }
    assert_eq!(case.raw("cnf", "null").await, "sender_mismatch");
}

/// CL-10
#[tokio::test]
async fn rfc9068_wants_all_claims_and_generic_does_not() {
    let strict = Case::preset("rfc9068");
    assert_eq!(strict.typ(Some("at+jwt"), json!({"jti": "1"})).await, "ok");
    for name in ["sub", "client_id", "iat", "jti"] {
        let mut changes = json!({"jti": "1"});
        changes[name] = json!(null);
        assert_eq!(strict.typ(Some("at+jwt"), changes).await, "malformed_token", "{name}");
    }
    let case = Case::generic();
    assert_eq!(case.outcome(json!({"sub": null, "sid": null})).await, "ok");
    assert_eq!(case.outcome(json!({"sub": 1})).await, "malformed_token");
    assert_eq!(case.outcome(json!({"client_id": ["a"]})).await, "malformed_token");
}
