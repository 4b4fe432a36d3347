//! The last stage: a permit sends its request.

use http::uri::PathAndQuery;
use http::{Response, request};

use crate::authorize::Permit;
use crate::listen::Received;
use crate::policy::{Policy, Route};
use crate::record::Record;
use crate::rejection::Rejection;
use crate::target::Target;

use super::request_body::Source;
use super::{Origin, Outgoing, UpstreamBody, prepare, upgrade};

impl Permit<'_> {
    /// Forwards the request to the route's upstream. Nothing else does, so what reaches a backend
    /// was permitted.
    ///
    /// # Errors
    /// As [`prepare`] and [`Call::send`](super::exchange::Call::send).
    pub(crate) async fn forward(
        &self,
        policy: &Policy,
        target: &Target,
        origin: Origin,
        head: &request::Parts,
        body: Received,
        record: &mut Record,
    ) -> Result<Response<UpstreamBody>, Rejection> {
        let route = self.route();
        let outgoing = Outgoing {
            upstream: &route.upstream,
            path_and_query: backend_target(route, target)?,
            host: target.host_field().clone(),
            identity: self.caller().identity().map(AsRef::as_ref),
            origin,
            peer_ip: record.peer_ip.clone(),
            scrub: policy.scrub(),
            keep_authorization: route.keep_authorization,
            upgrade: upgrade::asked_for(head, &body, &route.upgrade),
            timeout: route.timeout,
            body_limit: policy.limits.body,
            request_id: record.request_id.clone(),
            trace: record.trace.clone(),
        };
        let now = record.now();
        let call = prepare(head, Source::Client(body), &outgoing, now)?;
        record.forwards(&route.upstream, now, call.sent());
        let sent = call.send().await;
        record.tried(sent.tries);
        let forwarded = sent.result?;
        let status = forwarded.response.status().as_u16();
        record.forwarded(&forwarded.target, status, forwarded.waited);
        Ok(forwarded.response)
    }
}

/// The path that was authorised, without the prefix that the backend does not see.
fn backend_target(route: &Route, target: &Target) -> Result<PathAndQuery, Rejection> {
    let path = route.backend_path(target.path());
    if path.len() == target.path().len() {
        return Ok(target.path_and_query().clone());
    }
    let whole = match target.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let invalid = |_| Rejection::AmbiguousPath("nothing is left of it for the backend");
    PathAndQuery::try_from(whole).map_err(invalid)
}
