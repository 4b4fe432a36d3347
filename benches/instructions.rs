//! The instructions that the gateway's own code spends on a request, kernel left out.
//!
//! `cargo bench --bench instructions` runs the gateway under valgrind's callgrind, which counts
//! the same for the same work whatever else the machine does: a regression of a percent shows.
//! The figure is the difference of two runs of different length, so that starting and stopping
//! cancel out.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    dead_code,
    reason = "a benchmark prints, may stop where it fails, and shares more than it uses"
)]

mod rig;

use rig::{Client, Rig, Scenario};

const SHORT: usize = 2_000;
const LONG: usize = 6_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let rig = Rig::start().await;
    println!("{:<22} {:>24}", "request", "instructions each");
    for scenario in rig.scenarios() {
        let short = count(&rig, &scenario, SHORT).await;
        let long = count(&rig, &scenario, LONG).await;
        println!("{:<22} {:>24}", scenario.name, (long - short) / (LONG - SHORT) as u64);
    }
}

/// The instructions of a gateway that answers `requests` and stops. The first thousand see each
/// token for the first time, in both runs.
async fn count(rig: &Rig, scenario: &Scenario, requests: usize) -> u64 {
    let gateway =
        rig.gateway(scenario, &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let mut client = Client::connect(gateway.address).await;
    for request in scenario.requests.iter().cycle().take(requests) {
        client.ask(request, scenario.status).await;
    }
    drop(client);
    let said = gateway.stop();
    let collected = said.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected.expect("callgrind says what it counted").trim().parse().unwrap()
}
