//! To be written.

use super::{Exit, Global};

pub(super) fn run(global: &Global) -> Exit {
    let _ = global;
    todo!()
}
