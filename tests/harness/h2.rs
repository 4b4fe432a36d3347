//! HTTP/2 over TLS: an ordinary client, and one that writes its frames by hand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::tls::{Client, Pair, TlsStream};
use super::within;

pub type Body = BoxBody<Bytes, Infallible>;

/// A certificate for `a.example`, and the line of YAML that names it.
pub fn secured() -> (tempfile::TempDir, Pair, String) {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let yaml = format!("tls: {}\n", pair.yaml());
    (folder, pair, yaml)
}

async fn connect(address: SocketAddr, pair: &Pair) -> TlsStream<TcpStream> {
    let client = Client::trusting(&[pair]).alpn(&["h2"]);
    client.connect(address, "a.example").await.unwrap()
}

/// A connection of an ordinary client.
#[derive(Clone)]
pub struct Http2(SendRequest<Body>);

impl Http2 {
    pub async fn connect(address: SocketAddr, pair: &Pair) -> Self {
        let io = TokioIo::new(connect(address, pair).await);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn begin(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        within(self.0.ready()).await?;
        within(self.0.send_request(request)).await
    }

    /// Sends a request and waits for its whole answer.
    pub async fn send(&mut self, request: Request<Body>) -> Response<Bytes> {
        let (head, body) = self.begin(request).await.expect("an answer").into_parts();
        let body = within(body.collect()).await.expect("a whole body").to_bytes();
        Response::from_parts(head, body)
    }
}

/// A request to `a.example`.
pub fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://a.example{path}"))
}

pub fn empty() -> Body {
    Empty::new().boxed()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A body whose length is not announced.
pub fn streamed(bytes: impl Into<Bytes>) -> Body {
    Streamed(Full::new(bytes.into())).boxed()
}

/// A body whose pieces the test sends.
pub fn fed(pieces: mpsc::UnboundedReceiver<Bytes>) -> Body {
    Fed(pieces).boxed()
}

struct Fed(mpsc::UnboundedReceiver<Bytes>);

impl hyper::body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

struct Streamed(Full<Bytes>);

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// A connection whose frames are written by hand (RFC 9113 §4).
pub struct Frames(TlsStream<TcpStream>);

/// A frame that came.
#[derive(Debug)]
pub struct Received {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered; the status if it is one that HPACK has an index for, else 0.
    Answered(u16),
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// `GOAWAY` with this code, or the end of the connection.
    Gone(Option<u32>),
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

impl Frames {
    pub async fn connect(address: SocketAddr, pair: &Pair) -> Self {
        let mut stream = connect(address, pair).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut frames = Self(stream);
        assert!(frames.send(SETTINGS, 0, 0, &[]).await);
        frames
    }

    /// Sends a frame; false if the other side is gone.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        within(self.0.write_all(&frame)).await.is_ok()
    }

    /// Sends a whole request without a body.
    pub async fn request(&mut self, stream: u32, fields: &[(&str, &str)]) -> bool {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields)).await
    }

    /// The next frame that is not of the connection's own business.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            let mut head = [0; 9];
            within(self.0.read_exact(&mut head)).await.ok()?;
            let number =
                |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            let mut payload = vec![0; number(&head[..3]) as usize];
            within(self.0.read_exact(&mut payload)).await.ok()?;
            let stream = number(&head[5..]);
            let frame = Received { kind: head[3], flags: head[4], stream, payload };
            match (frame.kind, frame.flags & 1) {
                (SETTINGS, 0) => drop(self.send(SETTINGS, 1, 0, &[]).await),
                (PING, 0) => drop(self.send(PING, 1, 0, &frame.payload).await),
                _ => return Some(frame),
            }
        }
    }

    /// What becomes of a stream.
    pub async fn fate(&mut self, stream: u32) -> Fate {
        while let Some(frame) = self.next().await {
            let code =
                |at: usize| frame.payload[at..].first_chunk().map(|code| u32::from_be_bytes(*code));
            match frame.kind {
                GOAWAY => return Fate::Gone(code(4)),
                HEADERS if frame.stream == stream => return Fate::Answered(status(&frame)),
                RST_STREAM if frame.stream == stream => return Fate::Reset(code(0).unwrap()),
                _ => {}
            }
        }
        Fate::Gone(None)
    }
}

/// RFC 7541 Appendix A.
fn status(frame: &Received) -> u16 {
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    let index = frame.payload[0].wrapping_sub(0x88);
    indexed.get(usize::from(index)).copied().unwrap_or(0)
}

/// The fields of a request for `a.example` in front of others.
pub fn fields<'f>(path: &'f str, more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let first =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", path)];
    [&first, more].concat()
}

/// Field lines as literals that nobody indexes (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// RFC 7541 §5.1, with a prefix of seven bits.
fn integer(block: &mut Vec<u8>, number: usize) {
    if number < 127 {
        return block.push(number as u8);
    }
    block.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}
