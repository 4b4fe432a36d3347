//! A backend on any kind of socket, by HTTP/1.1 or HTTP/2. What it does stands in the path.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The backend.
pub struct Origin {
    pub address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

struct State {
    tls: Mutex<Option<Arc<ServerConfig>>>,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    /// Connections that are told to go away at their first request.
    leaves: AtomicUsize,
    /// Requests that are refused before they are looked at.
    refuses: AtomicUsize,
    http2: AtomicBool,
    seen: Mutex<Vec<Request<()>>>,
    bytes: AtomicUsize,
    go: Notify,
}

impl Origin {
    /// On TCP, with TLS if there are settings for it. Plaintext is HTTP/2, TLS what was agreed on.
    pub async fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State::new(tls);
        let serving = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(Arc::clone(&serving).accept(stream));
            }
        });
        Self { address, state, server }
    }

    /// On a unix socket, by HTTP/1.1 or HTTP/2.
    pub fn on(path: &Path, http2: bool) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let state = State::new(None);
        state.http2.store(http2, Ordering::SeqCst);
        let serving = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).accept(stream));
            }
        });
        Self { address: "127.0.0.1:1".parse().unwrap(), state, server }
    }

    /// Shows another certificate from now on.
    pub fn shows(&self, tls: Arc<ServerConfig>) {
        *self.state.tls.lock().unwrap() = Some(tls);
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many TLS handshakes came to their end.
    pub fn handshakes(&self) -> usize {
        self.state.handshakes.load(Ordering::SeqCst)
    }

    /// Tells so many connections to go away instead of answering.
    pub fn leaves(&self, count: usize) {
        self.state.leaves.store(count, Ordering::SeqCst);
    }

    /// Refuses so many requests before looking at them.
    pub fn refuses(&self, count: usize) {
        self.state.refuses.store(count, Ordering::SeqCst);
    }

    /// The requests that were looked at.
    pub fn seen(&self) -> Vec<Request<()>> {
        let seen = self.state.seen.lock().unwrap();
        let copy = |request: &Request<()>| {
            let mut copy = Request::new(());
            *copy.method_mut() = request.method().clone();
            *copy.uri_mut() = request.uri().clone();
            *copy.headers_mut() = request.headers().clone();
            copy
        };
        seen.iter().map(copy).collect()
    }

    /// The bytes of bodies that came.
    pub fn bytes(&self) -> usize {
        self.state.bytes.load(Ordering::SeqCst)
    }

    /// Lets one `/wait` go on.
    pub fn go(&self) {
        self.state.go.notify_one();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn new(tls: Option<Arc<ServerConfig>>) -> Arc<Self> {
        Arc::new(Self {
            tls: Mutex::new(tls),
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            leaves: AtomicUsize::new(0),
            refuses: AtomicUsize::new(0),
            http2: AtomicBool::new(true),
            seen: Mutex::default(),
            bytes: AtomicUsize::new(0),
            go: Notify::new(),
        })
    }

    async fn accept(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let tls = self.tls.lock().unwrap().clone();
        let Some(tls) = tls else {
            let http2 = self.http2.load(Ordering::SeqCst);
            return self.serve(stream, http2).await;
        };
        let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
        self.handshakes.fetch_add(1, Ordering::SeqCst);
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.serve(stream, http2).await;
    }

    async fn serve(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        http2: bool,
    ) {
        if !http2 {
            return self.http1(stream).await;
        }
        if take_one(&self.leaves) {
            return leave(stream).await;
        }
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            if request.uri().path() == "/goodbye" {
                connection.graceful_shutdown();
            }
            tokio::spawn(Arc::clone(&self).answer(request, respond));
        }
    }

    /// 200 and `hello`, whatever is asked; `/cut` ends without the end of TLS, `/ends` with it.
    async fn http1(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let mut request = Request::new(());
            let mut lines = head.lines();
            *request.uri_mut() = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
                let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
                request.headers_mut().append(name, value.parse().unwrap());
            }
            let path = request.uri().path().to_owned();
            self.seen.lock().unwrap().push(request);
            let answer: &[u8] = match path.as_str() {
                "/cut" | "/ends" => b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello",
                _ => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            };
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
            match path.as_str() {
                "/cut" => return,
                "/ends" => return stream.shutdown().await.unwrap(),
                _ => {}
            }
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        if take_one(&self.refuses) {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        self.seen.lock().unwrap().push(Request::from_parts(head, ()));
        let head = |status: u16| Response::builder().status(status).body(()).unwrap();
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        match path.as_str() {
            "/echo" => return self.echo(body, respond).await,
            "/sink" => {
                let length = self.drain(body).await.to_string();
                let mut stream = respond.send_response(head(200), false).unwrap();
                stream.send_data(length.into(), true).unwrap();
            }
            "/early" => {
                // It has heard enough.
                let mut stream = respond.send_response(head(413), false).unwrap();
                stream.send_data(text("enough"), true).unwrap();
            }
            "/empty" => drop(respond.send_response(head(204), true)),
            "/grpc-error" => {
                let mut head = head(200);
                head.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
                head.headers_mut().insert("grpc-status", "5".parse().unwrap());
                drop(respond.send_response(head, true));
            }
            "/short" | "/long" => {
                let mut head = head(200);
                head.headers_mut().insert("content-length", "10".parse().unwrap());
                let mut stream = respond.send_response(head, false).unwrap();
                let body = if path == "/short" { "hello" } else { "hello hello hello" };
                stream.send_data(text(body), true).unwrap();
            }
            "/lengths" => {
                let mut head = head(200);
                head.headers_mut().append("content-length", "5".parse().unwrap());
                head.headers_mut().append("content-length", "6".parse().unwrap());
                let mut stream = respond.send_response(head, false).unwrap();
                stream.send_data(text("hello"), true).unwrap();
            }
            "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
            "/half" => {
                let mut stream = respond.send_response(head(200), false).unwrap();
                stream.send_data(text("hel"), false).unwrap();
                // What was said arrives before the reset.
                self.go.notified().await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
            "/interim" => {
                for _ in 0..3 {
                    let hints = Response::builder().status(103).body(()).unwrap();
                    respond.send_informational(hints).unwrap();
                }
                let mut stream = respond.send_response(head(200), false).unwrap();
                stream.send_data(text("hello"), true).unwrap();
            }
            "/hints" => {
                for _ in 0..10_000 {
                    let hints = Response::builder().status(103).body(()).unwrap();
                    if respond.send_informational(hints).is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                self.go.notified().await;
            }
            "/fields" => {
                let mut head = head(200);
                for at in 0..200 {
                    let name = http::HeaderName::try_from(format!("x-{at}")).unwrap();
                    head.headers_mut().insert(name, "1".parse().unwrap());
                }
                drop(respond.send_response(head, true));
            }
            "/nothing" => {
                let mut stream = respond.send_response(head(200), false).unwrap();
                for _ in 0..10_000 {
                    if stream.send_data(Bytes::new(), false).is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                self.go.notified().await;
            }
            "/hang" => poll_fn(|cx| respond.poll_reset(cx).map(drop)).await,
            "/wait" => {
                self.go.notified().await;
                let mut stream = respond.send_response(head(200), false).unwrap();
                stream.send_data(text("hello"), true).unwrap();
            }
            _ => {
                let mut stream = respond.send_response(head(200), false).unwrap();
                stream.send_data(text("hello"), true).unwrap();
            }
        }
    }

    async fn drain(&self, mut body: RecvStream) -> usize {
        let mut length = 0;
        while let Some(Ok(data)) = body.data().await {
            length += data.len();
            self.bytes.fetch_add(data.len(), Ordering::SeqCst);
            drop(body.flow_control().release_capacity(data.len()));
        }
        length
    }

    /// Says everything back as it comes, and the sum behind it.
    async fn echo(&self, mut body: RecvStream, mut respond: SendResponse<Bytes>) {
        let mut head = Response::new(());
        head.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let mut stream = respond.send_response(head, false).unwrap();
        let mut sum = 0;
        while let Some(data) = body.data().await {
            let Ok(data) = data else { return };
            sum += data.len();
            self.bytes.fetch_add(data.len(), Ordering::SeqCst);
            drop(body.flow_control().release_capacity(data.len()));
            if stream.send_data(data, false).is_err() {
                return;
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        trailers.insert("x-sum", sum.to_string().parse().unwrap());
        trailers.insert("set-cookie", "a=1".parse().unwrap());
        trailers.insert("www-authenticate", "Basic".parse().unwrap());
        drop(stream.send_trailers(trailers));
    }
}

/// Takes one off a count, if there is one.
fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// Reads up to the first request, and says that it was not looked at (RFC 9113 §6.8).
async fn leave(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == 1 {
            break;
        }
    }
    let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    stream.write_all(&goaway).await.unwrap();
    stream.flush().await.unwrap();
    // Until the gateway has closed.
    drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
}
