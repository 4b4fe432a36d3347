//! What became of a revocation, for whoever asked for it, the log and the metrics.

use std::sync::Arc;

use super::entry::{Entry, Source};
use super::key::Kind;
use crate::record::metrics::Metrics;

/// Why a revocation was not entered as it was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEntered {
    /// There are as many as there may be. It is not enforced.
    #[error("there are {0} revocations already, as many as `revocation.max_entries` allows")]
    Full(usize),
    /// It is enforced, but a restart would forget it.
    #[error("it is enforced, but the store failed, and a restart would forget it: {why}")]
    NotDurable {
        /// What is enforced.
        entries: Vec<Arc<Entry>>,
        /// What is wrong with the store.
        why: String,
    },
    /// The logout token was carried out before (BL-04).
    #[error("the logout token was used before")]
    Replayed,
}

/// Why a revocation was not withdrawn. It stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWithdrawn {
    /// The file lists it, and would bring it back.
    #[error("it stands in the file of `revocation.file`: delete it there")]
    InFile,
    /// The store failed.
    #[error("it stays in force, because the store failed: {0}")]
    NotDurable(String),
    /// There is none.
    #[error("there is no such revocation")]
    Unknown,
}

/// The word in `scopegate_revocations_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Entered, and as durable as it can be.
    Accepted,
    /// Entered, but the store failed.
    NotDurable,
    /// Not entered: there are too many.
    Full,
    /// Not entered: a logout token that was not good.
    Rejected,
    /// Taken back.
    Withdrawn,
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::Accepted, Self::NotDurable, Self::Full, Self::Rejected, Self::Withdrawn];

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NotDurable => "not_durable",
            Self::Full => "full",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Makes the series known before anything happens.
pub(super) fn export(metrics: &Metrics) {
    for kind in Kind::ALL {
        for source in Source::ALL {
            for outcome in Outcome::ALL {
                count(metrics, kind, source, outcome, 0);
            }
        }
    }
}

/// Counts what became of an attempt.
pub(super) fn count(metrics: &Metrics, kind: Kind, source: Source, outcome: Outcome, by: u64) {
    let labels = [kind.as_str(), source.as_str(), outcome.as_str()];
    metrics.revocations.with_label_values(&labels).inc_by(by);
}

/// What the log calls this part of the gateway.
pub(super) const TARGET: &str = "scopegate::revocation";

/// One security event: counted, and logged with who, what, why and until when. What is revoked
/// appears as a hash alone.
pub(super) fn tell(metrics: &Metrics, entry: &Entry, outcome: Outcome) {
    let (kind, source) = (entry.id.kind(), entry.source);
    count(metrics, kind, source, outcome, 1);
    tracing::warn!(
        target: TARGET,
        kind = kind.as_str(),
        id = %entry.id,
        issuer = entry.issuer.as_deref(),
        issued_before = entry.issued_before,
        until = entry.until,
        source = source.as_str(),
        by = entry.by,
        why = entry.why.as_deref(),
        result = outcome.as_str(),
        "revocation",
    );
}
