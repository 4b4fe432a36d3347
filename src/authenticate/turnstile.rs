//! Signatures are checked one at a time on each thread, and whoever need not wait for one is served
//! in between: a flood of forged tokens holds up nobody whose token is known.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

use crate::worker;

/// A place to wait for one's turn, for each thread. First come, first served.
#[derive(Debug)]
pub(super) struct Turnstile(Box<[Semaphore]>);

/// Somebody's turn. It lasts until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'t>(#[expect(dead_code, reason = "held")] Option<SemaphorePermit<'t>>);

impl Turnstile {
    pub(super) fn new() -> Self {
        Self((0..worker::count()).map(|_| Semaphore::new(1)).collect())
    }

    /// Waits until nobody else of this thread has a turn, and then until everybody who can go on
    /// without one has had the chance to.
    pub(super) async fn turn(&self) -> Turn<'_> {
        // It fails only when closed, which it never is.
        let turn = Turn(self.0[worker::index(self.0.len())].acquire().await.ok());
        yield_now().await;
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Of a hundred that wait for their turn, one goes while somebody who needs none goes twice.
    #[tokio::test]
    async fn others_go_on_between_two_turns() {
        let (turnstile, checked) = (Arc::new(Turnstile::new()), Arc::new(AtomicUsize::new(0)));
        for _ in 0..100 {
            let (turnstile, checked) = (Arc::clone(&turnstile), Arc::clone(&checked));
            tokio::spawn(async move {
                let _turn = turnstile.turn().await;
                checked.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut most_at_once = 0;
        while checked.load(Ordering::Relaxed) < 100 {
            let before = checked.load(Ordering::Relaxed);
            yield_now().await;
            most_at_once = most_at_once.max(checked.load(Ordering::Relaxed) - before);
        }
        assert_eq!(most_at_once, 1);
    }
}
