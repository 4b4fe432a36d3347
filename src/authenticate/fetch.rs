//! Getting documents from an issuer: small, soon, and from nowhere else.
//!
//! Redirects are not followed, proxies of the environment not asked, no cookie kept, and nothing of
//! any client's request sent along.

use std::error::Error;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

use crate::clock::Clock;
use crate::config;

/// Fetches documents for one issuer.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    clock: Clock,
    /// Whether plain http is allowed off loopback.
    insecure: bool,
}

/// A document, and how long it may be kept (RFC 9111 §5.2.2.1), if the server says so.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) body: Bytes,
    pub(super) max_age: Option<Duration>,
}

/// Why there is no document. Says nothing that the server said, except for its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Connect,
    Empty,
    Invalid(&'static str),
    /// The name that the server gives itself, escaped and cut.
    OtherIssuer(String),
    PlainHttp,
    Redirect,
    Status(StatusCode),
    Timeout,
    Tls,
    TooLarge,
}

impl Fault {
    /// The word in metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Empty => "empty",
            Self::Invalid(_) => "invalid",
            Self::OtherIssuer(_) => "other_issuer",
            Self::PlainHttp => "plain_http",
            Self::Redirect => "redirect",
            Self::Status(_) => "http_status",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::TooLarge => "too_large",
        }
    }

    /// All words, and that for success.
    pub(super) const WORDS: [&'static str; 11] = [
        "ok",
        "connect",
        "empty",
        "invalid",
        "other_issuer",
        "plain_http",
        "redirect",
        "http_status",
        "timeout",
        "tls",
        "too_large",
    ];
}

/// Continues "the key set …" or "the metadata …".
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => formatter.write_str("cannot be fetched: no connection"),
            Self::Empty => formatter.write_str("has no key that can be used"),
            Self::Invalid(what) => write!(formatter, "cannot be used: {what}"),
            Self::OtherIssuer(name) => {
                write!(formatter, "carries another issuer's name: server says \"{name}\"")?;
                formatter.write_str(" (scopegate help E041)")
            }
            Self::PlainHttp => formatter.write_str("must not be fetched over plain http"),
            Self::Redirect => formatter.write_str("cannot be fetched: redirects are not followed"),
            Self::Status(status) => {
                write!(formatter, "cannot be fetched: the server answers {}", status.as_u16())
            }
            Self::Timeout => formatter.write_str("cannot be fetched: no answer in 5 seconds"),
            Self::Tls => formatter
                .write_str("cannot be fetched: the server's certificate or TLS is not acceptable"),
            Self::TooLarge => formatter.write_str("cannot be used: it is larger than 1 MiB"),
        }
    }
}

impl Fetcher {
    /// A fetcher whose time limit runs on `clock`.
    pub(super) fn new(insecure: bool, clock: &Clock) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(TLS.clone())
            .https_or_http()
            .enable_http1()
            .build();
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { client, clock: clock.clone(), insecure }
    }

    /// Fetches the document at `url`.
    pub(super) async fn get(&self, url: &str) -> Result<Document, Fault> {
        let url = self.permitted(url)?;
        tokio::select! {
            result = self.exchange(url) => result,
            () = self.clock.sleep(TIME_LIMIT) => Err(Fault::Timeout),
        }
    }

    /// RFC 8414 §2: https, or http where nobody can listen in, or where the operator insists.
    fn permitted(&self, url: &str) -> Result<Uri, Fault> {
        let url: Uri = url.parse().map_err(|_| Fault::Invalid(BAD_URL))?;
        let host = url.host().filter(|host| !host.is_empty()).ok_or(Fault::Invalid(BAD_URL))?;
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(Fault::Invalid(BAD_URL));
        }
        match url.scheme_str() {
            Some("https") => Ok(url),
            Some("http") if self.insecure || is_loopback(host) => Ok(url),
            Some("http") => Err(Fault::PlainHttp),
            Some(_) | None => Err(Fault::Invalid(BAD_URL)),
        }
    }

    async fn exchange(&self, url: Uri) -> Result<Document, Fault> {
        let request = Request::get(url)
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .header(USER_AGENT, concat!("scopegate/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|_| Fault::Invalid(BAD_URL))?;
        let response = self.client.request(request).await.map_err(|error| fault_of(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Fault::Redirect);
        }
        if status != StatusCode::OK {
            return Err(Fault::Status(status));
        }
        let max_age = max_age(response.headers());
        let body = Limited::new(response.into_body(), SIZE_LIMIT).collect().await;
        match body {
            Ok(body) => Ok(Document { body: body.to_bytes(), max_age }),
            Err(error) if error.is::<LengthLimitError>() => Err(Fault::TooLarge),
            Err(_) => Err(Fault::Invalid("the answer breaks off")),
        }
    }
}

/// Whether `host`, as in a URL, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(config::is_loopback)
}

fn fault_of(error: &hyper_util::client::legacy::Error) -> Fault {
    if is_tls(error) {
        return Fault::Tls;
    }
    if error.is_connect() { Fault::Connect } else { Fault::Invalid("the answer is not HTTP") }
}

/// Whether TLS is the cause. An `io::Error` names as its source the source of what it wraps, so
/// what it wraps must be looked at by itself.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>()
        || wrapped.is_some_and(|wrapped| is_tls(wrapped))
        || error.source().is_some_and(is_tls)
}

/// How long `Cache-Control` lets a private cache keep the answer: not at all with `no-store` or
/// `no-cache`, `None` if it does not say.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(str::trim);
    let mut found = None;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age") {
            found = value.trim_matches('"').parse().ok().map(Duration::from_secs);
        }
    }
    found
}

/// The TLS settings of all fetchers: the system's certificate authorities, read once.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            target: "scopegate::issuer",
            "no certificate authorities were found on this system: issuers over https cannot be reached",
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own cipher suites cover the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
});

const BAD_URL: &str = "its URL is not one of https";

/// For a whole exchange, from name resolution to the last byte.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// In bytes.
const SIZE_LIMIT: usize = 1 << 20;
