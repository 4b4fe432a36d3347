//! Refusals as gRPC clients understand them: 200 and the status in what is head and trailers at
//! once ("Trailers-Only" of gRPC over HTTP/2).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, request};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Whether a request is a gRPC call. All are POST over HTTP/2, and nothing else has such a body. Over
/// HTTP/1.1 there is no gRPC: a refusal that became 200 there would be taken for a success.
#[must_use]
pub fn is_call(head: &request::Parts) -> bool {
    if head.method != Method::POST || head.version != Version::HTTP_2 {
        return false;
    }
    let Some(kind) = head.headers.get(CONTENT_TYPE) else { return false };
    let kind = kind.as_bytes();
    let rest = kind.get(NAME.len()..);
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b'-')))
        && kind[..NAME.len()].eq_ignore_ascii_case(NAME.as_bytes())
}

/// Turns a refusal into one without a body that says `message`. Its fields stay: a challenge is for
/// whoever knows what to do with it.
pub(super) fn dress(response: Response<bytes::Bytes>, message: &str) -> Response<bytes::Bytes> {
    let status = response.status();
    let mut response = response.map(|_| bytes::Bytes::new());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(NAME));
    headers.insert(GRPC_STATUS, code(status).into());
    let message = utf8_percent_encode(message, &UNSAFE).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// The status code of gRPC that says what an HTTP status does.
fn code(status: StatusCode) -> u16 {
    match status {
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => UNIMPLEMENTED,
        // As the libraries themselves say it of messages and metadata that are too large.
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::URI_TOO_LONG
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => RESOURCE_EXHAUSTED,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT => DEADLINE_EXCEEDED,
        status if status.is_client_error() => INVALID_ARGUMENT,
        _ => INTERNAL,
    }
}

const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

const NAME: &str = "application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// What a message has to encode, beside all that is not ASCII.
const UNSAFE: AsciiSet = CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn calls_are_known_by_method_type_and_version() {
        let is_call_by = |version: Version, method: &str, kind: &str| {
            let request = Request::builder().method(method).header("content-type", kind);
            super::is_call(&request.version(version).body(()).unwrap().into_parts().0)
        };
        let is_call = |method: &str, kind: &str| is_call_by(Version::HTTP_2, method, kind);
        assert!(!is_call_by(Version::HTTP_11, "POST", "application/grpc"));
        assert!(!is_call_by(Version::HTTP_10, "POST", "application/grpc"));
        for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC;x=1"] {
            assert!(is_call("POST", kind), "{kind}");
        }
        assert!(is_call("POST", "application/grpc-web+proto"));
        assert!(!is_call("GET", "application/grpc"));
        for kind in ["application/grpcx", "application/json", "application/grp", ""] {
            assert!(!is_call("POST", kind), "{kind}");
        }
    }

    #[test]
    fn a_refusal_says_its_code_in_the_head() {
        for (status, expected) in [
            (400, 3),
            (401, 16),
            (403, 7),
            (404, 12),
            (405, 12),
            (413, 8),
            (429, 8),
            (414, 8),
            (431, 8),
            (500, 13),
            (502, 14),
            (503, 14),
            (504, 4),
        ] {
            let refusal = Response::builder()
                .status(status)
                .header("www-authenticate", "Bearer")
                .body(bytes::Bytes::from_static(b"{}"))
                .unwrap();
            let response = dress(refusal, "50 % of \u{e9}\r\n");
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()[GRPC_STATUS], expected.to_string());
            assert_eq!(response.headers()[GRPC_MESSAGE], "50 %25 of %C3%A9%0D%0A");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            assert!(response.body().is_empty());
        }
    }
}
