//! Looking at the certificates' files every second.
//!
//! Polling, since a watch on a file is lost when the file is replaced, as every tool that renews
//! certificates does it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::running::Running;
use crate::listen::{Certificates, Refreshed};
use crate::policy::Policy;

/// Starts the work on the caller's runtime; it ends with the running.
pub(super) fn start(running: &Arc<Running>) -> JoinHandle<()> {
    let running = Arc::downgrade(running);
    tokio::spawn(async move {
        while let Some(files) = Files::of(&running) {
            tokio::time::sleep(EVERY).await;
            let events = tokio::task::spawn_blocking(move || files.refresh()).await;
            if let (Some(running), Ok(events)) = (running.upgrade(), events) {
                report(&running, &events);
            }
        }
    })
}

/// What is made from files: the listeners' certificates, and what backends are known by.
struct Files {
    certificates: Option<Arc<Certificates>>,
    policy: Arc<Policy>,
}

impl Files {
    /// `None` when the running has ended.
    fn of(running: &Weak<Running>) -> Option<Self> {
        let running = running.upgrade()?;
        let from_files = !running.has_own_certificate;
        let certificates = running.certificates.clone().filter(|_| from_files);
        Some(Self { certificates, policy: running.gateway.policy() })
    }

    fn refresh(&self) -> Vec<Refreshed> {
        let own = self.certificates.iter().flat_map(|certificates| certificates.refresh());
        let backends = self.policy.upstreams().iter();
        own.chain(backends.filter_map(|upstream| upstream.refresh_tls())).collect()
    }
}

fn report(running: &Running, events: &[Refreshed]) {
    let now = running.shared.clock.now().unix;
    for event in events {
        match event {
            Refreshed::Swapped(name, validity) => {
                match validity.and_then(|validity| validity.fault(now)) {
                    None => tracing::info!(name, "a new certificate is in use"),
                    // Not refused: the gateway's clock may be the one that is wrong.
                    Some(why) => {
                        tracing::warn!(name, why, "a certificate is in use that nobody believes");
                    }
                }
            }
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
