//! Providers that answer about their opaque tokens, and not as RFC 7662 has it.
//!
//! Each adapter writes the question and reads the answer; what is made of it is checked, kept and
//! bounded like every other. Whoever runs any app gets tokens of these providers, from people who
//! meant that app alone, so a token counts only if the provider says that it was made for ours.

mod facebook;
mod github;
mod google;

use http::HeaderValue;
use serde_json::{Map, Value};

use super::answer::Answer;
use super::credentials::basic;
use crate::authenticate::fetch::{Document, Fault, Fetcher, Question};
use crate::authenticate::json;
use crate::config::{Provider, Secret};

/// What asks one provider about the tokens of one app.
#[derive(Debug)]
pub(super) struct Adapter {
    app: String,
    api: Api,
}

/// A provider, and with what it is asked.
#[derive(Debug)]
enum Api {
    /// The app's secret.
    Facebook(Secret),
    /// The ready field of the app's id and secret.
    GitHub(HeaderValue),
    Google,
}

impl Adapter {
    /// What asks `provider` about the tokens of `app`.
    pub(super) fn new(provider: &Provider, app: &str) -> Self {
        let api = match provider {
            Provider::Facebook(secret) => Api::Facebook(secret.clone()),
            Provider::GitHub(secret) => Api::GitHub(basic(app, secret, false)),
            Provider::Google => Api::Google,
        };
        Self { app: app.to_owned(), api }
    }

    /// One call. An answer about a token of another app is never [`Answer::Active`].
    pub(super) async fn ask(
        &self,
        fetcher: &Fetcher,
        endpoint: &str,
        token: &str,
    ) -> Result<Answer, Fault> {
        let document = fetcher.ask(self.question(endpoint, token)).await?;
        self.answer(&document)
    }

    fn question(&self, endpoint: &str, token: &str) -> Question {
        match &self.api {
            Api::Facebook(secret) => facebook::question(endpoint, &self.app, secret, token),
            Api::GitHub(credentials) => github::question(endpoint, credentials, token),
            Api::Google => google::question(endpoint, token),
        }
    }

    fn answer(&self, document: &Document) -> Result<Answer, Fault> {
        let members = json::object(&document.body).ok_or(Fault::Invalid(NO_OBJECT))?;
        let answer = match &self.api {
            Api::Facebook(_) => facebook::answer(members)?,
            Api::GitHub(_) => github::answer(document.status, &members)?,
            Api::Google => google::answer(document.status, &members)?,
        };
        Ok(match answer {
            Answer::Active(claims) if !self.is_ours(&claims) => Answer::OfAnother,
            Answer::Active(_) | Answer::Inactive | Answer::OfAnother => answer,
        })
    }

    /// Whether the token is for our app, and was given to it: compared byte for byte, and a
    /// provider that does not say so has not said yes.
    fn is_ours(&self, claims: &Map<String, Value>) -> bool {
        let is_app = |name| claims.get(name).and_then(Value::as_str) == Some(&*self.app);
        is_app("aud") && is_app("client_id")
    }
}

/// An id, which some write as a number.
fn id(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        Value::String(_)
        | Value::Number(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    }
}

/// Takes the members called so along, as they are, unless they are null.
fn copy(claims: &mut Map<String, Value>, from: &Map<String, Value>, names: &[&str]) {
    for name in names {
        if let Some(value) = from.get(*name).filter(|value| !value.is_null()) {
            claims.insert((*name).to_owned(), value.clone());
        }
    }
}

const NO_OBJECT: &str = "it is not a JSON object";

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    /// Adapters of the app `app-1`, by name.
    fn adapter(name: &str) -> Adapter {
        let secret = Secret::from("s3cret".to_owned());
        let provider = match name {
            "facebook" => Provider::Facebook(secret),
            "github" => Provider::GitHub(secret),
            _ => Provider::Google,
        };
        Adapter::new(&provider, "app-1")
    }

    fn read(name: &str, status: u16, body: &str) -> Result<Answer, Fault> {
        let status = StatusCode::from_u16(status).unwrap();
        let body = body.to_owned().into();
        adapter(name).answer(&Document { status, body, max_age: None })
    }

    fn claims(name: &str, body: &str) -> Value {
        match read(name, 200, body) {
            Ok(Answer::Active(claims)) => Value::Object(claims),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_become_claims() {
        let github = r#"{"id":1,"token":"gho_1","scopes":["repo","read:user"],"expires_at":"2030-01-01T00:00:00Z",
            "created_at":"2029-12-31T16:00:00Z","app":{"client_id":"app-1","name":"x"},
            "user":{"login":"ana","id":42,"type":"User"}}"#;
        let expected = serde_json::json!({
            "aud": "app-1", "client_id": "app-1", "sub": "42", "scope": ["repo", "read:user"],
            "exp": 1_893_456_000, "iat": 1_893_427_200, "login": "ana", "type": "User",
        });
        assert_eq!(claims("github", github), expected);
        let facebook = r#"{"data":{"app_id":"app-1","type":"USER","application":"x","expires_at":1893459600,
            "is_valid":true,"issued_at":1893456000,"scopes":["email"],"user_id":"121"}}"#;
        let expected = serde_json::json!({
            "aud": "app-1", "client_id": "app-1", "sub": "121", "scope": ["email"],
            "exp": 1_893_459_600, "iat": 1_893_456_000, "type": "USER",
        });
        assert_eq!(claims("facebook", facebook), expected);
        let google = r#"{"azp":"app-1","aud":"app-1","sub":"110","scope":"openid email","exp":"1893459600",
            "expires_in":"3580","email":"ana@example.com","email_verified":"true","access_type":"online"}"#;
        let expected = serde_json::json!({
            "aud": "app-1", "azp": "app-1", "client_id": "app-1", "sub": "110",
            "scope": "openid email", "exp": 1_893_459_600, "email": "ana@example.com",
            "email_verified": true, "access_type": "online",
        });
        assert_eq!(claims("google", google), expected);
    }

    #[test]
    fn tokens_of_other_apps_are_never_active() {
        for (name, body) in [
            ("github", r#"{"app":{"client_id":"APP-1"},"user":{"id":42}}"#),
            ("github", r#"{"app":{"client_id":"app-2"},"user":{"id":42}}"#),
            ("facebook", r#"{"data":{"app_id":"app-2","is_valid":true}}"#),
            ("google", r#"{"aud":"app-2","azp":"app-1","exp":"1"}"#),
            ("google", r#"{"aud":"app-1","azp":"app-2","exp":"1"}"#),
            ("google", r#"{"aud":"app-1","exp":"1"}"#),
            ("google", r#"{"aud":["app-1"],"azp":"app-1","exp":"1"}"#),
        ] {
            assert_eq!(read(name, 200, body), Ok(Answer::OfAnother), "{name}: {body}");
        }
    }

    #[test]
    fn what_a_provider_does_not_know_is_inactive() {
        for (name, status, body) in [
            ("github", 404, r#"{"message":"Not Found"}"#),
            ("github", 422, r#"{"message":"Validation Failed","errors":[]}"#),
            ("facebook", 200, r#"{"data":{"is_valid":false,"error":{"code":190},"scopes":[]}}"#),
            ("facebook", 200, r#"{"data":{"app_id":"app-1","is_valid":false,"user_id":"1"}}"#),
            ("google", 400, r#"{"error":"invalid_token","error_description":"Invalid Value"}"#),
        ] {
            assert_eq!(read(name, status, body), Ok(Answer::Inactive), "{name}: {body}");
        }
    }

    #[test]
    fn what_is_no_answer_tells_nothing() {
        for (name, status, body) in [
            ("github", 404, "<html></html>"),
            ("github", 404, "{}"),
            ("github", 200, "{}"),
            ("github", 200, r#"{"message":"Not Found"}"#),
            ("github", 200, r#"{"app":{"client_id":"app-1"},"expires_at":"soon"}"#),
            ("github", 200, r#"{"app":{"client_id":"app-1"},"expires_at":7}"#),
            ("github", 200, r#"{"app":{"client_id":"app-2"},"app":{"client_id":"app-1"}}"#),
            ("facebook", 200, r#"{"data":{"app_id":"app-1","is_valid":"true"}}"#),
            ("facebook", 200, r#"{"data":{"app_id":"app-1"}}"#),
            ("facebook", 200, r#"{"data":{"is_valid":true}}"#),
            ("facebook", 200, r#"{"error":{"code":190}}"#),
            ("facebook", 200, "[]"),
            ("google", 400, r#"{"error":"invalid_request"}"#),
            ("google", 400, r#"{"error_description":"Invalid Value"}"#),
            ("google", 200, r#"{"error":"invalid_token"}"#),
            ("google", 200, r#"{"aud":"app-1","azp":"app-1"}"#),
            ("google", 200, r#"{"aud":"app-1","azp":"app-1","exp":"never"}"#),
            ("google", 200, r#"{"aud":"app-1","azp":"app-1","exp":"-1"}"#),
        ] {
            let answer = read(name, status, body);
            assert!(answer.is_err(), "{name}: {body}: {answer:?}");
        }
    }

    #[test]
    fn a_token_without_end_has_no_exp() {
        let body = r#"{"data":{"app_id":"app-1","is_valid":true,"expires_at":0,"type":"APP"}}"#;
        let claims = claims("facebook", body);
        assert_eq!((claims.get("exp"), claims.get("sub")), (None, None));
        let body = r#"{"app":{"client_id":"app-1"},"expires_at":null,"user":{"id":42}}"#;
        assert_eq!(self::claims("github", body).get("exp"), None);
    }

    #[test]
    fn an_adapter_shows_no_secret() {
        for name in ["facebook", "github"] {
            let text = format!("{:?}", adapter(name));
            assert!(!text.contains("s3cret") && !text.contains("YXBwLTE"), "{text}");
        }
    }
}
