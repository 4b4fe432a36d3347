//! What protects an issuer: a bound on questions under way, and a pause when it fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::authenticate::fetch::Fault;
use crate::clock::Clock;

/// Lets questions through.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    clock: Clock,
}

/// Leave to ask one question.
#[derive(Debug)]
pub(super) struct Turn {
    gate: Arc<Gate>,
    is_settled: bool,
    _place: OwnedSemaphorePermit,
}

/// Whether the issuer is asked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaker {
    /// It is; so many questions in a row failed.
    Closed { failures: u32 },
    /// It is not, before this moment of the monotonic clock.
    Open { until: Duration },
    /// One question is under way that decides.
    Trying,
}

impl Gate {
    pub(super) fn new(places: usize, clock: &Clock) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            breaker: Mutex::new(Breaker::Closed { failures: 0 }),
            clock: clock.clone(),
        }
    }

    /// Waits for a place, for a second at most.
    ///
    /// # Errors
    /// How long to wait before it is worth trying again.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<Turn, Duration> {
        // Who must not ask need not wait for a place.
        lock(&self.breaker).wait(self.clock.monotonic())?;
        let place = tokio::select! {
            place = Arc::clone(&self.places).acquire_owned() => place.ok(),
            () = self.clock.sleep(PATIENCE) => None,
        };
        let place = place.ok_or(Duration::ZERO)?;
        lock(&self.breaker).admit(self.clock.monotonic())?;
        Ok(Turn { gate: Arc::clone(self), is_settled: false, _place: place })
    }
}

impl Turn {
    /// Says how the question ended; returns the length of the pause if one begins by it.
    pub(super) fn settle(mut self, is_ill: bool) -> Option<Duration> {
        self.is_settled = true;
        lock(&self.gate.breaker).settle(is_ill, self.gate.clock.monotonic())
    }
}

/// A question that ends without an outcome, by a panic or the end of the process, must not leave
/// the breaker waiting for it.
impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_settled {
            lock(&self.gate.breaker).settle(true, self.gate.clock.monotonic());
        }
    }
}

impl Breaker {
    /// How long nobody is let through, if so.
    fn wait(self, now: Duration) -> Result<(), Duration> {
        match self {
            Self::Closed { .. } => Ok(()),
            Self::Open { until } if now >= until => Ok(()),
            Self::Open { until } => Err(until - now),
            Self::Trying => Err(Duration::ZERO),
        }
    }

    /// Lets one through if it may be; after a pause, the first alone.
    fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        self.wait(now)?;
        if matches!(self, Self::Open { .. }) {
            *self = Self::Trying;
        }
        Ok(())
    }

    fn settle(&mut self, is_ill: bool, now: Duration) -> Option<Duration> {
        let next = match (*self, is_ill) {
            (_, false) => Self::Closed { failures: 0 },
            (Self::Closed { failures }, true) if failures + 1 < FAILURES => {
                Self::Closed { failures: failures + 1 }
            }
            (Self::Closed { .. } | Self::Trying, true) => Self::Open { until: now + PAUSE },
            // One of those that were under way when it opened.
            (Self::Open { until }, true) => Self::Open { until },
        };
        let opens = matches!(next, Self::Open { .. }) && !matches!(self, Self::Open { .. });
        *self = next;
        opens.then_some(PAUSE)
    }
}

/// Whether a failure is the issuer's state rather than something about one token. An answer that
/// makes no sense must not count, nor 403, with which a firewall refuses a single token: whoever finds
/// a token that provokes one could silence the issuer for all others.
pub(super) fn is_illness(fault: &Fault) -> bool {
    match fault {
        Fault::Connect | Fault::PlainHttp | Fault::Redirect | Fault::Timeout(_) | Fault::Tls => {
            true
        }
        Fault::Status(status) => {
            status.is_server_error()
                || matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS)
        }
        Fault::Empty | Fault::Invalid(_) | Fault::OtherIssuer(_) | Fault::TooLarge(_) => false,
    }
}

fn lock(breaker: &Mutex<Breaker>) -> MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many failures in a row begin a pause.
pub(super) const FAILURES: u32 = 5;

/// How long nobody asks then.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a question waits for a place.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Duration = Duration::from_secs;

    fn opened() -> Breaker {
        let mut breaker = Breaker::Closed { failures: 0 };
        for _ in 1..FAILURES {
            assert_eq!(breaker.settle(true, AT(0)), None);
        }
        assert_eq!(breaker.settle(true, AT(0)), Some(PAUSE));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_trial_decides() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(AT(4)), Err(AT(1)));
        assert_eq!(breaker.admit(AT(5)), Ok(()));
        assert_eq!(breaker.admit(AT(5)), Err(AT(0)));
        assert_eq!(breaker.settle(true, AT(6)), Some(PAUSE));
        assert_eq!(breaker.admit(AT(10)), Err(AT(1)));
        assert_eq!(breaker.admit(AT(11)), Ok(()));
        assert_eq!(breaker.settle(false, AT(11)), None);
        assert_eq!(breaker, Breaker::Closed { failures: 0 });
    }

    #[test]
    fn a_success_in_between_forgives() {
        let mut breaker = Breaker::Closed { failures: FAILURES - 1 };
        assert_eq!(breaker.settle(false, AT(0)), None);
        assert_eq!(breaker.settle(true, AT(0)), None);
        assert_eq!(breaker, Breaker::Closed { failures: 1 });
    }

    #[test]
    fn late_failures_do_not_make_the_pause_longer() {
        let mut breaker = opened();
        assert_eq!(breaker.settle(true, AT(3)), None);
        assert_eq!(breaker.admit(AT(5)), Ok(()));
    }

    #[tokio::test]
    async fn a_trial_that_is_lost_is_a_failure() {
        let gate = Arc::new(Gate::new(2, &Clock::default()));
        *lock(&gate.breaker) = Breaker::Open { until: Duration::ZERO };
        let turn = gate.enter().await.unwrap();
        assert!(gate.enter().await.is_err());
        drop(turn);
        assert!(matches!(*lock(&gate.breaker), Breaker::Open { .. }));
    }

    #[tokio::test]
    async fn whoever_finds_no_place_in_a_second_is_sent_away() {
        let clock = Clock::default();
        let gate = Arc::new(Gate::new(1, &clock));
        let _taken = gate.enter().await.unwrap();
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter().await.err() }
        });
        while !waiting.is_finished() {
            clock.advance(PATIENCE);
            tokio::task::yield_now().await;
        }
        assert_eq!(waiting.await.unwrap(), Some(Duration::ZERO));
    }

    #[test]
    fn what_one_token_can_provoke_is_no_illness() {
        assert!(is_illness(&Fault::Status(StatusCode::BAD_GATEWAY)));
        assert!(is_illness(&Fault::Status(StatusCode::UNAUTHORIZED)));
        assert!(!is_illness(&Fault::Status(StatusCode::BAD_REQUEST)));
        assert!(!is_illness(&Fault::Status(StatusCode::FORBIDDEN)));
        assert!(!is_illness(&Fault::TooLarge(1)));
        assert!(!is_illness(&Fault::Invalid("not JSON")));
    }
}
