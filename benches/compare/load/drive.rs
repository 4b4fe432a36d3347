//! Sends requests: as fast as the answers come, or at a rate that waits for nobody.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};

use crate::backend;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::process::Watched;
use crate::requests::{Asked, Request, Requests};
use crate::tally::Tally;
use crate::tls::{Destination, To};

/// One measured run.
#[derive(clap::Args)]
pub struct Run {
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    watched: Watched,
    /// Answer here as the backend
    #[arg(long)]
    backend: Option<SocketAddr>,
    /// The only right status
    #[arg(long, default_value_t = 200)]
    expect: u16,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Speak HTTP/2, with so many streams on each connection
    #[arg(long)]
    streams: Option<usize>,
    /// Seconds before it counts
    #[arg(long, default_value_t = 0.5)]
    warm: f64,
    /// Seconds that count
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Requests per second, at random times (Poisson); a request's time runs from when it was due
    #[arg(long)]
    rate: Option<f64>,
    /// Beside that, as fast as the answers come, requests with these tokens
    #[arg(long)]
    flood: Option<PathBuf>,
    #[arg(long, default_value_t = 32)]
    flood_connections: usize,
    #[arg(long, default_value_t = 401)]
    flood_expect: u16,
}

impl Run {
    /// Does it, and says what came back and what it cost.
    pub async fn measure(self) -> Value {
        if let Some(address) = self.backend {
            backend::start(address).await;
        }
        let requests = Arc::new(Requests::new(&self.asked));
        let clients = self.clients(self.connections).await;
        let flood = self.flooding(&requests).await;
        let window = Arc::new(Window::new(self.warm, self.seconds));
        let (before, started) = (self.measuring(&window), Instant::now());
        let mut sending = match self.rate {
            Some(rate) => open_loop(clients, &requests, self.expect, &window, rate),
            None => closed_loop(clients, &requests, self.expect, &window),
        };
        let mut flooding = match flood {
            Some((clients, tokens)) => closed_loop(clients, &tokens, self.flood_expect, &window),
            None => JoinSet::new(),
        };
        let tally = join(&mut sending).await;
        let seconds = (started.elapsed().as_secs_f64() - self.warm).max(f64::EPSILON);
        before.abort();
        let before = before.await.unwrap_or_default();
        let cost = self.watched.cpu_micros().saturating_sub(before.0);
        let own = Watched::own().cpu_micros().saturating_sub(before.1);
        let flooded = join(&mut flooding).await;
        self.report(tally, flooded, seconds, (cost, own))
    }

    fn report(&self, tally: Tally, flooded: Tally, seconds: f64, cpu: (u64, u64)) -> Value {
        let all = (tally.count() + flooded.count()).max(1) as f64;
        let per_second = tally.count() as f64 / seconds;
        let share = |micros: u64| micros as f64 / 1e6 / seconds;
        let mut report = tally.report();
        report["seconds"] = json!(seconds);
        report["per_second"] = json!(per_second);
        report["cpu_us"] = json!(cpu.0 as f64 / all);
        report["busy"] = json!(share(cpu.0));
        report["load_busy"] = json!(share(cpu.1));
        report["rss_kib"] = json!(self.watched.rss_kib());
        report["flood"] = flooded.report();
        report
    }

    /// Takes the costs so far when the warm-up is over, and starts to count.
    fn measuring(&self, window: &Arc<Window>) -> tokio::task::JoinHandle<(u64, u64)> {
        let (window, watched) = (Arc::clone(window), self.watched.clone());
        tokio::spawn(async move {
            tokio::time::sleep_until(window.start.into()).await;
            let before = (watched.cpu_micros(), Watched::own().cpu_micros());
            window.measured.store(true, Ordering::Relaxed);
            before
        })
    }

    async fn flooding(&self, like: &Requests) -> Option<(Vec<Client>, Arc<Requests>)> {
        let tokens = Arc::new(like.with_tokens(self.flood.as_deref()?));
        Some((self.clients(self.flood_connections).await, tokens))
    }

    async fn clients(&self, connections: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let Some(streams) = self.streams else {
                let to = self.to.destination(b"http/1.1");
                clients.push(Client::Http1(Box::new(connect(to).await)));
                continue;
            };
            let connection = Http2::connect(&self.to.destination(b"h2")).await.unwrap();
            clients.extend((0..streams).map(|_| Client::Http2(connection.clone())));
        }
        clients
    }
}

async fn connect(to: Destination) -> Http1 {
    Http1::connect(to).await.expect("the proxy takes connections")
}

enum Client {
    Http1(Box<Http1>),
    Http2(Http2),
}

impl Client {
    async fn send(&mut self, request: &Request<'_>) -> std::io::Result<u16> {
        match self {
            Self::Http1(connection) => connection.send(request).await,
            Self::Http2(stream) => stream.send(request).await,
        }
    }
}

/// When answers count.
struct Window {
    start: Instant,
    end: Instant,
    measured: AtomicBool,
}

impl Window {
    fn new(warm: f64, seconds: f64) -> Self {
        let start = Instant::now() + Duration::from_secs_f64(warm);
        let end = start + Duration::from_secs_f64(seconds);
        Self { start, end, measured: AtomicBool::new(false) }
    }

    fn measured(&self) -> bool {
        self.measured.load(Ordering::Relaxed)
    }

    fn open(&self) -> bool {
        Instant::now() < self.end
    }
}

fn closed_loop(
    clients: Vec<Client>,
    requests: &Arc<Requests>,
    expect: u16,
    window: &Arc<Window>,
) -> JoinSet<Tally> {
    let mut sending = JoinSet::new();
    for mut client in clients {
        let (requests, window) = (Arc::clone(requests), Arc::clone(window));
        sending.spawn(async move {
            let mut tally = Tally::default();
            while window.open() && !tally.hopeless() {
                let Some(request) = requests.next() else { break };
                let due = Instant::now();
                let answer = client.send(&request).await;
                tally.note(due, answer, expect, window.measured());
            }
            tally
        });
    }
    sending
}

/// Requests that are due, for whichever connection is free first.
struct Due {
    times: Mutex<VecDeque<Instant>>,
    count: Semaphore,
}

fn open_loop(
    clients: Vec<Client>,
    requests: &Arc<Requests>,
    expect: u16,
    window: &Arc<Window>,
    rate: f64,
) -> JoinSet<Tally> {
    let due = Arc::new(Due { times: Mutex::default(), count: Semaphore::new(0) });
    let mut sending = JoinSet::new();
    for mut client in clients {
        let (requests, window) = (Arc::clone(requests), Arc::clone(window));
        let due = Arc::clone(&due);
        sending.spawn(async move {
            let mut tally = Tally::default();
            while let Ok(permit) = due.count.acquire().await {
                permit.forget();
                let time = due.times.lock().unwrap().pop_front().unwrap();
                let answer = client.send(&requests.next().unwrap()).await;
                tally.note(time, answer, expect, window.measured());
            }
            tally
        });
    }
    let window = Arc::clone(window);
    sending.spawn(async move {
        schedule(&due, &window, rate).await;
        Tally::default()
    });
    sending
}

/// Releases requests at random times. It watches the clock all the time, because timers are
/// coarser than what is measured.
async fn schedule(due: &Due, window: &Window, rate: f64) {
    let mut next = Instant::now();
    while window.open() {
        while next <= Instant::now() {
            due.times.lock().unwrap().push_back(next);
            due.count.add_permits(1);
            next += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / rate);
        }
        yield_now().await;
    }
    due.count.close();
}

async fn join(sending: &mut JoinSet<Tally>) -> Tally {
    let mut all = Tally::default();
    while let Some(tally) = sending.join_next().await {
        all.add(tally.unwrap());
    }
    all
}
