//! How a refusal looks to the client: status, challenge, problem body (RFC 9457, RFC 6750 §3).

mod challenge;
mod proxy_status;
mod words;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use crate::config::{ErrorDetail, Errors};

use super::{Exceeded, Reason, Rejection, Unmet, grpc};

/// Turns refusals into responses, as `errors:` says.
#[derive(Debug)]
pub struct Answers {
    detail: ErrorDetail,
    docs: Option<Box<str>>,
    /// What challenges call this API.
    realm: Box<str>,
}

/// What was asked for, to be named in the answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// The request's id.
    pub request_id: &'r str,
    /// Method and canonical path, if they could be read.
    pub operation: Option<(&'r Method, &'r str)>,
    /// Whether it was a gRPC call, whose clients read no problem bodies.
    pub grpc: bool,
}

/// A problem body (RFC 9457 §3), with the members of interface §3.
#[derive(Debug, Serialize)]
struct Problem<'r> {
    #[serde(rename = "type")]
    kind: String,
    title: &'r str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    required_scopes: &'r [Box<str>],
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated_policies: Option<[&'r str; 1]>,
    request_id: &'r str,
}

impl Answers {
    /// Answers in the way of `errors`; `public_url` is the realm of challenges.
    #[must_use]
    pub fn new(errors: &Errors, public_url: Option<&str>) -> Self {
        Self {
            detail: errors.detail,
            docs: errors.docs.as_deref().map(Into::into),
            realm: challenge::quotable(public_url.unwrap_or("api")).into(),
        }
    }

    /// The response to a refused request.
    #[must_use]
    pub fn answer(&self, rejection: &Rejection, asked: Asked<'_>) -> Response<Bytes> {
        let shown = self.shows(rejection);
        let body = self.body(rejection, shown, asked);
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = rejection.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
        headers.insert(PROXY_STATUS, proxy_status::value(rejection, shown, self.detail));
        if let Some(challenge) = challenge::challenge(rejection, shown, &self.realm) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = rejection.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Rejection::MethodRefused(methods) = rejection {
            headers.insert(ALLOW, methods.clone());
        }
        if let Some((policy, state)) = rejection.exceeded().and_then(|e| e.fields.as_ref()) {
            headers.insert(RATELIMIT_POLICY, policy.clone());
            headers.insert(RATELIMIT, state.clone());
        }
        if asked.grpc {
            let detail = self.detail(rejection, shown, asked);
            return grpc::dress(response, detail.as_deref().unwrap_or(phrase(rejection.status())));
        }
        response
    }

    /// Whether the client may learn the exact reason. Which check a token failed would help
    /// whoever forges tokens, so by default only what an honest client can mend is told.
    fn shows(&self, rejection: &Rejection) -> bool {
        match self.detail {
            ErrorDetail::Full => true,
            ErrorDetail::Minimal => false,
            ErrorDetail::Standard => !matches!(
                rejection.reason(),
                Reason::AlgorithmRefused
                    | Reason::BadSignature
                    | Reason::ClaimMismatch
                    | Reason::ClientRefused
                    | Reason::MalformedToken
                    | Reason::MissingGroup
                    | Reason::MissingRole
                    | Reason::SenderMismatch
                    | Reason::SourceRefused
                    | Reason::TokenInactive
                    | Reason::TokenNotYetValid
                    | Reason::TokenRevoked
                    | Reason::UnknownIssuer
                    | Reason::UnknownKey
                    | Reason::WrongAudience
                    | Reason::WrongTokenKind
                    | Reason::WrongTokenType
            ),
        }
    }

    fn body(&self, rejection: &Rejection, shown: bool, asked: Asked<'_>) -> Vec<u8> {
        let status = rejection.status();
        let reason = rejection.reason();
        let exceeded = rejection.exceeded();
        let (kind, title) = match (&self.docs, exceeded) {
            (_, Some(_)) => (QUOTA_EXCEEDED.to_owned(), "Quota exceeded"),
            (Some(docs), None) if shown => {
                (format!("{docs}#{}", reason.as_str()), words::title(reason))
            }
            (_, None) => ("about:blank".to_owned(), phrase(status)),
        };
        let problem = Problem {
            kind,
            title,
            status: status.as_u16(),
            error: challenge::error_code(rejection),
            reason: shown.then_some(reason.as_str()),
            detail: self.detail(rejection, shown, asked),
            required_scopes: if shown { rejection.required_scopes() } else { &[] },
            violated_policies: exceeded.map(|exceeded| [&*exceeded.policy]),
            request_id: asked.request_id,
        };
        serde_json::to_vec(&problem).unwrap_or_default()
    }

    fn detail(&self, rejection: &Rejection, shown: bool, asked: Asked<'_>) -> Option<String> {
        match self.detail {
            ErrorDetail::Minimal => None,
            ErrorDetail::Standard | ErrorDetail::Full if shown => {
                Some(words::detail(rejection, asked))
            }
            ErrorDetail::Standard | ErrorDetail::Full => {
                Some(words::general(rejection.status()).to_owned())
            }
        }
    }
}

impl Rejection {
    /// Seconds after which it is worth trying again, where that can be said.
    fn retry_after(&self) -> Option<u64> {
        let soon = self.status() == StatusCode::SERVICE_UNAVAILABLE;
        let known = match (self, self.exceeded()) {
            (Self::AuthUnavailable { retry_after }, _) => Some(*retry_after),
            (_, exceeded) => exceeded.map(|exceeded| exceeded.retry_after),
        };
        known.or(soon.then_some(1)).map(|seconds| seconds.max(1))
    }

    pub(crate) fn exceeded(&self) -> Option<&Exceeded> {
        if let Self::Flood(exceeded) | Self::QuotaExceeded(exceeded) | Self::RateLimited(exceeded) =
            self
        {
            return Some(exceeded);
        }
        None
    }

    /// The scopes that the operation needs, if that is what the token lacks.
    pub(crate) fn required_scopes(&self) -> &[Box<str>] {
        if let Self::Denied(denial) = self
            && let Unmet::Scope(scopes) = &denial.unmet
        {
            return scopes;
        }
        &[]
    }
}

fn phrase(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

const NOSNIFF: HeaderName = http::header::X_CONTENT_TYPE_OPTIONS;
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::{Denial, TokenFault};

    fn answer(detail: ErrorDetail, rejection: &Rejection) -> (Response<Bytes>, serde_json::Value) {
        let errors = Errors { detail, docs: Some("https://docs.example.com/errors".into()) };
        let answers = Answers::new(&errors, Some("https://api.example.com"));
        let operation = Some((&Method::DELETE, "/orders/42"));
        let response =
            answers.answer(rejection, Asked { request_id: "01K3F9", operation, grpc: false });
        let body = serde_json::from_slice(response.body()).unwrap();
        (response, body)
    }

    fn missing_scope() -> Rejection {
        let unmet = Unmet::Scope(["orders:write".into()].into());
        Rejection::Denied(Denial { unmet, rule: "gateway.yaml:10".into() })
    }

    #[test]
    fn a_missing_scope_is_named_in_challenge_and_body() {
        let (response, body) = answer(ErrorDetail::Standard, &missing_scope());
        assert_eq!(response.status(), 403);
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            "Bearer error=\"insufficient_scope\", error_description=\"needs orders:write\", \
             scope=\"orders:write\""
        );
        assert_eq!(
            body,
            serde_json::json!({
                "type": "https://docs.example.com/errors#missing_scope",
                "title": "The token lacks a required scope",
                "status": 403,
                "error": "insufficient_scope",
                "reason": "missing_scope",
                "detail": "DELETE /orders/42 needs the scope orders:write.",
                "required_scopes": ["orders:write"],
                "request_id": "01K3F9",
            })
        );
    }

    /// BR-04: no error code when no token was sent.
    #[test]
    fn a_missing_token_is_challenged_without_an_error() {
        let (response, body) = answer(ErrorDetail::Standard, &Rejection::MissingToken);
        let challenge = &response.headers()[WWW_AUTHENTICATE];
        assert_eq!(challenge, "Bearer realm=\"https://api.example.com\"");
        assert_eq!(body["reason"], "missing_token");
        assert!(body.get("error").is_none());
    }

    #[test]
    fn which_check_a_token_failed_is_not_told() {
        let (response, body) =
            answer(ErrorDetail::Standard, &Rejection::Token(TokenFault::WrongAudience));
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            "Bearer error=\"invalid_token\", \
             error_description=\"the token is not valid for this API\""
        );
        assert_eq!(body["detail"], "The token is not valid for this API.");
        assert!(body.get("reason").is_none());
        assert_eq!(body["type"], "about:blank");
        let (_, full) = answer(ErrorDetail::Full, &Rejection::Token(TokenFault::WrongAudience));
        assert_eq!(full["reason"], "wrong_audience");
    }

    /// RL-01.
    #[test]
    fn limits_name_the_policy_and_the_time() {
        let exceeded = Exceeded {
            policy: "free".into(),
            retry_after: 12,
            fields: Some((
                HeaderValue::from_static("\"free\";q=60;w=60"),
                HeaderValue::from_static("\"free\";r=0;t=12"),
            )),
        };
        let (response, body) = answer(ErrorDetail::Standard, &Rejection::RateLimited(exceeded));
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "12");
        assert_eq!(response.headers()["ratelimit"], "\"free\";r=0;t=12");
        assert_eq!(body["type"], QUOTA_EXCEEDED);
        assert_eq!(body["violated-policies"], serde_json::json!(["free"]));
    }
}
