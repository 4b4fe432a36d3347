//! GitHub, Facebook and Google, each asked about its opaque tokens as it wants to be asked.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::samples::text;
use crate::harness::token::unix_now;
use crate::harness::{Answer, Backend, Harness, Reply, Seen, Traces, until};

const GITHUB: Provider = Provider {
    example: "github",
    app: "Iv1.8a61f9b3a7aba766",
    token: "gho_16C7e42F292c6912E7710c838347Ae178B4a",
    inactive: (404, r#"{"message":"Not Found","status":"404"}"#),
};

const FACEBOOK: Provider = Provider {
    example: "facebook",
    app: "138483919580948",
    token: "EAAGm0PX4ZCpsBAKZCx7wQ9rTzL1pVb9HdYs3fGj6n",
    inactive: (200, r#"{"data":{"is_valid":false,"error":{"code":190},"scopes":[]}}"#),
};

const GOOGLE: Provider = Provider {
    example: "google-opaque",
    app: "1234.apps.googleusercontent.com",
    token: "ya29.c.c0ASRK0Ga7QmV2xTn9LhJd4-pWs",
    inactive: (400, r#"{"error":"invalid_token","error_description":"Invalid Value"}"#),
};

const ALL: [Provider; 3] = [GITHUB, FACEBOOK, GOOGLE];

/// What the examples have for want of a variable.
const SECRET: &str = "change-me";

#[derive(Clone, Copy)]
struct Provider {
    example: &'static str,
    app: &'static str,
    token: &'static str,
    /// How it says that a token is not good.
    inactive: (u16, &'static str),
}

impl Provider {
    /// What it says of a good token of a person, made for `app`.
    fn person(&self, app: &str) -> Value {
        let now = unix_now();
        match self.example {
            "github" => json!({
                "id": 1, "token": self.token, "scopes": ["read:user", "repo"], "expires_at": null,
                "created_at": "2025-01-01T00:00:00Z", "app": { "client_id": app, "name": "Orders" },
                "user": { "login": "ana", "id": 42, "type": "User" },
            }),
            "facebook" => json!({ "data": {
                "app_id": app, "type": "USER", "application": "Orders", "expires_at": now + 3600,
                "is_valid": true, "issued_at": now, "scopes": ["email", "public_profile"],
                "user_id": "1215000",
            } }),
            _ => json!({
                "azp": app, "aud": app, "sub": "110169484474386276334", "access_type": "online",
                "scope": "openid https://www.googleapis.com/auth/userinfo.email",
                "exp": (now + 3600).to_string(), "expires_in": "3600",
                "email": "ana@example.com", "email_verified": "true",
            }),
        }
    }
}

/// A gateway with a provider's example, and in place of the provider something that records.
struct Social {
    t: Harness,
    provider: Backend,
    of: Provider,
}

impl Social {
    async fn start(of: Provider) -> Self {
        let provider = Backend::start().await;
        let t = Harness::start(&yaml(of, &format!("{}/check", provider.url()))).await;
        Self { t, provider, of }
    }

    fn says(&self, status: u16, body: impl Into<String>) {
        let body = body.into().into();
        self.provider.reply(Reply { status, body, ..Reply::default() });
    }

    async fn post(&self, path: &str, token: &str) -> Answer {
        self.t.backend.forget();
        self.t.call("POST", path).bearer(token).send().await
    }

    /// A token of which this is said passes where any may; returns what the backend was told.
    async fn passes(&self, token: &str, said: &Value) -> Seen {
        self.says(200, said.to_string());
        let answer = self.post("/any", token).await;
        assert_eq!(answer.status(), 200, "{}: {}", self.of.example, self.t.line(&answer).await);
        self.t.backend.saw_one()
    }

    /// A request is refused: status, challenge, log and metric say so, and the backend saw nothing.
    async fn refuses(&self, path: &str, token: &str, status: u16, reason: &str) {
        let labels = [("decision", "deny"), ("reason", reason)];
        let before = self.t.metric("scopegate_decisions_total", &labels).await;
        let answer = self.post(path, token).await;
        let line = self.t.line(&answer).await;
        let found = (answer.status().as_u16(), line["reason"].as_str().unwrap());
        assert_eq!(found, (status, reason), "{} {path}: {line}", self.of.example);
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge.contains("error=\"invalid_token\""), status == 401, "{challenge}");
        assert_eq!(answer.header("retry-after").is_empty(), status != 503);
        self.t.backend.saw_nothing();
        assert_eq!(self.t.metric("scopegate_decisions_total", &labels).await, before + 1.0);
    }
}

fn yaml(of: Provider, endpoint: &str) -> String {
    let example = text(of.example).replace("upstream: http://127.0.0.1:3000\n", "");
    let preset = format!("    preset: {}\n", of.example);
    assert!(example.contains(&preset));
    let placed = format!("{preset}    introspection: {endpoint}\n");
    example.replace(&preset, &placed)
        + "
  /any: { POST: { token: any } }
  /people: { POST: { token: user } }
  /machines: { POST: { token: client } }
"
}

/// IN-01: each is asked in its own words, once however often the token comes, and what it says is
/// who calls.
#[tokio::test]
async fn people_pass_with_tokens_of_the_app() {
    for (of, sub, scopes) in [
        (GITHUB, "42", "read:user repo"),
        (FACEBOOK, "1215000", "email public_profile"),
        (GOOGLE, "110169484474386276334", "openid https://www.googleapis.com/auth/userinfo.email"),
    ] {
        let t = Social::start(of).await;
        let seen = t.passes(of.token, &of.person(of.app)).await;
        assert_eq!(seen.header("x-auth-subject"), Some(sub));
        assert_eq!(seen.header("x-auth-client"), Some(of.app));
        assert_eq!(seen.header("x-auth-scopes"), Some(scopes));
        assert_eq!(seen.header("authorization"), None);
        assert_eq!(t.post("/orders/1", of.token).await.status(), 200, "{}", of.example);
        assert_eq!(t.t.get("/orders/1").bearer(of.token).send().await.status(), 200);
        t.refuses("/orders/import", of.token, 403, "wrong_token_kind").await;
        is_asked_well(of, &t.provider.saw_one());
    }
}

fn is_asked_well(of: Provider, asked: &Seen) {
    let form = |text: &[u8]| form_urlencoded::parse(text).into_owned().collect::<Vec<_>>();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    match of.example {
        "github" => {
            assert_eq!((&*asked.method, &*asked.target), ("POST", "/check"));
            let basic = STANDARD.encode(format!("{}:{SECRET}", of.app));
            assert_eq!(asked.header("authorization"), Some(&*format!("Basic {basic}")));
            assert_eq!(asked.header("content-type"), Some("application/json"));
            assert_eq!(asked.header("accept"), Some("application/vnd.github+json"));
            assert!(asked.header("user-agent").unwrap().starts_with("scopegate/"));
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            assert_eq!(body, json!({ "access_token": of.token }));
        }
        "facebook" => {
            let (path, query) = asked.target.split_once('?').unwrap();
            assert_eq!((&*asked.method, path), ("GET", "/check"));
            let app = format!("{}|{SECRET}", of.app);
            let expected = [pair("input_token", of.token), pair("access_token", &app)];
            assert_eq!(form(query.as_bytes()), expected);
            assert!(asked.body.is_empty() && asked.header("authorization").is_none());
        }
        _ => {
            assert_eq!((&*asked.method, &*asked.target), ("POST", "/check"));
            assert_eq!(form(&asked.body), [pair("access_token", of.token)]);
            assert_eq!(asked.header("authorization"), None);
        }
    }
}

/// The confused deputy: a token that a person gave to somebody else's app is none of ours.
#[tokio::test]
async fn tokens_of_another_app_are_refused() {
    for of in ALL {
        let t = Social::start(of).await;
        for (at, app) in ["other", &of.app.to_uppercase(), &format!("{} ", of.app), ""]
            .into_iter()
            .filter(|app| *app != of.app)
            .enumerate()
        {
            t.says(200, of.person(app).to_string());
            let token = format!("{}{at}", of.token);
            // An empty id is no id at Facebook: nothing is known.
            let (status, reason) = match (of.example, app) {
                ("facebook", "") => (503, "auth_unavailable"),
                _ => (401, "wrong_audience"),
            };
            t.refuses("/any", &token, status, reason).await;
        }
    }
    let t = Social::start(GOOGLE).await;
    for (at, member) in ["aud", "azp"].into_iter().enumerate() {
        let mut said = GOOGLE.person(GOOGLE.app);
        said[member] = "other.apps.googleusercontent.com".into();
        t.says(200, said.to_string());
        t.refuses("/any", &format!("{}{at}", GOOGLE.token), 401, "wrong_audience").await;
    }
}

/// IN-03
#[tokio::test]
async fn tokens_that_are_not_good_are_refused() {
    for of in ALL {
        let t = Social::start(of).await;
        let (status, body) = of.inactive;
        t.says(status, body);
        t.refuses("/any", of.token, 401, "token_inactive").await;
        // For a while nobody asks again.
        t.refuses("/any", of.token, 401, "token_inactive").await;
        t.provider.saw_one();
    }
    let t = Social::start(GITHUB).await;
    t.says(422, r#"{"message":"Validation Failed"}"#);
    t.refuses("/any", GITHUB.token, 401, "token_inactive").await;
}

/// IN-04: what is no answer tells nothing: 503, neither 401 nor a pass.
#[tokio::test]
async fn a_provider_in_trouble_lets_nobody_in() {
    for of in ALL {
        for (status, body) in [
            (200, "<!DOCTYPE html><title>Log in</title>"),
            (404, "<!DOCTYPE html><title>Not Found</title>"),
            (400, r#"{"error":{"message":"Invalid OAuth access token","code":190}}"#),
            (401, r#"{"message":"Bad credentials"}"#),
            (403, r#"{"message":"rate limited","error":"invalid_token"}"#),
            (500, r#"{"message":"x"}"#),
            (200, "{}"),
            (200, ""),
        ] {
            let t = Social::start(of).await;
            t.says(status, body);
            t.refuses("/any", of.token, 503, "auth_unavailable").await;
        }
    }
}

/// IN-05: a provider that hangs is given up on.
#[tokio::test]
async fn a_provider_that_hangs_lets_nobody_in() {
    for of in ALL {
        let t = Harness::start(&yaml(of, "'{issuer}/introspect'")).await;
        t.issuer.introspection.holds();
        let call = tokio::spawn(t.call("POST", "/any").bearer(of.token).send());
        until("the question", async || t.issuer.introspection.asked() == 1).await;
        t.clock.advance(Duration::from_secs(5));
        let answer = call.await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.reason()), (503, "auth_unavailable".into()));
        t.backend.saw_nothing();
        let labels = [("kind", "introspection"), ("result", "timeout")];
        assert_eq!(t.metric("scopegate_issuer_requests_total", &labels).await, 1.0);
        t.issuer.introspection.releases();
    }
}

/// AZ-06, AZ-07: Facebook's kinds of token.
#[tokio::test]
async fn apps_are_machines_and_pages_are_nobody() {
    let t = Social::start(FACEBOOK).await;
    let of_type = |name: &str| {
        let mut said = FACEBOOK.person(FACEBOOK.app);
        said["data"]["type"] = name.into();
        said["data"]["expires_at"] = 0.into();
        said
    };
    let mut app = of_type("APP");
    app["data"].as_object_mut().unwrap().remove("user_id");
    let seen = t.passes("app", &app).await;
    assert_eq!((seen.header("x-auth-kind"), seen.header("x-auth-subject")), (Some("client"), None));
    assert_eq!(t.post("/machines", "app").await.status(), 200);
    t.refuses("/people", "app", 403, "wrong_token_kind").await;
    for name in ["PAGE", "SYSTEM_USER", "user", ""] {
        let token = format!("token-{name}");
        t.passes(&token, &of_type(name)).await;
        t.refuses("/people", &token, 403, "wrong_token_kind").await;
        t.refuses("/machines", &token, 403, "wrong_token_kind").await;
    }
}

/// AZ-06: Google's service accounts, and callers of whom nothing tells.
#[tokio::test]
async fn service_accounts_are_machines() {
    let yaml_of = |rest: &str| {
        yaml(GOOGLE, rest).replace("    required_claims: { email_verified: true }\n", "")
    };
    let provider = Backend::start().await;
    let harness = Harness::start(&yaml_of(&format!("{}/check", provider.url()))).await;
    let t = Social { t: harness, provider, of: GOOGLE };
    let mut said = GOOGLE.person(GOOGLE.app);
    said["email"] = "batch@proj.iam.gserviceaccount.com".into();
    t.passes("ya29.machine", &said).await;
    assert_eq!(t.post("/machines", "ya29.machine").await.status(), 200);
    t.refuses("/people", "ya29.machine", 403, "wrong_token_kind").await;
    said.as_object_mut().unwrap().remove("email");
    t.passes("ya29.nobody", &said).await;
    t.refuses("/people", "ya29.nobody", 403, "wrong_token_kind").await;
    t.refuses("/machines", "ya29.nobody", 403, "wrong_token_kind").await;
    // The example wants a verified address.
    let strict = Social::start(GOOGLE).await;
    said["email_verified"] = "false".into();
    strict.says(200, said.to_string());
    strict.refuses("/any", GOOGLE.token, 401, "wrong_token_type").await;
}

/// IN-06: an answer is not used past the token's end, and what has ended is refused.
#[tokio::test]
async fn tokens_end_when_the_provider_says() {
    for of in ALL {
        let t = Social::start(of).await;
        let mut said = of.person(of.app);
        match of.example {
            "github" => said["expires_at"] = "2025-01-01T08:00:00Z".into(),
            "facebook" => said["data"]["expires_at"] = (unix_now() - 60).into(),
            _ => said["exp"] = (unix_now() - 60).to_string().into(),
        }
        t.says(200, said.to_string());
        t.refuses("/any", of.token, 401, "token_expired").await;
    }
}

/// OB-01: with every log at its finest, neither the app's secret nor a token is in any, whatever
/// the provider does.
#[tokio::test]
async fn no_secret_and_no_token_is_logged() {
    let traces = Traces::start();
    let mut seen = String::new();
    for of in ALL {
        let t = Social::start(of).await;
        for (status, body) in [
            (200, of.person(of.app).to_string()),
            (200, of.person("other").to_string()),
            (of.inactive.0, of.inactive.1.to_owned()),
            (500, of.token.to_owned()),
            (200, format!("<html>{}</html>", of.token)),
        ] {
            t.says(status, body);
            let token = format!("{}{}", of.token, fastrand::u64(..));
            let answer = t.post("/any", &token).await;
            seen += &format!("{:?} {}", answer.headers(), answer.text());
        }
        seen += &t.t.log();
        seen += &t.t.series("scopegate_issuer_requests_total").await.join("\n");
    }
    let traces = traces.end();
    seen += &traces;
    assert!(traces.contains("tokens cannot be introspected"), "{}", traces);
    for of in ALL {
        let basic = STANDARD.encode(format!("{}:{SECRET}", of.app));
        for secret in [of.token, SECRET, basic.as_str()] {
            assert!(!seen.contains(secret), "{secret} is in\n{seen}");
        }
    }
}
