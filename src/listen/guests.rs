//! Connections that make room for others, where whoever comes must be answered: the
//! administration's. Whoever connects and says nothing could else keep health checks out.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, watch};

use super::Phase;

/// The open connections, the oldest first.
#[derive(Debug)]
pub(super) struct Guests {
    most: usize,
    open: Mutex<VecDeque<Weak<Guest>>>,
}

/// One connection.
#[derive(Debug)]
struct Guest {
    /// The listeners' phase, or a later one.
    phase: watch::Sender<Phase>,
    cut: Notify,
}

impl Guests {
    /// `most` may stay for as long as they like.
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    /// Serves one more, until it has to make room.
    pub(super) async fn serve<F: Future<Output = ()>>(
        &self,
        mut phase: watch::Receiver<Phase>,
        serve: impl FnOnce(watch::Receiver<Phase>) -> F,
    ) {
        let (own, seen) = watch::channel(*phase.borrow_and_update());
        let guest = Arc::new(Guest { phase: own, cut: Notify::new() });
        self.enter(&guest);
        let follow = async {
            while phase.changed().await.is_ok() {
                guest.advance(*phase.borrow_and_update());
            }
            guest.advance(Phase::Closed);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serve(seen) => {}
            () = guest.cut.notified() => {}
            () = follow => {}
        }
    }

    /// Notes the newcomer. The oldest that are too many are told to end with what they are at, and
    /// those that had time for that while as many others came are cut.
    fn enter(&self, newcomer: &Arc<Guest>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|guest| guest.strong_count() > 0);
        open.push_back(Arc::downgrade(newcomer));
        let over = open.len().saturating_sub(self.most);
        let leaving = open.iter().take(over).filter_map(Weak::upgrade);
        leaving.for_each(|guest| guest.advance(Phase::Draining));
        let cut = over.saturating_sub(self.most);
        open.drain(..cut)
            .filter_map(|guest| guest.upgrade())
            .for_each(|guest| guest.cut.notify_one());
    }
}

impl Guest {
    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let is_news = *phase < to;
            *phase = to.max(*phase);
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_cut(guest: &Guest) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, guest.cut.notified()).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_make_room() {
        let guests = Guests::new(2);
        let come = || {
            let guest =
                Arc::new(Guest { phase: watch::Sender::new(Phase::Serving), cut: Notify::new() });
            guests.enter(&guest);
            guest
        };
        let mut open: Vec<_> = (0..5).map(|_| come()).collect();
        let phases = |open: &[Arc<Guest>]| {
            open.iter().map(|guest| *guest.phase.borrow()).collect::<Vec<_>>()
        };
        assert!(is_cut(&open[0]).await && !is_cut(&open[1]).await);
        let told = [Phase::Draining, Phase::Draining, Phase::Serving, Phase::Serving];
        assert_eq!(phases(&open[1..]), told);
        // Who is gone counts no more.
        open.drain(..4);
        open.extend([come(), come()]);
        assert_eq!(phases(&open), [Phase::Draining, Phase::Serving, Phase::Serving]);
        assert!(!is_cut(&open[0]).await);
    }
}
