//! Keeping an issuer's keys fresh in the background (OpenID Connect Core §10.1.1).

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::fetch::{Document, Fault, Fetcher};
use super::introspect::Endpoint;
use super::keyring::{DEMAND_INTERVAL, Keyring};
use super::keys::{self, Keys};
use super::metadata;
use super::watchers::Watchers;

/// What fetches an issuer's keys.
#[derive(Debug)]
pub(super) struct Refresher {
    pub(super) keyring: Arc<Keyring>,
    pub(super) fetcher: Fetcher,
    pub(super) watchers: Arc<Watchers>,
    pub(super) issuer_url: Arc<str>,
    pub(super) place: Place,
    pub(super) algorithms: Vec<Algorithm>,
    /// Whether keys are wanted at all.
    pub(super) wants_keys: bool,
    /// What to tell of the introspection endpoint, if the metadata is to name it.
    pub(super) endpoint: Option<Arc<Endpoint>>,
}

/// Where to begin.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// At the metadata: the first of these URLs that is not answered 404.
    Metadata(Vec<String>),
    /// At the key set.
    Keys(String),
}

/// A step of an attempt; the word in metrics and the words in sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Discovery,
    Keys,
}

/// What failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) fault: Fault,
}

impl Refresher {
    /// Fetches again and again. Ends when its task is aborted.
    pub(super) async fn run(self) {
        let mut failures = 0;
        loop {
            let attempt = self.keyring.begin();
            let pause = match self.attempt().await {
                Ok(time_to_live) => {
                    failures = 0;
                    before_expiry(time_to_live)
                }
                Err(failure) => {
                    failures += 1;
                    self.pause_after(&failure, failures)
                }
            };
            self.keyring.end(attempt, pause).await;
        }
    }

    /// One attempt, from the metadata on: the key set may have moved. Returns how long its outcome
    /// may be used.
    pub(super) async fn attempt(&self) -> Result<Duration, Failure> {
        let url = match &self.place {
            Place::Keys(url) => Some(url.clone()),
            Place::Metadata(urls) => self.discover(urls).await?,
        };
        let Some(url) = url else {
            self.succeed(Keys { usable: Vec::new(), skipped: Vec::new() });
            return Ok(DEFAULT_TTL);
        };
        let (keys, max_age) = self
            .fetch(Step::Keys, &url, |document| {
                let keys = keys::read_set(&document.body, &self.algorithms)
                    .ok_or(Fault::Invalid("it is not a JWK Set of at most 100 keys"))?;
                // A set without keys is a server's accident more often than its intention: the last
                // good keys stay until their own limit.
                if keys.usable.is_empty() {
                    self.watchers.skipped(keys.skipped);
                    return Err(Fault::Empty);
                }
                Ok((keys, document.max_age))
            })
            .await?;
        self.succeed(keys);
        Ok(max_age.unwrap_or(DEFAULT_TTL).clamp(MIN_TTL, MAX_TTL))
    }

    /// Reads the metadata; returns where the keys are, if they are wanted.
    async fn discover(&self, urls: &[String]) -> Result<Option<String>, Failure> {
        let mut result = Err(Failure { step: Step::Discovery, fault: Fault::Empty });
        for url in urls {
            result = self
                .fetch(Step::Discovery, url, |document| {
                    self.note_endpoint(document, url)?;
                    let keys = || metadata::jwks_uri(&document.body, &self.issuer_url, url);
                    self.wants_keys.then(keys).transpose()
                })
                .await;
            let is_absent = |failure: &Failure| failure.fault == Fault::Status(NOT_FOUND);
            if !result.as_ref().is_err_and(is_absent) {
                break;
            }
        }
        result
    }

    /// Takes the introspection endpoint from the metadata. Its absence is a failure only where
    /// nothing else is wanted: JWTs are verified without it.
    fn note_endpoint(&self, document: &Document, url: &str) -> Result<(), Fault> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        match metadata::introspection_endpoint(&document.body, &self.issuer_url, url) {
            Ok(found) => endpoint.set(found),
            Err(fault) if self.wants_keys => self.watchers.no_endpoint(&fault),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Fetches and reads one document, and counts what came of it.
    async fn fetch<T>(
        &self,
        step: Step,
        url: &str,
        read: impl FnOnce(&Document) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        let started = self.keyring.clock.monotonic();
        let result = self.fetcher.get(url).await.and_then(|document| read(&document));
        let took = self.keyring.clock.monotonic().saturating_sub(started);
        self.watchers.fetched(step, result.as_ref().err(), took);
        result.map_err(|fault| Failure { step, fault })
    }

    fn succeed(&self, keys: Keys) {
        let Keys { usable, skipped } = keys;
        let is_changed = self.keyring.confirm(usable);
        let is_recovered = self.keyring.note(None);
        let set = self.keyring.latest();
        self.watchers.skipped(skipped);
        self.watchers.succeeded(&set, is_changed || is_recovered, self.keyring.clock.now());
    }

    /// Notes a failure, the latest of so many in a row; returns the pause that follows.
    ///
    /// While older keys serve there is no hurry, and there must be none: who names unknown keys
    /// sets off an attempt, and would else set off a chain of them whenever the issuer fails.
    fn pause_after(&self, failure: &Failure, failures: u32) -> Duration {
        let is_ready = self.keyring.is_ready(self.keyring.clock.now());
        self.fail(failure, is_ready);
        let shortest = if is_ready { DEMAND_INTERVAL } else { MIN_PAUSE };
        backoff(failures).max(shortest)
    }

    fn fail(&self, failure: &Failure, is_ready: bool) {
        let what = match failure.step {
            Step::Discovery => "metadata",
            Step::Keys => "key set",
        };
        let url = &self.issuer_url;
        let problem = format!("the {what} of \"{url}\" {}", failure.fault);
        let is_news = self.keyring.note(Some(&problem));
        self.watchers.failed(&problem, is_news, is_ready);
    }
}

/// When to refresh what may be used for `time_to_live`: ahead of its end, and not all gateways at
/// once.
fn before_expiry(time_to_live: Duration) -> Duration {
    time_to_live.mul_f64(0.8 + 0.15 * fastrand::f64())
}

/// The pause after a number of failures in a row.
fn backoff(failures: u32) -> Duration {
    let longest = MIN_PAUSE.saturating_mul(1 << failures.min(6)).min(MAX_PAUSE);
    longest.mul_f64(0.5 + 0.5 * fastrand::f64()).max(MIN_PAUSE)
}

const NOT_FOUND: http::StatusCode = http::StatusCode::NOT_FOUND;

const DEFAULT_TTL: Duration = Duration::from_secs(600);
const MIN_TTL: Duration = Duration::from_secs(60);
const MAX_TTL: Duration = Duration::from_secs(3600);

const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_are_never_under_a_second() {
        for failures in 1..200 {
            let pause = backoff(failures);
            assert!((MIN_PAUSE..=MAX_PAUSE).contains(&pause), "{failures}: {pause:?}");
        }
        assert!(backoff(100) >= Duration::from_secs(30));
    }

    #[test]
    fn keys_are_refreshed_ahead_of_their_expiry() {
        for _ in 0..100 {
            assert!((480..570).contains(&before_expiry(DEFAULT_TTL).as_secs()));
        }
    }
}
