//! Counting tokens by what became of them.

use prometheus::IntCounter;

use crate::record::metrics::Metrics;
use crate::rejection::{Rejection, TokenFault};

/// The counters `scopegate_tokens_total` of one issuer, resolved once.
#[derive(Debug)]
pub(super) struct Tally {
    valid: IntCounter,
    faults: [IntCounter; FAULTS.len()],
}

impl Tally {
    /// The counters of the issuer called `issuer`; they start at 0.
    pub(super) fn new(metrics: &Metrics, issuer: &str) -> Self {
        let counter = |result| metrics.tokens.with_label_values(&[issuer, result]);
        Self {
            valid: counter("valid"),
            faults: FAULTS.map(|fault| counter(fault.reason().as_str())),
        }
    }

    /// Counts a token that was accepted.
    pub(super) fn accept(&self) {
        self.valid.inc();
    }

    /// Counts a token that was refused for `fault`.
    pub(super) fn refuse(&self, fault: TokenFault) -> Rejection {
        if let Some(index) = FAULTS.iter().position(|known| *known == fault) {
            self.faults[index].inc();
        }
        Rejection::Token(fault)
    }
}

const FAULTS: [TokenFault; 12] = [
    TokenFault::AlgorithmRefused,
    TokenFault::BadSignature,
    TokenFault::Expired,
    TokenFault::Inactive,
    TokenFault::Malformed,
    TokenFault::NotYetValid,
    TokenFault::Revoked,
    TokenFault::SenderMismatch,
    TokenFault::UnknownIssuer,
    TokenFault::UnknownKey,
    TokenFault::WrongAudience,
    TokenFault::WrongTokenType,
];
