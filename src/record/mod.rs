//! What is seen of requests from outside.

pub mod exposition;
pub mod metrics;

/// Where access log lines go.
#[derive(Debug)]
pub struct AccessLog {}

impl AccessLog {
    /// Writes lines as `logs` says to `writer`; `terminal` decides what `format: auto` means.
    #[must_use]
    pub fn new(
        logs: &crate::config::Logs,
        writer: Box<dyn std::io::Write + Send>,
        terminal: bool,
    ) -> Self {
        let _ = (logs, writer, terminal);
        todo!()
    }
}
