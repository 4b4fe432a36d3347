//! Writing one line per request, off the request's path.

use std::io::Write;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::config::{LogFormat, LogIdentity, Logs};

use super::Record;
use super::line::Line;

/// Where access log lines go. A thread of its own writes them; if it cannot keep up, lines are
/// dropped rather than requests held up. Dropping the log writes what is left.
#[derive(Debug)]
pub struct AccessLog {
    writer: NonBlocking,
    human: bool,
    identity: LogIdentity,
    _guard: WorkerGuard,
}

impl AccessLog {
    /// Writes lines as `logs` says to `writer`; `terminal` decides what `format: auto` means.
    #[must_use]
    pub fn new(logs: &Logs, writer: Box<dyn Write + Send>, terminal: bool) -> Self {
        let (writer, guard) =
            NonBlockingBuilder::default().thread_name("access-log").finish(writer);
        let human = match logs.format {
            LogFormat::Auto => terminal,
            LogFormat::Human => true,
            LogFormat::Json => false,
        };
        Self { writer, human, identity: logs.identity, _guard: guard }
    }

    pub(super) fn write(&self, record: &Record, total: std::time::Duration) {
        let line = Line::of(record, total, self.identity);
        let mut text = if self.human { line.human() } else { line.json() };
        text.push(b'\n');
        // The channel's own count of dropped lines is all that can be said when it is full.
        drop(self.writer.clone().write_all(&text));
    }
}
