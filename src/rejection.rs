//! Every reason to refuse a request.
//!
//! A [`Rejection`] carries what is known of the refusal; [`Reason`] is the word for it in bodies,
//! logs and metrics. How a refusal looks to the client is in [`answer`].

mod answer;
mod grpc;
mod reason;

pub use answer::{Answers, Asked};
pub use grpc::is_call as is_grpc;
pub use reason::Reason;

use std::sync::Arc;

use http::HeaderValue;

/// A refusal. There is no catch-all: a new reason is a new variant.
#[derive(Clone, Debug)]
pub enum Rejection {
    /// 400: the path can be read in two ways (RFC 3986 §6); says which rule it broke.
    AmbiguousPath(&'static str),
    /// 503: whether the token is valid cannot be known now.
    AuthUnavailable {
        /// Seconds until it is worth trying again, at least 1.
        retry_after: u64,
    },
    /// 413: the body exceeds the limit, in bytes.
    BodyTooLarge(u64),
    /// 401 or 403: the token is good, but not for this.
    Denied(Denial),
    /// 503: the gateway stops, and the time that requests under way had is over.
    Draining,
    /// 429: too many requests from one address, before any token was looked at.
    Flood(Exceeded),
    /// 400: the `Authorization` field is not `Bearer` and one token (RFC 6750 §2.1).
    MalformedCredentials(&'static str),
    /// 400: the request is not HTTP as the RFCs have it; says how.
    MalformedRequest(&'static str),
    /// 405, with the methods that are allowed.
    MethodRefused(HeaderValue),
    /// 401: no token was sent.
    MissingToken,
    /// 503: no server of the upstream can be used.
    NoHealthyUpstream,
    /// 404: no route matches.
    NoRoute,
    /// 503: more is under way than the limits allow.
    Overloaded,
    /// 429: the caller's quota for a longer period is used up.
    QuotaExceeded(Exceeded),
    /// 429: the caller's rate is exceeded.
    RateLimited(Exceeded),
    /// 408: the head of a request did not end in time.
    RequestTimeout,
    /// 431 or 414: the head of the request exceeds a limit.
    RequestTooLarge(TooLarge),
    /// 503: as much is under way as the limit allows that is written here.
    Shed {
        /// `gateway.yaml:12`, or the limit's name where its default was met.
        rule: Arc<str>,
    },
    /// 401: the token is not valid here.
    Token(TokenFault),
    /// 400: a token came in the query beside the one in the header (RFC 6750 §3.1).
    TokenInQuery,
    /// 400: two tokens came (RFC 6750 §3.1).
    TwoTokens,
    /// 503: more is under way at the upstream than its settings allow.
    UpstreamOverloaded {
        /// Its name.
        upstream: Arc<str>,
        /// The setting: `max_connections`, `max_requests` or `max_pending`.
        setting: &'static str,
    },
    /// 502: the upstream's answer is not HTTP.
    UpstreamProtocol,
    /// 504: the upstream did not answer in time.
    UpstreamTimeout(Late),
    /// 502: the upstream cannot be reached.
    UpstreamUnreachable(Unreachable),
}

/// What an upstream was too slow in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// In answering.
    Answering,
    /// In accepting a connection.
    Connecting,
}

/// Why an upstream cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Its name has no address.
    Dns,
    /// It leads back to this gateway (RFC 9110 §7.6.3).
    Loop,
    /// It accepts no connection.
    Refused,
    /// It closed the connection before the head of its answer.
    Reset,
    /// Its certificate or its TLS is not acceptable.
    Tls,
}

/// What part of the head is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// The target: 414.
    Target,
    /// The fields: 431.
    Fields,
}

/// Why a token is not valid (RFC 6750 §3.1 `invalid_token`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// `alg` is not one that the issuer may use.
    AlgorithmRefused,
    /// The signature does not verify.
    BadSignature,
    /// `exp` has passed.
    Expired,
    /// The issuer says that it is not active.
    Inactive,
    /// It is not a compact JWS of JSON objects, or a claim has the wrong type.
    Malformed,
    /// `nbf` or `iat` lies in the future.
    NotYetValid,
    /// It was revoked.
    Revoked,
    /// It is bound to a key that the sender did not show.
    SenderMismatch,
    /// `iss` is not a configured issuer.
    UnknownIssuer,
    /// The issuer has no such key.
    UnknownKey,
    /// `aud` does not name this API.
    WrongAudience,
    /// It is an ID token, a refresh token, or another kind than an access token.
    WrongTokenType,
}

/// Why a good token is not good enough.
#[derive(Clone, Debug)]
pub struct Denial {
    /// Which requirement was not met.
    pub unmet: Unmet,
    /// `gateway.yaml:10`: where that requirement is written.
    pub rule: Arc<str>,
}

/// A requirement that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// A condition on a claim; names the claim.
    Claim(Arc<str>),
    /// The client or the issuer.
    Client,
    /// The group.
    Group(Arc<str>),
    /// The role.
    Role(Arc<str>),
    /// The scopes: all that the operation needs.
    Scope(Arc<[Box<str>]>),
    /// The network that the request comes from.
    Source,
    /// A stronger or fresher authentication of the person (RFC 9470).
    StepUp(StepUp),
    /// A person's token, or a machine's.
    TokenKind,
}

/// The authentication that would do (RFC 9470 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp {
    /// The authentication context classes, in order of preference; may be empty.
    pub acr: Arc<[String]>,
    /// The longest time since authentication, in seconds.
    pub max_age: Option<u64>,
}

/// A limit that was reached.
#[derive(Clone, Debug)]
pub struct Exceeded {
    /// The plan's name.
    pub policy: Arc<str>,
    /// Seconds until one request is allowed again, at least 1.
    pub retry_after: u64,
    /// The `RateLimit-Policy` and `RateLimit` fields; none for floods.
    pub fields: Option<(HeaderValue, HeaderValue)>,
}
