//! Having keys before they are needed: at the start and at a reload.

use std::sync::Arc;
use std::time::Duration;

use super::running::Running;
use crate::authenticate::Issuer;
use crate::policy::Policy;

/// Waits until no token of the policy need be answered 503 for want of keys, for at most five
/// seconds. Who has no keys by then is named in the log, and its tokens get 503 until it has.
pub(super) async fn fetched(policy: &Policy) {
    let waiting = async {
        for issuer in policy.issuers().iter().filter(|issuer| !issuer.status().ready) {
            issuer.first_attempt().await;
        }
    };
    drop(tokio::time::timeout(WITHIN, waiting).await);
    let absent = |issuer: &&Arc<Issuer>| !issuer.status().ready;
    for issuer in policy.issuers().iter().filter(absent) {
        tracing::warn!(issuer = %issuer.name(), "no keys yet: its tokens are answered 503 until it has some");
    }
}

/// Tells the service manager that the gateway is ready once it can judge tokens, or need not be
/// waited for any longer.
pub(super) async fn say_ready(running: Arc<Running>) {
    fetched(&running.gateway.policy()).await;
    running.say_ready("serving");
}

const WITHIN: Duration = Duration::from_secs(5);
