//! Active health checks: each target is asked now and then how it is.
//!
//! One task asks all targets of an upstream, whatever the number of threads. A target is up until
//! enough checks in a row have failed, and down until enough have succeeded.

use std::sync::{Arc, Weak};

use bytes::BytesMut;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::exchange::Fault;
use super::response_head::Head;
use super::target::Trouble;
use super::upstream::Backend;
use crate::config::HealthCheck;

/// Checks the targets until the upstream is gone.
pub(super) async fn watch(backend: Weak<Backend>, settings: Arc<HealthCheck>) {
    let mut rows = Vec::new();
    loop {
        let Some(backend) = backend.upgrade() else { return };
        rows.resize(backend.targets().len(), Row::default());
        for (index, result) in check_all(&backend, &settings).await {
            rows[index].add(result.is_ok());
            judge(&backend, index, rows[index], &settings, result.err());
        }
        let clock = backend.clock().clone();
        drop(backend);
        // Gateways that were started together shall not ask together.
        clock.sleep(settings.every.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
    }
}

/// How many results of one kind came in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    good: u32,
    bad: u32,
}

impl Row {
    fn add(&mut self, good: bool) {
        *self = match good {
            true => Self { good: self.good.saturating_add(1), bad: 0 },
            false => Self { good: 0, bad: self.bad.saturating_add(1) },
        };
    }
}

/// What a check found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Fault(Fault),
    Status(StatusCode),
}

impl Problem {
    fn words(self) -> String {
        match self {
            Self::Fault(fault) => fault.words().to_owned(),
            Self::Status(status) => format!("it answers {}", status.as_str()),
        }
    }
}

async fn check_all(
    backend: &Arc<Backend>,
    settings: &Arc<HealthCheck>,
) -> Vec<(usize, Result<(), Problem>)> {
    let mut checks = JoinSet::new();
    for index in 0..backend.targets().len() {
        let (backend, settings) = (Arc::clone(backend), Arc::clone(settings));
        checks.spawn(async move {
            let answer = timeout(settings.timeout, ask(&backend, index, &settings)).await;
            (index, answer.unwrap_or(Err(Problem::Fault(Fault::Timeout))))
        });
    }
    checks.join_all().await
}

/// One question and its answer, on a connection of its own.
async fn ask(backend: &Backend, index: usize, settings: &HealthCheck) -> Result<(), Problem> {
    let mut socket = backend.connect(index).await.map_err(Problem::Fault)?;
    let reset = |_| Problem::Fault(Fault::Reset);
    socket.write_all(&question(backend, index, settings)).await.map_err(reset)?;
    let mut input = BytesMut::new();
    let status = loop {
        match Head::take(&mut input).map_err(Problem::Fault)? {
            Some(head) if head.is_interim() => {}
            Some(head) => break head.status,
            None if socket.read_buf(&mut input).await.map_err(reset)? == 0 => {
                return Err(Problem::Fault(Fault::Reset));
            }
            None => {}
        }
    };
    let code = status.as_u16();
    let good = settings.status.iter().any(|(first, last)| (*first..=*last).contains(&code));
    good.then_some(()).ok_or(Problem::Status(status))
}

fn question(backend: &Backend, index: usize, settings: &HealthCheck) -> Vec<u8> {
    let own = backend.targets()[index].label.as_bytes();
    let host = settings.host.as_ref().map_or(own, |host| host.as_bytes());
    [
        b"GET ",
        settings.path.as_bytes(),
        b" HTTP/1.1\r\nhost: ",
        host,
        b"\r\nuser-agent: scopegate-health\r\naccept: */*\r\nconnection: close\r\n\r\n",
    ]
    .concat()
}

/// Says so when a target goes down or comes up.
fn judge(
    backend: &Backend,
    index: usize,
    row: Row,
    settings: &HealthCheck,
    problem: Option<Problem>,
) {
    let target = &backend.targets()[index];
    let (upstream, label) = (backend.name(), &*target.label);
    let now = backend.clock().monotonic();
    if row.bad >= settings.unhealthy && target.mark(Trouble::Down, true, now) {
        let problem = problem.map(Problem::words).unwrap_or_default();
        tracing::warn!(upstream, target = label, problem, "a target is down");
    }
    if row.good >= settings.healthy && target.mark(Trouble::Down, false, now) {
        tracing::info!(upstream, target = label, "a target is up");
    }
}
