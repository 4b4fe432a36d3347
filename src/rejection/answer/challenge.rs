//! The `WWW-Authenticate` field (RFC 6750 §3, RFC 9470 §3, RFC 9110 §11.6.1).
//!
//! Nothing that a client sent is ever copied into it: all text comes from the configuration or
//! from this file.

use std::fmt::Write as _;

use http::HeaderValue;

use crate::rejection::{Rejection, TokenFault, Unmet};

/// The challenge that belongs to a refusal, if one does.
pub(super) fn challenge(rejection: &Rejection, shown: bool, realm: &str) -> Option<HeaderValue> {
    let text = match (rejection, error_code(rejection)) {
        (Rejection::MissingToken, _) => format!("Bearer realm=\"{realm}\""),
        (_, Some(error)) => {
            let mut text = format!("Bearer error=\"{error}\"");
            append(&mut text, "error_description", &description(rejection, shown));
            parameters(&mut text, rejection);
            text
        }
        (_, None) => return None,
    };
    HeaderValue::try_from(text).ok()
}

/// The `error` code of RFC 6750 §3.1 or RFC 9470 §3.
pub(super) fn error_code(rejection: &Rejection) -> Option<&'static str> {
    match rejection {
        Rejection::MalformedCredentials(_) | Rejection::TokenInQuery | Rejection::TwoTokens => {
            Some("invalid_request")
        }
        Rejection::Token(_) => Some("invalid_token"),
        Rejection::Denied(denial) => match denial.unmet {
            Unmet::StepUp(_) => Some("insufficient_user_authentication"),
            Unmet::Claim(_)
            | Unmet::Client
            | Unmet::Group(_)
            | Unmet::Role(_)
            | Unmet::Scope(_)
            | Unmet::Source
            | Unmet::TokenKind => Some("insufficient_scope"),
        },
        Rejection::AmbiguousPath(_)
        | Rejection::AuthUnavailable { .. }
        | Rejection::BodyTooLarge(_)
        | Rejection::Draining
        | Rejection::Flood(_)
        | Rejection::MalformedRequest(_)
        | Rejection::MethodRefused(_)
        | Rejection::MissingToken
        | Rejection::NoHealthyUpstream
        | Rejection::NoRoute
        | Rejection::Overloaded
        | Rejection::QuotaExceeded(_)
        | Rejection::RateLimited(_)
        | Rejection::RequestTimeout
        | Rejection::RequestTooLarge(_)
        | Rejection::Shed { .. }
        | Rejection::UpstreamOverloaded { .. }
        | Rejection::UpstreamProtocol
        | Rejection::UpstreamTimeout(_)
        | Rejection::UpstreamUnreachable(_) => None,
    }
}

fn description(rejection: &Rejection, shown: bool) -> String {
    if let Rejection::Token(fault) = rejection {
        let hidden = "the token is not valid for this API";
        return if shown { fault.description() } else { hidden }.to_owned();
    }
    let Rejection::Denied(denial) = rejection else {
        return super::words::title(rejection.reason()).to_owned();
    };
    match &denial.unmet {
        Unmet::Scope(scopes) => format!("needs {}", scopes.join(" ")),
        Unmet::StepUp(_) => "a stronger or more recent authentication is needed".to_owned(),
        Unmet::Claim(_)
        | Unmet::Client
        | Unmet::Group(_)
        | Unmet::Role(_)
        | Unmet::Source
        | Unmet::TokenKind => "access denied".to_owned(),
    }
}

/// `scope`, `acr_values` and `max_age`: what would do instead.
fn parameters(text: &mut String, rejection: &Rejection) {
    let Rejection::Denied(denial) = rejection else { return };
    if let Unmet::Scope(scopes) = &denial.unmet {
        append(text, "scope", &scopes.join(" "));
    }
    if let Unmet::StepUp(step_up) = &denial.unmet {
        if !step_up.acr.is_empty() {
            append(text, "acr_values", &step_up.acr.join(" "));
        }
        if let Some(seconds) = step_up.max_age {
            append(text, "max_age", &seconds.to_string());
        }
    }
}

fn append(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = write!(text, ", {name}=\"{}\"", quotable(value));
}

/// The characters that `error_description` and `scope` may have (RFC 6750 §3): visible ASCII and
/// spaces without quotes and backslashes.
pub(super) fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && *c != '"' && *c != '\\').collect()
}

impl TokenFault {
    /// The fault in a few words.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::AlgorithmRefused => "the token's algorithm is not accepted",
            Self::BadSignature => "the token's signature does not verify",
            Self::Expired => "the token expired",
            Self::Inactive => "the token is not active",
            Self::Malformed => "the token is malformed",
            Self::NotYetValid => "the token is not yet valid",
            Self::Revoked => "the token was revoked",
            Self::SenderMismatch => "the token is bound to another sender",
            Self::UnknownIssuer => "the token's issuer is not accepted",
            Self::UnknownKey => "the token's key is not known",
            Self::WrongAudience => "the token is for another API",
            Self::WrongTokenType => "this is not an access token",
        }
    }
}
