//! One connection: TLS, the choice of HTTP version, and that version's limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ProtocolVersion, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::accept::Listener;
use super::activity::{Activity, Late};
use super::close::{Transport, close};
use super::driver::{Driver, End};
use super::session::{Noting, Session, answer};
use super::{Phase, Service, reached};
use crate::config::Limits;
use crate::gateway::Peer;

/// Serves one connection to its end.
pub(super) async fn serve<S: Service>(
    listener: &Arc<Listener<S>>,
    stream: TcpStream,
    address: SocketAddr,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
) {
    let Some(tls) = &listener.tls else {
        let session = session(listener, address, None);
        return serve_http1(&session, stream, &limits, &mut phase).await;
    };
    let Some(stream) = secure(listener, tls, stream, &limits, &mut phase).await else { return };
    let session = session(listener, address, tls_version(&stream));
    // ALPN alone decides. A builder that looks at the first bytes waits for them without a limit.
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        Box::pin(serve_http2(&session, stream, &limits, &mut phase)).await;
    } else {
        serve_http1(&session, stream, &limits, &mut phase).await;
    }
}

/// Does the handshake. The stream is boxed: futures that pass it on would each keep room for it.
async fn secure<S: Service>(
    listener: &Listener<S>,
    tls: &Arc<ServerConfig>,
    stream: TcpStream,
    limits: &Limits,
    phase: &mut watch::Receiver<Phase>,
) -> Option<Box<TlsStream<TcpStream>>> {
    let handshake = Box::pin(TlsAcceptor::from(Arc::clone(tls)).accept(stream));
    tokio::select! {
        secured = tokio::time::timeout(limits.header_timeout, handshake) => {
            if let Ok(Ok(stream)) = secured {
                return Some(Box::new(stream));
            }
            // Scanners fail by the thousand: a count says enough.
            listener.counters.handshake.inc();
            None
        }
        () = reached(phase, Phase::Closed) => None,
    }
}

async fn serve_http1<S: Service, T: Transport>(
    session: &Arc<Session<S>>,
    transport: T,
    limits: &Limits,
    phase: &mut watch::Receiver<Phase>,
) {
    let mut transport = Noting::new(transport, session);
    let mut patience = Duration::ZERO;
    let end = loop {
        // Boxed: an idle connection gives back its buffers and all else that serving takes.
        let serving = Box::pin(serve_while_busy(session, transport, limits, patience, phase));
        let end;
        (end, transport) = serving.await;
        if !matches!(end, End::Idle) {
            break end;
        }
        let idle = Instant::now();
        if let Some(end) = rest(session, &mut transport, limits, phase).await {
            break end;
        }
        patience = if idle.elapsed() < BUSY { BUSY } else { Duration::ZERO };
    };
    log(session, &end);
    close(transport.into_transport(), &end).await;
}

/// Serves requests until none has come for as long as `patience`.
async fn serve_while_busy<S: Service, T: Transport>(
    session: &Arc<Session<S>>,
    transport: Noting<T, S>,
    limits: &Limits,
    patience: Duration,
    phase: &mut watch::Receiver<Phase>,
) -> (End, Noting<T, S>) {
    let io = TokioIo::new(transport);
    let connection = http1_builder(limits).serve_connection(io, answer(session));
    let finish = |connection: std::pin::Pin<&mut http1::Connection<_, _>>| {
        connection.graceful_shutdown();
    };
    let mut driver = Driver::new(connection, finish, &session.activity, limits).resting(patience);
    let end = driver.run(phase).await;
    let parts = driver.into_connection().into_parts();
    let mut transport = parts.io.into_inner();
    transport.put_back(parts.read_buf);
    (end, transport)
}

/// Waits until the client sends something, or for the connection's end. hyper and rustls have
/// understood all that came before, so only the socket can bring more.
async fn rest<S, T: Transport>(
    session: &Session<S>,
    transport: &mut Noting<T, S>,
    limits: &Limits,
    phase: &mut watch::Receiver<Phase>,
) -> Option<End> {
    if transport.has_unread() {
        return None;
    }
    let (deadline, late) = session.activity.deadline(limits)?;
    tokio::select! {
        biased;
        // An error is for the next read to tell.
        _ = transport.transport().socket().readable() => None,
        () = reached(phase, Phase::Draining) => Some(End::Idle),
        () = tokio::time::sleep_until(deadline.into()) => Some(End::Late(late)),
    }
}

async fn serve_http2<S: Service>(
    session: &Arc<Session<S>>,
    stream: Box<TlsStream<TcpStream>>,
    limits: &Limits,
    phase: &mut watch::Receiver<Phase>,
) {
    let connection = http2_builder(limits).serve_connection(TokioIo::new(stream), answer(session));
    let finish = |connection: std::pin::Pin<&mut http2::Connection<_, _, _>>| {
        connection.graceful_shutdown();
    };
    let mut driver = Driver::new(connection, finish, &session.activity, limits);
    let end = driver.run(phase).await;
    log(session, &end);
    // Whoever asked for nothing, or reads nothing, is not told good-bye.
    if let End::Late(Late::Idle) = end {
        driver.part().await;
    }
}

fn session<S: Service>(
    listener: &Listener<S>,
    address: SocketAddr,
    tls: Option<&'static str>,
) -> Arc<Session<S>> {
    Arc::new(Session {
        service: listener.service.clone(),
        peer: Peer::new(address, tls, listener.counters.in_flight.clone()),
        activity: Activity::default(),
    })
}

fn tls_version(stream: &TlsStream<TcpStream>) -> Option<&'static str> {
    match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => Some("1.3"),
        Some(_) => Some("1.2"),
        None => None,
    }
}

fn log<S>(session: &Session<S>, end: &End) {
    match end {
        End::Finished(Ok(())) | End::Idle => {}
        End::Finished(Err(error)) => {
            tracing::debug!(peer = %session.peer.address, %error, "a connection broke");
        }
        End::Late(late) => {
            tracing::debug!(peer = %session.peer.address, ?late, "a connection was closed");
        }
        End::Cut => tracing::debug!(peer = %session.peer.address, "a connection was cut"),
    }
}

/// hyper's own header timeout is also its keep-alive timeout and allocates per request, so it is
/// off: the driver has both.
fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(SMALLEST_BUFFER));
    // Any number but the default makes hyper allocate for each request.
    if limits.headers != DEFAULT_HEADERS {
        builder.max_headers(limits.headers);
    }
    builder
}

/// Bounds for what one connection may make the gateway remember (RFC 9113 §10.5): streams, header
/// lists, resets, and bytes of bodies that nobody has asked for yet.
fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
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

/// A connection whose requests come sooner after each other than this stays ready for the next. Any
/// other gives back what serving takes as soon as it is idle, so that of many connections, few have
/// it at the same time.
const BUSY: Duration = Duration::from_millis(250);

/// The least that hyper takes.
const SMALLEST_BUFFER: usize = 8192;

/// hyper's default number of header fields.
const DEFAULT_HEADERS: usize = 100;

/// How often a peer that speaks HTTP/2 is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const PING_WITHIN: Duration = Duration::from_secs(10);
