//! `scopegate token`: read a token, or have the demo's issuer make one.

pub(super) mod inspect;
mod mint;

use std::io::Write;

use super::{Exit, Global};
use crate::config::hidden::prose;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Say what is in a token, and whether the configured issuer made it
    ///
    /// Reads the token without trusting it. If the configuration names its issuer, the gateway's
    /// own checks are run on it as well: exit 1 if they refuse it.
    Inspect(inspect::Options),
    /// Have the running demo's issuer make a token, and print it
    ///
    /// For a machine: scopegate token mint --client nightly-uploader --scope batch:upload
    /// For a person:  scopegate token mint --client web-app --user alice --scope read:timesheets
    #[command(verbatim_doc_comment)]
    Mint(mint::Options),
}

pub(super) fn run(global: &Global, command: &Command) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::CannotStart, &error.to_string()),
    };
    match command {
        Command::Inspect(options) => runtime.block_on(inspect::run(global, options)),
        Command::Mint(options) => runtime.block_on(mint::run(global, options)),
    }
}

/// Writes a line to standard output. A closed pipe is the reader's choice.
fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Says on standard error why it ends.
fn fail(exit: Exit, sentence: &str) -> Exit {
    drop(writeln!(std::io::stderr(), "error: {}", prose(sentence)));
    exit
}
