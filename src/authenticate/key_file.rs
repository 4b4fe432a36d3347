//! Keys from a file, for issuers that cannot be reached.

use std::path::PathBuf;

use jsonwebtoken::Algorithm;

use super::keys::{self, Keys};
use crate::config::{Located, Problem};

/// Reads a JWK Set file.
///
/// # Errors
/// E042 if it cannot be read, is no JWK Set, or has no key for one of `algorithms`.
pub(super) fn read(
    path: &Located<PathBuf>,
    algorithms: &[Algorithm],
) -> Result<Keys, Box<Problem>> {
    let name = path.value.display();
    let problem = |message: String, label: &str| {
        let help = "the file must be a JWK Set: {\"keys\": [...]}, with public keys";
        Box::new(Problem::new("E042", path.at, message).label(label).help(help))
    };
    let text = std::fs::read(&path.value).map_err(|error| {
        problem(format!("the key file {name} cannot be read"), &error.kind().to_string())
    })?;
    let keys = keys::read_set(&text, algorithms)
        .ok_or_else(|| problem(format!("the key file {name} is not a JWK Set"), "not a JWK Set"))?;
    if keys.usable.is_empty() {
        let label = keys.skipped.first().map_or("the set is empty", |key| key.line.as_str());
        return Err(problem(format!("the key file {name} has no key that can be used"), label));
    }
    Ok(keys)
}
