//! A development authorization server: discovery, keys, and three grants for two clients and one
//! person, without a password.
//!
//! Access tokens are JWTs as RFC 9068 has them: `typ` `at+jwt`, ES256, one hour. Codes and
//! refresh tokens are good for one use and live in memory.

mod authorize;
mod form;
mod key;
mod one_time;
pub mod registry;
pub(crate) mod secret;
mod token;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ALLOW, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use self::form::{Form, Refusal, json_answer};
use self::key::Key;
use self::one_time::OneTime;
use self::registry::Client;
use super::loopback::{self, Answer, Loopback};
use crate::clock::Clock;
use crate::config::is_loopback;

/// The path of the authorization endpoint.
pub const AUTHORIZE: &str = "/authorize";
/// The path of the token endpoint.
pub const TOKEN: &str = "/token";
/// How long access tokens last: 1 h.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// A development authorization server, cheap to clone.
#[derive(Clone, Debug)]
pub struct Issuer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: String,
    audience: String,
    key: Key,
    clock: Clock,
    grants: Mutex<Grants>,
}

#[derive(Debug)]
struct Grants {
    codes: OneTime<Code>,
    refreshes: OneTime<Consent>,
    families: u64,
}

/// What an authorization code stands for.
#[derive(Clone, Debug)]
struct Code {
    consent: Consent,
    redirect: String,
    challenge: String,
}

/// A person lets a client act for her.
#[derive(Clone, Debug)]
struct Consent {
    client: &'static Client,
    person: &'static str,
    scopes: Vec<String>,
    auth_time: Duration,
    /// Tells apart what came of different sign-ins, to revoke one of them.
    family: u64,
}

impl Issuer {
    /// An issuer that calls itself `url` and makes tokens for `audience`, with a new key.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(url: String, audience: String, clock: Clock) -> io::Result<Self> {
        let grants = Grants { codes: OneTime::new(), refreshes: OneTime::new(), families: 0 };
        let key = Key::generate()?;
        Ok(Self(Arc::new(Inner { url, audience, key, clock, grants: Mutex::new(grants) })))
    }

    /// A token without asking over the network: `person` through `client`, or the client for
    /// itself.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the client may not ask for one of these scopes; else if
    /// the system gives no random bytes.
    pub fn mint(
        &self,
        client: &'static Client,
        person: Option<&str>,
        scopes: &str,
    ) -> io::Result<String> {
        let scopes = client.grant(Some(scopes)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, Refusal::InvalidScope.description())
        })?;
        let person = person.map(|name| (name, self.0.clock.now().unix));
        self.0.access_token(client, person, &scopes)
    }

    /// Answers requests on `listener` until the future is dropped.
    pub async fn serve(self, listener: Loopback) {
        listener
            .serve(move |request| {
                let issuer = self.clone();
                async move { issuer.answer(request).await }
            })
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        if !asks_this_machine(&head.headers) {
            let sentence = json!({ "error": "this issuer answers to localhost alone" });
            return json_answer(StatusCode::MISDIRECTED_REQUEST, &sentence);
        }
        let path = head.uri.path();
        match path {
            OIDC_METADATA | OAUTH_METADATA | KEYS | AUTHORIZE => match head.method {
                Method::GET | Method::HEAD => self.shown(path, head.uri.query()),
                _ => method_refused("GET, HEAD"),
            },
            TOKEN if head.method == Method::POST => match loopback::read(body).await {
                Ok(body) => token::token(&self.0, &head.headers, &body),
                Err(_) => Refusal::InvalidRequest("the body could not be read").answer(),
            },
            TOKEN => method_refused("POST"),
            _ => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "not found" })),
        }
    }

    fn shown(&self, path: &str, query: Option<&str>) -> Answer {
        match path {
            AUTHORIZE => authorize::authorize(&self.0, query.unwrap_or_default()),
            KEYS => json_answer(StatusCode::OK, self.0.key.public()),
            _ => json_answer(StatusCode::OK, &self.0.metadata()),
        }
    }
}

impl Inner {
    /// RFC 8414 §2, with the members that OIDC Discovery §3 requires.
    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.url);
        json!({
            "issuer": self.url,
            "authorization_endpoint": at(AUTHORIZE),
            "token_endpoint": at(TOKEN),
            "jwks_uri": at(KEYS),
            "scopes_supported": registry::scopes(),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// The claims of RFC 9068 §2.2. In a client's own token `sub` is the client.
    fn access_token(
        &self,
        client: &Client,
        person: Option<(&str, Duration)>,
        scopes: &[String],
    ) -> io::Result<String> {
        let now = self.clock.now().unix.as_secs();
        let mut claims = json!({
            "iss": self.url,
            "sub": person.map_or(client.id, |(name, _)| name),
            "aud": self.audience,
            "client_id": client.id,
            "scope": scopes.join(" "),
            "iat": now,
            "exp": now + LIFETIME.as_secs(),
            "jti": secret::random()?,
        });
        if let Some((_, auth_time)) = person {
            claims["auth_time"] = auth_time.as_secs().into();
        }
        self.key.sign(&claims)
    }

    /// RFC 8707 §2: a client may say for which API it wants a token; there is one.
    fn check_resource(&self, form: &Form<'_>) -> Result<(), Refusal> {
        match form.value("resource")? {
            Some(resource) if resource != self.audience => Err(Refusal::InvalidTarget),
            Some(_) | None => Ok(()),
        }
    }

    fn family(&self) -> u64 {
        let mut grants = self.grants();
        grants.families += 1;
        grants.families
    }

    fn remember(&self, code: Code) -> Result<String, Refusal> {
        let secret = secret::random().map_err(|_| Refusal::ServerError)?;
        let now = self.clock.now().unix;
        self.grants().codes.put(secret.clone(), code, now + CODE_LIFETIME, now);
        Ok(secret)
    }

    fn remember_refresh(&self, consent: Consent) -> Result<String, Refusal> {
        let secret = secret::random().map_err(|_| Refusal::ServerError)?;
        let now = self.clock.now().unix;
        self.grants().refreshes.put(secret.clone(), consent, now + REFRESH_LIFETIME, now);
        Ok(secret)
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page elsewhere could point its own name at this machine and read the answers (DNS
/// rebinding); the browser would still send that name.
fn asks_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|value| Authority::try_from(value.as_bytes()).ok());
    host.is_some_and(|authority| {
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(is_loopback)
    })
}

fn method_refused(allow: &'static str) -> Answer {
    let body = json!({ "error": "method not allowed" });
    let mut answer = json_answer(StatusCode::METHOD_NOT_ALLOWED, &body);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

const OIDC_METADATA: &str = "/.well-known/openid-configuration";
const OAUTH_METADATA: &str = "/.well-known/oauth-authorization-server";
const KEYS: &str = "/jwks";
const CODE_LIFETIME: Duration = Duration::from_secs(60);
const REFRESH_LIFETIME: Duration = Duration::from_secs(8 * 3600);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;
    use http::Response;
    use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
    use http_body_util::Full;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};

    use super::registry::{ALICE, NIGHTLY_UPLOADER, WEB_APP};
    use super::*;

    const REDIRECT: &str = "http://127.0.0.1:5555/callback";
    const AUDIENCE: &str = "https://timesheets.example.com";

    struct Running {
        address: SocketAddr,
        url: String,
        issuer: Issuer,
        clock: Clock,
        verifier: String,
    }

    impl Running {
        async fn start() -> Self {
            let listener = Loopback::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let address = listener.address();
            let (url, clock) = (format!("http://{address}"), Clock::default());
            let issuer = Issuer::new(url.clone(), AUDIENCE.into(), clock.clone()).unwrap();
            tokio::spawn(issuer.clone().serve(listener));
            Self { address, url, issuer, clock, verifier: secret::random().unwrap() }
        }

        async fn get(&self, path: &str) -> Response<Bytes> {
            let request = Request::get(path).header(HOST, self.address.to_string());
            loopback::ask(self.address, request.body(Full::default()).unwrap()).await.unwrap()
        }

        async fn post(&self, pairs: &[(&str, &str)]) -> (StatusCode, Value) {
            self.post_as(None, pairs).await
        }

        async fn post_as(
            &self,
            basic: Option<&str>,
            pairs: &[(&str, &str)],
        ) -> (StatusCode, Value) {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            let mut request = Request::post(TOKEN)
                .header(HOST, self.address.to_string())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            if let Some(basic) = basic {
                request = request.header(AUTHORIZATION, basic);
            }
            let request = request.body(Full::from(body)).unwrap();
            let answer = loopback::ask(self.address, request).await.unwrap();
            assert_eq!(answer.headers()["cache-control"], "no-store");
            let challenged = answer.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(challenged, basic.is_some() && answer.status() == 401);
            (answer.status(), serde_json::from_slice(answer.body()).unwrap())
        }

        /// The parameters with which the issuer answers an authorization request.
        async fn authorize(&self, change: &[(&str, &str)]) -> Vec<(String, String)> {
            let answer = self.get(&self.authorization(change)).await;
            assert_eq!(answer.status(), StatusCode::SEE_OTHER);
            let target = answer.headers()[LOCATION].to_str().unwrap();
            let query = target.strip_prefix(REDIRECT).unwrap().strip_prefix('?').unwrap();
            form_urlencoded::parse(query.as_bytes()).into_owned().collect()
        }

        fn authorization(&self, change: &[(&str, &str)]) -> String {
            let challenge = secret::challenge(&self.verifier);
            let mut pairs = vec![
                ("response_type", "code"),
                ("client_id", "web-app"),
                ("redirect_uri", REDIRECT),
                ("scope", "read:timesheets create:timesheets"),
                ("state", "a&b"),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
                ("prompt", "none"),
                ("login_hint", "alice"),
            ];
            for change in change {
                pairs.retain(|pair| pair.0 != change.0);
                pairs.push(*change);
            }
            let query =
                form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            format!("{AUTHORIZE}?{query}")
        }

        async fn code(&self) -> String {
            self.authorize(&[]).await.into_iter().find(|pair| pair.0 == "code").unwrap().1
        }

        async fn redeem(&self, code: &str, change: &[(&str, &str)]) -> (StatusCode, Value) {
            let mut pairs = vec![
                ("grant_type", "authorization_code"),
                ("client_id", "web-app"),
                ("redirect_uri", REDIRECT),
                ("code_verifier", &self.verifier),
                ("code", code),
            ];
            for change in change {
                pairs.retain(|pair| pair.0 != change.0);
                pairs.push(*change);
            }
            self.post(&pairs).await
        }

        async fn refresh(&self, token: &Value) -> (StatusCode, Value) {
            let token = token.as_str().unwrap();
            let kind = ("grant_type", "refresh_token");
            self.post(&[kind, ("client_id", "web-app"), ("refresh_token", token)]).await
        }

        /// The claims, verified with the published keys.
        async fn verified(&self, token: &Value) -> Value {
            let token = token.as_str().unwrap();
            let header = jsonwebtoken::decode_header(token).unwrap();
            assert_eq!(header.typ.as_deref(), Some("at+jwt"));
            let keys: JwkSet = serde_json::from_slice(self.get(KEYS).await.body()).unwrap();
            let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
            let mut validation = Validation::new(Algorithm::ES256);
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            validation.set_issuer(&[&self.url]);
            validation.set_audience(&[AUDIENCE]);
            jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims
        }
    }

    fn refused(code: &str, answer: &(StatusCode, Value)) {
        assert_eq!((answer.0.as_u16(), &answer.1["error"]), (400, &json!(code)), "{}", answer.1);
        assert!(answer.1.get("access_token").is_none());
    }

    #[tokio::test]
    async fn both_metadata_paths_say_the_same() {
        let t = Running::start().await;
        let oidc = t.get(OIDC_METADATA).await;
        assert_eq!(oidc.body(), t.get(OAUTH_METADATA).await.body());
        let metadata: Value = serde_json::from_slice(oidc.body()).unwrap();
        assert_eq!(metadata["issuer"], json!(t.url));
        assert_eq!(metadata["jwks_uri"], json!(format!("{}/jwks", t.url)));
        let keys = t.get(KEYS).await;
        let keys: Value = serde_json::from_slice(keys.body()).unwrap();
        let key = keys["keys"][0].as_object().unwrap();
        assert_eq!((&key["alg"], &key["use"]), (&json!("ES256"), &json!("sig")));
        assert!(key.get("d").is_none(), "the private key is never shown");
    }

    #[tokio::test]
    async fn a_machine_gets_a_token_for_itself() {
        let t = Running::start().await;
        let secret = NIGHTLY_UPLOADER.secret.unwrap();
        let (status, tokens) = t
            .post(&[
                ("grant_type", "client_credentials"),
                ("client_id", "nightly-uploader"),
                ("client_secret", secret),
                ("scope", "batch:upload"),
                ("resource", AUDIENCE),
            ])
            .await;
        assert_eq!(status, StatusCode::OK);
        assert!(tokens.get("refresh_token").is_none(), "RFC 6749 §4.4.3");
        let claims = t.verified(&tokens["access_token"]).await;
        assert_eq!(claims["sub"], claims["client_id"]);
        assert_eq!(claims["scope"], "batch:upload");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
        assert!(claims.get("auth_time").is_none());
    }

    #[tokio::test]
    async fn a_machine_may_authenticate_by_basic() {
        let t = Running::start().await;
        let grant = [("grant_type", "client_credentials")];
        let basic = "Basic bmlnaHRseS11cGxvYWRlcjpuaWdodGx5LXVwbG9hZGVyLWRlbW8tc2VjcmV0";
        let (status, tokens) = t.post_as(Some(basic), &grant).await;
        assert_eq!(
            (status, &tokens["scope"]),
            (StatusCode::OK, &json!("batch:upload read:timesheets"))
        );
        for bad in ["Basic bmlnaHRseTp4", "Basic ~", "Bearer x", "Basic"] {
            let (status, answer) = t.post_as(Some(bad), &grant).await;
            assert_eq!(
                (status.as_u16(), &answer["error"]),
                (401, &json!("invalid_client")),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn what_a_client_may_not_do_is_refused() {
        let t = Running::start().await;
        let grant = ("grant_type", "client_credentials");
        let (id, secret) = (("client_id", "nightly-uploader"), NIGHTLY_UPLOADER.secret.unwrap());
        let me = [grant, id, ("client_secret", secret)];
        let with = |more: &[(&'static str, &'static str)]| [&me[..], more].concat();
        refused("invalid_scope", &t.post(&with(&[("scope", "delete:timesheets")])).await);
        refused("invalid_target", &t.post(&with(&[("resource", "https://elsewhere")])).await);
        refused("invalid_request", &t.post(&with(&[("scope", ""), ("scope", "")])).await);
        refused("unauthorized_client", &t.post(&[grant, ("client_id", "web-app")]).await);
        refused("invalid_request", &t.post(&[("client_id", "web-app")]).await);
        let password = ("grant_type", "password");
        refused("unsupported_grant_type", &t.post(&[password, ("client_id", "web-app")]).await);
        for wrong in [&[grant, id][..], &[grant, id, ("client_secret", "x")], &[grant]] {
            assert_eq!(t.post(wrong).await.0, StatusCode::UNAUTHORIZED);
        }
    }

    #[tokio::test]
    async fn a_person_gets_a_token_through_a_code() {
        let t = Running::start().await;
        let back = t.authorize(&[]).await;
        assert!(back.contains(&("state".into(), "a&b".into())));
        assert!(back.contains(&("iss".into(), t.url.clone())), "RFC 9207");
        let (status, tokens) = t.redeem(&t.code().await, &[]).await;
        assert_eq!(status, StatusCode::OK);
        let claims = t.verified(&tokens["access_token"]).await;
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("alice"), &json!("web-app")));
        assert_eq!(claims["scope"], "read:timesheets create:timesheets");
        assert!(claims["auth_time"].is_u64());
    }

    #[tokio::test]
    async fn a_browser_sees_one_button() {
        let t = Running::start().await;
        let page = t.get(&t.authorization(&[("prompt", ""), ("login_hint", "")])).await;
        assert_eq!(page.status(), StatusCode::OK);
        let text = String::from_utf8(page.body().to_vec()).unwrap();
        assert_eq!(text.matches("<a ").count(), 1);
        let link = text.split_once("href=\"").unwrap().1.split_once('"').unwrap().0;
        let answer = t.get(&link.replace("&amp;", "&")).await;
        assert!(answer.headers()[LOCATION].to_str().unwrap().starts_with(REDIRECT));
    }

    #[tokio::test]
    async fn nothing_of_a_request_becomes_markup() {
        let t = Running::start().await;
        let nasty = "\"><script>alert(1)</script>";
        let page = t.get(&t.authorization(&[("prompt", ""), ("state", nasty)])).await;
        assert_eq!(page.status(), StatusCode::OK);
        assert!(!String::from_utf8_lossy(page.body()).contains("<script"));
    }

    #[tokio::test]
    async fn a_code_goes_to_registered_addresses_only() {
        let t = Running::start().await;
        for change in [
            ("redirect_uri", "http://127.0.0.1:5555/elsewhere"),
            ("redirect_uri", "http://evil.example/callback"),
            ("client_id", "nightly-uploader"),
            ("client_id", "unknown"),
            ("client_id", ""),
        ] {
            let answer = t.get(&t.authorization(&[change])).await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{change:?}");
            assert!(answer.headers().get(LOCATION).is_none());
        }
    }

    #[tokio::test]
    async fn faulty_requests_go_back_to_the_client_with_an_error() {
        let t = Running::start().await;
        for (change, error) in [
            (("response_type", "token"), "unsupported_response_type"),
            (("code_challenge", ""), "invalid_request"),
            (("code_challenge", "short"), "invalid_request"),
            (("code_challenge_method", "plain"), "invalid_request"),
            (("scope", "batch:upload"), "invalid_scope"),
            (("resource", "https://elsewhere"), "invalid_target"),
            (("login_hint", "mallory"), "login_required"),
        ] {
            let back = t.authorize(&[change]).await;
            assert!(back.contains(&("error".into(), error.into())), "{change:?} {back:?}");
            assert!(!back.iter().any(|pair| pair.0 == "code"));
        }
    }

    #[tokio::test]
    async fn a_code_needs_its_verifier_client_and_redirect() {
        let t = Running::start().await;
        let other = secret::random().unwrap();
        for change in [
            ("code_verifier", other.as_str()),
            ("code_verifier", "short"),
            ("redirect_uri", "http://127.0.0.1:5556/callback"),
        ] {
            let code = t.code().await;
            refused("invalid_grant", &t.redeem(&code, &[change]).await);
            refused("invalid_grant", &t.redeem(&code, &[]).await);
        }
        let code = t.code().await;
        let thief = [
            ("client_id", "nightly-uploader"),
            ("client_secret", NIGHTLY_UPLOADER.secret.unwrap()),
        ];
        refused("invalid_grant", &t.redeem(&code, &thief).await);
        refused("invalid_request", &t.redeem(&code, &[("code_verifier", "")]).await);
    }

    #[tokio::test]
    async fn a_code_is_good_once_and_for_a_minute() {
        let t = Running::start().await;
        let code = t.code().await;
        let (_, tokens) = t.redeem(&code, &[]).await;
        refused("invalid_grant", &t.redeem(&code, &[]).await);
        refused("invalid_grant", &t.refresh(&tokens["refresh_token"]).await);

        let code = t.code().await;
        t.clock.advance(CODE_LIFETIME);
        refused("invalid_grant", &t.redeem(&code, &[]).await);
    }

    #[tokio::test]
    async fn refresh_tokens_rotate_and_reuse_ends_the_session() {
        let t = Running::start().await;
        let (_, first) = t.redeem(&t.code().await, &[]).await;
        let (status, second) = t.refresh(&first["refresh_token"]).await;
        assert_eq!(status, StatusCode::OK);
        assert_ne!(first["refresh_token"], second["refresh_token"]);
        assert_eq!(t.verified(&second["access_token"]).await["sub"], "alice");
        refused("invalid_grant", &t.refresh(&first["refresh_token"]).await);
        refused("invalid_grant", &t.refresh(&second["refresh_token"]).await);
    }

    #[tokio::test]
    async fn a_refresh_narrows_but_never_widens() {
        let t = Running::start().await;
        let (_, tokens) = t.redeem(&t.code().await, &[]).await;
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let ask =
            [("grant_type", "refresh_token"), ("client_id", "web-app"), ("refresh_token", refresh)];
        let (_, narrow) = t.post(&[&ask[..], &[("scope", "read:timesheets")]].concat()).await;
        assert_eq!(narrow["scope"], "read:timesheets");
        let refresh = narrow["refresh_token"].as_str().unwrap();
        let ask =
            [("grant_type", "refresh_token"), ("client_id", "web-app"), ("refresh_token", refresh)];
        refused(
            "invalid_scope",
            &t.post(&[&ask[..], &[("scope", "delete:timesheets")]].concat()).await,
        );
    }

    #[tokio::test]
    async fn tokens_made_in_process_are_the_same_kind() {
        let t = Running::start().await;
        let token = t.issuer.mint(&WEB_APP, Some(ALICE), "read:timesheets").unwrap();
        assert_eq!(t.verified(&token.into()).await["sub"], "alice");
        let error = t.issuer.mint(&WEB_APP, Some(ALICE), "batch:upload").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn only_names_of_this_machine_are_answered() {
        let t = Running::start().await;
        for (host, status) in [
            ("localhost:8082", 200),
            ("[::1]:8082", 200),
            ("rebound.example", 421),
            ("127.0.0.1.rebound.example", 421),
            ("", 421),
        ] {
            let request = Request::get(KEYS).header(HOST, host).body(Full::default()).unwrap();
            let answer = loopback::ask(t.address, request).await.unwrap();
            assert_eq!(answer.status(), status, "{host}");
        }
    }

    #[tokio::test]
    async fn other_methods_and_paths_are_refused() {
        let t = Running::start().await;
        assert_eq!(t.get(TOKEN).await.headers()[ALLOW], "POST");
        assert_eq!(t.get("/elsewhere").await.status(), StatusCode::NOT_FOUND);
        let request =
            Request::delete(KEYS).header(HOST, "localhost").body(Full::default()).unwrap();
        assert_eq!(loopback::ask(t.address, request).await.unwrap().status(), 405);
    }
}
