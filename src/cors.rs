//! Cross-origin requests of scripts (Fetch standard, CORS protocol).
//!
//! A browser asks before it sends what a form could not: the preflight carries no token, so it is
//! answered before anybody is asked for one. What comes of it only tells the browser what a script
//! may read and send; who may call is decided as always when the request itself comes.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, request};

use crate::config::{self, Origins, SentHeaders};

/// What scripts of other origins may do, ready to be said.
#[derive(Debug)]
pub(crate) struct Cors {
    /// `None` for all.
    origins: Option<Box<[HeaderValue]>>,
    credentials: bool,
    max_age: HeaderValue,
    /// `None` for those that are asked for.
    headers: Option<HeaderValue>,
    expose: HeaderValue,
}

/// How a preflight went: a word for logs.
pub(crate) type Preflight = &'static str;

impl Cors {
    pub(crate) fn new(written: &config::Cors) -> Self {
        let origins = match &written.origins {
            Origins::Any => None,
            Origins::Listed(origins) => {
                Some(origins.iter().filter_map(|origin| origin.parse().ok()).collect())
            }
        };
        let headers = match &written.headers {
            SentHeaders::Any => None,
            SentHeaders::Listed(names) => Some(list(&SENT, names)),
        };
        Self {
            origins,
            credentials: written.credentials,
            max_age: written.max_age.as_secs().into(),
            headers,
            expose: list(&EXPOSED, &written.expose),
        }
    }

    /// The answer to a preflight, without what every answer says, and how it went. `methods` are
    /// the route's; without a route the script may ask, and reads that there is none.
    pub(crate) fn preflight(
        &self,
        asked: &request::Parts,
        methods: Option<&HeaderValue>,
    ) -> (Response<Bytes>, Preflight) {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let fields = response.headers_mut();
        fields.append(VARY, HeaderValue::from_static(VARIES));
        if self.allowed(origin(&asked.headers)).is_none() {
            return (response, "foreign_origin");
        }
        let wanted = asked.headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        if let Some(methods) = methods.or(wanted) {
            fields.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        }
        let wanted = || asked.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|w| is_list(w));
        if let Some(headers) = self.headers.as_ref().or_else(wanted) {
            fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        fields.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        (response, "preflight")
    }

    /// Says in any answer, a refusal or a backend's, whose scripts may read it. What a backend said
    /// of that is replaced: of two answers to this question browsers take none.
    pub(crate) fn annotate(&self, asked: &HeaderMap, fields: &mut HeaderMap) {
        for name in ANSWERED_ONCE {
            fields.remove(name);
        }
        if self.origins.is_some() {
            vary_by_origin(fields);
        }
        let Some(origin) = self.allowed(origin(asked)) else { return };
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
        if self.credentials {
            fields.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// What `Access-Control-Allow-Origin` says to this origin; compared byte by byte, as browsers
    /// write it.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        match &self.origins {
            None => Some(HeaderValue::from_static("*")),
            Some(known) => known.iter().find(|known| *known == origin).cloned(),
        }
    }
}

/// Whether a browser asks before it sends (CO-01, CO-02).
pub(crate) fn is_preflight(head: &request::Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The one `Origin`; browsers send no second.
fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(ORIGIN).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// Caches keep an answer apart for each origin (RFC 9110 §12.5.5).
fn vary_by_origin(fields: &mut HeaderMap) {
    let lines = fields.get_all(VARY).iter().map(HeaderValue::as_bytes);
    let mut members = lines.flat_map(|line| line.split(|byte| *byte == b','));
    let said = members.any(|member| {
        let member = member.trim_ascii();
        member == b"*" || member.eq_ignore_ascii_case(b"origin")
    });
    if !said {
        fields.append(VARY, HeaderValue::from_static("Origin"));
    }
}

/// Names of fields and what stands between them: nothing else is echoed.
fn is_list(value: &HeaderValue) -> bool {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, ".contains(byte);
    value.as_bytes().iter().all(known)
}

fn list(usual: &[&'static str], more: &[HeaderName]) -> HeaderValue {
    let is_new =
        |name: &&HeaderName| !usual.iter().any(|known| known.eq_ignore_ascii_case(name.as_str()));
    let more = more.iter().filter(is_new).map(HeaderName::as_str);
    let names: Vec<&str> = usual.iter().copied().chain(more).collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// What scripts may send in any case; `*` would not cover `Authorization`.
const SENT: [&str; 6] =
    ["Authorization", "Content-Type", "DPoP", "X-Requested-With", "traceparent", "tracestate"];

/// What scripts may read in any case: what the gateway says of a refusal (CO-05).
const EXPOSED: [&str; 7] = [
    "WWW-Authenticate",
    "DPoP-Nonce",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
    "Proxy-Status",
];

const VARIES: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// What a backend may have said of it.
const ANSWERED_ONCE: [HeaderName; 3] =
    [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS];
