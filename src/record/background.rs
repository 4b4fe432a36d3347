//! A log that a thread of its own writes, so that nobody who has something to say waits for whoever
//! reads it.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::batches::{Batches, Call, Kind};

/// Lines on their way to a writer that may be slow, or stuck: a pipe that nobody empties. Lines for
/// which there is no room are dropped, and counted in the log. Dropping it writes what is left.
#[derive(Debug)]
pub(crate) struct Background {
    batches: Arc<Batches>,
    /// Closed when everything is written.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Background {
    /// Starts the thread.
    pub(crate) fn start(kind: Kind, mut writer: Box<dyn Write + Send>) -> Self {
        let batches = Arc::new(Batches::new(kind));
        let (sender, ended) = mpsc::channel();
        let lines = Arc::clone(&batches);
        let write = move || {
            lines.write_to(&mut writer);
            drop(sender);
        };
        let name = match kind {
            Kind::Access => "access-log",
            Kind::Own => "log",
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(write);
        drop(started.expect("the system has room for one more thread at the start"));
        Self { batches, ended: Mutex::new(ended) }
    }

    /// Appends a line that `write` writes, without its end.
    pub(crate) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.batches.append(write);
    }

    /// Writes what is left and no more. Whoever reads the log may have stopped to: that must not
    /// keep the gateway from stopping.
    pub(crate) fn end(&self) {
        self.batches.raise(Call::End);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(END_WITHIN);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.end();
    }
}

/// How long the last lines may take to be written.
const END_WITHIN: Duration = Duration::from_secs(1);
