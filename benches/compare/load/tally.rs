//! What came back.

use std::collections::BTreeMap;
use std::time::Instant;

/// One connection's answers, and in the end those of all.
#[derive(Default)]
pub struct Tally {
    micros: Vec<u32>,
    wrong: BTreeMap<String, u64>,
}

impl Tally {
    /// Notes an answer to a request that was due at `due`. Wrong ones count in any case, right
    /// ones while it is being measured.
    pub fn note(
        &mut self,
        due: Instant,
        answer: std::io::Result<u16>,
        expected: u16,
        measured: bool,
    ) {
        match answer {
            Ok(status) if status == expected && measured => {
                self.micros.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok(status) if status == expected => {}
            Ok(status) => *self.wrong.entry(format!("status {status}")).or_default() += 1,
            Err(error) => *self.wrong.entry(error.to_string()).or_default() += 1,
        }
    }

    pub fn add(&mut self, other: Self) {
        self.micros.extend(other.micros);
        for (what, count) in other.wrong {
            *self.wrong.entry(what).or_default() += count;
        }
    }

    /// Whether it makes no sense to go on.
    pub fn hopeless(&self) -> bool {
        self.wrong.values().sum::<u64>() > 1000
    }

    pub fn count(&self) -> usize {
        self.micros.len()
    }

    /// Requests, errors and quantiles of the latency in microseconds.
    pub fn report(mut self) -> serde_json::Value {
        self.micros.sort_unstable();
        let at = |share: f64| {
            let index = (self.micros.len() as f64 * share) as usize;
            self.micros.get(index.min(self.micros.len().saturating_sub(1))).copied()
        };
        serde_json::json!({
            "requests": self.micros.len(), "errors": self.wrong.values().sum::<u64>(),
            "wrong": self.wrong, "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999),
            "max_us": at(1.0),
        })
    }
}
