//! The gateway's own log, on standard error.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::super::Global;
use crate::config::LogFormat;

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

/// Starts the log, unless the process has one already.
pub(super) fn start(global: &Global, format: LogFormat) -> Style {
    let style = Style::of(format, std::io::stderr().is_terminal());
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(global.colors_stderr());
    let layer = match style {
        Style::Human => layer.with_target(false).boxed(),
        Style::Json => layer.json().flatten_event(true).with_target(false).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter(global)));
    drop(subscriber.try_init());
    style
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
