//! A soak: the real binary under load, while its policy is reloaded every second and its backends are
//! killed and restarted. `tests/soak/run` starts it.
//!
//! What is right is known of every request: the ledger has what was asked and by which policy, and
//! the backends have what they served.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test prints, may stop where it fails, and is nobody's library"
)]

mod backends;
mod client;
mod gateway;
#[path = "../harness/keys.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod keys;
mod ledger;
mod policy;
#[path = "../harness/token.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod token;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::task::JoinSet;

use backends::Backends;
use gateway::Gateway;
use ledger::Ledger;
use policy::Policies;

/// What it can be told.
#[derive(Parser)]
#[command(about = "Load, reloads and restarts of backends, and what came of it")]
struct Options {
    /// How long it lasts
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Kept connections, each with one request after another
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Between two requests of a connection
    #[arg(long, default_value_t = 5, value_name = "MILLISECONDS")]
    pause: u64,
    /// The binary under test
    #[arg(long, env = "SCOPEGATE_BIN")]
    binary: PathBuf,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let options = Options::parse();
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::default());
    let backends = Backends::start(&ledger).await;
    let (policies, tokens) = policy::write(folder.path(), &backends.urls());
    let gateway = Arc::new(Gateway::start(&options.binary, &folder, &policies).await);
    let mut memory = vec![(0, gateway.memory())];
    println!("memory at the start: {}", mib(memory[0].1));

    let mut clients = JoinSet::new();
    for _ in 0..options.clients {
        let pause = Duration::from_millis(options.pause);
        clients.spawn(client::run(gateway.proxy, tokens.clone(), Arc::clone(&ledger), pause));
    }
    let began = Instant::now();
    let reloads = tokio::spawn(reload(Arc::clone(&gateway), policies, Arc::clone(&ledger)));
    let kills = tokio::spawn(backends.come_and_go());
    while began.elapsed() < Duration::from_secs(options.seconds) {
        let left = Duration::from_secs(options.seconds).saturating_sub(began.elapsed());
        tokio::time::sleep(left.min(MINUTE)).await;
        memory.push((began.elapsed().as_secs(), gateway.memory()));
        println!("{}", ledger.line(memory[memory.len() - 1]));
    }
    ledger.stop();
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    reloads.await.unwrap();
    let kills = kills.await.unwrap();
    let good = ledger.summary(kills);
    let (first, last) = (memory[0].1, gateway.memory());
    println!("memory: {} at the start, {} at the end", mib(first), mib(last));
    gateway.end();
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Puts one policy in force after the other, every second.
async fn reload(gateway: Arc<Gateway>, policies: Policies, ledger: Arc<Ledger>) {
    let mut turn = 0;
    while !ledger.is_stopped() {
        tokio::time::sleep(SECOND).await;
        turn += 1;
        gateway.write(policies.of(turn));
        ledger.reloading();
        gateway.reload(turn).await;
        ledger.reloaded();
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
