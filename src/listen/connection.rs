//! One connection: TLS, and the choice of HTTP version.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ProtocolVersion, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::accept::Listener;
use super::{Phase, Service, http1, http2, reached};
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
    let peer = |tls| Peer::new(address, tls, listener.counters.in_flight.clone());
    let service = &listener.service;
    let Some(tls) = &listener.tls else {
        return http1::serve(service, &peer(None), Box::new(stream), &limits, phase).await;
    };
    let Some(stream) = secure(listener, tls, stream, &limits, &mut phase).await else { return };
    let peer = peer(tls_version(&stream));
    // ALPN alone decides. A builder that looks at the first bytes waits for them without a limit.
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        Box::pin(http2::serve(service.clone(), peer, stream, &limits, &mut phase)).await;
    } else {
        http1::serve(service, &peer, stream, &limits, phase).await;
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

fn tls_version(stream: &TlsStream<TcpStream>) -> Option<&'static str> {
    match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => Some("1.3"),
        Some(_) => Some("1.2"),
        None => None,
    }
}
