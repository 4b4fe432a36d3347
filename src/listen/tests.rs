//! Connections from outside: raw sockets, TLS clients, and a service that does as it is told.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{
    Certificates, ListenError, Listeners, Received, Refreshed, Service, Setup, tls_config,
};
use crate::config::{Limits, Located, Place, TlsPair};
use crate::gateway::Peer;
use crate::record::metrics::Metrics;
use crate::rejection::Rejection;

/// Answers `/` at once, `/wait` when told to, `/endless` without end, `/keep` while it still reads,
/// and panics at `/panic`.
#[derive(Clone)]
struct Stub {
    /// Requests that reached it.
    begun: Arc<Semaphore>,
    /// Requests to `/wait` that may be answered.
    released: Arc<Semaphore>,
}

impl Service for Stub {
    type Body = UnsyncBoxBody<Bytes, Infallible>;

    async fn answer(
        &self,
        peer: &Peer,
        head: Box<request::Parts>,
        body: Received,
    ) -> Response<Self::Body> {
        self.begun.add_permits(1);
        let version = head.version;
        match head.uri.path() {
            "/wait" => self.released.acquire().await.unwrap().forget(),
            "/panic" => panic!("as told"),
            "/keep" => drop(tokio::spawn(body.collect())),
            "/endless" => return Response::new(Endless.boxed_unsync()),
            _ => {}
        }
        let text = format!("{version:?} tls={:?}", peer.tls);
        Response::new(Full::new(Bytes::from(text)).boxed_unsync())
    }

    fn refuse(&self, _: &Peer, rejection: Rejection) -> Response<Self::Body> {
        let mut response = Response::new(Empty::new().boxed_unsync());
        *response.status_mut() = rejection.status();
        response
    }
}

/// A body that always has more.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[0; 8192])))))
    }
}

struct Harness {
    listeners: Listeners,
    stub: Stub,
    metrics: Metrics,
}

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// Limits where both timeouts are long, so that each test shortens the one it is about.
fn patient() -> Limits {
    Limits { header_timeout: LONG, idle_timeout: LONG, ..Limits::default() }
}

impl Harness {
    fn start(limits: Limits, certificates: Option<Arc<Certificates>>, workers: usize) -> Self {
        let stub =
            Stub { begun: Arc::new(Semaphore::new(0)), released: Arc::new(Semaphore::new(0)) };
        let metrics = Metrics::default();
        let setup = Setup {
            workers,
            tls: certificates.map(|certificates| tls_config(certificates).unwrap()),
            limits: Arc::new(ArcSwap::from_pointee(limits)),
            ..Setup::new(vec![LOOPBACK.into()], "--listen", metrics.clone())
        };
        let listeners = Listeners::open(&setup, &stub).unwrap();
        Self { listeners, stub, metrics }
    }

    fn plain(limits: Limits) -> Self {
        Self::start(limits, None, 0)
    }

    fn secure(limits: Limits) -> Self {
        let (cert, key) = pem("localhost");
        let certificates = Certificates::from_pem(&cert, &key).unwrap();
        Self::start(limits, Some(Arc::new(certificates)), 0)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.listeners.addresses()[0]).await.unwrap()
    }

    async fn connect_tls(&self, name: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
        connect_tls(self.listeners.addresses()[0], name, alpn).await.unwrap()
    }

    async fn has_begun(&self) {
        self.stub.begun.acquire().await.unwrap().forget();
    }

    fn refused(&self, reason: &str) -> f64 {
        let families = self.metrics.registry.gather();
        let family = families.iter().find(|f| f.name() == "scopegate_connections_refused_total");
        let series = family.unwrap().get_metric().iter();
        let mut of_reason =
            series.filter(|series| series.get_label().iter().any(|pair| pair.value() == reason));
        of_reason.next().unwrap().get_counter().get_value()
    }

    async fn settles_at(&self, connections: usize) {
        for _ in 0..500 {
            if self.listeners.connections() == connections {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} connections are open", self.listeners.connections());
    }
}

async fn connect_tls(
    address: SocketAddr,
    name: &str,
    alpn: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// These tests ask which certificate comes, not whether to trust it.
#[derive(Debug)]
struct TrustAll;

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn pem(name: &str) -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

/// Writes a pair of files, and returns the certificate's DER.
fn write_pair(directory: &Path, stem: &str, name: &str) -> (TlsPair, CertificateDer<'static>) {
    let made = generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let pair = pair_at(directory, stem);
    std::fs::write(&*pair.cert, made.cert.pem()).unwrap();
    std::fs::write(&*pair.key, made.signing_key.serialize_pem()).unwrap();
    (pair, made.cert.der().clone())
}

fn pair_at(directory: &Path, stem: &str) -> TlsPair {
    let at = |extension| Located::<PathBuf> {
        value: directory.join(format!("{stem}.{extension}")),
        at: Place::default(),
    };
    TlsPair { cert: at("crt"), key: at("key") }
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Reads until the end, for at most 10 s, and says how long it took.
async fn read_to_end<S: AsyncRead + Unpin>(stream: &mut S) -> (String, Duration) {
    let began = Instant::now();
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    // A reset is an end too.
    drop(tokio::time::timeout(Duration::from_secs(10), read).await.expect("it was not closed"));
    (String::from_utf8_lossy(&bytes).into_owned(), began.elapsed())
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn plaintext_speaks_http1_and_keeps_alive() {
    let harness = Harness::plain(patient());
    let mut stream = harness.connect().await;
    for _ in 0..2 {
        let answer = ask(&mut stream, "/").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("HTTP/1.1 tls=None"), "{answer}");
    }
}

#[tokio::test]
async fn plaintext_refuses_http2_with_prior_knowledge() {
    let harness = Harness::plain(patient());
    let mut stream = harness.connect().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn worker_threads_serve_and_end() {
    let harness = Harness::start(patient(), None, 2);
    for _ in 0..8 {
        let answer = ask(&mut harness.connect().await, "/").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(harness.listeners.drain(LONG).await, 0);
}

#[tokio::test]
async fn silent_connection_is_closed_after_the_header_timeout() {
    let harness = Harness::plain(Limits { header_timeout: SHORT, ..patient() });
    let (answer, took) = read_to_end(&mut harness.connect().await).await;
    assert_eq!(answer, "");
    assert!(took >= SHORT / 2, "{took:?}");
    harness.settles_at(0).await;
}

#[tokio::test]
async fn silent_handshake_is_closed_after_the_header_timeout() {
    let harness = Harness::secure(Limits { header_timeout: SHORT, ..patient() });
    let (answer, _) = read_to_end(&mut harness.connect().await).await;
    assert_eq!(answer, "");
    harness.settles_at(0).await;
    assert!(harness.refused("handshake") > 0.5);
}

#[tokio::test]
async fn silent_secured_connection_is_closed_after_the_header_timeout() {
    let harness = Harness::secure(Limits { header_timeout: SHORT, ..patient() });
    let mut stream = harness.connect_tls("localhost", &["http/1.1"]).await;
    assert_eq!(read_to_end(&mut stream).await.0, "");
}

#[tokio::test]
async fn hp_23_slow_head_is_answered_408() {
    let harness = Harness::plain(Limits { header_timeout: SHORT, ..patient() });
    let mut stream = harness.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

#[tokio::test]
async fn dripping_bytes_win_no_time() {
    let harness = Harness::plain(Limits { header_timeout: SHORT, ..patient() });
    let (mut reader, mut writer) = harness.connect().await.into_split();
    let drip = tokio::spawn(async move {
        writer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while writer.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let (answer, took) = read_to_end(&mut reader).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(took < SHORT * 10, "{took:?}");
    drip.abort();
}

#[tokio::test]
async fn idle_connection_outlives_the_header_timeout() {
    let harness =
        Harness::plain(Limits { header_timeout: SHORT / 4, idle_timeout: SHORT * 3, ..patient() });
    let mut stream = harness.connect().await;
    assert!(ask(&mut stream, "/").await.contains("200 OK"));
    let (answer, took) = read_to_end(&mut stream).await;
    assert_eq!(answer, "");
    assert!(took > SHORT, "{took:?}");
}

#[tokio::test]
async fn second_slow_head_has_the_header_timeout_and_not_the_idle_one() {
    let harness = Harness::plain(Limits { header_timeout: SHORT, ..patient() });
    let mut stream = harness.connect().await;
    assert!(ask(&mut stream, "/").await.contains("200 OK"));
    stream.write_all(b"GET / HT").await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

/// A pause of a busy connection, and one after which a connection is at rest.
#[tokio::test]
async fn connections_at_rest_serve_on() {
    let harness = Harness::secure(patient());
    let open = Harness::plain(patient());
    let mut plain = open.connect().await;
    let mut secured = harness.connect_tls("localhost", &["http/1.1"]).await;
    for pause in [0, 0, 400, 0, 300, 300] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        assert!(ask(&mut plain, "/").await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(ask(&mut secured, "/").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

/// What came together with a request and is not a whole one yet outlives the rest after it.
#[tokio::test]
async fn rest_keeps_the_beginning_of_the_next_request() {
    let harness = Harness::plain(patient());
    let mut stream = harness.connect().await;
    let first = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nho";
    stream.write_all(first).await.unwrap();
    let mut answer = vec![0; 4096];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    stream.write_all(b"st: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

/// HP-23: such a beginning has the header timeout.
#[tokio::test]
async fn beginning_of_a_request_is_no_rest() {
    let harness = Harness::plain(Limits { header_timeout: SHORT, ..patient() });
    let mut stream = harness.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HT").await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.contains("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

#[tokio::test]
async fn connection_at_rest_ends_by_its_client() {
    let harness = Harness::plain(patient());
    let mut stream = harness.connect().await;
    assert!(ask(&mut stream, "/").await.contains("200 OK"));
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.0, "");
    harness.settles_at(0).await;
}

/// A body that still comes in after its answer is no next request (RFC 9112 §9.3).
#[tokio::test]
async fn what_is_left_of_an_answered_body_is_no_request() {
    let harness = Harness::plain(patient());
    for path in ["/", "/keep"] {
        let mut stream = harness.connect().await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 39\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        assert!(stream.read(&mut answer).await.unwrap() > 0);
        stream.write_all(b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n    ").await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let (answer, _) = read_to_end(&mut stream).await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1, "{answer}");
    }
    assert_eq!(harness.stub.begun.available_permits(), 4);
}

/// HP-07: whoever is told no may send the body or not, so nothing more is read.
#[tokio::test]
async fn an_expected_body_that_nobody_wanted_ends_the_connection() {
    let harness = Harness::plain(patient());
    let mut stream = harness.connect().await;
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

/// RFC 9112 §9.3, §6.3: HTTP/1.0 keeps a connection if asked to, and knows no chunks.
#[tokio::test]
async fn http10_keeps_alive_on_request_only() {
    let harness = Harness::plain(patient());
    let mut stream = harness.connect().await;
    let kept = b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n";
    stream.write_all(kept).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.contains("\r\nconnection: keep-alive\r\n"), "{answer}");
    stream.write_all(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n").await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn waiting_for_a_backend_is_not_idleness() {
    let limits = Limits { header_timeout: SHORT / 4, idle_timeout: SHORT / 4, ..patient() };
    let harness = Harness::plain(limits);
    let mut stream = harness.connect().await;
    let released = Arc::clone(&harness.stub.released);
    tokio::spawn(async move {
        tokio::time::sleep(SHORT).await;
        released.add_permits(1);
    });
    assert!(ask(&mut stream, "/wait").await.contains("200 OK"));
}

#[tokio::test]
async fn client_that_reads_nothing_is_cut() {
    let harness = Harness::plain(Limits { idle_timeout: SHORT, ..patient() });
    let mut stream = harness.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    harness.has_begun().await;
    harness.settles_at(0).await;
}

#[tokio::test]
async fn http2_client_that_grants_no_window_is_cut() {
    let harness = Harness::secure(Limits { idle_timeout: SHORT, ..patient() });
    let stream = harness.connect_tls("localhost", &["h2"]).await;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/endless").body(Empty::<Bytes>::new()).unwrap();
    // The body is kept and never read.
    let response = sender.send_request(request).await.unwrap();
    harness.settles_at(0).await;
    drop(response);
}

#[tokio::test]
async fn silent_http2_connection_is_closed_after_the_header_timeout() {
    let harness = Harness::secure(Limits { header_timeout: SHORT, ..patient() });
    let mut stream = harness.connect_tls("localhost", &["h2"]).await;
    read_to_end(&mut stream).await;
    harness.settles_at(0).await;
}

#[tokio::test]
async fn http2_preface_without_a_request_is_closed_after_the_header_timeout() {
    let harness = Harness::secure(Limits { header_timeout: SHORT, ..patient() });
    let mut stream = harness.connect_tls("localhost", &["h2"]).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    read_to_end(&mut stream).await;
    harness.settles_at(0).await;
}

#[tokio::test]
async fn alpn_chooses_http2_and_idle_streams_end_it() {
    let harness = Harness::secure(Limits { idle_timeout: SHORT, ..patient() });
    let stream = harness.connect_tls("localhost", &["h2", "http/1.1"]).await;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("https://localhost/").body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"HTTP/2.0 tls=Some("1.3")"#);
    connection.await.unwrap().unwrap();
    harness.settles_at(0).await;
}

#[tokio::test]
async fn unknown_alpn_is_refused() {
    let harness = Harness::secure(patient());
    let refused = connect_tls(harness.listeners.addresses()[0], "localhost", &["spdy/1"]).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn large_heads_are_refused() {
    let harness = Harness::plain(Limits { header_bytes: 8192, ..patient() });
    let mut stream = harness.connect().await;
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(9000));
    stream.write_all(head.as_bytes()).await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn many_fields_are_refused() {
    let harness = Harness::plain(Limits { headers: 5, ..patient() });
    let mut stream = harness.connect().await;
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(5));
    stream.write_all(head.as_bytes()).await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn hp_08_refused_upload_still_reads_its_answer() {
    let harness = Harness::plain(patient());
    let mut stream = harness.connect().await;
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 600000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    harness.has_begun().await;
    // The answer is on its way, and the connection closes; the client goes on sending.
    for _ in 0..60 {
        stream.write_all(&[b'z'; 10_000]).await.unwrap();
    }
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn connections_above_the_cap_are_closed_and_counted() {
    let harness = Harness::plain(Limits { connections: 1, ..patient() });
    let mut first = harness.connect().await;
    assert!(ask(&mut first, "/").await.contains("200 OK"));
    assert_eq!(read_to_end(&mut harness.connect().await).await.0, "");
    assert!(harness.refused("limit") > 0.5);
    drop(first);
    harness.settles_at(0).await;
    assert!(ask(&mut harness.connect().await, "/").await.contains("200 OK"));
}

#[tokio::test]
async fn a_panic_ends_its_connection_only() {
    let harness = Harness::plain(patient());
    let mut other = harness.connect().await;
    assert!(ask(&mut other, "/").await.contains("200 OK"));
    let mut stream = harness.connect().await;
    stream.write_all(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.0, "");
    assert!(ask(&mut other, "/").await.contains("200 OK"));
    harness.settles_at(1).await;
}

#[tokio::test]
async fn drain_finishes_a_request_and_refuses_connections() {
    let harness = Arc::new(Harness::plain(patient()));
    let mut busy = harness.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    harness.has_begun().await;
    let mut idle = harness.connect().await;
    assert!(ask(&mut idle, "/").await.contains("200 OK"));
    let draining = tokio::spawn({
        let harness = Arc::clone(&harness);
        async move { harness.listeners.drain(LONG).await }
    });
    assert_eq!(read_to_end(&mut idle).await.0, "");
    let refused = TcpStream::connect(harness.listeners.addresses()[0]).await;
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(!draining.is_finished());
    harness.stub.released.add_permits(1);
    let (answer, _) = read_to_end(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    drop(busy);
    assert_eq!(draining.await.unwrap(), 0);
}

#[tokio::test]
async fn drain_answers_a_head_that_is_half_received() {
    let harness = Arc::new(Harness::plain(patient()));
    let mut stream = harness.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    harness.settles_at(1).await;
    let draining = tokio::spawn({
        let harness = Arc::clone(&harness);
        async move { harness.listeners.drain(LONG).await }
    });
    while harness.listeners.is_accepting() {
        tokio::task::yield_now().await;
    }
    stream.write_all(b"host: a\r\n\r\n").await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(stream);
    assert_eq!(draining.await.unwrap(), 0);
}

#[tokio::test]
async fn drain_cuts_and_counts_what_takes_too_long() {
    for (harness, alpn) in [
        (Harness::plain(patient()), None),
        (Harness::start(patient(), None, 1), None),
        (Harness::secure(patient()), Some("http/1.1")),
    ] {
        let head = b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut stream: Box<dyn Both> = match alpn {
            Some(alpn) => Box::new(harness.connect_tls("localhost", &[alpn]).await),
            None => Box::new(harness.connect().await),
        };
        stream.write_all(head).await.unwrap();
        harness.has_begun().await;
        assert_eq!(harness.listeners.drain(SHORT).await, 1);
        assert_eq!(read_to_end(&mut stream).await.0, "");
        assert_eq!(harness.listeners.connections(), 0);
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

#[tokio::test]
async fn port_in_use_is_an_error_that_names_another() {
    let harness = Harness::plain(patient());
    let taken = harness.listeners.addresses()[0];
    let setup = Setup::new(vec![taken.into()], "--listen", Metrics::default());
    let error = Listeners::open(&setup, &harness.stub).unwrap_err();
    assert!(matches!(error, ListenError::InUse { place, .. } if place == taken.to_string()));
}

#[tokio::test]
async fn sni_chooses_the_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (first, first_der) = write_pair(directory.path(), "a", "a.example");
    let (second, second_der) = write_pair(directory.path(), "b", "B.example");
    let (wildcard, wildcard_der) = write_pair(directory.path(), "w", "*.w.example");
    let certificates = Certificates::from_files(&[first, second, wildcard]).unwrap();
    let harness = Harness::start(patient(), Some(Arc::new(certificates)), 0);
    for (name, expected) in [
        ("a.example", &first_der),
        ("b.example", &second_der),
        ("x.w.example", &wildcard_der),
        ("x.y.w.example", &first_der),
        ("unknown.example", &first_der),
        ("127.0.0.1", &first_der),
    ] {
        let stream = harness.connect_tls(name, &[]).await;
        assert_eq!(shown(&stream), *expected, "{name}");
    }
}

#[tokio::test]
async fn tl_03_new_files_are_used_and_old_connections_live_on() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, old) = write_pair(directory.path(), "a", "a.example");
    let certificates = Arc::new(Certificates::from_files(&[pair]).unwrap());
    let harness = Harness::start(patient(), Some(Arc::clone(&certificates)), 0);
    let mut before = harness.connect_tls("a.example", &[]).await;
    assert_eq!(shown(&before), old);
    assert_eq!(certificates.refresh(), []);
    let (_, new) = write_pair(directory.path(), "a", "a.example");
    assert!(
        matches!(&certificates.refresh()[..], [Refreshed::Swapped(name, Some(_))] if name == "a.example")
    );
    assert_eq!(shown(&harness.connect_tls("a.example", &[]).await), new);
    assert!(ask(&mut before, "/").await.contains("200 OK"));
}

#[test]
fn a_pair_that_does_not_fit_keeps_the_old_one_until_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, _) = write_pair(directory.path(), "a", "a.example");
    let certificates = Certificates::from_files(std::slice::from_ref(&pair)).unwrap();
    let (other, _) = write_pair(directory.path(), "b", "b.example");
    std::fs::copy(&*other.cert, &*pair.cert).unwrap();
    let events = certificates.refresh();
    assert!(
        matches!(&events[..], [Refreshed::Kept { why, .. }] if why.contains("not the key")),
        "{events:?}"
    );
    assert_eq!(certificates.refresh(), [], "the same state is reported once");
    std::fs::copy(&*other.key, &*pair.key).unwrap();
    assert!(
        matches!(&certificates.refresh()[..], [Refreshed::Swapped(name, Some(_))] if name == "b.example")
    );
    std::fs::remove_file(&*pair.key).unwrap();
    assert!(matches!(&certificates.refresh()[..], [Refreshed::Kept { .. }]));
}

#[test]
fn files_that_cannot_be_used_are_problems_at_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let (mut good, _) = write_pair(directory.path(), "a", "a.example");
    let (other, _) = write_pair(directory.path(), "b", "b.example");
    good.key = Located { value: other.key.value, at: Place { line: 7, ..Place::default() } };
    let missing = pair_at(directory.path(), "missing");
    let mut empty = pair_at(directory.path(), "empty");
    std::fs::write(&*empty.cert, "").unwrap();
    std::fs::write(&*empty.key, "").unwrap();
    empty.cert.at.line = 9;
    let problems = Certificates::from_files(&[good, missing, empty]).unwrap_err();
    assert_eq!(problems.0.len(), 3);
    assert!(problems.0.iter().all(|problem| problem.code == "E080"));
    assert_eq!(problems.0[0].at.unwrap().line, 7);
    assert!(problems.0[0].label.contains("not the key"), "{:?}", problems.0[0]);
    assert_eq!(problems.0[2].at.unwrap().line, 9);
}

#[test]
fn expiry_is_exported_by_name() {
    let (cert, key) = pem("a.example");
    let certificates = Certificates::from_pem(&cert, &key).unwrap();
    let metrics = Metrics::default();
    certificates.export(&metrics);
    let expiry = metrics.tls_certificate_expiry.with_label_values(&["a.example"]).get();
    assert!(expiry > 1e9, "{expiry}");
}
