//! What the end-to-end benchmarks share: a gateway process, a backend that always answers the same,
//! and clients that keep their connections.

#[path = "../../tests/harness/keys.rs"]
mod keys;
#[path = "../../tests/harness/token.rs"]
mod token;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use keys::Key;
use token::Token;

const TOKENS: usize = 1000;
const ISSUER: &str = "https://id.example.com";

/// A kind of request: its name, its texts, and the status that it gets.
pub struct Scenario {
    pub name: &'static str,
    pub requests: Vec<String>,
    pub status: &'static str,
    /// Whether requests are logged.
    pub log: bool,
}

/// A key for a gateway, and the requests that go with it.
pub struct Rig {
    key: Key,
    backend: SocketAddr,
}

impl Rig {
    pub async fn start() -> Self {
        let key = Key::rsa("rsa", jsonwebtoken::Algorithm::RS256);
        Self { key, backend: backend().await }
    }

    /// Without any check, with a verified token, that with an access log, and refused: the first is what a proxy that checks
    /// nothing would do here.
    pub fn scenarios(&self) -> [Scenario; 4] {
        let scoped = (0..TOKENS).map(|number| get("/orders/42", Some(&token(&self.key, number))));
        let scoped: Vec<_> = scoped.collect();
        let scenario = |name, requests, status| Scenario { name, requests, status, log: false };
        [
            scenario("public route", vec![get("/status", None)], "200"),
            scenario("scoped, 1000 tokens", scoped.clone(), "200"),
            Scenario { log: true, ..scenario("scoped, access log", scoped, "200") },
            scenario("no token", vec![get("/orders/42", None)], "401"),
        ]
    }

    /// A gateway with one worker, run by `wrapper` if there is one.
    pub fn gateway(&self, scenario: &Scenario, wrapper: &[&str]) -> Gateway {
        Gateway::start(self, scenario.log, wrapper)
    }
}

fn get(path: &str, token: Option<&str>) -> String {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let bearer = bearer.unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\nAccept: */*\r\n{bearer}\r\n")
}

fn token(key: &Key, number: usize) -> String {
    let roles: Vec<_> = (0..12).map(|role| format!("role-number-{role}")).collect();
    Token::new(key, ISSUER)
        .scope("openid profile orders:read orders:write")
        .claim("client_id", format!("client-{}", number % 100))
        .claim("jti", format!("token-{number}"))
        .claim("realm_access", serde_json::json!({ "roles": roles }))
        .sign()
}

/// A running gateway. Dropping it kills it.
pub struct Gateway {
    process: Child,
    pub address: SocketAddr,
    stderr: BufReader<ChildStderr>,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn start(rig: &Rig, log: bool, wrapper: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let jwks = serde_json::json!({ "keys": [rig.key.jwk()] });
        std::fs::write(folder.path().join("keys.json"), jwks.to_string()).unwrap();
        let file = folder.path().join("gateway.yaml");
        std::fs::write(&file, config(rig.backend, log)).unwrap();
        let words: Vec<_> =
            wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_scopegate")]).collect();
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .args(["serve", "--workers", "1", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let address = address(&mut stderr);
        Self { process, address, stderr, _folder: folder }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Stops it as an operator would, and returns what it wrote on standard error.
    pub fn stop(mut self) -> String {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn config(backend: SocketAddr, log: bool) -> String {
    let access = if log { "on" } else { "off" };
    format!(
        "listen: 127.0.0.1:0
admin: 127.0.0.1:0
issuers: {{ main: {{ url: {ISSUER}, audience: https://api.example.com, jwks: keys.json }} }}
upstream: http://{backend}
plans: {{ large: {{ rate: 1000000/s }} }}
default_plan: large
logs: {{ access: {access}, format: json }}
routes: {{ /orders/**: {{ GET: orders:read }}, /status: {{ public: true }} }}
"
    )
}

/// Reads start lines until one says where the proxy listens.
fn address(stderr: &mut impl BufRead) -> SocketAddr {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the gateway does not start");
        let address = line.split("proxy http://").nth(1);
        let address = address.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        if let Some(address) = address {
            return address;
        }
    }
}

/// One keep-alive connection of a client.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 16 << 10] }
    }

    /// Sends a request and reads its response, which must have this status.
    pub async fn ask(&mut self, request: &str, status: &str) {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let received = response(&mut self.stream, &mut self.buffer).await;
        let text = &self.buffer[..received];
        assert_eq!(&text[9..12], status.as_bytes(), "{}", String::from_utf8_lossy(text));
    }
}

/// Reads one response with a Content-Length and returns its size.
async fn response(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(read > 0, "the gateway closed the connection");
        filled += read;
        let head = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n");
        let Some(head) = head else { continue };
        let text = std::str::from_utf8(&buffer[..head]).unwrap().to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).expect("a length");
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        if filled >= head + 4 + length {
            return filled;
        }
    }
}

/// A backend that answers every request the same.
async fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 16 << 10];
                // A request's head arrives whole here: it is small, and written at once.
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                                   Content-Length: 13\r\n\r\n{\"ok\":\"true\"}";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}
