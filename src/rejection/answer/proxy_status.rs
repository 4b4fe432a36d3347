//! The `Proxy-Status` field (RFC 9209), which tells a refusal of the gateway from the API's own
//! answers. Never an address or a name of a backend.

use http::HeaderValue;

use crate::config::ErrorDetail;
use crate::rejection::{Late, Rejection, Unreachable};

/// The field's value. Why a backend fails is told unless `detail` is minimal; the reason of a refusal
/// if the client may know it.
pub(super) fn value(rejection: &Rejection, shown: bool, detail: ErrorDetail) -> HeaderValue {
    let kind = match detail {
        ErrorDetail::Minimal => vague(rejection),
        ErrorDetail::Standard | ErrorDetail::Full => kind(rejection),
    };
    let reason = rejection.reason().as_str();
    let details = if shown { format!("; details=\"{reason}\"") } else { String::new() };
    let value = HeaderValue::try_from(format!("scopegate; error={kind}{details}"));
    value.unwrap_or(HeaderValue::from_static("scopegate"))
}

/// The type of error (RFC 9209 §2.3).
fn kind(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::AmbiguousPath(_)
        | Rejection::BodyTooLarge(_)
        | Rejection::MalformedCredentials(_)
        | Rejection::MalformedRequest(_)
        | Rejection::RequestTimeout
        | Rejection::RequestTooLarge(_)
        | Rejection::TokenInQuery
        | Rejection::TwoTokens => "http_request_error",
        Rejection::AuthUnavailable { .. }
        | Rejection::Draining
        | Rejection::Overloaded
        | Rejection::Shed { .. } => "proxy_internal_response",
        Rejection::Denied(_)
        | Rejection::Flood(_)
        | Rejection::MethodRefused(_)
        | Rejection::MissingToken
        | Rejection::NoRoute
        | Rejection::QuotaExceeded(_)
        | Rejection::RateLimited(_)
        | Rejection::Token(_) => "http_request_denied",
        Rejection::NoHealthyUpstream => "destination_unavailable",
        Rejection::UpstreamOverloaded { .. } => "connection_limit_reached",
        Rejection::UpstreamProtocol => "http_protocol_error",
        Rejection::UpstreamTimeout(Late::Answering) => "http_response_timeout",
        Rejection::UpstreamTimeout(Late::Connecting) => "connection_timeout",
        Rejection::UpstreamUnreachable(why) => match why {
            Unreachable::Dns => "dns_error",
            Unreachable::Loop => "proxy_loop_detected",
            Unreachable::Refused => "connection_refused",
            Unreachable::Reset => "connection_terminated",
            Unreachable::Tls => "tls_certificate_error",
        },
    }
}

/// The same without a word on what is behind the gateway.
fn vague(rejection: &Rejection) -> &'static str {
    if rejection.reason().is_the_gateways() { kind(rejection) } else { "destination_unavailable" }
}
