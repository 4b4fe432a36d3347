//! slowhttptest's four modes: clients that take all the time that they are given. None can hold
//! more than the limits say, and others are served meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::{Backend, Harness, Issuer, Reply, until, within};

const OPEN: &str = "routes: { /**: { GET: { public: true }, POST: { public: true } } }";

/// How many of them there are; half of what may connect.
const CROWD: usize = 24;

const LIMITS: &str = "limits: { connections: 48, connections_per_peer: 48, header_timeout: 500ms, idle_timeout: 1s }";

async fn start() -> Harness {
    let backend = Backend::start().await;
    let yaml = format!(
        "{LIMITS}\nupstreams: {{ main: {{ targets: ['{{backend}}'], timeout: {{ idle: 1s }} }} }}\n{OPEN}"
    );
    Harness::start_with(&yaml, Issuer::start().await, backend).await
}

/// Says the parts with so much time between them, over and over the last, until it is cut off.
/// Returns for how long it was not.
fn drip(address: SocketAddr, first: &'static str, more: &'static str) -> JoinHandle<Duration> {
    tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let began = Instant::now();
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        loop {
            match tokio::time::timeout(Duration::from_millis(100), stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return began.elapsed(),
                Ok(Ok(_)) => {}
                Err(_) if stream.write_all(more.as_bytes()).await.is_err() => {
                    return began.elapsed();
                }
                Err(_) => {}
            }
        }
    })
}

/// The crowd is there, somebody else is served, and the crowd is gone in time.
async fn bears(t: &Harness, crowd: Vec<JoinHandle<Duration>>, within_: Duration) {
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(t.get("/good").send().await.status(), 200);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    for one in crowd {
        let held = within(one).await.unwrap();
        assert!(held < within_, "held for {held:?}");
    }
    until("the connections to end", async || {
        t.metric("scopegate_connections", &[]).await == 0.0
            && t.metric("scopegate_http_requests_in_flight", &[]).await == 0.0
    })
    .await;
}

/// Slow headers (slowloris): every byte of a head counts on the same clock.
#[tokio::test]
async fn slow_headers_end_with_the_header_timeout() {
    let t = start().await;
    let crowd =
        (0..CROWD).map(|_| drip(t.address(), "GET /x HTTP/1.1\r\nhost: a\r\n", "x-a: b\r\n"));
    let crowd: Vec<_> = crowd.collect();
    bears(&t, crowd, Duration::from_secs(5)).await;
    assert!(t.backend.seen().iter().all(|seen| seen.target == "/good"));
}

/// Slow body (R-U-Dead-Yet): a body that stands still ends with the upstream's idle timeout.
#[tokio::test]
async fn slow_bodies_end_with_the_idle_timeout() {
    let t = start().await;
    let head = "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx";
    let crowd: Vec<_> = (0..CROWD).map(|_| drip(t.address(), head, "")).collect();
    bears(&t, crowd, Duration::from_secs(10)).await;
    assert!(t.backend.seen().iter().all(|seen| seen.target == "/good"));
}

/// A body of which a byte comes now and then ends too, though it is never silent: over the whole
/// upload a client is waited for by what it sends.
#[tokio::test]
async fn dripping_bodies_end_by_their_rate() {
    let t = start().await;
    let head = "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx";
    let crowd: Vec<_> = (0..CROWD).map(|_| drip(t.address(), head, "y")).collect();
    bears(&t, crowd, Duration::from_secs(10)).await;
    assert!(t.backend.seen().iter().all(|seen| seen.target == "/good"));
    let refused = [("route", "/**"), ("reason", "malformed_request")];
    assert_eq!(t.metric("scopegate_decisions_total", &refused).await, CROWD as f64);
}

/// Range attack (Apache killer): a thousand ranges are one field, within the limit of a head, and
/// mean nothing to the gateway; more is 431.
#[tokio::test]
async fn ranges_are_bytes_of_a_field() {
    let t = start().await;
    let ranges: Vec<String> = (0..1_300).map(|at| format!("5-{at}")).collect();
    let ranges = format!("bytes={}", ranges.join(","));
    for _ in 0..5 {
        let answer =
            t.get("/x").header("range", &ranges).header("request-range", &ranges).send().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text(), "hello");
    }
    let much = vec![ranges.clone(); 12].join(",");
    let refused = t.get("/x").header("range", &much).send().await;
    assert_eq!(refused.status(), 431);
    assert_eq!(t.backend.seen().len(), 5);
}

/// Slow read: an answer that nobody reads ends with the idle timeout, and never was in memory as a
/// whole.
#[tokio::test]
async fn slow_readers_end_with_the_idle_timeout() {
    let t = start().await;
    t.backend.reply(Reply { body: vec![b'x'; 8 << 20].into(), ..Reply::default() });
    let readers: Vec<_> = (0..CROWD).map(|_| tokio::spawn(stall(t.address()))).collect();
    until("the readers", async || t.backend.seen().len() == CROWD).await;
    t.backend.reply(Reply::default());
    bears(&t, readers, Duration::from_secs(10)).await;
}

/// Asks with a small window and reads nothing until the answer is reset.
async fn stall(address: SocketAddr) -> Duration {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut stream = socket.connect(address).await.unwrap();
    let began = Instant::now();
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Looking for an error takes nothing of what has come; a reset is one.
    while socket2::SockRef::from(&stream).take_error().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

/// All places taken: whoever comes is refused at once, and served when the first of them is gone.
#[tokio::test]
async fn a_full_house_is_full_for_as_long_as_the_limits_say() {
    let t = start().await;
    let began = Instant::now();
    let crowd: Vec<_> = (0..60).map(|_| drip(t.address(), "G", "E")).collect();
    until("a full house", async || {
        t.metric("scopegate_connections_refused_total", &[("reason", "limit")]).await >= 12.0
    })
    .await;
    assert_eq!(t.metric("scopegate_connections", &[]).await, 48.0);
    for one in crowd {
        within(one).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    until("room", async || t.get("/good").send().await.status() == 200).await;
}
