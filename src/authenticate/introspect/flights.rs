//! One call for each token, however many requests wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{SOON, unavailable};
use crate::authenticate::verdicts::TokenHash;
use crate::identity::Identity;
use crate::rejection::{Rejection, TokenFault};

/// What a call comes to.
pub(super) type Outcome = Result<Arc<Identity>, Rejection>;

/// The calls under way, by token.
#[derive(Clone, Debug)]
pub(super) struct Flights {
    aloft: Arc<Mutex<HashMap<TokenHash, watch::Receiver<Option<Outcome>>>>>,
    /// The most tokens that may be asked about at once, those included that wait for their turn.
    most: usize,
}

/// What somebody who asks gets.
pub(super) enum Joined {
    /// It was known after all.
    Known(Outcome),
    /// It will be known.
    Waits(watch::Receiver<Option<Outcome>>),
}

/// The end of one flight. However it ends, nobody waits for it any longer, and the next who asks
/// finds the kept result or begins another.
pub(super) struct Landing {
    flights: Flights,
    hash: TokenHash,
    told: watch::Sender<Option<Outcome>>,
    outcome: Option<Outcome>,
}

impl Flights {
    pub(super) fn new(most: usize) -> Self {
        Self { aloft: Arc::default(), most }
    }

    /// Joins the flight for a token, or begins it with `launch` unless `known` knows the result.
    /// `launch` must not wait.
    pub(super) fn join<T>(
        &self,
        hash: TokenHash,
        known: impl FnOnce() -> Option<Result<Arc<Identity>, TokenFault>>,
        launch: impl FnOnce(Landing) -> T,
    ) -> Joined {
        let mut aloft = lock(&self.aloft);
        if let Some(flight) = aloft.get(&hash) {
            return Joined::Waits(flight.clone());
        }
        if let Some(known) = known() {
            return Joined::Known(known.map_err(Rejection::Token));
        }
        if aloft.len() >= self.most {
            return Joined::Known(Err(unavailable(SOON)));
        }
        let (told, flight) = watch::channel(None);
        aloft.insert(hash, flight.clone());
        drop(aloft);
        launch(Landing { flights: self.clone(), hash, told, outcome: None });
        Joined::Waits(flight)
    }
}

impl Joined {
    /// The outcome; that nothing can be known, if the flight ended without one.
    pub(super) async fn outcome(self) -> Outcome {
        let mut flight = match self {
            Self::Known(outcome) => return outcome,
            Self::Waits(flight) => flight,
        };
        let told = flight.wait_for(Option::is_some).await;
        let outcome = told.ok().and_then(|told| told.clone());
        outcome.unwrap_or_else(|| Err(unavailable(SOON)))
    }
}

impl Landing {
    /// Tells all who wait.
    pub(super) fn land(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.flights.aloft).remove(&self.hash);
        if let Some(outcome) = self.outcome.take() {
            self.told.send_replace(Some(outcome));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_ask_wait_for_one_flight() {
        let flights = Flights::new(1);
        let mut landing = None;
        let first = flights.join([1; 16], || None, |new| landing = Some(new));
        let second = flights.join([1; 16], || None, |_| panic!("a second call"));
        landing.unwrap().land(Err(Rejection::Token(TokenFault::Inactive)));
        for joined in [first, second] {
            let outcome = joined.outcome().await;
            assert!(matches!(outcome, Err(Rejection::Token(TokenFault::Inactive))));
        }
        assert!(lock(&flights.aloft).is_empty());
    }

    /// A call that panics must not leave the token's next requests waiting for ever.
    #[tokio::test]
    async fn a_flight_that_is_lost_is_no_answer() {
        let flights = Flights::new(1);
        let joined = flights.join([1; 16], || None, drop);
        assert!(matches!(joined.outcome().await, Err(Rejection::AuthUnavailable { .. })));
        assert!(lock(&flights.aloft).is_empty());
    }

    #[tokio::test]
    async fn no_more_are_aloft_than_may_be() {
        let flights = Flights::new(1);
        let mut landing = None;
        let first = flights.join([1; 16], || None, |new| landing = Some(new));
        assert!(matches!(first, Joined::Waits(_)));
        let second = flights.join([2; 16], || None, |_| panic!("one too many"));
        assert!(matches!(second.outcome().await, Err(Rejection::AuthUnavailable { .. })));
    }

    #[tokio::test]
    async fn what_is_known_by_then_is_not_asked_again() {
        let flights = Flights::new(1);
        let known = || Some(Err(TokenFault::Inactive));
        let joined = flights.join([1; 16], known, |_| panic!("a call"));
        assert!(joined.outcome().await.is_err());
    }
}
