//! Answering one request.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;

use crate::config::Limits;
use crate::forward::BodyError;
use crate::policy::{Policy, Shared};
use crate::record::AccessLog;

/// The other end of a client's connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The TLS version, such as `1.3`; `None` for plaintext.
    pub tls: Option<&'static str>,
    /// The listener's label in metrics: its configured address.
    pub listener: Arc<str>,
}

/// Answers requests by the policy in force.
#[derive(Debug)]
pub struct Gateway {}

impl Gateway {
    /// A gateway that enforces `policy` and writes each request's record to `log`, if there is one.
    #[must_use]
    pub fn new(policy: Arc<Policy>, shared: Shared, log: Option<AccessLog>) -> Self {
        let _ = (policy, shared, log);
        todo!()
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        todo!()
    }

    /// Puts another policy in force; requests under way finish by the one they began with.
    pub fn replace(&self, policy: Arc<Policy>) {
        let _ = policy;
        todo!()
    }

    /// Answers one request. Never fails: a refusal is a response. Leaves exactly one record.
    pub async fn handle(&self, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
        drop((peer, request));
        todo!()
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        todo!()
    }
}

/// The body of an answer; its end ends the request's record.
#[derive(Debug)]
pub struct Body {}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        drop(cx);
        todo!()
    }
}
