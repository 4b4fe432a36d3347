//! The gateway end to end on loopback: what a request costs the gateway's process, and how long
//! clients wait.
//!
//! `cargo bench --bench proxy [-- seconds]`: one worker, 32 connections.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    dead_code,
    reason = "a benchmark prints, may stop where it fails, and shares more than it uses"
)]

mod rig;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rig::{Client, Gateway, Rig, Scenario};

const CONNECTIONS: usize = 32;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let seconds = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(3.0);
    let time = Duration::from_secs_f64(seconds);
    let rig = Rig::start().await;
    println!(
        "{:<22} {:>10} {:>12} {:>9} {:>9}",
        "request", "per second", "CPU µs each", "p50 µs", "p99 µs"
    );
    for scenario in rig.scenarios() {
        let gateway = rig.gateway(&scenario, &[]);
        let scenario = Arc::new(scenario);
        // The first run warms caches and connections.
        load(&gateway, &scenario, time / 4).await;
        load(&gateway, &scenario, time).await.report(scenario.name);
    }
}

async fn load(gateway: &Gateway, scenario: &Arc<Scenario>, time: Duration) -> Run {
    let (before, started) = (cpu_micros(gateway.pid()), Instant::now());
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|first| tokio::spawn(client(gateway.address, Arc::clone(scenario), first, time)))
        .collect();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await.unwrap());
    }
    let took = started.elapsed();
    latencies.sort_unstable();
    Run { cpu_micros: cpu_micros(gateway.pid()) - before, took, latencies }
}

/// Asks until the time is over; returns each request's time in microseconds.
async fn client(
    address: std::net::SocketAddr,
    scenario: Arc<Scenario>,
    first: usize,
    time: Duration,
) -> Vec<u32> {
    let mut client = Client::connect(address).await;
    let mut latencies = Vec::new();
    let deadline = Instant::now() + time;
    let mut next = first * scenario.requests.len() / CONNECTIONS;
    while Instant::now() < deadline {
        let sent = Instant::now();
        client.ask(&scenario.requests[next], scenario.status).await;
        latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap());
        next = (next + 1) % scenario.requests.len();
    }
    latencies
}

/// User and system time of a process, from `/proc/<pid>/stat` in ticks of 10 ms.
fn cpu_micros(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    (ticks(11) + ticks(12)) * 10_000
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
