//! The authenticator as the gateway uses it.

mod bypasses;
mod claims;
mod fetch;
mod identity;
mod issuer;
mod jwt;
mod keys;
mod logs;
mod server;
mod signer;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use self::signer::Signer;
use super::{Authenticator, Issuer, Verdicts};
use crate::clock::Clock;
use crate::config::{
    self, ClaimPath, IdentityHeader, KeySource, Located, Place, Template, TemplatePart,
};
use crate::identity::{Caller, Identity};
use crate::record::metrics::Metrics;
use crate::rejection::{Reason, Rejection};
use crate::revoke::Revocations;

/// An authenticator with its surroundings.
struct World {
    clock: Clock,
    metrics: Metrics,
    verdicts: Arc<Verdicts>,
    revocations: Arc<Revocations>,
    authenticator: Authenticator,
}

impl World {
    /// One issuer, `https://as.example`, whose static keys are `jwks`.
    fn with_keys(jwks: &Value) -> Self {
        Self::with(jwks, |_| {})
    }

    /// The same with other settings.
    fn with(jwks: &Value, change: impl FnOnce(&mut config::Issuer)) -> Self {
        let mut config = settings(URL);
        change(&mut config);
        let world = Self::empty();
        let issuer = world.file_issuer(jwks, config);
        world.with_issuers(vec![issuer])
    }

    /// No issuer.
    fn empty() -> Self {
        let metrics = Metrics::default();
        let verdicts = Arc::new(Verdicts::new(1000, &metrics));
        let clock = Clock::default();
        let revocations = Arc::new(Revocations::none(&clock, &metrics));
        let authenticator = Authenticator::new(
            Vec::new(),
            Arc::clone(&verdicts),
            Arc::clone(&revocations),
            TOKEN_LIMIT,
        );
        Self { clock, metrics, verdicts, revocations, authenticator }
    }

    fn with_issuers(mut self, issuers: Vec<Arc<Issuer>>) -> Self {
        self.authenticator = self.authenticator_for(issuers);
        self
    }

    /// Another authenticator with the same verdicts and revocations.
    fn authenticator_for(&self, issuers: Vec<Arc<Issuer>>) -> Authenticator {
        let (verdicts, revocations) = (Arc::clone(&self.verdicts), Arc::clone(&self.revocations));
        Authenticator::new(issuers, verdicts, revocations, TOKEN_LIMIT)
    }

    /// An issuer with a key file.
    fn file_issuer(&self, jwks: &Value, mut config: config::Issuer) -> Arc<Issuer> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), jwks.to_string()).unwrap();
        config.keys = KeySource::File(at(file.path().to_path_buf()));
        self.issuer(&config)
    }

    fn issuer(&self, config: &config::Issuer) -> Arc<Issuer> {
        Arc::new(Issuer::new(config, &default_headers(), &self.clock, &self.metrics).unwrap())
    }

    async fn identify(&self, token: &str) -> Result<Arc<Identity>, Rejection> {
        self.identify_by(&self.authenticator, token).await
    }

    async fn identify_by(
        &self,
        authenticator: &Authenticator,
        token: &str,
    ) -> Result<Arc<Identity>, Rejection> {
        let headers = bearer(token);
        match authenticator.identify(&headers, None, self.clock.now()).await? {
            Caller::Bearer(identity) => Ok(identity),
            Caller::Anonymous => panic!("a token makes nobody anonymous"),
        }
    }

    /// `ok`, or the reason for the refusal.
    async fn outcome(&self, token: &str) -> &'static str {
        match self.identify(token).await {
            Ok(_) => "ok",
            Err(rejection) => rejection.reason().as_str(),
        }
    }

    async fn reason(&self, token: &str) -> Reason {
        self.identify(token).await.unwrap_err().reason()
    }

    /// Good claims that are valid for an hour.
    fn claims(&self) -> Value {
        self.claims_with(json!({}))
    }

    /// Good claims with these changes; null takes one away.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the changes in place")]
    fn claims_with(&self, changes: Value) -> Value {
        let mut claims = json!({
            "iss": URL, "aud": AUDIENCE, "exp": self.seconds() + 3600, "iat": self.seconds(),
            "sub": "alice", "client_id": "web-app", "sid": "s1", "scope": "orders:read profile",
        });
        let members = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            members.insert(name.clone(), value.clone());
        }
        members.retain(|_, value| !value.is_null());
        claims
    }

    /// Wall-clock seconds.
    fn seconds(&self) -> u64 {
        self.clock.now().unix.as_secs()
    }

    fn tokens_counted(&self, issuer: &str, result: &str) -> u64 {
        self.metrics.tokens.with_label_values(&[issuer, result]).get()
    }
}

/// Settings that trust `audience` and everything by default.
fn settings(url: &str) -> config::Issuer {
    config::Issuer {
        name: at("main".to_owned()),
        url: at(url.to_owned()),
        audience: vec![AUDIENCE.to_owned()],
        preset: at("generic".to_owned()),
        algorithms: vec![
            Algorithm::RS256,
            Algorithm::PS256,
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::EdDSA,
        ],
        leeway: Duration::from_secs(30),
        max_token_age: None,
        issuer_aliases: Vec::new(),
        tenants: Vec::new(),
        audience_claim: Vec::new(),
        accept_typ: Vec::new(),
        required_claims: Vec::new(),
        claims: Vec::new(),
        client_token_when: Vec::new(),
        user_token_when: Vec::new(),
        kind_unknown_by_default: false,
        implies: Vec::new(),
        keys: KeySource::Discovery,
        insecure: false,
        max_stale: Duration::from_secs(24 * 3600),
        introspection: None,
        backchannel_logout: None,
    }
}

fn at<T>(value: T) -> Located<T> {
    Located { value, at: Place::default() }
}

fn path(members: &[&str]) -> ClaimPath {
    ClaimPath(members.iter().copied().map(str::to_owned).collect())
}

fn header(name: &'static str, claim: &str) -> IdentityHeader {
    IdentityHeader {
        name: at(HeaderName::from_static(name)),
        template: Template(vec![TemplatePart::Claim(claim.to_owned())]),
    }
}

fn default_headers() -> Vec<IdentityHeader> {
    vec![
        header("x-auth-subject", "sub"),
        header("x-auth-client", "client"),
        header("x-auth-scopes", "scopes"),
        header("x-auth-issuer", "issuer"),
        header("x-auth-kind", "kind"),
    ]
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers
}

/// A JWK Set of one key for ES256, and its signer.
fn es256() -> (Signer, Value) {
    let signer = Signer::es256();
    let jwks = json!({"keys": [signer.jwk("k1")]});
    (signer, jwks)
}

/// Waits until `condition` holds, for ten seconds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never happened: {what}");
}

const URL: &str = "https://as.example";
const AUDIENCE: &str = "https://api.example";
const TOKEN_LIMIT: usize = 16 << 10;
