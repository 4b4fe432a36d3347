//! Revocations over the life of a process: opened at start, followed at each reload, looked after
//! every second.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::compile::{Compiled, Fault};
use super::running::Running;
use crate::clock::Clock;
use crate::config::{Config, Problem, Problems, Sources};
use crate::record::metrics::Metrics;
use crate::revoke::{Known, Revocations, Unopened, Unusable};

/// The revocations that a gateway starts with. It does not start without them.
pub(super) fn open(
    config: &Config,
    sources: &Sources,
    clock: &Clock,
    metrics: &Metrics,
    color: bool,
) -> Result<Revocations, Fault> {
    let known = Known::of(config);
    let opened = Revocations::open(config.revocation.as_ref(), &known, clock, metrics);
    opened.map_err(|why| {
        let problem = match &why {
            Unopened::Store(why) => store_problem(config, why),
            Unopened::File(why) => file_problem(config, why),
        };
        Fault::of(&Problems(problem.into_iter().collect()), sources, color)
    })
}

/// Puts in force what a reloaded configuration says of revocations.
pub(super) fn follow(revocations: &Revocations, compiled: &Compiled) -> Result<(), Fault> {
    let config = &compiled.config;
    let followed = revocations.follow(config.revocation.as_ref(), &Known::of(config));
    followed.map_err(|why| {
        let problems = Problems(file_problem(config, &why).into_iter().collect());
        Fault::of(&problems, &compiled.sources, false)
    })
}

/// Starts the work on the caller's runtime; it ends with the running.
pub(super) fn start(running: &Arc<Running>) -> JoinHandle<()> {
    running.shared.revocations.announce();
    let running = Arc::downgrade(running);
    tokio::spawn(async move {
        let mut swept = Duration::ZERO;
        loop {
            // Files do not know of a test's clock.
            tokio::time::sleep(EVERY).await;
            let Some(running) = running.upgrade() else { return };
            if running.shared.revocations.settings().is_none() {
                continue;
            }
            let now = running.shared.clock.monotonic();
            let is_due = now.saturating_sub(swept) >= SWEEP;
            if is_due {
                swept = now;
            }
            drop(tokio::task::spawn_blocking(move || look_after(&running, is_due)).await);
        }
    })
}

fn look_after(running: &Running, is_due: bool) {
    let known = Known::of(&running.in_force.load().config);
    running.shared.revocations.look_at_list(&known);
    if is_due {
        running.shared.revocations.sweep();
    }
}

fn store_problem(config: &Config, why: &Unusable) -> Option<Problem> {
    let store = config.revocation.as_ref()?.store.as_ref()?;
    let message = format!("the revocation store {} cannot be used", store.display());
    let problem = Problem::new("E085", store.at, message).label(why.to_string());
    Some(problem.help(
        "give it back its rights, or restore a backup; if it is moved away, revoked tokens are \
         accepted until they expire",
    ))
}

fn file_problem(config: &Config, why: &Unusable) -> Option<Problem> {
    let file = config.revocation.as_ref()?.file.as_ref()?;
    let problem = Problem::new("E086", file.at, "the revocation file cannot be used");
    Some(problem.label(why.to_string()).help("mend it; without it, revoked tokens are accepted"))
}

const EVERY: Duration = Duration::from_secs(1);

/// The time between droppings of what has ended, and attempts to store what could not be stored.
const SWEEP: Duration = Duration::from_secs(5);
