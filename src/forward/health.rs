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
use super::http2::question::{self, USER_AGENT};
use super::response_head::Head;
use super::socket::Socket;
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
    let socket = backend.connect(index).await.map_err(Problem::Fault)?;
    let own = backend.targets()[index].own_host();
    let host = settings.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(own);
    let status = match backend.speaks_http2(&socket) {
        true => question::ask(socket, host, &settings.path).await,
        false => ask_http1(socket, host, &settings.path).await,
    };
    let status = status.map_err(Problem::Fault)?;
    let code = status.as_u16();
    let good = settings.status.iter().any(|(first, last)| (*first..=*last).contains(&code));
    good.then_some(()).ok_or(Problem::Status(status))
}

async fn ask_http1(mut socket: Socket, host: &str, path: &str) -> Result<StatusCode, Fault> {
    let question = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {USER_AGENT}\r\naccept: */*\r\n\
         connection: close\r\n\r\n"
    );
    socket.write_all(question.as_bytes()).await.map_err(|_| Fault::Reset)?;
    socket.flush().await.map_err(|_| Fault::Reset)?;
    let mut input = BytesMut::new();
    loop {
        match Head::take(&mut input)? {
            Some(head) if head.is_interim() => {}
            Some(head) => return Ok(head.status),
            None => match socket.read_buf(&mut input).await {
                Ok(1..) => {}
                Ok(0) => return Err(Fault::Reset),
                Err(error) => return Err(Fault::of_read(&error)),
            },
        }
    }
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
