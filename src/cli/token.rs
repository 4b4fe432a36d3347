//! To be written.

use super::{Exit, Global};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {}

pub(super) fn run(global: &Global, command: &Command) -> Exit {
    let _ = (global, command);
    todo!()
}
