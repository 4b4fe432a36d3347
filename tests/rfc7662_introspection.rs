//! Tokens that the issuer is asked about: RFC 7662, RFC 9701.

mod answers;
mod asking;
mod cache;
mod hybrid;
mod load;
mod signed;

use serde_json::{Value, json};

use crate::harness::token::unix_now;
use crate::harness::{Answer, Backend, Harness, Issuer};

const OPAQUE: &str = "gw_Zm9vYmFy-opaque";

const ROUTES: &str = "
routes:
  /orders/**:
    GET: orders:read
    DELETE: orders:write
  /pay/**: { introspect: always, GET: orders:read }
  /status: { public: true }
";

impl Harness {
    /// A gateway that introspects at its issuer, with these settings beside the usual ones.
    async fn introspecting(settings: &str) -> Self {
        Self::introspecting_at(Issuer::start().await, settings).await
    }

    async fn introspecting_at(issuer: Issuer, settings: &str) -> Self {
        let secret = if settings.contains("client_key") { "" } else { "client_secret: s3cret," };
        let yaml = format!(
            "issuers: {{ main: {{ url: '{{issuer}}', audience: https://api.example.com, client_id: gw, \
             introspection: '{{issuer}}/introspect', {secret} {settings} }} }}\n{ROUTES}"
        );
        Self::start_with(&yaml, issuer, Backend::start().await).await
    }

    /// The issuer knows [`OPAQUE`], with these changes to a good answer.
    fn knows(&self, changes: &Value) {
        self.issuer.introspection.knows(OPAQUE, self.answer(changes));
    }

    /// A good answer with these changes; null takes a member away.
    fn answer(&self, changes: &Value) -> Value {
        let now = unix_now();
        let mut answer = json!({
            "active": true, "iss": self.issuer.url(), "sub": "alice", "client_id": "web-app",
            "aud": "https://api.example.com", "exp": now + 3600, "iat": now,
            "scope": "orders:read", "token_type": "Bearer", "username": "alice@example.com",
        });
        let members = answer.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            members.insert(name.clone(), value.clone());
        }
        members.retain(|_, value| !value.is_null());
        answer
    }

    async fn with_opaque(&self) -> Answer {
        self.get("/orders/1").bearer(OPAQUE).send().await
    }

    fn asked(&self) -> usize {
        self.issuer.introspection.asked()
    }

    /// Questions that ended so, as the metrics count them.
    async fn questions(&self, result: &str) -> f64 {
        let labels = [("issuer", "main"), ("kind", "introspection"), ("result", result)];
        self.metric("scopegate_issuer_requests_total", &labels).await
    }

    /// Nothing is known of the token: 503 and when to come again, neither a 401 nor a pass.
    async fn is_unknown(&self, token: &str, what: &str) -> u64 {
        let answer = self.get("/orders/1").bearer(token).send().await;
        self.says_unknown(&answer, what).await
    }

    async fn says_unknown(&self, answer: &Answer, what: &str) -> u64 {
        let found = (answer.status().as_u16(), answer.reason());
        assert_eq!(found, (503, "auth_unavailable".to_owned()), "{what}");
        assert_eq!(answer.header("www-authenticate"), "", "{what}");
        let line = self.line(answer).await;
        assert_eq!((&line["reason"], &line["sub"]), (&"auth_unavailable".into(), &Value::Null));
        self.backend.saw_nothing();
        answer.header("retry-after").parse().expect("seconds")
    }
}
