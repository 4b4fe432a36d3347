//! Backends that say what they were asked, and that are killed and restarted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::ledger::{Ledger, id_of};

/// Three of them, of which one at a time is down now and then.
pub struct Backends {
    addresses: Vec<SocketAddr>,
    running: Vec<JoinHandle<()>>,
    ledger: Arc<Ledger>,
}

impl Backends {
    pub async fn start(ledger: &Arc<Ledger>) -> Self {
        let (mut addresses, mut running) = (Vec::new(), Vec::new());
        for _ in 0..COUNT {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            running.push(tokio::spawn(serve(listener, Arc::clone(ledger))));
        }
        Self { addresses, running, ledger: Arc::clone(ledger) }
    }

    pub fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("http://{address}")).collect()
    }

    /// Kills one after the other and starts it again, until the soak is over; says how often.
    pub async fn come_and_go(mut self) -> usize {
        for turn in 0.. {
            pause(700..1500).await;
            if self.ledger.is_stopped() {
                return turn;
            }
            let one = turn % COUNT;
            // All its connections close, whatever is under way on them.
            self.running[one].abort();
            drop((&mut self.running[one]).await);
            pause(200..1200).await;
            let listener = TcpListener::bind(self.addresses[one]).await.unwrap();
            self.running[one] = tokio::spawn(serve(listener, Arc::clone(&self.ledger)));
        }
        0
    }
}

async fn pause(milliseconds: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(milliseconds))).await;
}

/// Dropping this closes its connections.
async fn serve(listener: TcpListener, ledger: Arc<Ledger>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        drop(stream.set_nodelay(true));
        let ledger = Arc::clone(&ledger);
        let service = service_fn(move |request| answer(Arc::clone(&ledger), request));
        let http = hyper::server::conn::http1::Builder::new();
        connections.spawn(http.serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    ledger: Arc<Ledger>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let target = request.uri().path().to_owned();
    let Some(id) = id_of(&target) else { return Ok(Response::default()) };
    let method = request.method().clone();
    // Counted before its body has come: half a request is one that was begun.
    ledger.delivered(id);
    let body = request.into_body().collect().await?.to_bytes();
    if id.is_multiple_of(SLOW) {
        pause(1..50).await;
    }
    Ok(Response::new(Full::from(echo(method.as_str(), &target, &body))))
}

/// What tells one request from all others.
pub fn echo(method: &str, target: &str, body: &[u8]) -> String {
    let sum =
        body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    format!("{method} {target} {} {sum:x}", body.len())
}

const COUNT: usize = 3;
/// Every so many requests, one takes its time.
const SLOW: u64 = 16;
