//! One path pattern: where it leads, and who may call it with which method.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use crate::authenticate::Scrutiny;
use crate::config::Mode;
use crate::cors::Cors;
use crate::forward::Upstream;
use crate::limit::Plan;
use crate::method;
use crate::record::route_metrics::RouteMetrics;
use crate::rejection::Rejection;

use super::Rule;

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// The pattern as written: the route's name in logs and metrics.
    pub(crate) pattern: Arc<str>,
    /// `gateway.yaml:7`.
    pub(crate) at: Arc<str>,
    pub(crate) upstream: Arc<Upstream>,
    /// How many segments the backend does not see.
    pub(crate) strip_prefix: usize,
    pub(crate) timeout: Option<Duration>,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<Arc<Plan>>,
    pub(crate) keep_authorization: bool,
    /// Protocols that a connection may turn to, in lower case.
    pub(crate) upgrade: Box<[String]>,
    /// How closely tokens are looked at here.
    pub(crate) scrutiny: Scrutiny,
    pub(crate) metrics: Arc<RouteMetrics>,
    pub(super) cors: Option<Arc<Cors>>,
    pub(super) allow_encoded_slash: bool,
    pub(super) methods: Box<[(Method, Access)]>,
    /// For the usual methods that are not listed.
    pub(super) others: Option<Access>,
    /// The `Allow` field (RFC 9110 §10.2.1).
    pub(crate) allow: HeaderValue,
    /// A digest of the configuration it was made from, to tell whether a reload changed it.
    pub(super) settings: u64,
}

/// Who may use a method of a route.
#[derive(Debug)]
pub enum Access {
    /// Anyone; tokens are not looked at.
    Open,
    /// Anyone; a token that is sent must be good.
    Optional,
    /// Who meets a rule.
    Restricted(Requirement),
}

/// A rule, and the scopes that it needs in any case.
#[derive(Debug)]
pub struct Requirement {
    pub(crate) rule: Rule,
    pub(crate) scopes: Box<[Box<str>]>,
}

/// The route of a request, and the access that its method needs. Only [`Route::access`] makes one,
/// so nobody can ask for a permit with an access that the route does not give.
#[derive(Clone, Copy, Debug)]
pub struct Found<'p> {
    route: &'p Arc<Route>,
    access: &'p Access,
}

impl<'p> Found<'p> {
    /// The route.
    #[must_use]
    pub fn route(self) -> &'p Arc<Route> {
        self.route
    }

    /// The access.
    #[must_use]
    pub fn access(self) -> &'p Access {
        self.access
    }
}

impl Route {
    /// Finds the access for a method; HEAD follows GET (RFC 9110 §9.3.2).
    ///
    /// # Errors
    /// `MethodRefused`, and `MalformedRequest` for a method that some backends take for another.
    pub fn access<'p>(self: &'p Arc<Self>, method: &Method) -> Result<Found<'p>, Rejection> {
        let listed = |wanted: &Method| {
            self.methods.iter().find(|(method, _)| method == wanted).map(|(_, access)| access)
        };
        let head = || if *method == Method::HEAD { listed(&Method::GET) } else { None };
        let others = || self.others.as_ref().filter(|_| method::is_usual(method));
        match listed(method).or_else(head).or_else(others) {
            Some(access) => Ok(Found { route: self, access }),
            None => Err(self.refusal(method)),
        }
    }

    fn refusal(&self, method: &Method) -> Rejection {
        if method::is_misspelt(method, self.methods.iter().map(|(listed, _)| listed)) {
            return Rejection::MalformedRequest("the method is not written in capitals");
        }
        Rejection::MethodRefused(self.allow.clone())
    }

    pub(super) fn is_public(&self) -> bool {
        let open = |access: &Access| match access {
            Access::Open | Access::Optional => true,
            Access::Restricted(_) => false,
        };
        self.methods.iter().map(|(_, access)| access).chain(&self.others).any(open)
    }

    /// The path that the backend sees.
    pub(crate) fn backend_path<'t>(&self, path: &'t str) -> &'t str {
        // Not by bytes: the prefix may have been asked for in another case, or escaped.
        let stripped =
            self.strip_prefix.checked_sub(1).map(|last| path.match_indices('/').nth(last + 1));
        match stripped {
            None => path,
            Some(None) => "/",
            Some(Some((at, _))) => &path[at..],
        }
    }
}
