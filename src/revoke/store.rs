//! Revocations on disk.
//!
//! redb keeps them: a B-tree in one file, copy on write, with checksums. What is asked of it
//! here beyond its defaults: each transaction is committed in two phases, so that a damaged last
//! commit is an error instead of a silent step back to the one before; the file is made under
//! another name and moved into place, so that no crash leaves an empty one behind; and whatever
//! goes wrong while a file is opened, the library's own panics included, refuses the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::entry::Entry;
use super::key::Key;

/// An open store. No other process can open it.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    /// Device and inode: whether the path still leads to what was opened.
    file: (u64, u64),
    /// Whether it was made just now.
    pub(super) is_new: bool,
    /// Closed after an error, and opened again for the next change.
    database: Option<Database>,
}

/// Why a store cannot be used, or a change could not be kept. In words, without what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub(crate) String);

impl Store {
    /// Opens a store, or makes one where there is none, and reads all that it holds.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Entry>), Unusable> {
        let is_new = match std::fs::metadata(path) {
            Ok(found) => examine(&found).map(|()| false)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path).map(|()| true)?,
            Err(error) => return Err(Unusable(error.to_string())),
        };
        let (database, entries) = quietly(|| {
            let mut database = connect(path)?;
            if !database.check_integrity().map_err(broken)? {
                return Err(Unusable("it is damaged".to_owned()));
            }
            let entries = read(&database)?;
            Ok((database, entries))
        })?;
        let file = identity(path)?;
        Ok((Self { path: path.to_owned(), file, is_new, database: Some(database) }, entries))
    }

    /// Keeps entries, all or none. When it returns, a power cut does not lose them.
    pub(super) fn put(&mut self, entries: &[&Entry]) -> Result<(), Unusable> {
        self.change(|table| {
            for entry in entries {
                let value =
                    serde_json::to_vec(entry).map_err(|error| Unusable(error.to_string()))?;
                table.insert(entry.id.to_string().as_str(), value.as_slice()).map_err(broken)?;
            }
            Ok(())
        })
    }

    /// Drops entries.
    pub(super) fn remove(&mut self, keys: &[Key]) -> Result<(), Unusable> {
        self.change(|table| {
            for key in keys {
                table.remove(key.to_string().as_str()).map_err(broken)?;
            }
            Ok(())
        })
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut redb::Table<'_, &'static str, &'static [u8]>) -> Result<(), Unusable>,
    ) -> Result<(), Unusable> {
        // What is written to a file that was moved or deleted is lost at the next start.
        if identity(&self.path)? != self.file {
            return Err(Unusable("another file took its place".to_owned()));
        }
        // After an error the library wants the file to be opened anew.
        let database = match self.database.take() {
            Some(database) => database,
            None => guarded(|| connect(&self.path))?,
        };
        guarded(|| {
            let mut transaction = database.begin_write().map_err(broken)?;
            transaction.set_two_phase_commit(true);
            change(&mut transaction.open_table(ENTRIES).map_err(broken)?)?;
            transaction.commit().map_err(broken)
        })?;
        self.database = Some(database);
        Ok(())
    }
}

/// Refuses what cannot be a store that was left in order.
fn examine(found: &std::fs::Metadata) -> Result<(), Unusable> {
    let why = match found {
        found if !found.is_file() => "it is not a file",
        // Also for a user who could write to it all the same: whoever took the right away
        // meant it.
        found if found.permissions().readonly() => "it is read-only",
        // The library would take it for a new one.
        found if found.len() == 0 => "it is empty: it was cut short",
        _ => return Ok(()),
    };
    Err(Unusable(why.to_owned()))
}

/// Makes a store that holds nothing. Directories are not made: where one is missing, something
/// was not mounted.
fn create(path: &Path) -> Result<(), Unusable> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let fault = |error: io::Error| Unusable(format!("it cannot be made: {error}"));
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
        Ok(()) | Err(_) => {}
    }
    let made = guarded(|| {
        let database = Database::builder().set_cache_size(CACHE).create(&draft).map_err(broken)?;
        let transaction = database.begin_write().map_err(broken)?;
        drop(transaction.open_table(ENTRIES).map_err(broken)?);
        transaction.commit().map_err(broken)
    });
    made.map_err(|Unusable(why)| Unusable(format!("it cannot be made: {why}")))?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(fault)?;
    std::fs::rename(&draft, path).map_err(fault)?;
    // The name must survive a power cut, too.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new(".")));
    directory.and_then(|directory| directory.sync_all()).map_err(fault)?;
    Ok(())
}

fn connect(path: &Path) -> Result<Database, Unusable> {
    Database::builder().set_cache_size(CACHE).open(path).map_err(broken)
}

fn read(database: &Database) -> Result<Vec<Entry>, Unusable> {
    let transaction = database.begin_read().map_err(broken)?;
    let table = transaction.open_table(ENTRIES).map_err(broken)?;
    let mut entries = Vec::new();
    for row in table.iter().map_err(broken)? {
        let (id, value) = row.map_err(broken)?;
        let entry: Entry = serde_json::from_slice(value.value())
            .map_err(|_| Unusable("an entry in it cannot be read".to_owned()))?;
        if entry.id.to_string() != id.value() {
            return Err(Unusable("an entry in it has another's name".to_owned()));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Runs what may panic over a damaged file.
fn guarded<T>(run: impl FnOnce() -> Result<T, Unusable>) -> Result<T, Unusable> {
    let outcome = catch_unwind(AssertUnwindSafe(run));
    outcome.unwrap_or_else(|_| Err(Unusable("it is damaged, or was cut short".to_owned())))
}

/// The same while the gateway starts, when what this thread says of a panic would stand before
/// the message that people are meant to read. Other threads' panics are told as ever.
fn quietly<T>(run: impl FnOnce() -> Result<T, Unusable>) -> Result<T, Unusable> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let quiet = std::thread::current().id();
    let told = Arc::new(std::panic::take_hook());
    let others = Arc::clone(&told);
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != quiet {
            others(panic);
        }
    }));
    let outcome = guarded(run);
    std::panic::set_hook(Box::new(move |panic| told(panic)));
    drop(turn);
    outcome
}

/// The library's errors, in words for whoever keeps the file.
fn broken(error: impl Into<redb::Error>) -> Unusable {
    let error = error.into();
    if matches!(error, redb::Error::DatabaseAlreadyOpen) {
        return Unusable("another process has it open".to_owned());
    }
    let redb::Error::Io(error) = error else {
        return Unusable(format!("it is damaged: {error}"));
    };
    let words = [
        (io::ErrorKind::InvalidData, "it is not a revocation store, or is damaged"),
        (io::ErrorKind::UnexpectedEof, "it was cut short"),
    ];
    let known = words.iter().find(|(kind, _)| *kind == error.kind());
    Unusable(known.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned()))
}

fn identity(path: &Path) -> Result<(u64, u64), Unusable> {
    let found = std::fs::metadata(path).map_err(|error| Unusable(error.to_string()))?;
    Ok((found.dev(), found.ino()))
}

/// Entries by id, as JSON.
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");

/// Bytes of the file that are kept in memory; the entries themselves are kept elsewhere.
const CACHE: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::*;

    fn filled(path: &Path, count: usize) {
        let (mut store, _) = Store::open(path).unwrap();
        for number in 0..count {
            store.put(&[&entry(&format!("user-{number}"), 1_000)]).unwrap();
        }
    }

    fn refusal(path: &Path) -> String {
        Store::open(path).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_was_put_is_there_again_and_what_was_removed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        filled(&path, 3);
        let (mut store, entries) = Store::open(&path).unwrap();
        assert_eq!(entries.len(), 3);
        assert!(entries.contains(&entry("user-1", 1_000)));
        store.remove(&[entry("user-1", 0).id]).unwrap();
        store.put(&[&entry("user-2", 2_000)]).unwrap();
        drop(store);
        let (_, entries) = Store::open(&path).unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries.contains(&entry("user-2", 2_000)));
    }

    #[test]
    fn a_store_that_was_cut_short_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        filled(&path, 20);
        let bytes = std::fs::read(&path).unwrap();
        let lengths = [0, 1, 9, 100, 320, 4_096, bytes.len() / 2, bytes.len() - 4_096];
        for length in lengths.into_iter().chain([bytes.len() - 1]) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(!refusal(&path).is_empty(), "{length}");
        }
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Store::open(&path).unwrap().1.len(), 20);
    }

    #[test]
    fn what_is_no_store_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        std::fs::write(&path, "listen: 127.0.0.1:8443\n".repeat(1_000)).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(refusal(&path).contains("not a revocation store"), "{}", refusal(&path));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(refusal(folder.path()), "it is not a file");
        let nowhere = folder.path().join("missing/store");
        assert!(refusal(&nowhere).starts_with("it cannot be made"), "{}", refusal(&nowhere));
    }

    #[test]
    fn a_read_only_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        filled(&path, 1);
        let mut rights = std::fs::metadata(&path).unwrap().permissions();
        rights.set_readonly(true);
        std::fs::set_permissions(&path, rights).unwrap();
        assert_eq!(refusal(&path), "it is read-only");
    }

    #[test]
    fn a_store_has_one_owner_and_stays_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (mut store, _) = Store::open(&path).unwrap();
        assert_eq!(refusal(&path), "another process has it open");
        std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        assert!(store.put(&[&entry("alice", 1)]).is_err());
        std::fs::write(&path, "x").unwrap();
        assert!(store.put(&[&entry("alice", 1)]).is_err());
        std::fs::rename(folder.path().join("elsewhere"), &path).unwrap();
        store.put(&[&entry("alice", 1)]).unwrap();
    }
}
