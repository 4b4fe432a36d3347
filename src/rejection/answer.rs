//! Answers.
/// Answers.
#[derive(Debug)]
pub struct Answers {}
