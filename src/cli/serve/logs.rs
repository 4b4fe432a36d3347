//! The gateway's own log, on standard error.

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::super::Global;
use crate::config::LogFormat;
use crate::record::{Background, LogKind};

/// How lines on standard error look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Human,
    Json,
}

impl Style {
    fn of(format: LogFormat, terminal: bool) -> Self {
        match format {
            LogFormat::Human => Self::Human,
            LogFormat::Json => Self::Json,
            LogFormat::Auto if terminal => Self::Human,
            LogFormat::Auto => Self::Json,
        }
    }
}

/// The log. A thread of its own writes it: standard error may be a pipe that nobody empties, and
/// whoever waited for room in it, a worker or what answers health checks, would wait for ever.
pub(super) struct Log {
    pub(super) style: Style,
    lines: Arc<Background>,
}

impl Log {
    /// Writes a line for people.
    pub(super) fn say(&self, text: &str) {
        self.lines.append(|out| out.extend_from_slice(text.as_bytes()));
    }

    /// Writes what is left, within bounds.
    pub(super) fn end(&self) {
        self.lines.end();
    }
}

/// Starts the log, unless the process has one already.
pub(super) fn start(global: &Global, format: LogFormat) -> Log {
    let style = Style::of(format, io::stderr().is_terminal());
    let lines = Arc::new(Background::start(LogKind::Own, Box::new(io::stderr())));
    let log = Arc::clone(&lines);
    let layer = fmt::layer().with_writer(move || Pen(Arc::clone(&log)));
    let layer = layer.with_ansi(global.colors_stderr());
    let layer = match style {
        Style::Human => layer.with_target(false).boxed(),
        Style::Json => layer.json().flatten_event(true).with_target(false).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter(global)));
    if subscriber.try_init().is_ok() {
        // The standard library's own report would wait for room, on the thread of a worker.
        panic::set_hook(Box::new(|what| tracing::error!("{what}")));
    }
    Log { style, lines }
}

/// Writes one event: what formats it hands it over whole.
struct Pen(Arc<Background>);

impl Write for Pen {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.append(|out| out.extend_from_slice(event.strip_suffix(b"\n").unwrap_or(event)));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Only our own events get more detailed with `-v`: what libraries say of requests at lower levels
/// may hold header values, and so tokens.
fn filter(global: &Global) -> Targets {
    let own = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    Targets::new().with_target("scopegate", own).with_default(LevelFilter::ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_for_people_on_a_terminal_alone() {
        assert_eq!(Style::of(LogFormat::Auto, true), Style::Human);
        assert_eq!(Style::of(LogFormat::Auto, false), Style::Json);
        assert_eq!(Style::of(LogFormat::Human, false), Style::Human);
        assert_eq!(Style::of(LogFormat::Json, true), Style::Json);
    }
}
