//! Looking at the certificates' files every second.
//!
//! Polling, since a watch on a file is lost when the file is replaced, as every tool that renews
//! certificates does it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::running::Running;
use crate::listen::{Certificates, Refreshed};

/// Starts the work on the caller's runtime; it ends with the running.
pub(super) fn start(running: &Arc<Running>) -> JoinHandle<()> {
    let running = Arc::downgrade(running);
    tokio::spawn(async move {
        while let Some(certificates) = certificates(&running) {
            tokio::time::sleep(EVERY).await;
            let read = tokio::task::spawn_blocking(move || certificates.refresh());
            let events = read.await.unwrap_or_default();
            if let Some(running) = running.upgrade() {
                report(&running, &events);
            }
        }
    })
}

fn certificates(running: &Weak<Running>) -> Option<Arc<Certificates>> {
    let running = running.upgrade().filter(|running| !running.has_own_certificate)?;
    running.certificates.clone()
}

fn report(running: &Running, events: &[Refreshed]) {
    for event in events {
        match event {
            Refreshed::Swapped(name) => tracing::info!(name, "a new certificate is in use"),
            Refreshed::Kept { file, why } => {
                tracing::warn!(file, why, "a new certificate cannot be used; the old one stays");
            }
        }
    }
    if let Some(certificates) = running.certificates.as_ref().filter(|_| !events.is_empty()) {
        certificates.export(&running.shared.metrics);
    }
}

const EVERY: Duration = Duration::from_secs(1);
