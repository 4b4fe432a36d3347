//! Getting documents and answers from an issuer: small, soon, and from nowhere else.
//!
//! Redirects are not followed, proxies of the environment not asked, no cookie kept, and nothing of
//! any client's request sent along.

use std::error::Error;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use crate::authorities;
use crate::clock::Clock;
use crate::config;

/// Fetches documents of one issuer, or asks it questions.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: HttpClient,
    clock: Clock,
    /// Whether plain http is allowed off loopback.
    insecure: bool,
    /// For a whole exchange, from name resolution to the last byte.
    time_limit: Duration,
    /// Of a body, in bytes.
    size_limit: usize,
    /// Whether connections are kept, so that one may end just when something is asked on it.
    keeps: bool,
}

/// A client of HTTP/1.1, with the TLS settings of all.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A form to be posted. It holds secrets, so it cannot be written out.
pub(super) struct Form {
    pub(super) fields: String,
    /// The client's credentials, if they are not in the form.
    pub(super) authorization: Option<HeaderValue>,
    /// The media type that is wanted.
    pub(super) accept: &'static str,
}

/// A question in a form of its own. It holds secrets, so it cannot be written out.
pub(super) struct Question {
    pub(super) method: Method,
    /// With the query, which may hold secrets.
    pub(super) url: String,
    pub(super) authorization: Option<HeaderValue>,
    /// The media type that is wanted.
    pub(super) accept: &'static str,
    /// The media type of the body, and the body.
    pub(super) body: Option<(&'static str, String)>,
    /// The statuses beside 200 with which the question is answered.
    pub(super) answers: &'static [StatusCode],
}

/// A document, and how long it may be kept (RFC 9111 §5.2.2.1), if the server says so.
#[derive(Debug)]
pub(super) struct Document {
    /// 200, or another that answers the question.
    pub(super) status: StatusCode,
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
    /// After this time.
    Timeout(Duration),
    Tls,
    /// Larger than this many bytes.
    TooLarge(usize),
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
            Self::Timeout(_) => "timeout",
            Self::Tls => "tls",
            Self::TooLarge(_) => "too_large",
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

/// Continues "the key set …", "the metadata …" or "the answer …".
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
            Self::Timeout(limit) => {
                write!(formatter, "cannot be fetched: no answer in {} seconds", limit.as_secs_f64())
            }
            Self::Tls => formatter
                .write_str("cannot be fetched: the server's certificate or TLS is not acceptable"),
            Self::TooLarge(limit) if *limit >= MEBIBYTE => {
                write!(formatter, "cannot be used: it is larger than {} MiB", limit / MEBIBYTE)
            }
            Self::TooLarge(limit) => {
                write!(formatter, "cannot be used: it is larger than {} KiB", limit >> 10)
            }
        }
    }
}

impl Fetcher {
    /// A fetcher of documents, now and then. Its time limit runs on `clock`.
    pub(super) fn new(insecure: bool, clock: &Clock) -> Self {
        Self {
            client: client(0),
            clock: clock.clone(),
            insecure,
            time_limit: TIME_LIMIT,
            size_limit: MEBIBYTE,
            keeps: false,
        }
    }

    /// A fetcher of small answers, `many` at once, each within `time_limit`. It keeps connections.
    pub(super) fn of_answers(
        insecure: bool,
        clock: &Clock,
        many: usize,
        time_limit: Duration,
    ) -> Self {
        let (client, clock) = (client(many), clock.clone());
        Self { client, clock, insecure, time_limit, size_limit: ANSWER_LIMIT, keeps: many > 0 }
    }

    /// Fetches the document at `url`.
    pub(super) async fn get(&self, url: &str) -> Result<Document, Fault> {
        let request = Request::get(self.permitted(url)?).header(ACCEPT, "application/json");
        self.within_limit(request, Bytes::new(), &[]).await
    }

    /// Posts a form to `url`.
    pub(super) async fn post(&self, url: &str, form: Form) -> Result<Document, Fault> {
        let Form { fields, authorization, accept } = form;
        self.ask(Question {
            method: Method::POST,
            url: url.to_owned(),
            authorization,
            accept,
            body: Some((FORM, fields)),
            answers: &[],
        })
        .await
    }

    /// Asks something. It must be safe to ask twice: a question that met a connection at its end is
    /// asked again.
    pub(super) async fn ask(&self, question: Question) -> Result<Document, Fault> {
        let mut request = Request::builder()
            .method(question.method)
            .uri(self.permitted(&question.url)?)
            .header(ACCEPT, question.accept);
        if let Some(credentials) = question.authorization {
            request = request.header(AUTHORIZATION, credentials);
        }
        let mut bytes = Bytes::new();
        if let Some((media_type, body)) = question.body {
            request = request.header(CONTENT_TYPE, media_type);
            bytes = body.into();
        }
        self.within_limit(request, bytes, question.answers).await
    }

    async fn within_limit(
        &self,
        request: request::Builder,
        body: Bytes,
        answers: &[StatusCode],
    ) -> Result<Document, Fault> {
        let request = request
            .header(ACCEPT_ENCODING, "identity")
            .header(USER_AGENT, concat!("scopegate/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|_| Fault::Invalid(BAD_URL))?;
        tokio::select! {
            result = self.exchange(request, answers) => result,
            () = self.clock.sleep(self.time_limit) => Err(Fault::Timeout(self.time_limit)),
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

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        answers: &[StatusCode],
    ) -> Result<Document, Fault> {
        let again = self.keeps.then(|| request.clone());
        let response = match (self.client.request(request).await, again) {
            (Err(error), Some(again)) if is_broken_off(&error) => self.client.request(again).await,
            (result, _) => result,
        };
        let response = response.map_err(|error| fault_of(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Fault::Redirect);
        }
        if status != StatusCode::OK && !answers.contains(&status) {
            return Err(Fault::Status(status));
        }
        let max_age = max_age(response.headers());
        let body = Limited::new(response.into_body(), self.size_limit).collect().await;
        match body {
            Ok(body) => Ok(Document { status, body: body.to_bytes(), max_age }),
            Err(error) if error.is::<LengthLimitError>() => Err(Fault::TooLarge(self.size_limit)),
            Err(_) => Err(Fault::Invalid("the answer breaks off")),
        }
    }
}

/// An HTTP/1.1 client that keeps up to `idle` connections, for less time than servers do.
pub(crate) fn client(idle: usize) -> HttpClient {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(TLS.clone())
        .https_or_http()
        .enable_http1()
        .build();
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_max_idle_per_host(idle)
        .build(connector)
}

/// Whether the connection ended before an answer began, as a kept one may at any time.
fn is_broken_off(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
        || error.source().is_some_and(is_broken_off)
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
    let roots = Arc::clone(authorities::of_system());
    if roots.is_empty() {
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

/// How forms are called.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

const BAD_URL: &str = "its URL is not one of https";

/// For documents.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// For kept connections; widespread servers close theirs after five seconds.
const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// Of documents, in bytes.
const MEBIBYTE: usize = 1 << 20;

/// Of answers about one token, in bytes: they are kept in memory, and a token is smaller.
const ANSWER_LIMIT: usize = 64 << 10;
