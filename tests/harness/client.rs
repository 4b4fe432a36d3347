//! An ordinary HTTP/1.1 client, one connection per request.

use std::net::SocketAddr;

use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::within;

/// A request under construction.
pub struct Call {
    address: SocketAddr,
    method: String,
    path: String,
    host: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// A whole response.
#[derive(Debug)]
pub struct Answer(Response<Bytes>);

impl Call {
    pub fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        Self {
            address,
            method: method.into(),
            path: path.into(),
            host: address.to_string(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self) -> Answer {
        within(self.exchange()).await
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(&*self.method).uri(&self.path);
        request = request.header("host", &self.host);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body.clone())).unwrap()
    }

    async fn exchange(self) -> Answer {
        let (mut sender, connection) = open(self.address).await;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(self.request()).await;
        let (head, body) = response.expect("a response").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        connection.abort();
        Answer(Response::from_parts(head, body))
    }
}

/// What came of a request, however it ended.
#[derive(Debug)]
pub struct Outcome {
    pub head: http::response::Parts,
    /// The first of the body's bytes.
    pub body: Vec<u8>,
    pub length: u64,
    /// Whether the body ended as its head said.
    pub whole: bool,
}

impl Call {
    /// Sends it and reads at most so many bytes of the answer's body, then goes away. `on_head` is
    /// called when the answer's head has come.
    pub async fn outcome(self, most: u64, on_head: impl FnOnce()) -> Outcome {
        let response = self.ask().await;
        on_head();
        let (head, mut incoming) = response.into_parts();
        let (mut body, mut length) = (Vec::new(), 0);
        while length < most {
            match within(incoming.frame()).await {
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    length += data.len() as u64;
                    body.extend_from_slice(
                        &data[..data.len().min(1000_usize.saturating_sub(body.len()))],
                    );
                }
                Some(Err(_)) => return Outcome { head, body, length, whole: false },
                None => return Outcome { head, body, length, whole: true },
            }
        }
        Outcome { head, body, length, whole: false }
    }

    async fn ask(self) -> Response<Incoming> {
        let (mut sender, connection) = open(self.address).await;
        tokio::spawn(connection);
        within(sender.send_request(self.request())).await.expect("a response")
    }
}

impl Answer {
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The one value of a field; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.0.headers().get_all(name).iter();
        let first = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} came more than once");
        first
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.body().to_vec()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(self.0.body()).expect("a JSON body")
    }

    /// The `reason` of a problem body.
    pub fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_default().to_owned()
    }
}

async fn open(
    address: SocketAddr,
) -> (SendRequest<Full<Bytes>>, http1::Connection<TokioIo<TcpStream>, Full<Bytes>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    http1::handshake(TokioIo::new(stream)).await.unwrap()
}

/// A connection that is kept, for many requests one after another.
pub struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let (sender, connection) = open(address).await;
        tokio::spawn(connection);
        Self { address, sender }
    }

    /// The status of `GET path` with this token, once the whole answer is there.
    pub async fn get(&mut self, path: &str, token: &str) -> u16 {
        let request = Request::get(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {token}"));
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request.body(Full::default()).unwrap());
        let (head, body) = within(response).await.expect("a response").into_parts();
        within(body.collect()).await.expect("a whole body");
        head.status.as_u16()
    }
}
