//! What becomes of tokens, checked from every side: answer, log, counters, backend.

use serde_json::Value;

use super::{Harness, ORDERS};

/// A token, what is special about it, and the reason for which it must be refused.
pub type Bad = (&'static str, String, &'static str);

impl Harness {
    /// [`ORDERS`], with these settings for the issuer beside `url` and `audience`.
    pub async fn with_issuer_settings(settings: &str, issuer: super::Issuer) -> Self {
        let yaml = format!(
            "issuers: {{ main: {{ url: '{{issuer}}', audience: https://api.example.com, {settings} }} }}\n{ORDERS}"
        );
        Self::start_with(&yaml, issuer, super::Backend::start().await).await
    }

    /// [`ORDERS`] behind an issuer that publishes these keys.
    pub async fn with_keys(keys: &[Value], settings: &str) -> Self {
        let issuer = super::Issuer::start().await;
        let own = issuer.key.jwk();
        issuer.publish(&[&[own], keys].concat());
        Self::with_issuer_settings(settings, issuer).await
    }

    /// Each of these tokens gets 401 `invalid_token`. The log says precisely why and names nobody,
    /// both counters count it once, and the backend sees nothing.
    pub async fn refuses(&self, rows: impl IntoIterator<Item = Bad>) {
        let before = self.backend.seen().len();
        for (what, token, reason) in rows {
            let counted = self.refusals(reason).await;
            let answer = self.get("/orders/1").bearer(&token).send().await;
            assert_eq!(answer.status(), 401, "{what}: {}", answer.text());
            let challenge = answer.header("www-authenticate");
            let start = "Bearer error=\"invalid_token\", error_description=\"";
            assert!(challenge.starts_with(start), "{what}: {challenge}");
            let line = self.line(&answer).await;
            assert_eq!(
                (&line["reason"], &line["decision"]),
                (&reason.into(), &"deny".into()),
                "{what}"
            );
            // JT-18: what was not verified is not believed, not even by the log.
            for claim in ["sub", "client", "issuer", "scopes"] {
                assert_eq!(line[claim], Value::Null, "{what}");
            }
            let [tokens, decisions] = counted;
            assert_eq!(self.refusals(reason).await, [tokens + 1.0, decisions + 1.0], "{what}");
        }
        assert_eq!(self.backend.seen().len(), before, "the backend saw a refused request");
    }

    /// Each of these tokens is good: the backend sees the request, and it counts as valid.
    pub async fn accepts(&self, rows: impl IntoIterator<Item = (&'static str, String)>) {
        for (what, token) in rows {
            self.backend.forget();
            let valid = self.metric("scopegate_tokens_total", &[("result", "valid")]).await;
            let answer = self.get("/orders/1").bearer(&token).send().await;
            let reason = self.line(&answer).await["reason"].clone();
            assert_eq!(answer.status(), 200, "{what}: {reason}");
            self.backend.saw_one();
            let now_valid = self.metric("scopegate_tokens_total", &[("result", "valid")]).await;
            assert_eq!(now_valid, valid + 1.0, "{what}");
        }
    }

    /// How many tokens, and how many requests, were refused for this reason.
    async fn refusals(&self, reason: &str) -> [f64; 2] {
        [
            self.metric("scopegate_tokens_total", &[("result", reason)]).await,
            self.denials("/orders/**", reason).await,
        ]
    }
}
