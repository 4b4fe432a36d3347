//! Revocations that a file lists, read again whenever it changes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use serde_saphyr::{Options, Spanned};

use super::entry::Entry;
use super::order::{Known, Order};
use super::outcome::TARGET;
use super::set::Revocations;
use super::store::Unusable;
use crate::config::Revocation;

/// The file, and what was last seen of it.
#[derive(Debug)]
pub(super) struct List {
    path: PathBuf,
    seen: Option<Stamp>,
    /// How often in a row it looked the same; up to `SETTLED`. A file that is written twice within
    /// one tick of the file system's clock looks the same as after the first time, but not a second
    /// later.
    same: u32,
    /// For how many looks it has not settled.
    restless: u32,
    /// Why it could not be used, if so.
    fault: Option<String>,
}

/// What tells one state of a file from another: device, inode, length and time of change.
type Stamp = (u64, u64, u64, i64, i64);

impl Revocations {
    /// Reads the file that `settings` name, and puts what it lists in force.
    ///
    /// # Errors
    /// If it cannot be read; then what was listed before stays in force.
    pub(super) fn read_list(
        &self,
        settings: &Revocation,
        known: &Known,
        at_start: bool,
    ) -> Result<(), Unusable> {
        let Some(path) = &settings.file else {
            self.drop_list();
            return Ok(());
        };
        let now = self.clock().now().unix;
        let seen = stamp(path);
        let entries = read(path, known, now, settings.max_entries).map_err(Unusable)?;
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = list.as_ref().is_some_and(|list| list.path == path.value);
        *list = Some(List::new(path.value.clone(), seen));
        // A known file may be in the middle of being written, whoever asks to read it.
        match is_known {
            true => self.add_listed(entries),
            false => self.replace_listed(entries, at_start),
        }
        drop(list);
        self.metrics.revocation_up.with_label_values(&["file"]).set(1);
        Ok(())
    }

    /// Forgets the file: the configuration does not name it any more.
    pub(super) fn drop_list(&self) {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner).take();
        if list.is_some() {
            self.replace_listed(Vec::new(), false);
            drop(self.metrics.revocation_up.remove_label_values(&["file"]));
        }
    }

    /// Looks whether the file has changed. What can be read comes into force; if it cannot, what
    /// was listed before stays, and the log and a metric say so. What the file has no more goes once
    /// it has settled: half of a list is a list, too, and he who writes one slowly does not mean to
    /// take the other half back.
    pub fn look_at_list(&self, known: &Known) {
        let most = self.settings().map_or(0, |settings| settings.max_entries);
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock().now().unix;
        let Some(outcome) = list.as_mut().and_then(|list| list.look(known, now, most)) else {
            return;
        };
        let up = self.metrics.revocation_up.with_label_values(&["file"]);
        up.set(i64::from(outcome.is_ok()));
        match outcome {
            Ok(Read { entries, is_settled }) => {
                let count = entries.len();
                match is_settled {
                    true => self.replace_listed(entries, false),
                    false => self.add_listed(entries),
                }
                tracing::debug!(target: TARGET, count, "the file was read");
            }
            Err(why) => tracing::error!(
                target: TARGET,
                why,
                "the revocation file cannot be used: what it listed before stays in force",
            ),
        }
    }
}

/// What a file lists.
struct Read {
    entries: Vec<Entry>,
    /// Whether that is all that it is meant to list.
    is_settled: bool,
}

impl List {
    fn new(path: PathBuf, seen: Option<Stamp>) -> Self {
        Self { path, seen, same: 0, restless: 0, fault: None }
    }

    /// What the file lists, if it may have changed; a fault is told once.
    fn look(&mut self, known: &Known, now: Duration, most: usize) -> Option<Result<Read, String>> {
        let seen = stamp(&self.path);
        if seen == self.seen && self.same >= SETTLED {
            return None;
        }
        let is_settled = self.settles(seen);
        match read(&self.path, known, now, most) {
            // Read to be sure; most of the time it is what it was.
            Ok(entries) => {
                self.fault = None;
                Some(Ok(Read { entries, is_settled }))
            }
            Err(why) if self.fault.as_ref() == Some(&why) => None,
            Err(why) => {
                self.fault = Some(why.clone());
                Some(Err(why))
            }
        }
    }
}

impl List {
    /// Notes how the file looks. One that never stands still is taken as it is now and then: what it
    /// once listed would else be kept without end.
    fn settles(&mut self, seen: Option<Stamp>) -> bool {
        self.same = if seen == self.seen { self.same + 1 } else { 0 };
        self.seen = seen;
        self.restless += 1;
        let is_settled = self.same >= SETTLED || self.restless >= MOST_RESTLESS;
        if is_settled {
            self.restless = 0;
        }
        is_settled
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found: Metadata = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

/// Reads a list of at most `most` live entries. The error names file and line.
fn read(path: &Path, known: &Known, now: Duration, most: usize) -> Result<Vec<Entry>, String> {
    let name = path.display().to_string();
    let text = text(path).map_err(|why| format!("{name}: {why}"))?;
    // An empty file is one that was cut short; an empty list is `[]`.
    if text.trim().is_empty() {
        return Err(format!("{name}: it is empty; write `[]` if nothing is to be listed"));
    }
    let items: Vec<Spanned<Order>> = serde_saphyr::from_str_with_options(&text, options(most))
        .map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            let error = error.to_string();
            let bare = error.split(" at line ").next().unwrap_or_default();
            format!("{name}:{line}: {bare}")
        })?;
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        let line = item.referenced.line();
        let entry = item.value.listed(known, now, &name);
        let entry = entry.map_err(|why| format!("{name}:{line}: {why}"))?;
        entries.extend(Some(entry).filter(|entry| !entry.is_over(now)));
    }
    let count = entries.iter().filter(|entry| entry.is_live(now)).count();
    if count > most {
        return Err(format!("{name}: it lists {count}, more than `max_entries`, which is {most}"));
    }
    Ok(entries)
}

fn text(path: &Path) -> Result<String, String> {
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if found.len() > MOST_BYTES {
        return Err("it is larger than 256 MiB".to_owned());
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn options(most: usize) -> Options {
    // Each item is a mapping of at most eight keys and values; ended ones are not counted.
    let nodes = most.saturating_mul(40).saturating_add(1_000);
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: nodes,
            max_events: nodes.saturating_mul(3),
            max_depth: 4,
            flow_nesting_limit: 4,
            max_aliases: 0,
            max_anchors: 0,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}

const MOST_BYTES: u64 = 256 << 20;

/// So many looks in a row a file that has changed must look the same, before what is gone from it
/// goes.
const SETTLED: u32 = 2;

/// After so many looks it goes though the file does not stand still.
const MOST_RESTLESS: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Variables, load_text};

    const YAML: &str = "
issuer: https://id.example
audience: api
upstream: http://127.0.0.1:1
revocation: {}
routes: { /a: { GET: a } }
";

    fn known() -> Known {
        let loaded = load_text("gateway.yaml", YAML, &Variables::default());
        Known::of(&loaded.config.expect("it loads"))
    }

    fn read_text(text: &str, most: usize) -> Result<Vec<Entry>, String> {
        read_at(1_000, text, most)
    }

    fn read_at(now: u64, text: &str, most: usize) -> Result<Vec<Entry>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let name = file.path().display().to_string();
        let read = read(file.path(), &known(), Duration::from_secs(now), most);
        read.map_err(|why| why.replace(&name, "list"))
    }

    #[test]
    fn a_list_is_read_without_what_ended_long_ago() {
        let text = "
# leaked
- { jti: a, until: 1002000, why: it was in a log }
- jti: b
  until: 1970-01-01T00:10:00Z
- { jti: c, until: 999999 }
- { subject: alice, issued_before: 900, until: 1970-01-12T14:46:40Z }
";
        let entries = read_at(1_000_000, text, 2).unwrap();
        let ends: Vec<_> = entries.iter().map(|entry| entry.until).collect();
        // What has just ended is kept, and is not counted.
        assert_eq!(ends, [1_002_000, 999_999, 1_003_600]);
        assert_eq!(entries[0].why.as_deref(), Some("it was in a log"));
        assert_eq!(read_text("[]", 1).unwrap(), []);
        assert!(read_at(1_000_000, text, 1).unwrap_err().contains("more than `max_entries`"));
    }

    #[test]
    fn a_file_settles_when_it_stands_still_or_never_does() {
        let mut list = List::new(PathBuf::new(), None);
        let stamp = |length| Some((1, 1, length, 0, 0));
        let settled: Vec<bool> = [5, 5, 6, 6, 6].map(|length| list.settles(stamp(length))).to_vec();
        assert_eq!(settled, [false, false, false, false, true]);
        let first = (0..).position(|turn| list.settles(stamp(turn))).unwrap();
        assert_eq!(first, MOST_RESTLESS as usize - 1);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, start) in [
            ("- { jti: a, until: 2000 }\n- { jti: b }\n", "list:2: `until` is missing"),
            ("- { jti: a, until: 2000 }\n- { jti: b, untill: 1 }\n", "list:2: unknown field"),
            ("- { jti: a, until: 2000 \n", "list:"),
            ("- { jti: a, until: 2000, issuer: other }\n", "list:1: no issuer is called that"),
            ("jti: a", "list:1: "),
            ("", "list: it is empty"),
            ("- { jti: a, jti: b, until: 2000 }", "list:1: "),
        ] {
            let why = read_text(text, 9).unwrap_err();
            assert!(why.starts_with(start), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_long_list_is_within_the_budget() {
        let text = "- { jti: a, until: 2000, why: because, by: me, issuer: main }\n".repeat(5_000);
        assert_eq!(read_text(&text, 5_000).unwrap().len(), 5_000);
    }
}
