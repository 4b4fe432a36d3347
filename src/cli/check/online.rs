//! `check --online`: what the issuers themselves say.

use std::panic::resume_unwind;

use super::scopes;
use crate::authenticate::{Published, published};
use crate::clock::Clock;
use crate::config::{self, Config, Problem};

/// Asks all issuers at once; what is wrong with them, and with the scopes that routes ask for.
///
/// # Errors
/// If this process can have no runtime.
pub(super) fn problems(config: &Config) -> std::io::Result<Vec<Problem>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (answers, mut problems) = runtime.block_on(ask(config));
    problems.extend(scopes::unlisted(config, &answers));
    Ok(problems)
}

/// What each issuer publishes, in their order, and why some do not.
async fn ask(config: &Config) -> (Vec<Published>, Vec<Problem>) {
    let questions: Vec<_> =
        config.issuers.iter().map(|issuer| tokio::spawn(question(issuer.clone()))).collect();
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for question in questions {
        let answer = question.await.unwrap_or_else(|error| resume_unwind(error.into_panic()));
        answers.push(answer.unwrap_or_else(|problem| {
            problems.push(*problem);
            Published::default()
        }));
    }
    (answers, problems)
}

async fn question(issuer: config::Issuer) -> Result<Published, Box<Problem>> {
    published(&issuer, &Clock::default()).await.map_err(Box::new)
}
