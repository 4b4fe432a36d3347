//! What a request asks for: one host and one canonical path, or 400.
//!
//! The path is read once. Routing, rules, limits, logs and the forwarded request all use this
//! reading, so that nothing is authorised as one path and served as another. Whatever two parsers
//! could read differently is refused (RFC 3986 §6, RFC 9110 §4.2.3).
//!
//! A target that is already canonical is shared with the request, not copied.

mod fold;
mod host;
mod path;

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use crate::rejection::{Rejection, TooLarge};

pub(crate) use fold::folded;
use host::Host;

/// The longest target accepted, in bytes. RFC 9112 §3 asks for at least 8000.
const LONGEST: usize = 16 << 10;

/// A host and a canonical path.
#[derive(Clone, Debug)]
pub struct Target {
    host: Host,
    path_and_query: PathAndQuery,
    encoded_slash: bool,
    decoded: Option<Arc<str>>,
}

impl Target {
    /// Whether a request asks for the server as a whole, and for no resource of it: `OPTIONS *`
    /// (RFC 9112 §3.2.4). With any other method `*` is no target.
    ///
    /// # Errors
    /// `MalformedRequest` if so, for the hosts that [`of`](Self::of) refuses.
    pub fn is_whole_server(
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
    ) -> Result<bool, Rejection> {
        if method != Method::OPTIONS || uri.path() != "*" {
            return Ok(false);
        }
        Host::of(uri, version, headers).map(|_| true)
    }

    /// Reads the target of a request.
    ///
    /// # Errors
    /// `MalformedRequest` for a missing, doubled, invalid or contradictory host and for targets
    /// that are not a path; `AmbiguousPath`; `RequestTooLarge`.
    pub fn of(
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
    ) -> Result<Self, Rejection> {
        if method == Method::CONNECT {
            return Err(Rejection::MalformedRequest("CONNECT is not served"));
        }
        let written = uri.path_and_query().filter(|target| target.as_str().starts_with('/'));
        let Some(written) = written else {
            return Err(Rejection::MalformedRequest("the target is not a path"));
        };
        if written.as_str().len() > LONGEST {
            return Err(Rejection::RequestTooLarge(TooLarge::Target));
        }
        let host = Host::of(uri, version, headers)?;
        let canonical = path::canonical(written).map_err(Rejection::AmbiguousPath)?;
        Ok(Self {
            host,
            path_and_query: canonical.path_and_query,
            encoded_slash: canonical.encoded_slash,
            decoded: canonical.decoded,
        })
    }

    /// The host in lower case, without a port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.name()
    }

    /// The host as the client wrote it, with its port if it has one.
    #[must_use]
    pub fn host_field(&self) -> &HeaderValue {
        self.host.field()
    }

    /// The canonical path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The query as the client wrote it.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }

    /// Path and query.
    #[must_use]
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }

    /// Whether the path has `%2F` in it, which only routes that say so accept.
    #[must_use]
    pub fn has_encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// The path as a backend reads it that takes `%3A` for `:` and the like, if that is another one.
    /// Who may call must not depend on which of the two a backend takes (RFC 3986 §2.2).
    #[must_use]
    pub fn decoded(&self) -> Option<&str> {
        self.decoded.as_deref()
    }

    /// The path as a backend reads it that takes `%2F` for `/`, if it has any.
    #[must_use]
    pub fn apart(&self) -> Option<String> {
        let path = self.decoded().unwrap_or(self.path());
        self.encoded_slash.then(|| path.replace("%2F", "/"))
    }

    /// The segment of the path at `index`, from 0, still percent-encoded.
    #[must_use]
    pub fn segment(&self, index: usize) -> Option<&str> {
        self.path().get(1..)?.split('/').nth(index)
    }
}
