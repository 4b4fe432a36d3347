//! The access log, as a test reads it.

use serde_json::Value;

use super::{Answer, Harness, until};

impl Harness {
    /// The line of the request that got this answer, once it is written.
    pub async fn line(&self, answer: &Answer) -> Value {
        let id = answer.header("x-request-id");
        assert!(!id.is_empty(), "the answer has no request id: {answer:?}");
        let find = || self.log().lines().find(|line| line.contains(id)).map(str::to_owned);
        until("the log line", async || find().is_some_and(|line| line.ends_with('}'))).await;
        serde_json::from_str(&find().unwrap_or_default()).expect("a line of JSON")
    }
}
