//! The parameters of a request, and the ways in which an issuer says no.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use crate::demo::loopback::Answer;

/// Decoded `application/x-www-form-urlencoded` parameters.
pub(super) struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    /// Reads a body or query; anything can be read as parameters.
    pub(super) fn parse(text: &'a [u8]) -> Self {
        Self(form_urlencoded::parse(text).collect())
    }

    /// The value of `name`; an empty one counts as not sent.
    ///
    /// # Errors
    /// If it was sent twice (RFC 6749 §3.1): two readers could pick different ones.
    pub(super) fn value(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let value = values.next().map(AsRef::as_ref).filter(|value: &&str| !value.is_empty());
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Refusal::InvalidRequest("a parameter was sent twice")),
        }
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// If it was sent twice or not at all; `missing` says so.
    pub(super) fn required(&self, name: &str, missing: &'static str) -> Result<&str, Refusal> {
        self.value(name)?.ok_or(Refusal::InvalidRequest(missing))
    }

    /// All parameters but those in `names`, encoded anew.
    pub(super) fn without(&self, names: &[&str]) -> form_urlencoded::Serializer<'static, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.0.iter().filter(|(key, _)| !names.contains(&key.as_ref())));
        query
    }
}

/// An OAuth error (RFC 6749 §4.1.2.1 and §5.2, RFC 8707 §2, OIDC Core §3.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Unknown client, or not its secret; says whether it tried by `Authorization: Basic`.
    InvalidClient {
        /// The answer must then be a challenge.
        basic: bool,
    },
    /// The code, verifier, redirect URI or refresh token does not hold.
    InvalidGrant(&'static str),
    /// A parameter is missing, doubled or malformed.
    InvalidRequest(&'static str),
    /// A scope that the client may not ask for.
    InvalidScope,
    /// A resource that is not the demo's API.
    InvalidTarget,
    /// `prompt=none`, and nobody to sign in as.
    LoginRequired,
    /// No random bytes.
    ServerError,
    /// A grant that is not this client's.
    UnauthorizedClient,
    /// Not one of the three grants.
    UnsupportedGrantType,
    /// Not `code`.
    UnsupportedResponseType,
}

impl Refusal {
    /// The value of `error`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::InvalidClient { .. } => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::LoginRequired => "login_required",
            Self::ServerError => "server_error",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
        }
    }

    /// The value of `error_description`.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::InvalidClient { .. } => "unknown client, or wrong credentials",
            Self::InvalidGrant(why) | Self::InvalidRequest(why) => why,
            Self::InvalidScope => "the client may not ask for one of these scopes",
            Self::InvalidTarget => "tokens are made for the demo's API alone",
            Self::LoginRequired => "prompt=none needs login_hint=alice here",
            Self::ServerError => "the system gave no random bytes",
            Self::UnauthorizedClient => "the client may not use this grant",
            Self::UnsupportedGrantType => {
                "use authorization_code, client_credentials or refresh_token"
            }
            Self::UnsupportedResponseType => "use response_type=code",
        }
    }

    /// The answer of the token endpoint (RFC 6749 §5.2).
    pub(super) fn answer(self) -> Answer {
        let status = match self {
            Self::InvalidClient { .. } => StatusCode::UNAUTHORIZED,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InvalidGrant(_)
            | Self::InvalidRequest(_)
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::LoginRequired
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::UnsupportedResponseType => StatusCode::BAD_REQUEST,
        };
        let body = json!({ "error": self.code(), "error_description": self.description() });
        let mut answer = secret_json(status, &body);
        if self == (Self::InvalidClient { basic: true }) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        answer
    }
}

/// A JSON answer.
pub(super) fn json_answer(status: StatusCode, body: &impl Serialize) -> Answer {
    // Maps of text to text and lists of them cannot fail to serialise.
    let text = serde_json::to_vec(body).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A JSON answer that must not be kept (RFC 6749 §5.1).
pub(super) fn secret_json(status: StatusCode, body: &impl Serialize) -> Answer {
    let mut answer = json_answer(status, body);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}

const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Basic realm="scopegate demo issuer""#);
