//! HTTP/2 towards clients (RFC 9113): a library's, within bounds of ours.

mod activity;
mod driver;
mod session;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

use super::{Phase, Service};
use crate::config::Limits;
use crate::gateway::Peer;
use activity::{Activity, Late};
use driver::{Driver, End};
use session::{Session, answer};
use stream::Streams;

/// Serves one connection to its end.
pub(super) async fn serve<S: Service>(
    service: S,
    mut peer: Peer,
    stream: Box<TlsStream<TcpStream>>,
    limits: &Limits,
    phase: &mut watch::Receiver<Phase>,
) {
    let activity = Activity::default();
    peer.streams = Some(Arc::clone(activity.open()));
    let idle_timeout = limits.idle_timeout;
    let session = Arc::new(Session { service, peer, activity, idle_timeout });
    let streams = Streams(Arc::clone(&session));
    let connection =
        builder(limits, streams).serve_connection(TokioIo::new(stream), answer(&session));
    let finish = |connection: std::pin::Pin<&mut http2::Connection<_, _, Streams<S>>>| {
        connection.graceful_shutdown();
    };
    let mut driver = Driver::new(connection, finish, &session.activity, limits);
    let end = driver.run(phase).await;
    log(&session.peer, &end);
    // Whoever asked for nothing, or reads nothing, is not told good-bye.
    if let End::Late(Late::Idle) = end {
        driver.part().await;
    }
}

fn log(peer: &Peer, end: &End) {
    match end {
        End::Finished(Ok(())) => {}
        End::Finished(Err(error)) => {
            tracing::debug!(peer = %peer.address, %error, "a connection broke");
        }
        End::Late(late) => tracing::debug!(peer = %peer.address, ?late, "a connection was closed"),
        End::Cut => tracing::debug!(peer = %peer.address, "a connection was cut"),
    }
}

/// Bounds for what one connection may make the gateway remember (RFC 9113 §10.5): streams, header
/// lists, resets, and bytes of bodies that nobody has asked for yet.
fn builder<S>(limits: &Limits, streams: Streams<S>) -> http2::Builder<Streams<S>> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(64 << 10)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN);
    builder
}

/// How often a peer that speaks HTTP/2 is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const PING_WITHIN: Duration = Duration::from_secs(10);
