//! `${NAME}`, `${NAME:-default}`, `${file:/path}` and `${cred:name}` in string values.
//!
//! They are expanded after parsing, so that a value can never become YAML, and only once, so that
//! a value can never name another variable. `$${` stands for `${`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Place, Problem};

/// The values that `${NAME}` stands for. The default knows none, and no files.
#[derive(Clone, Default)]
pub struct Variables {
    own: BTreeMap<String, String>,
    process: bool,
}

/// Values may be secrets: only their names are shown.
impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variables")
            .field("own", &self.own.keys())
            .field("process", &self.process)
            .finish()
    }
}

impl Variables {
    /// The process's environment, files for `${file:…}`, and `$CREDENTIALS_DIRECTORY`.
    #[must_use]
    pub fn of_process() -> Self {
        Self { own: BTreeMap::new(), process: true }
    }

    /// Sets one, before all others.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.own.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn value(&self, name: &str) -> Option<String> {
        let own = self.own.get(name).cloned();
        own.or_else(|| std::env::var(name).ok().filter(|_| self.process))
    }

    fn file(&self, path: &Path) -> Option<String> {
        if !self.process {
            return None;
        }
        let mut text = String::new();
        let file = std::fs::File::open(path).ok()?;
        file.take(MAX_FILE + 1)
            .read_to_string(&mut text)
            .ok()
            .filter(|read| *read as u64 <= MAX_FILE)?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Some(text)
    }

    fn credential(&self, name: &str) -> Option<String> {
        let directory = self.value("CREDENTIALS_DIRECTORY")?;
        self.file(&PathBuf::from(directory).join(name))
    }
}

/// A reference that has no value. Never holds a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unset { reference: String, name: String },
    NoFile { reference: String },
    Malformed { reference: String },
}

impl Fault {
    /// The reference as it is written.
    pub(super) fn reference(&self) -> &str {
        match self {
            Self::Unset { reference, .. }
            | Self::NoFile { reference }
            | Self::Malformed { reference } => reference,
        }
    }

    /// The problem that says so. What is no variable may be a secret that looks like one.
    pub(super) fn problem(&self, at: Place, is_secret: bool) -> Problem {
        match self {
            Self::Unset { name, .. } => {
                Problem::new("E030", at, format!("environment variable {name} is not set"))
                    .label("used here")
                    .help(format!(
                        "set it, or give a default `${{{name}:-...}}`, or `${{file:...}}`"
                    ))
            }
            Self::NoFile { reference } => {
                Problem::new("E031", at, format!("`{reference}` cannot be read"))
                    .label("no such file, or not text")
                    .help("files are read by the gateway's own user, up to 64 KiB of UTF-8")
            }
            Self::Malformed { reference } => {
                let shown = match reference.split_once(":-") {
                    _ if is_secret => "${***}".to_owned(),
                    Some((name, _)) => format!("{name}:-***}}"),
                    None => reference.clone(),
                };
                Problem::new("E032", at, format!("`{shown}` is not a variable"))
                    .label("expected `${NAME}`")
                    .help(
                        "`${NAME}`, `${NAME:-default}`, `${file:/path}`, `${cred:name}`; \
                         write `$${` for the characters themselves",
                    )
            }
        }
    }
}

/// Expands all references in `text`; `None` if there are none.
///
/// # Errors
/// Every reference that has no value.
pub(super) fn expand(text: &str, variables: &Variables) -> Result<Option<String>, Vec<Fault>> {
    if !text.contains("${") {
        return Ok(None);
    }
    let (mut out, mut rest, mut faults) = (String::new(), text, Vec::new());
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start - 1]);
            out.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let end = rest[start..].find('}').map_or(rest.len(), |end| start + end + 1);
        match resolve(&rest[start..end], variables) {
            Ok(value) => out.push_str(&value),
            Err(fault) => faults.push(fault),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    if faults.is_empty() { Ok(Some(out)) } else { Err(faults) }
}

/// The value of one reference, written `${…}`.
fn resolve(reference: &str, variables: &Variables) -> Result<String, Fault> {
    let malformed = || Fault::Malformed { reference: reference.to_owned() };
    let no_file = || Fault::NoFile { reference: reference.to_owned() };
    let inner = reference.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
    let inner = inner.ok_or_else(malformed)?;
    if let Some(path) = inner.strip_prefix("file:") {
        return variables.file(Path::new(path)).ok_or_else(no_file);
    }
    if let Some(name) = inner.strip_prefix("cred:") {
        if !is_file_name(name) {
            return Err(malformed());
        }
        return variables.credential(name).ok_or_else(no_file);
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        return Err(malformed());
    }
    let value = variables.value(name).filter(|value| default.is_none() || !value.is_empty());
    let unset = || Fault::Unset { reference: reference.to_owned(), name: name.to_owned() };
    value.or_else(|| default.map(str::to_owned)).ok_or_else(unset)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A name within the credentials directory: no way out of it.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

/// The largest file that a value may come from, in bytes.
const MAX_FILE: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Option<String>, Vec<Fault>> {
        expand(text, &Variables::default().with("A", "x").with("EMPTY", "").with("B", "${A}"))
    }

    #[test]
    fn references_are_replaced() {
        assert_eq!(one("a ${A} b${A}"), Ok(Some("a x bx".into())));
        assert_eq!(one("${NONE:-d}${EMPTY:-e}${EMPTY}"), Ok(Some("de".into())));
        assert_eq!(one("plain $A"), Ok(None));
        assert_eq!(one("$${A}"), Ok(Some("${A}".into())));
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(one("${B}"), Ok(Some("${A}".into())));
    }

    #[test]
    fn every_fault_is_told() {
        let faults = one("${NONE} ${1x} ${file:/nowhere} ${A").unwrap_err();
        assert_eq!(faults.len(), 4);
        assert_eq!(faults[3], Fault::Malformed { reference: "${A".into() });
        assert!(one("${cred:../x}").is_err());
    }

    #[test]
    fn files_and_credentials_are_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "s3\n").unwrap();
        let path = directory.path().to_str().unwrap();
        let variables = Variables::of_process().with("CREDENTIALS_DIRECTORY", path);
        assert_eq!(expand("${cred:secret}", &variables), Ok(Some("s3".into())));
        assert_eq!(expand(&format!("${{file:{path}/secret}}"), &variables), Ok(Some("s3".into())));
        assert!(!format!("{variables:?}").contains(path));
    }
}
