//! Fields that are for this connection alone (RFC 9110 §7.6.1), in both directions.

use http::header::{
    AGE, ALT_SVC, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, DATE, EXPECT, EXPIRES, FORWARDED,
    HOST, LOCATION, ORIGIN, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, REFRESH, RETRY_AFTER,
    SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, VIA,
    WWW_AUTHENTICATE, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName};

use crate::http1::fields::have_member;

/// Whether the field of a request is for this gateway alone. `Expect` has been met here by the time
/// the body flows, and `Trailer` announces what is dropped. Where a route allows an upgrade, its
/// fields are written anew.
pub(super) fn is_for_one_hop(name: &HeaderName) -> bool {
    STANDARD.contains(name) || REQUEST.contains(name)
}

/// Whether the client says that it takes trailers (RFC 9110 §10.1.4). gRPC servers ask for that.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    have_member(headers, &TE, b"trailers")
}

/// The fields that the lines of `Connection` name, but for those that every recipient needs: a
/// nomination must not take away what the backend judges by.
#[derive(Debug)]
pub(super) struct Nominated(Vec<HeaderName>);

impl Nominated {
    /// All lines count.
    pub(super) fn by(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(CONNECTION).iter();
        let options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let names = options.map(<[u8]>::trim_ascii).filter(|option| !is_usual(option));
        let names = names.filter_map(|option| HeaderName::from_bytes(option).ok());
        Self(names.filter(|name| !KEPT.contains(name)).collect())
    }

    /// None, as by HTTP/2, which has no `Connection`.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether `name` is for this connection alone.
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }
}

/// An option that names no field.
fn is_usual(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
}

/// Removes what the backend said to this gateway alone; answers with the names that its
/// `Connection` lines nominate, for its trailers. `Trailer` stays: it announces what is passed on.
///
/// `Proxy-Authenticate` goes too: only a proxy may ask for such credentials (RFC 9110 §11.7.1).
pub(super) fn strip_response(headers: &mut HeaderMap) -> Nominated {
    let nominated = Nominated::by(headers);
    for name in &nominated.0 {
        headers.remove(name);
    }
    strip(headers, &[&STANDARD, &[CONNECTION, PROXY_AUTHENTICATE]]);
    nominated
}

/// Removes from a response's trailers what has no business behind a body: framing, routing,
/// credentials, caching, limits, orders to browsers (RFC 9110 §6.5.1), and what `Connection`
/// nominated. Whoever merges trailers into the head would believe them as if the head said so.
pub(super) fn strip_trailers(trailers: &mut HeaderMap, nominated: &Nominated) {
    for name in &nominated.0 {
        trailers.remove(name);
    }
    for name in KEPT.iter().chain(&NEVER_TRAILERS) {
        trailers.remove(name);
    }
    strip(trailers, &[&STANDARD]);
    let of_the_gateway = |name: &&HeaderName| {
        let folded = name.as_str().replace(['_', '.'], "-");
        NEVER_TRAILERS_BEGIN.iter().any(|start| folded.starts_with(start))
    };
    let gone: Vec<HeaderName> = trailers.keys().filter(of_the_gateway).cloned().collect();
    gone.iter().for_each(|name| drop(trailers.remove(name)));
}

/// Removes fields that are hardly ever there: comparing the few names that are costs less than
/// looking each of these up.
fn strip(headers: &mut HeaderMap, names: &[&[HeaderName]]) {
    let listed = |name: &&HeaderName| names.iter().any(|names| names.contains(name));
    let gone: Vec<HeaderName> = headers.keys().filter(listed).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

const STANDARD: [HeaderName; 5] = [TE, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION];
const REQUEST: [HeaderName; 5] =
    [PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, EXPECT, TRAILER, HTTP2_SETTINGS];

/// Fields for all recipients, which a `Connection` option cannot name (RFC 9110 §7.6.1).
const KEPT: [HeaderName; 21] = [
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    DATE,
    EXPIRES,
    FORWARDED,
    HOST,
    LOCATION,
    ORIGIN,
    RANGE,
    RETRY_AFTER,
    SET_COOKIE,
    VARY,
    VIA,
    WWW_AUTHENTICATE,
    HeaderName::from_static("x-request-id"),
];

const NEVER_TRAILERS: [HeaderName; 15] = [
    ALT_SVC,
    CONNECTION,
    CONTENT_SECURITY_POLICY,
    EXPECT,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    REFRESH,
    STRICT_TRANSPORT_SECURITY,
    TRAILER,
    X_FRAME_OPTIONS,
    HeaderName::from_static("authentication-info"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("x-content-type-options"),
];

/// What CORS and this gateway's word on callers begin with.
const NEVER_TRAILERS_BEGIN: [&str; 2] = ["access-control-", "x-auth-"];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// What of a request's fields passes to the next hop.
    fn passing(headers: &HeaderMap) -> HeaderMap {
        let nominated = Nominated::by(headers);
        let passes = |name: &HeaderName| !is_for_one_hop(name) && !nominated.has(name);
        let lines = headers.iter().filter(|(name, _)| *name != CONNECTION && passes(name));
        lines.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// HP-01: all lines count.
    #[test]
    fn nominated_fields_of_every_connection_line_go() {
        let headers = map(&[
            ("connection", "close, X-Foo"),
            ("x-foo", "1"),
            ("x-bar", "1"),
            ("connection", "(), x-bar ,"),
            ("x-baz", "1"),
        ]);
        assert_eq!(passing(&headers), map(&[("x-baz", "1")]));
    }

    /// HP-02, bypass 20.
    #[test]
    fn a_nomination_cannot_remove_what_others_judge_by() {
        let kept = [("host", "a"), ("content-length", "3"), ("cookie", "a=1"), ("origin", "b")];
        let mut headers = map(&kept);
        let all = "Host, Content-Length, Authorization, Cookie, Origin";
        headers.append(CONNECTION, HeaderValue::from_static(all));
        assert_eq!(passing(&headers), map(&kept));
    }

    /// HP-03, HP-07, HP-11, BR-15.
    #[test]
    fn hop_by_hop_fields_of_a_request_go_without_nomination() {
        let headers = map(&[
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Bearer x"),
            ("proxy-authenticate", "Basic"),
            ("te", "gzip, trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("expect", "100-continue"),
        ]);
        assert!(passing(&headers).is_empty());
    }

    /// HP-10, HP-01: what a response's trailers may not say.
    #[test]
    fn trailers_keep_only_what_cannot_change_the_message() {
        let mut trailers = map(&[
            ("content-length", "5"),
            ("set-cookie", "a=1"),
            ("www-authenticate", "Basic"),
            ("connection", "x"),
            ("ratelimit", "x"),
            ("strict-transport-security", "max-age=0"),
            ("access-control-allow-origin", "*"),
            ("alt-svc", "h3=\":1\""),
            ("x-auth-subject", "root"),
            ("x_auth.scopes", "all"),
            ("x-nominated", "1"),
            ("grpc-status", "0"),
            ("digest", "x"),
        ]);
        strip_trailers(&mut trailers, &Nominated(vec![HeaderName::from_static("x-nominated")]));
        assert_eq!(trailers, map(&[("grpc-status", "0"), ("digest", "x")]));
    }
}
