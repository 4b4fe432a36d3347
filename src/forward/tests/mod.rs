//! Requests forwarded to a backend that is a script of bytes.

mod connections;
mod faults;
mod fields;
mod served;
mod streaming;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Version};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::request_body::Source;
use super::{BodyError, Forwarded, Origin, Outgoing, Scrub, Upstream, UpstreamBody, prepare};
use crate::clock::Clock;
use crate::config::{self, Located, Place, TargetAddress, UpstreamTarget};
use crate::record::metrics::Metrics;
use crate::rejection::Rejection;

/// What a scripted backend does on one connection.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Reads a whole request.
    Read,
    /// Reads until the blank line.
    ReadHead,
    Write(&'static str),
    /// Reads and answers 200 with two bytes, for ever.
    Serve,
    /// Closes with data unread or unsent, so that the peer sees a reset.
    Reset,
    /// Closes.
    Close,
    /// Reads no more until the peer closes.
    Hang,
}

use Step::{Close, Hang, Read, ReadHead, Reset, Serve, Write};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A backend on a free port; records the bytes that each connection read.
struct Backend {
    port: u16,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    /// How many connections have ended.
    closed: Arc<AtomicUsize>,
}

impl Backend {
    /// The first connection runs the first script, and so on; the last one is repeated.
    async fn start(scripts: &[&'static [Step]]) -> Self {
        let scripts = scripts.to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let backend = Self { port, seen: Arc::default(), closed: Arc::default() };
        let (seen, closed) = (backend.seen.clone(), backend.closed.clone());
        tokio::spawn(async move {
            for index in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let script = scripts[index.min(scripts.len() - 1)];
                seen.lock().unwrap().push(Vec::new());
                let (seen, closed) = (seen.clone(), closed.clone());
                tokio::spawn(async move {
                    play(stream, script, index, &seen).await;
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        backend
    }

    fn connections(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What a connection has read so far.
    fn text(&self, connection: usize) -> String {
        let seen = self.seen.lock().unwrap();
        seen.get(connection).map(|bytes| String::from_utf8_lossy(bytes).into()).unwrap_or_default()
    }

    /// How many requests have come.
    fn requests(&self) -> usize {
        let all = (0..self.connections()).map(|index| self.text(index));
        all.map(|text| text.matches(" HTTP/1.").count()).sum()
    }

    async fn closed(&self, connections: usize) {
        eventually(|| self.closed.load(Ordering::SeqCst) >= connections).await;
    }
}

async fn play(mut stream: TcpStream, script: &[Step], index: usize, seen: &Mutex<Vec<Vec<u8>>>) {
    for step in script {
        match step {
            Read => _ = read(&mut stream, index, seen, true).await,
            ReadHead => _ = read(&mut stream, index, seen, false).await,
            Write(text) => drop(stream.write_all(text.as_bytes()).await),
            Serve => {
                while read(&mut stream, index, seen, true).await.is_some() {
                    drop(stream.write_all(OK.as_bytes()).await);
                }
                return;
            }
            Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Close => return,
            Hang => {
                read(&mut stream, usize::MAX, seen, true).await;
                return;
            }
        }
    }
    // Reads on, so that what comes unexpectedly is recorded.
    while read(&mut stream, index, seen, true).await.is_some() {}
}

/// Reads one request, or its head; `None` at the end of the stream.
async fn read(
    stream: &mut TcpStream,
    index: usize,
    seen: &Mutex<Vec<Vec<u8>>>,
    whole: bool,
) -> Option<()> {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&buffer[..count]);
        if let Some(connection) = seen.lock().unwrap().get_mut(index) {
            connection.extend_from_slice(&buffer[..count]);
        }
        if ends(&request, whole) {
            return Some(());
        }
    }
}

fn ends(request: &[u8], whole: bool) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length {
        _ if !whole => true,
        Some(length) => body.len() >= length.parse().unwrap(),
        None if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
        None => true,
    }
}

async fn eventually(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the condition came true");
}

/// A request's body, fed by the test.
#[derive(Debug)]
pub(super) struct Script {
    length: Option<u64>,
    frames: mpsc::UnboundedReceiver<Result<Frame<Bytes>, BodyError>>,
}

type Feed = mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>;

impl Script {
    fn empty() -> Self {
        Self::fed(Some(0)).1
    }

    fn full(body: &'static str) -> Self {
        let (feed, script) = Self::fed(Some(body.len() as u64));
        feed.send(Ok(Frame::data(Bytes::from_static(body.as_bytes())))).unwrap();
        script
    }

    /// A body that is sent in chunks if it has no length.
    fn fed(length: Option<u64>) -> (Feed, Self) {
        let (feed, frames) = mpsc::unbounded_channel();
        (feed, Self { length, frames })
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(self.frames.poll_recv(cx));
        if let (Some(Ok(frame)), Some(length)) = (&frame, &mut self.length) {
            *length -= frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// For clients of the tests' own.
impl http_body::Body for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        Script::is_end_stream(self)
    }

    fn size_hint(&self) -> SizeHint {
        Script::size_hint(self)
    }
}

fn feed(feed: &Feed, text: &'static str) {
    feed.send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).unwrap();
}

/// The part of a gateway that forwards, with short times.
struct Sender {
    upstream: Arc<Upstream>,
    metrics: Metrics,
    clock: Clock,
    scrub: Scrub,
}

impl Sender {
    fn to(ports: &[u16]) -> Self {
        Self::with(&settings(ports))
    }

    fn with(settings: &config::Upstream) -> Self {
        let (clock, metrics) = (Clock::default(), Metrics::default());
        let upstream = Arc::new(Upstream::new(settings, &clock, &metrics).unwrap());
        Self { upstream, metrics, clock, scrub: Scrub::new(&[HeaderName::from_static("x-user")]) }
    }

    fn outgoing(&self) -> Outgoing<'_> {
        let origin = Origin::of("192.0.2.7:4000".parse().unwrap(), true, &Default::default(), &[]);
        Outgoing {
            upstream: &self.upstream,
            path_and_query: "/orders/1?x=1".parse().unwrap(),
            host: HeaderValue::from_static("api.example.com"),
            identity: None,
            peer_ip: HeaderValue::from_str(&origin.peer.ip().to_canonical().to_string()).unwrap(),
            origin,
            scrub: &self.scrub,
            keep_authorization: false,
            timeout: None,
            upgrade: None,
            body_limit: 1000,
            request_id: HeaderValue::from_static("01K3F9"),
            trace: None,
        }
    }

    async fn send(&self, request: Request<Script>) -> Result<Forwarded, Rejection> {
        self.send_with(request, |_| {}).await
    }

    async fn send_with(
        &self,
        request: Request<Script>,
        change: impl FnOnce(&mut Outgoing<'_>),
    ) -> Result<Forwarded, Rejection> {
        let mut outgoing = self.outgoing();
        change(&mut outgoing);
        let (parts, body) = request.into_parts();
        let now = self.clock.monotonic();
        prepare(&parts, Source::Script(body), &outgoing, now)?.send().await.result
    }

    /// Sends a GET and reads the answer.
    async fn get(&self) -> (u16, String) {
        let response = self.send(get()).await.unwrap().response;
        (response.status().as_u16(), text(response.into_body()).await.unwrap())
    }

    /// Why a GET is refused.
    async fn refused(&self) -> Rejection {
        self.send(get()).await.unwrap_err()
    }

    fn errors(&self, reason: &str) -> u64 {
        self.metrics.upstream_errors.with_label_values(&["main", reason]).get()
    }

    fn resting(&self) -> i64 {
        self.metrics.upstream_connections.with_label_values(&["main", "idle"]).get()
    }

    fn working(&self) -> i64 {
        self.metrics.upstream_connections.with_label_values(&["main", "active"]).get()
    }
}

fn settings(ports: &[u16]) -> config::Upstream {
    let target = |port: &u16| {
        let address = TargetAddress::Tcp { host: "127.0.0.1".into(), port: *port, tls: false };
        located(UpstreamTarget { address, weight: 1 })
    };
    config::Upstream {
        name: located("main".into()),
        targets: ports.iter().map(target).collect(),
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(10),
        resilience: config::Resilience::default(),
        protocol: config::Protocol::default(),
        tls: config::UpstreamTls::default(),
    }
}

fn located<T>(value: T) -> Located<T> {
    Located { value, at: Place::default() }
}

fn get() -> Request<Script> {
    request("GET", &[], Script::empty())
}

fn request(method: &str, fields: &[(&str, &str)], body: Script) -> Request<Script> {
    let mut request = Request::builder().method(method).uri("/ignored").version(Version::HTTP_11);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

async fn text(body: UpstreamBody) -> Result<String, BodyError> {
    let bytes = body.collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into())
}

/// A port on which nothing listens.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}
