//! `scopegate token mint`: a token from the running demo's issuer, by its public endpoints.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::{Request, Response, Uri};
use http_body_util::Full;
use serde_json::Value;

use super::{Exit, Global, fail, say};
use crate::cli::Format;
use crate::config::is_loopback;
use crate::demo::issuer::registry;
use crate::demo::issuer::{AUTHORIZE, TOKEN, secret};
use crate::demo::loopback::ask;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The client that asks: web-app (for people) or nightly-uploader (for itself)
    #[arg(long, env = "SCOPEGATE_CLIENT", value_name = "ID")]
    client: String,
    /// The scopes; may be given more than once [default: all that the client may ask for]
    #[arg(long, env = "SCOPEGATE_SCOPE", value_name = "SCOPES")]
    scope: Vec<String>,
    /// The person who signs in: alice
    #[arg(long, env = "SCOPEGATE_USER", value_name = "NAME")]
    user: Option<String>,
    /// The demo's issuer, on this machine: a URL, or the address that `demo --issuer` was given
    #[arg(
        long,
        env = "SCOPEGATE_ISSUER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8082"
    )]
    issuer: String,
}

pub(super) async fn run(global: &Global, options: &Options) -> Exit {
    let issuer = match Issuer::parse(&options.issuer) {
        Ok(issuer) => issuer,
        Err(sentence) => return fail(Exit::Usage, &sentence),
    };
    match tokens(&issuer, options).await {
        Ok(answer) => match global.format {
            Format::Human => say(answer["access_token"].as_str().unwrap_or_default()),
            Format::Json => say(&answer.to_string()),
        },
        Err(Failure::Unreachable(error)) => {
            let sentence = format!("no issuer answers at {}: {error}", options.issuer);
            return fail(Exit::Unreachable, &format!("{sentence}\nhelp: run `scopegate demo`"));
        }
        Err(Failure::Refused(sentence)) => return fail(Exit::Problem, &sentence),
    }
    Exit::Fine
}

/// Where an issuer on this machine listens.
#[derive(Debug)]
struct Issuer {
    address: SocketAddr,
    host: String,
}

enum Failure {
    Unreachable(io::Error),
    Refused(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error)
    }
}

impl Issuer {
    /// Takes `http://` and a loopback address or `localhost`, which is never looked up: a name
    /// server must not decide who gets to see a client's secret.
    fn parse(url: &str) -> Result<Self, String> {
        let refusal =
            || format!("{url} is not an issuer on this machine, such as http://127.0.0.1:8082");
        let whole = match url.parse::<SocketAddr>() {
            Ok(address) => format!("http://{address}"),
            Err(_) => url.to_owned(),
        };
        let uri: Uri = whole.parse().map_err(|_| refusal())?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(refusal)?;
        let at_top = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        if uri.scheme_str() != Some("http") || !at_top {
            return Err(refusal());
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let ip = match name {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => name.parse().ok().filter(|ip| is_loopback(*ip)).ok_or_else(refusal)?,
        };
        let address = SocketAddr::new(ip, authority.port_u16().unwrap_or(80));
        Ok(Self { address, host: authority.to_string() })
    }

    async fn get(&self, path: String) -> io::Result<Response<Bytes>> {
        let request = Request::get(path).header(HOST, &self.host).body(Full::default());
        ask(self.address, request.map_err(io::Error::other)?).await
    }

    async fn post(&self, form: &[(&str, &str)]) -> Result<Value, Failure> {
        let request = Request::post(TOKEN)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(encoded(form)))
            .map_err(io::Error::other)?;
        let answer = ask(self.address, request).await?;
        let body: Option<Value> = serde_json::from_slice(answer.body()).ok();
        let body = body.ok_or_else(|| Failure::Refused(NOT_AN_ISSUER.to_owned()))?;
        if body["access_token"].is_string() {
            return Ok(body);
        }
        let said = |name: &str| body[name].as_str().unwrap_or(NOT_AN_ISSUER).to_owned();
        Err(refused(&said("error"), &said("error_description")))
    }
}

async fn tokens(issuer: &Issuer, options: &Options) -> Result<Value, Failure> {
    let scope = options.scope.join(" ");
    match &options.user {
        Some(user) => for_person(issuer, &options.client, user, &scope).await,
        None => for_client(issuer, &options.client, &scope).await,
    }
}

/// Client credentials (RFC 6749 §4.4).
async fn for_client(issuer: &Issuer, client: &str, scope: &str) -> Result<Value, Failure> {
    let mut form =
        vec![("grant_type", "client_credentials"), ("client_id", client), ("scope", scope)];
    if let Some(secret) = registry::client(client).and_then(|client| client.secret) {
        form.push(("client_secret", secret));
    }
    issuer.post(&form).await
}

/// Authorization code with PKCE (RFC 6749 §4.1, RFC 7636), as a browser without a window.
async fn for_person(
    issuer: &Issuer,
    client: &str,
    user: &str,
    scope: &str,
) -> Result<Value, Failure> {
    let (verifier, state) = (secret::random()?, secret::random()?);
    let query = encoded(&[
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("scope", scope),
        ("state", &state),
        ("code_challenge", &secret::challenge(&verifier)),
        ("code_challenge_method", "S256"),
        ("prompt", "none"),
        ("login_hint", user),
    ]);
    let answer = issuer.get(format!("{AUTHORIZE}?{query}")).await?;
    let code = code(&answer, &state)?;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("code_verifier", &verifier),
        ("code", &code),
    ];
    issuer.post(&form).await
}

/// The code in the redirect that would lead back to the client.
fn code(answer: &Response<Bytes>, state: &str) -> Result<String, Failure> {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(query) = location.and_then(|target| target.strip_prefix(REDIRECT)) else {
        return Err(Failure::Refused(
            "the issuer does not send people of this client back: people come through web-app"
                .to_owned(),
        ));
    };
    let query = query.trim_start_matches('?');
    let value = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    if value("state").as_deref() != Some(state) {
        return Err(Failure::Refused("the answer belongs to another request".to_owned()));
    }
    value("code").ok_or_else(|| {
        let said = |name| value(name).unwrap_or_else(|| NOT_AN_ISSUER.to_owned());
        refused(&said("error"), &said("error_description"))
    })
}

fn refused(error: &str, description: &str) -> Failure {
    let help = match error {
        "unauthorized_client" => "\nhelp: people come through it: add --user alice",
        "login_required" => "\nhelp: the demo knows --user alice",
        _ => "",
    };
    Failure::Refused(format!("the issuer says {error}: {description}{help}"))
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    form.finish()
}

/// Nothing has to listen there: the code is taken out of the redirect.
const REDIRECT: &str = "http://127.0.0.1/callback";
const NOT_AN_ISSUER: &str = "the answer is not an issuer's";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::demo::loopback::Loopback;

    async fn mint(words: &[&str]) -> Result<Value, String> {
        let listener = Loopback::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.address());
        let issuer =
            crate::demo::issuer::Issuer::new(url.clone(), "api".into(), Clock::default()).unwrap();
        tokio::spawn(issuer.serve(listener));
        let issuer = Issuer::parse(&url).unwrap();
        match words {
            [client, scope] => for_client(&issuer, client, scope).await,
            [client, user, scope] => for_person(&issuer, client, user, scope).await,
            _ => unreachable!("two or three words"),
        }
        .map_err(|failure| match failure {
            Failure::Refused(sentence) => sentence,
            Failure::Unreachable(error) => panic!("{error}"),
        })
    }

    #[tokio::test]
    async fn machines_and_people_get_tokens() {
        let answer = mint(&["nightly-uploader", "batch:upload"]).await.unwrap();
        assert_eq!(answer["scope"], "batch:upload");
        let answer = mint(&["web-app", "alice", "delete:timesheets"]).await.unwrap();
        assert_eq!(answer["scope"], "delete:timesheets");
        assert_eq!(
            mint(&["nightly-uploader", ""]).await.unwrap()["scope"],
            "batch:upload read:timesheets"
        );
    }

    #[tokio::test]
    async fn refusals_say_the_way_out() {
        for (words, sentence) in [
            (&["web-app", "read:timesheets"][..], "--user alice"),
            (&["web-app", "mallory", "read:timesheets"], "--user alice"),
            (&["web-app", "alice", "batch:upload"], "invalid_scope"),
            (&["nightly-uploader", "alice", "batch:upload"], "people come through web-app"),
            (&["unknown", "x"], "invalid_client"),
        ] {
            let said = mint(words).await.unwrap_err();
            assert!(said.contains(sentence), "{words:?}: {said}");
        }
    }

    #[test]
    fn only_this_machine_is_asked() {
        for url in [
            "http://127.0.0.1:8082",
            "http://localhost:8082/",
            "http://[::1]:1",
            "http://127.8.8.8",
            "127.0.0.1:8082",
            "[::1]:1",
        ] {
            assert!(is_loopback(Issuer::parse(url).unwrap().address.ip()), "{url}");
        }
        for url in [
            "https://127.0.0.1:8082",
            "http://192.0.2.1:8082",
            "http://id.example.com",
            "http://localhost.example.com",
            "http://127.0.0.1@192.0.2.1",
            "http://127.0.0.1:8082@192.0.2.1",
            "http://0.0.0.0:8082",
            "http://127.0.0.1:8082/realm",
            "192.0.2.1:8082",
            "http://",
            "",
        ] {
            assert!(Issuer::parse(url).is_err(), "{url}");
        }
    }
}
