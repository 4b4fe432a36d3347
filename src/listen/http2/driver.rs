//! Driving one connection until it ends, is late, or is told to stop.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::{Phase, reached};
use super::activity::{Activity, Late};
use crate::config::Limits;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// By itself: either side closed it, or it broke.
    Finished(hyper::Result<()>),
    /// It stayed as it was for too long.
    Late(Late),
    /// Draining took too long.
    Cut,
}

/// A connection and what it needs to be ended in time.
pub(super) struct Driver<'a, C> {
    connection: C,
    /// Ends the connection after the requests under way.
    finish: fn(Pin<&mut C>),
    activity: &'a Activity,
    limits: &'a Limits,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Told to stop by this moment at the latest, while no request had begun.
    Hesitating(Instant),
    Finishing,
}

impl<'a, C> Driver<'a, C>
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    pub(super) fn new(
        connection: C,
        finish: fn(Pin<&mut C>),
        activity: &'a Activity,
        limits: &'a Limits,
    ) -> Self {
        Self { connection, finish, activity, limits, stage: Stage::Serving }
    }

    /// Runs the connection to its end.
    pub(super) async fn run(&mut self, phase: &mut watch::Receiver<Phase>) -> End {
        tokio::select! {
            biased;
            end = self.watch() => return end,
            () = reached(phase, Phase::Draining) => {}
        }
        self.drain();
        tokio::select! {
            biased;
            end = self.watch() => end,
            () = reached(phase, Phase::Closed) => End::Cut,
        }
    }

    /// Says good-bye and gives the connection a moment to do the same.
    pub(super) async fn part(&mut self) {
        self.finish();
        drop(tokio::time::timeout(PATIENCE, &mut self.connection).await);
    }

    /// hyper closes a connection at once if no head was parsed on it. A client that has just
    /// connected, or is just sending a head, gets a moment to be answered.
    fn drain(&mut self) {
        if self.activity.is_before_request() {
            self.stage = Stage::Hesitating(Instant::now() + PATIENCE);
        } else {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.stage = Stage::Finishing;
        (self.finish)(Pin::new(&mut self.connection));
    }

    async fn watch(&mut self) -> End {
        let mut alarm = pin!(sleep_until(self.next_look()));
        poll_fn(|cx| self.poll(cx, alarm.as_mut())).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<End> {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut self.connection).poll(cx) {
                return Poll::Ready(End::Finished(result));
            }
            if self.should_finish() {
                self.finish();
                continue;
            }
            let next = self.next_look();
            if next < alarm.deadline() {
                alarm.as_mut().reset(next);
            }
            ready!(alarm.as_mut().poll(cx));
            if let Some(late) = self.late() {
                return Poll::Ready(End::Late(late));
            }
            alarm.as_mut().reset(self.next_look());
        }
    }

    fn should_finish(&self) -> bool {
        match self.stage {
            Stage::Hesitating(until) => {
                !self.activity.is_before_request() || until <= Instant::now()
            }
            Stage::Serving | Stage::Finishing => false,
        }
    }

    fn late(&self) -> Option<Late> {
        let (deadline, late) = self.activity.deadline(self.limits)?;
        (deadline <= std::time::Instant::now()).then_some(late)
    }

    /// When to look at the activity again; earlier than the deadline of any state that it can
    /// turn to without the connection being polled.
    fn next_look(&self) -> Instant {
        let next = match self.activity.deadline(self.limits) {
            Some((deadline, _)) => deadline.into(),
            None => Instant::now() + self.limits.idle_timeout,
        };
        match self.stage {
            Stage::Hesitating(until) => next.min(until),
            Stage::Serving | Stage::Finishing => next,
        }
    }
}

/// How long a client may take for what it should do at once.
const PATIENCE: Duration = Duration::from_secs(1);
