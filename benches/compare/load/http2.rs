//! A client for HTTP/2 over TLS: one connection, used by many streams at once.

use std::io::{Error, Result};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::HOST;
use crate::requests::Request;
use crate::tls::Destination;

/// One stream's hold on a connection.
#[derive(Clone)]
pub struct Http2(SendRequest<Empty<Bytes>>);

impl Http2 {
    pub async fn connect(to: &Destination) -> Result<Self> {
        let io = TokioIo::new(to.connect().await?);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (sender, connection) = handshake.await.map_err(Error::other)?;
        tokio::spawn(async { drop(connection.await) });
        Ok(Self(sender))
    }

    /// Sends a request, reads the answer to its end, and returns its status.
    pub async fn send(&mut self, request: &Request<'_>) -> Result<u16> {
        self.0.ready().await.map_err(Error::other)?;
        let answer = self.0.send_request(message(request)).await.map_err(Error::other)?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await.map_err(Error::other)?;
        Ok(status)
    }
}

fn message(request: &Request<'_>) -> http::Request<Empty<Bytes>> {
    let uri = format!("https://{HOST}{}", request.path);
    let mut message = http::Request::get(uri).header("accept", "*/*").header("user-agent", "load");
    if let Some(token) = request.token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        // Never indexed, as RFC 7541 §7.1.3 asks for credentials.
        value.set_sensitive(true);
        message = message.header(AUTHORIZATION, value);
    }
    message.body(Empty::new()).unwrap()
}
