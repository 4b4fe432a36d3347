//! Writing one line per request, off the request's path.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use crate::config::{LogFormat, LogIdentity, Logs};

use super::Record;
use super::batches::{Batches, Call};
use super::line::Line;

/// Where access log lines go, at the latest a tenth of a second after their request. A thread of its
/// own writes them; if it cannot keep up, lines are dropped rather than requests held up. Dropping
/// the log writes what is left.
#[derive(Debug)]
pub struct AccessLog {
    batches: Arc<Batches>,
    human: bool,
    identity: LogIdentity,
    /// Closed when everything is written.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl AccessLog {
    /// Writes lines as `logs` says to `writer`; `terminal` decides what `format: auto` means.
    #[must_use]
    pub fn new(logs: &Logs, writer: Box<dyn Write + Send>, terminal: bool) -> Self {
        let human = match logs.format {
            LogFormat::Auto => terminal,
            LogFormat::Human => true,
            LogFormat::Json => false,
        };
        let batches = Arc::new(Batches::default());
        let ended = start(Arc::clone(&batches), writer);
        Self { batches, human, identity: logs.identity, ended: Mutex::new(ended) }
    }

    pub(super) fn write(&self, record: &Record, total: Duration) {
        let line = Line { record, total, identity: self.identity };
        self.batches.append(|out| if self.human { line.human(out) } else { line.json(out) });
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.batches.raise(Call::End);
        // Whoever reads the log may have stopped to: that must not keep the gateway from stopping.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(END_WITHIN);
    }
}

fn start(batches: Arc<Batches>, mut writer: Box<dyn Write + Send>) -> mpsc::Receiver<()> {
    let (sender, ended) = mpsc::channel();
    let write = move || {
        batches.write_to(&mut writer);
        drop(sender);
    };
    let started = thread::Builder::new().name("access-log".to_owned()).spawn(write);
    drop(started.expect("the system has room for one more thread at the start"));
    ended
}

/// How long the last lines may take to be written.
const END_WITHIN: Duration = Duration::from_secs(1);
