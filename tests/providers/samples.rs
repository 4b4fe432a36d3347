//! Payloads of providers, and gateways with their examples.

use serde_json::{Map, Value, json};

use crate::harness::backend::Seen;
use crate::harness::keys::{Key, RSA};
use crate::harness::markdown::{folder, root};
use crate::harness::token::unix_now;
use crate::harness::{Harness, Token};

/// A token as a provider writes it.
#[derive(Clone)]
pub struct Sample {
    /// `person`, `machine`, `id`, `refresh`, ...
    pub name: String,
    header: Map<String, Value>,
    pub claims: Map<String, Value>,
    expect: Map<String, Value>,
    refused: Option<String>,
    /// A token that is no JWT.
    opaque: Option<String>,
}

impl Sample {
    /// Every sample of a provider.
    pub fn all(provider: &str) -> Vec<Self> {
        let files = folder(&root().join("tests/fixtures/providers").join(provider), "json");
        let read = |file: &std::path::PathBuf| {
            let text = std::fs::read_to_string(file).unwrap();
            let sample: Value = serde_json::from_str(&text).unwrap();
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            Self::new(name, &sample)
        };
        files.iter().map(read).collect()
    }

    /// The sample of a provider that is called so.
    pub fn of(provider: &str, name: &str) -> Self {
        Self::all(provider).into_iter().find(|sample| sample.name == name).unwrap()
    }

    pub fn opaque(token: &str) -> Self {
        Self::new("opaque".to_owned(), &json!({ "opaque": token, "refused": "malformed_token" }))
    }

    fn new(name: String, sample: &Value) -> Self {
        let object = |key: &str| sample[key].as_object().cloned().unwrap_or_default();
        let text = |key: &str| sample[key].as_str().map(str::to_owned);
        Self {
            name,
            header: object("header"),
            claims: now(object("claims")),
            expect: object("expect"),
            refused: text("refused"),
            opaque: text("opaque"),
        }
    }

    pub fn is_good(&self) -> bool {
        self.refused.is_none()
    }

    pub fn refusal(&self) -> &str {
        self.refused.as_deref().unwrap()
    }

    pub fn expected(&self, name: &str) -> &str {
        self.expect.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    pub fn set_type(&mut self, typ: Option<&str>) {
        match typ {
            Some(typ) => self.header.insert("typ".to_owned(), typ.into()),
            None => self.header.remove("typ"),
        };
    }

    pub fn sign(&self, key: &Key) -> String {
        if let Some(opaque) = &self.opaque {
            return opaque.clone();
        }
        let mut header = self.header.clone();
        header.insert("alg".into(), format!("{:?}", key.alg()).into());
        header.insert("kid".into(), key.kid().into());
        let [header, claims] =
            [header, self.claims.clone()].map(|part| Value::from(part).to_string());
        Token::sign_text(key, header, claims)
    }

    /// The backend was told what the sample expects, and nothing of what it does not.
    #[track_caller]
    pub fn is_read_as_expected(&self, seen: &Seen, what: &str) {
        for name in ["sub", "client", "kind", "scopes", "roles", "groups", "tenant"] {
            let told = seen.header(&format!("x-read-{name}")).unwrap_or_default();
            let told = percent_encoding::percent_decode_str(told).decode_utf8().unwrap();
            assert_eq!(told, self.expected(name), "{what}: {name}");
        }
    }
}

/// The dates of a sample as if it had been made just now.
fn now(mut claims: Map<String, Value>) -> Map<String, Value> {
    let Some(made) = claims.get("iat").and_then(Value::as_u64) else { return claims };
    for name in ["iat", "nbf", "exp", "auth_time"] {
        if let Some(date) = claims.get(name).and_then(Value::as_u64) {
            claims.insert(name.to_owned(), (date + unix_now() - made).into());
        }
    }
    claims
}

/// A gateway with an example's policy and three routes more, whose issuer's key is known.
pub struct World {
    pub harness: Harness,
    pub key: Key,
    folder: tempfile::TempDir,
}

impl World {
    pub async fn start(example: &str) -> Self {
        Self::start_with(&text(example), &[RSA.jwk()]).await
    }

    /// The policy of `text`, with these keys for all issuers.
    pub async fn start_with(text: &str, keys: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
        let yaml = with_keys(text, &file.display().to_string()) + MORE;
        Self { harness: Harness::start(&yaml).await, key: RSA.clone(), folder }
    }

    /// The folder of the key file.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The status of a request, and whether the backend saw it.
    pub async fn status(&self, method: &str, path: &str, sample: &Sample) -> (u16, bool) {
        self.harness.backend.forget();
        let call = self.harness.call(method, path).bearer(&sample.sign(&self.key));
        let status = call.send().await.status().as_u16();
        (status, !self.harness.backend.seen().is_empty())
    }

    /// A request with this token gets through; returns what the backend saw.
    pub async fn passes(&self, method: &str, path: &str, sample: &Sample) -> Seen {
        self.harness.backend.forget();
        let call = self.harness.call(method, path).bearer(&sample.sign(&self.key));
        let answer = call.send().await;
        let line = self.harness.line(&answer).await;
        assert_eq!(answer.status(), 200, "{} {path}: {line}", sample.name);
        self.harness.backend.saw_one()
    }

    /// A request with this token is refused; the log and a counter say why, and the backend sees
    /// nothing.
    pub async fn refuses(
        &self,
        method: &str,
        path: &str,
        sample: &Sample,
        status: u16,
        reason: &str,
    ) {
        let t = &self.harness;
        let denials = [("decision", "deny"), ("reason", reason)];
        let before = t.metric("scopegate_decisions_total", &denials).await;
        t.backend.forget();
        let answer = t.call(method, path).bearer(&sample.sign(&self.key)).send().await;
        let line = t.line(&answer).await;
        assert_eq!(line["reason"], reason, "{} {path}: {line}", sample.name);
        assert_eq!(answer.status(), status, "{} {path}", sample.name);
        let error = match status {
            401 => "Bearer error=\"invalid_token\"",
            _ => "",
        };
        assert!(answer.header("www-authenticate").starts_with(error), "{path}");
        t.backend.saw_nothing();
        assert_eq!(t.metric("scopegate_decisions_total", &denials).await, before + 1.0);
    }
}

/// An example's text.
pub fn text(example: &str) -> String {
    let file = root().join("examples/providers").join(example).with_extension("yaml");
    std::fs::read_to_string(file).unwrap()
}

/// Its section `issuers`.
pub fn issuers(example: &str) -> String {
    let text = text(example);
    let section = &text[text.find("issuers:").unwrap()..];
    section[..=section.find("\n\n").unwrap()].to_owned()
}

/// The text with a key file for its issuers in place of what needs a network, and without its backend.
fn with_keys(text: &str, file: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let key = line.trim_start();
        if !ELSEWHERE.iter().any(|elsewhere| key.starts_with(elsewhere)) {
            lines.push(line.to_owned());
        }
        if line.starts_with("    url:") {
            lines.push(format!("    jwks: {file}"));
        }
    }
    lines.join("\n") + "\n"
}

const ELSEWHERE: [&str; 3] = ["upstream:", "metadata_url:", "jwks_url:"];

/// Routes that ask for nothing but a token, and headers that tell all that was read.
const MORE: &str = "
  /any: { POST: { token: any } }
  /people: { POST: { token: user } }
  /machines: { POST: { token: client } }
identity_headers:
  X-Read-Sub: \"{sub}\"
  X-Read-Client: \"{client}\"
  X-Read-Kind: \"{kind}\"
  X-Read-Scopes: \"{scopes}\"
  X-Read-Roles: \"{roles}\"
  X-Read-Groups: \"{groups}\"
  X-Read-Tenant: \"{tenant}\"
";
