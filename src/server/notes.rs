//! Which changes of a reload take effect at the next start only.

use std::path::PathBuf;

use crate::config::{Config, Located, Tls};

/// A line for each setting that differs and cannot be changed while running.
pub(super) fn notes(before: &Config, after: &Config) -> Vec<String> {
    let fixed = [
        ("listen", before.listen != after.listen),
        ("admin", before.admin != after.admin),
        ("tls", has_pairs(before) != has_pairs(after)),
        ("logs", before.logs != after.logs),
        ("revocation.store", store(before) != store(after)),
        ("limits.verdicts", before.limits.verdicts != after.limits.verdicts),
    ];
    let changed = fixed.into_iter().filter(|(_, differs)| *differs);
    changed
        .map(|(name, _)| format!("`{name}` changed: it takes effect at the next start"))
        .collect()
}

fn store(config: &Config) -> Option<&Located<PathBuf>> {
    config.revocation.as_ref()?.store.as_ref()
}

/// Certificates are exchanged while running; whether there are any is not.
fn has_pairs(config: &Config) -> bool {
    matches!(config.tls.as_deref(), Some(Tls::Pairs(_)))
}
