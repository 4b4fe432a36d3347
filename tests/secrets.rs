//! What is secret stays where it was sent: not in logs, answers or metrics.

use std::time::Duration;

use serde_json::json;

use crate::harness::keys::{Key, encode};
use crate::harness::{Call, Harness, Reply, Token, Traces, raw, until};

/// Routes of every kind, each way of saying no, and a backend that is not there.
const YAML: &str = "
upstreams: { main: '{backend}', gone: 'http://127.0.0.1:9' }
limits: { body: 1KiB }
plans: { few: { rate: 2/day } }
routes:
  /read: { upstream: main, GET: orders:read, POST: orders:read }
  /admin: { upstream: main, GET: { role: admin } }
  /mfa: { upstream: main, GET: { acr: mfa } }
  /tenant/{tenant}: { upstream: main, GET: { claim: { tenant: '{tenant}' } } }
  /few: { upstream: main, GET: orders:read, limit: few }
  /report: { upstream: main, mode: report, GET: admin }
  /open: { upstream: main, GET: { public: true } }
  /gone: { upstream: gone, GET: { public: true } }
";

/// Everything that must not be seen, and all that was seen.
struct Watch {
    t: Harness,
    secrets: Vec<String>,
    seen: Vec<String>,
}

impl Watch {
    async fn start(yaml: &str) -> Self {
        Self { t: Harness::start(yaml).await, secrets: Vec::new(), seen: Vec::new() }
    }

    /// A new text that must not be seen.
    fn secret(&mut self, what: &str) -> String {
        let text = format!("{what}{:016x}", fastrand::u64(..));
        self.secrets.push(text.clone());
        text
    }

    /// The token as text, every part of it secret.
    fn token(&mut self, token: &Token) -> String {
        let email = self.secret("email");
        let text =
            token.clone().claim("email", email.as_str()).claim("jti", self.secret("jti")).sign();
        // The header's part alone is no secret, and the same in many tokens.
        self.secrets.extend(text.split('.').skip(1).map(str::to_owned));
        text
    }

    /// A request with secrets in all the places that have them.
    fn call(&mut self, method: &str, path: &str) -> Call {
        let [name, value, code] = ["name", "query", "code"].map(|what| self.secret(what));
        let call = self.t.call(method, &format!("{path}?{name}={value}&code={code}"));
        call.header("cookie", &format!("session={}", self.secret("cookie")))
            .header("proxy-authorization", &format!("Basic {}", self.secret("proxy")))
            .header("dpop", &self.secret("dpop"))
            .header("x-api-key", &self.secret("apikey"))
            .header("referer", &format!("https://a.example/?code={}", self.secret("referer")))
            .body(if method == "POST" { self.secret("body") } else { String::new() })
    }

    async fn send(&mut self, call: Call, status: u16) {
        let answer = call.send().await;
        assert_eq!(answer.status(), status, "{}", answer.text());
        let line = self.t.line(&answer).await;
        assert_eq!(line["status"], status);
        self.seen.push(format!("{:?} {}", answer.headers(), answer.text()));
    }

    async fn get(&mut self, path: &str, token: &Token, status: u16) {
        let token = self.token(token);
        let call = self.call("GET", path).bearer(&token);
        self.send(call, status).await;
    }

    /// Requests of every kind.
    async fn ask_everything(&mut self) {
        let (good, stranger) = (self.t.token(), Key::es256("key-1"));
        for (path, status) in [
            ("/read", 200),
            ("/admin", 403),
            ("/mfa", 401),
            ("/tenant/x", 403),
            ("/few", 200),
            ("/few", 200),
            ("/few", 429),
            ("/report", 200),
            ("/none", 404),
            ("/gone", 502),
        ] {
            self.get(path, &good, status).await;
        }
        let kid = self.secret("kid");
        let iss = self.secret("iss");
        for bad in [
            good.clone().expired_by(99),
            good.clone().signed_by(&stranger),
            good.clone().claim("aud", self.secret("aud")),
            good.clone().claim("iss", iss),
            good.clone().header("kid", kid),
            good.clone().header("alg", self.secret("alg")),
            good.clone().claim("cnf", json!({ "jkt": self.secret("jkt") })),
            good.clone().claim("exp", "x"),
        ] {
            self.get("/read", &bad, 401).await;
        }
        self.ask_badly(&good).await;
    }

    /// Requests that are wrong in form.
    async fn ask_badly(&mut self, good: &Token) {
        let (one, two) = (self.token(good), self.token(good));
        let call = self.call("GET", "/read").bearer(&one).bearer(&two);
        self.send(call, 400).await;
        for (start, status) in [("Basic", 401), ("Bearer", 401), ("Bearer a,", 400)] {
            let value = format!("{start} {}", self.secret("credentials"));
            let call = self.call("GET", "/read").header("authorization", &value);
            self.send(call, status).await;
        }
        for (method, path, status) in
            [("PUT", "/read", 405), ("POST", "/read", 200), ("GET", "/read//x", 400)]
        {
            let token = self.token(good);
            let call = self.call(method, path).bearer(&token);
            self.send(call, status).await;
        }
        let (token, in_query) = (self.token(good), self.token(good));
        let call = self.t.get(&format!("/read?access_token={in_query}")).bearer(&token);
        self.send(call, 400).await;
        let call = self.t.get(&format!("/open?access_token={in_query}"));
        self.send(call, 200).await;
        let call = self.call("POST", "/read").bearer(&token).body(self.secret("long").repeat(100));
        self.send(call, 413).await;
        let call = self.call("GET", "/open").host(&format!("user:{}@a", self.secret("userinfo")));
        self.send(call, 400).await;
        let broken = format!(
            "GET /x?{} HTTP/1.1\r\nHost: a\r\nCookie {}\r\n\r\n",
            self.secret("raw"),
            self.secret("raw")
        );
        self.seen.push(raw::exchange(self.t.address(), broken).await);
    }

    /// Nothing that is secret is in any of it.
    async fn find_none(mut self, more: &[&str]) {
        for path in ["/metrics", "/readyz?verbose", "/"] {
            self.seen.push(Call::new(self.t.admin(), "GET", path).send().await.text());
        }
        self.seen.push(self.t.log());
        self.seen.extend(more.iter().map(|text| (*text).to_owned()));
        assert!(self.secrets.len() > 150, "{} secrets", self.secrets.len());
        for secret in &self.secrets {
            for text in &self.seen {
                let spellings = [secret.clone(), secret.to_lowercase(), encode(secret.as_bytes())];
                let found = spellings.iter().find(|spelling| text.contains(spelling.as_str()));
                assert_eq!(found, None, "{text}");
            }
        }
    }
}

/// OB-01, PD-02: with every log on at its finest, in both formats and at all levels of detail.
#[tokio::test]
async fn secrets_are_neither_logged_nor_answered_nor_counted() {
    let traces = Traces::start();
    for detail in ["minimal", "standard", "full"] {
        let mut watch = Watch::start(&format!("errors: {{ detail: {detail} }}\n{YAML}")).await;
        watch.ask_everything().await;
        assert!(watch.t.log().contains("missing_role") && watch.t.log().contains("alice"));
        watch.find_none(&[&traces.text()]).await;
    }
    let traces = traces.end();
    assert!(traces.contains("keys obtained"), "{}", traces);
}

/// The log for people has no more in it than the one for machines.
#[tokio::test]
async fn secrets_are_not_in_the_log_for_people() {
    let mut watch = Watch::start(&format!("logs: {{ format: human }}\n{YAML}")).await;
    for (path, status) in [("/read", 200), ("/admin", 403), ("/none", 404)] {
        let token = watch.token(&watch.t.token());
        let answer = watch.call("GET", path).bearer(&token).send().await;
        assert_eq!(answer.status(), status);
        watch.seen.push(answer.text());
    }
    until("three lines", async || watch.t.log().lines().count() == 3).await;
    assert!(watch.t.log().contains("alice via web-app"));
    let log = watch.t.log();
    for secret in &watch.secrets {
        assert!(!log.contains(secret.as_str()), "{log}");
    }
}

/// `logs.identity` decides whether people can be told from the log.
#[tokio::test]
async fn people_are_in_the_log_only_as_the_file_says() {
    for (identity, shown) in [("full", true), ("hash", false), ("none", false)] {
        let t = Harness::start(&format!("logs: {{ identity: {identity} }}\n{YAML}")).await;
        let token = t.token().claim("sub", "somebody@example.com");
        let answer = t.get("/read").bearer(&token.sign()).send().await;
        let line = t.line(&answer).await;
        assert_eq!(t.log().contains("somebody"), shown, "{line}");
        assert_eq!(line["sub"].is_null(), identity == "none", "{line}");
        let denied = t.get("/admin").bearer(&token.sign()).send().await;
        assert!(!denied.text().contains("somebody"));
        assert_eq!(t.line(&denied).await["sub"], line["sub"], "the same person, the same text");
    }
}

/// A backend's secrets are its clients', and nobody else's.
#[tokio::test]
async fn what_the_backend_says_is_not_logged() {
    let t = Harness::start(YAML).await;
    t.backend.reply(Reply {
        headers: vec![
            ("set-cookie", "session=s3cret1".into()),
            ("location", "/?code=s3cret2".into()),
        ],
        body: "s3cret3".into(),
        ..Reply::default()
    });
    let answer = t.get("/open").send().await;
    assert_eq!(
        (answer.text().as_str(), answer.header("set-cookie")),
        ("s3cret3", "session=s3cret1")
    );
    t.line(&answer).await;
    t.clock.advance(Duration::from_secs(1));
    let metrics = Call::new(t.admin(), "GET", "/metrics").send().await.text();
    assert!(!t.log().contains("s3cret") && !metrics.contains("s3cret"));
}
