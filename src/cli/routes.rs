//! To be written.

use super::{Exit, Global};

#[derive(Debug, clap::Args)]
pub(super) struct Options {}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    let _ = (global, options);
    todo!()
}
