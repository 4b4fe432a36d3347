//! What clients read. Never a token, claim, key id, address or text of the configuration but the
//! scopes that are needed.

use http::StatusCode;

use crate::rejection::{Asked, Reason, Rejection, Unmet, Unreachable};

/// The title of a documented problem type.
pub(super) fn title(reason: Reason) -> &'static str {
    match reason {
        Reason::AlgorithmRefused => "The token's algorithm is not accepted",
        Reason::AmbiguousPath => "The path is ambiguous",
        Reason::AuthUnavailable => "Tokens cannot be checked at the moment",
        Reason::BadSignature => "The token's signature does not verify",
        Reason::BodyTooLarge => "The request body is too large",
        Reason::ClaimMismatch => "A claim of the token does not fit",
        Reason::ClientRefused => "The client is not accepted here",
        Reason::Draining => "The gateway is stopping",
        Reason::Flood => "Too many requests from this address",
        Reason::MalformedRequest => "The request is malformed",
        Reason::MalformedToken => "The token is malformed",
        Reason::MethodRefused => "The method is not accepted here",
        Reason::MissingGroup => "The token lacks a required group",
        Reason::MissingRole => "The token lacks a required role",
        Reason::MissingScope => "The token lacks a required scope",
        Reason::MissingToken => "An access token is required",
        Reason::NoHealthyUpstream => "No server of the API can be used",
        Reason::NoRoute => "There is nothing here",
        Reason::Overloaded => "The gateway is overloaded",
        Reason::QuotaExceeded | Reason::RateLimited => "Quota exceeded",
        Reason::RequestTimeout => "The request's head did not end in time",
        Reason::RequestTooLarge => "The request's head is too large",
        Reason::SenderMismatch => "The token is bound to another sender",
        Reason::SourceRefused => "The network is not accepted here",
        Reason::StepUpRequired => "A stronger authentication is required",
        Reason::TokenExpired => "The access token expired",
        Reason::TokenInQuery => "A token was sent in the query",
        Reason::TokenInactive => "The token is not active",
        Reason::TokenNotYetValid => "The token is not yet valid",
        Reason::TokenRevoked => "The token was revoked",
        Reason::TwoTokens => "More than one token was sent",
        Reason::UnknownIssuer => "The token's issuer is not accepted",
        Reason::UnknownKey => "The token's key is not known",
        Reason::UpstreamProtocol => "The API's answer could not be understood",
        Reason::UpstreamTimeout => "The API did not answer in time",
        Reason::UpstreamUnreachable => "The API cannot be reached",
        Reason::WrongAudience => "The token is for another API",
        Reason::WrongTokenKind => "Another kind of caller is required",
        Reason::WrongTokenType => "This is not an access token",
    }
}

/// What happened, for a client that may know.
pub(super) fn detail(rejection: &Rejection, asked: Asked<'_>) -> String {
    match rejection {
        Rejection::AmbiguousPath(why) => format!("The path is not accepted: {why}."),
        Rejection::BodyTooLarge(limit) => format!("The body may have at most {limit} bytes."),
        Rejection::Denied(denial) => unmet(&denial.unmet, asked),
        Rejection::MalformedCredentials(why) => {
            format!("The Authorization field is not Bearer and one token: {why}.")
        }
        Rejection::MalformedRequest(why) => format!("The request is malformed: {why}."),
        Rejection::Token(fault) => sentence(fault.description()),
        Rejection::TokenInQuery => {
            "Send the token in the Authorization field only, not in the query.".to_owned()
        }
        Rejection::UpstreamUnreachable(Unreachable::Loop) => {
            "The way to the API leads back to this gateway.".to_owned()
        }
        Rejection::UpstreamOverloaded { upstream, setting } => {
            format!("The upstream {upstream} has reached its {setting}.")
        }
        Rejection::TwoTokens => "Send one Authorization field with one token.".to_owned(),
        Rejection::AuthUnavailable { .. }
        | Rejection::Draining
        | Rejection::Flood(_)
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
        | Rejection::UpstreamProtocol
        | Rejection::UpstreamTimeout(_)
        | Rejection::UpstreamUnreachable(_) => sentence(title(rejection.reason())),
    }
}

fn unmet(unmet: &Unmet, asked: Asked<'_>) -> String {
    let operation = match asked.operation {
        Some((method, path)) => format!("{method} {path}"),
        None => "This".to_owned(),
    };
    match unmet {
        Unmet::Claim(name) => format!("The claim {name} does not fit."),
        Unmet::Client => "The token's client or issuer is not accepted here.".to_owned(),
        Unmet::Group(name) => format!("{operation} needs the group {name}."),
        Unmet::Role(name) => format!("{operation} needs the role {name}."),
        Unmet::Scope(scopes) if scopes.len() > 1 => {
            format!("{operation} needs the scopes {}.", scopes.join(", "))
        }
        Unmet::Scope(scopes) => format!("{operation} needs the scope {}.", scopes.join(", ")),
        Unmet::Source => "The network that the request came from is not accepted here.".to_owned(),
        Unmet::StepUp(_) => "A stronger or more recent authentication is needed.".to_owned(),
        Unmet::TokenKind => "This kind of token is not accepted here.".to_owned(),
    }
}

/// What a client is told that may not know more.
pub(super) fn general(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "The token is not valid for this API.",
        _ => "Access denied.",
    }
}

fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}
