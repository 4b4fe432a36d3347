//! The load tool of the comparison: makes tokens, plays the clients and the backend, and counts.
//!
//! `benches/compare/run` drives it; `load help` lists what it does. It is one thread, so that it
//! fits on one core beside the proxy's, and it answers as the backend in the same process, so that
//! the two take turns without the scheduler's help.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a benchmark prints, may stop where it fails, and is nobody's library"
)]

mod backend;
mod drive;
mod forward;
mod hold;
mod http1;
mod http2;
#[path = "../../../tests/harness/keys.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod keys;
mod mint;
mod process;
mod requests;
mod stream;
mod tally;
mod tls;
#[path = "../../../tests/harness/token.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod token;

use std::net::SocketAddr;

use clap::Parser;

/// What the tool can be told to do.
#[derive(Parser)]
#[command(about = "Load, backend and tokens for benches/compare/run")]
enum Task {
    /// Write a key set and signed tokens into a folder
    Mint(mint::Mint),
    /// Write a self-signed certificate for the Host that all requests name
    Certificate { folder: std::path::PathBuf },
    /// Send requests for a time, and print what came back and what it cost as JSON
    Run(drive::Run),
    /// Open connections, use each once, say `ready` and keep them until stdin ends
    Hold(hold::Hold),
    /// Move one large body through, and print throughput, CPU and memory as JSON
    Stream(stream::Stream),
    /// Answer as the backend until stdin ends
    Backend { listen: SocketAddr },
    /// Forward as little as hyper can, until stdin ends
    Forward { listen: SocketAddr, to: SocketAddr },
}

/// The host that every request names.
pub const HOST: &str = "api.example.com";

fn main() {
    let task = Task::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match task {
        Task::Mint(mint) => mint.write(),
        Task::Certificate { folder } => tls::write_certificate(&folder),
        Task::Run(run) => println!("{}", runtime.block_on(run.measure())),
        Task::Hold(hold) => runtime.block_on(hold.open()),
        Task::Stream(stream) => println!("{}", runtime.block_on(stream.measure())),
        Task::Backend { listen } => runtime.block_on(async {
            backend::start(listen).await;
            stdin_ends().await;
        }),
        Task::Forward { listen, to } => runtime.block_on(async {
            forward::start(listen, to).await;
            stdin_ends().await;
        }),
    }
}

/// Waits until whoever started this lets go of it.
async fn stdin_ends() {
    let read = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(read).await.unwrap().unwrap();
}
