//! The closed list of reasons.

use http::StatusCode;

use super::{Rejection, TokenFault, TooLarge, Unmet};

/// One word for why a request was refused: the same in bodies, logs, metrics and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is described where the Rejection is")]
pub enum Reason {
    AlgorithmRefused,
    AmbiguousPath,
    AuthUnavailable,
    BadSignature,
    BodyTooLarge,
    ClaimMismatch,
    ClientRefused,
    Draining,
    Flood,
    MalformedRequest,
    MalformedToken,
    MethodRefused,
    MissingGroup,
    MissingRole,
    MissingScope,
    MissingToken,
    NoHealthyUpstream,
    NoRoute,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    RequestTooLarge,
    SenderMismatch,
    SourceRefused,
    StepUpRequired,
    TokenExpired,
    TokenInQuery,
    TokenInactive,
    TokenNotYetValid,
    TokenRevoked,
    TwoTokens,
    UnknownIssuer,
    UnknownKey,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnreachable,
    WrongAudience,
    WrongTokenKind,
    WrongTokenType,
}

impl Reason {
    /// Every reason, in alphabetical order.
    pub const ALL: [Self; 40] = [
        Self::AlgorithmRefused,
        Self::AmbiguousPath,
        Self::AuthUnavailable,
        Self::BadSignature,
        Self::BodyTooLarge,
        Self::ClaimMismatch,
        Self::ClientRefused,
        Self::Draining,
        Self::Flood,
        Self::MalformedRequest,
        Self::MalformedToken,
        Self::MethodRefused,
        Self::MissingGroup,
        Self::MissingRole,
        Self::MissingScope,
        Self::MissingToken,
        Self::NoHealthyUpstream,
        Self::NoRoute,
        Self::Overloaded,
        Self::QuotaExceeded,
        Self::RateLimited,
        Self::RequestTimeout,
        Self::RequestTooLarge,
        Self::SenderMismatch,
        Self::SourceRefused,
        Self::StepUpRequired,
        Self::TokenExpired,
        Self::TokenInQuery,
        Self::TokenInactive,
        Self::TokenNotYetValid,
        Self::TokenRevoked,
        Self::TwoTokens,
        Self::UnknownIssuer,
        Self::UnknownKey,
        Self::UpstreamProtocol,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
        Self::WrongAudience,
        Self::WrongTokenKind,
        Self::WrongTokenType,
    ];

    /// Whether the gateway decided it, rather than a backend failing.
    #[must_use]
    pub fn is_the_gateways(self) -> bool {
        !matches!(
            self,
            Self::NoHealthyUpstream
                | Self::UpstreamProtocol
                | Self::UpstreamTimeout
                | Self::UpstreamUnreachable
        )
    }

    /// The word, such as `missing_scope`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlgorithmRefused => "algorithm_refused",
            Self::AmbiguousPath => "ambiguous_path",
            Self::AuthUnavailable => "auth_unavailable",
            Self::BadSignature => "bad_signature",
            Self::BodyTooLarge => "body_too_large",
            Self::ClaimMismatch => "claim_mismatch",
            Self::ClientRefused => "client_refused",
            Self::Draining => "draining",
            Self::Flood => "flood",
            Self::MalformedRequest => "malformed_request",
            Self::MalformedToken => "malformed_token",
            Self::MethodRefused => "method_refused",
            Self::MissingGroup => "missing_group",
            Self::MissingRole => "missing_role",
            Self::MissingScope => "missing_scope",
            Self::MissingToken => "missing_token",
            Self::NoHealthyUpstream => "no_healthy_upstream",
            Self::NoRoute => "no_route",
            Self::Overloaded => "overloaded",
            Self::QuotaExceeded => "quota_exceeded",
            Self::RateLimited => "rate_limited",
            Self::RequestTimeout => "request_timeout",
            Self::RequestTooLarge => "request_too_large",
            Self::SenderMismatch => "sender_mismatch",
            Self::SourceRefused => "source_refused",
            Self::StepUpRequired => "step_up_required",
            Self::TokenExpired => "token_expired",
            Self::TokenInQuery => "token_in_query",
            Self::TokenInactive => "token_inactive",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::TokenRevoked => "token_revoked",
            Self::TwoTokens => "two_tokens",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKey => "unknown_key",
            Self::UpstreamProtocol => "upstream_protocol",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::WrongAudience => "wrong_audience",
            Self::WrongTokenKind => "wrong_token_kind",
            Self::WrongTokenType => "wrong_token_type",
        }
    }
}

impl TokenFault {
    /// The reason that names this fault.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::AlgorithmRefused => Reason::AlgorithmRefused,
            Self::BadSignature => Reason::BadSignature,
            Self::Expired => Reason::TokenExpired,
            Self::Inactive => Reason::TokenInactive,
            Self::Malformed => Reason::MalformedToken,
            Self::NotYetValid => Reason::TokenNotYetValid,
            Self::Revoked => Reason::TokenRevoked,
            Self::SenderMismatch => Reason::SenderMismatch,
            Self::UnknownIssuer => Reason::UnknownIssuer,
            Self::UnknownKey => Reason::UnknownKey,
            Self::WrongAudience => Reason::WrongAudience,
            Self::WrongTokenType => Reason::WrongTokenType,
        }
    }
}

impl Unmet {
    fn reason(&self) -> Reason {
        match self {
            Self::Claim(_) => Reason::ClaimMismatch,
            Self::Client => Reason::ClientRefused,
            Self::Group(_) => Reason::MissingGroup,
            Self::Role(_) => Reason::MissingRole,
            Self::Scope(_) => Reason::MissingScope,
            Self::Source => Reason::SourceRefused,
            Self::StepUp(_) => Reason::StepUpRequired,
            Self::TokenKind => Reason::WrongTokenKind,
        }
    }
}

impl Rejection {
    /// The word for it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::AmbiguousPath(_) => Reason::AmbiguousPath,
            Self::AuthUnavailable { .. } => Reason::AuthUnavailable,
            Self::BodyTooLarge(_) => Reason::BodyTooLarge,
            Self::Denied(denial) => denial.unmet.reason(),
            Self::Draining => Reason::Draining,
            Self::Flood(_) => Reason::Flood,
            Self::MalformedCredentials(_) | Self::MalformedRequest(_) => Reason::MalformedRequest,
            Self::MethodRefused(_) => Reason::MethodRefused,
            Self::MissingToken => Reason::MissingToken,
            Self::NoHealthyUpstream => Reason::NoHealthyUpstream,
            Self::NoRoute => Reason::NoRoute,
            Self::Overloaded | Self::Shed { .. } | Self::UpstreamOverloaded { .. } => {
                Reason::Overloaded
            }
            Self::QuotaExceeded(_) => Reason::QuotaExceeded,
            Self::RateLimited(_) => Reason::RateLimited,
            Self::RequestTimeout => Reason::RequestTimeout,
            Self::RequestTooLarge(_) => Reason::RequestTooLarge,
            Self::Token(fault) => fault.reason(),
            Self::TokenInQuery => Reason::TokenInQuery,
            Self::TwoTokens => Reason::TwoTokens,
            Self::UpstreamProtocol => Reason::UpstreamProtocol,
            Self::UpstreamTimeout(_) => Reason::UpstreamTimeout,
            Self::UpstreamUnreachable(_) => Reason::UpstreamUnreachable,
        }
    }

    /// The status that the client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::AmbiguousPath(_)
            | Self::MalformedCredentials(_)
            | Self::MalformedRequest(_)
            | Self::TokenInQuery
            | Self::TwoTokens => StatusCode::BAD_REQUEST,
            Self::MissingToken | Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(denial) => match denial.unmet {
                Unmet::StepUp(_) => StatusCode::UNAUTHORIZED,
                Unmet::Claim(_)
                | Unmet::Client
                | Unmet::Group(_)
                | Unmet::Role(_)
                | Unmet::Scope(_)
                | Unmet::Source
                | Unmet::TokenKind => StatusCode::FORBIDDEN,
            },
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodRefused(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RequestTooLarge(TooLarge::Target) => StatusCode::URI_TOO_LONG,
            Self::RequestTooLarge(TooLarge::Fields) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Flood(_) | Self::QuotaExceeded(_) | Self::RateLimited(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::UpstreamProtocol | Self::UpstreamUnreachable(_) => StatusCode::BAD_GATEWAY,
            Self::AuthUnavailable { .. }
            | Self::Draining
            | Self::NoHealthyUpstream
            | Self::Overloaded
            | Self::Shed { .. }
            | Self::UpstreamOverloaded { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The line of the rule or limit that refused, where one did.
    pub(crate) fn rule(&self) -> Option<&str> {
        if let Self::Shed { rule } = self {
            return Some(rule);
        }
        if let Self::Denied(denial) = self { Some(&denial.rule) } else { None }
    }

    /// Whether `mode: report` lets it through: what depends on the caller's token alone.
    #[must_use]
    pub fn is_about_the_caller(&self) -> bool {
        match self {
            Self::AuthUnavailable { .. }
            | Self::Denied(_)
            | Self::MalformedCredentials(_)
            | Self::MissingToken
            | Self::Token(_)
            | Self::TokenInQuery
            | Self::TwoTokens => true,
            Self::AmbiguousPath(_)
            | Self::BodyTooLarge(_)
            | Self::Draining
            | Self::Flood(_)
            | Self::MalformedRequest(_)
            | Self::MethodRefused(_)
            | Self::NoHealthyUpstream
            | Self::NoRoute
            | Self::Overloaded
            | Self::QuotaExceeded(_)
            | Self::RateLimited(_)
            | Self::RequestTimeout
            | Self::RequestTooLarge(_)
            | Self::Shed { .. }
            | Self::UpstreamOverloaded { .. }
            | Self::UpstreamProtocol
            | Self::UpstreamTimeout(_)
            | Self::UpstreamUnreachable(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_reason_has_its_own_word() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        let sorted = words.clone();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words, sorted);
    }
}
