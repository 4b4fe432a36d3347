//! The gateway end to end on loopback: what a request costs the gateway's process, and how long
//! clients wait.
//!
//! `cargo bench --bench proxy [-- seconds]`. Three runs through one gateway process with one
//! worker: a public route, a scoped route with a verified token, and no token at all. The first is
//! what a proxy that checks nothing would do here; compare the others with it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a benchmark prints, and may stop where it fails"
)]

#[path = "../tests/harness/keys.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod keys;
#[path = "../tests/harness/token.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod token;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use keys::Key;
use token::Token;

const CONNECTIONS: usize = 32;
const TOKENS: usize = 1000;
const ISSUER: &str = "https://id.example.com";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let seconds = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(3.0);
    let backend = backend().await;
    let key = Key::rsa("rsa", jsonwebtoken::Algorithm::RS256);
    let gateway = Gateway::start(backend, &key);
    let tokens: Vec<_> = (0..TOKENS).map(|number| token(&key, number)).collect();
    let with = |path: &str, token: Option<&String>| {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let bearer = bearer.unwrap_or_default();
        format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\nAccept: */*\r\n{bearer}\r\n")
    };
    let scoped: Vec<_> = tokens.iter().map(|token| with("/orders/42", Some(token))).collect();
    println!(
        "{:<22} {:>10} {:>12} {:>9} {:>9}",
        "request", "per second", "CPU µs each", "p50 µs", "p99 µs"
    );
    for round in 0..2 {
        for (name, requests, status) in [
            ("public route", vec![with("/status", None)], "200"),
            ("scoped, 1000 tokens", scoped.clone(), "200"),
            ("no token", vec![with("/orders/42", None)], "401"),
        ] {
            let run =
                gateway.load(Arc::new(requests), status, Duration::from_secs_f64(seconds)).await;
            // The first round warms caches and connections.
            if round == 1 {
                run.report(name);
            }
        }
    }
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

struct Gateway {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn start(backend: SocketAddr, key: &Key) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let jwks = serde_json::json!({ "keys": [key.jwk()] });
        std::fs::write(folder.path().join("keys.json"), jwks.to_string()).unwrap();
        let file = folder.path().join("gateway.yaml");
        let config = format!(
            "listen: 127.0.0.1:0
admin: 127.0.0.1:0
issuers: {{ main: {{ url: {ISSUER}, audience: https://api.example.com, jwks: keys.json }} }}
upstream: http://{backend}
plans: {{ large: {{ rate: 1000000/s }} }}
default_plan: large
logs: {{ access: off, format: human }}
routes: {{ /orders/**: {{ GET: orders:read }}, /status: {{ public: true }} }}
"
        );
        std::fs::write(&file, config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .args(["serve", "--workers", "1", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let rest = line.trim_start().strip_prefix("proxy http://")?;
                rest.split_whitespace().next()?.parse().ok()
            })
            .expect("the gateway says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address, _folder: folder }
    }

    async fn load(&self, requests: Arc<Vec<String>>, status: &'static str, time: Duration) -> Run {
        let (before, started) = (self.cpu_micros(), Instant::now());
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|first| {
                tokio::spawn(client(self.address, Arc::clone(&requests), first, status, time))
            })
            .collect();
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.await.unwrap());
        }
        let took = started.elapsed();
        latencies.sort_unstable();
        Run { cpu_micros: self.cpu_micros() - before, took, latencies }
    }

    /// User and system time of the process, from `/proc/<pid>/stat` in ticks of 10 ms.
    fn cpu_micros(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
        (ticks(11) + ticks(12)) * 10_000
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

struct Run {
    cpu_micros: u64,
    took: Duration,
    latencies: Vec<u32>,
}

impl Run {
    fn report(&self, name: &str) {
        let count = self.latencies.len();
        let per_second = count as f64 / self.took.as_secs_f64();
        let cpu = self.cpu_micros as f64 / count as f64;
        let at = |share: f64| self.latencies[(count as f64 * share) as usize];
        println!("{name:<22} {per_second:>10.0} {cpu:>12.1} {:>9} {:>9}", at(0.5), at(0.99));
    }
}

/// One keep-alive connection; returns each request's time in microseconds.
async fn client(
    address: SocketAddr,
    requests: Arc<Vec<String>>,
    first: usize,
    status: &str,
    time: Duration,
) -> Vec<u32> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 16 << 10];
    let mut latencies = Vec::new();
    let deadline = Instant::now() + time;
    let mut next = first * requests.len() / CONNECTIONS;
    while Instant::now() < deadline {
        let sent = Instant::now();
        stream.write_all(requests[next].as_bytes()).await.unwrap();
        let received = response(&mut stream, &mut buffer).await;
        assert_eq!(
            &buffer[9..12],
            status.as_bytes(),
            "{}",
            String::from_utf8_lossy(&buffer[..received])
        );
        latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap());
        next = (next + 1) % requests.len();
    }
    latencies
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
