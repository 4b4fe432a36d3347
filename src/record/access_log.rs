//! Writing one line per request, off the request's path.

use std::io::Write;
use std::time::Duration;

use crate::config::{LogFormat, LogIdentity, Logs};

use super::Record;
use super::background::Background;
use super::batches::Kind;
use super::line::Line;

/// Where access log lines go, at the latest a tenth of a second after their request. A thread of its
/// own writes them; if it cannot keep up, lines are dropped rather than requests held up. Dropping
/// the log writes what is left.
#[derive(Debug)]
pub struct AccessLog {
    lines: Background,
    human: bool,
    identity: LogIdentity,
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
        let lines = Background::start(Kind::Access, writer);
        Self { lines, human, identity: logs.identity }
    }

    pub(super) fn write(&self, record: &Record, total: Duration) {
        let line = Line { record, total, identity: self.identity };
        self.lines.append(|out| if self.human { line.human(out) } else { line.json(out) });
    }
}
