//! From one try of a request to the next, until there is an answer.

use super::balance::{Load, Occupied};
use super::exchange::{Answer, Call, Fault, Miss};
use crate::config::RetryOn;
use crate::rejection::Rejection;

/// Where a request has been so far.
struct Course {
    /// The targets that failed.
    tried: Vec<usize>,
    /// How many connections were closed while they rested.
    stale: usize,
    /// The target of which a resting connection was closed as the request was sent on it: a new one
    /// is opened, once.
    raced: Option<usize>,
    /// Whether it may be tried where it failed before.
    granted: bool,
    last: Fault,
}

impl Default for Course {
    fn default() -> Self {
        Self { tried: Vec::new(), stale: 0, raced: None, granted: false, last: Fault::NoHealthy }
    }
}

impl Course {
    /// Goes on to another target.
    fn failed(&mut self, target: usize) {
        self.raced = None;
        self.tried.push(target);
    }

    /// Goes on to another target if there is one, else to the same.
    fn again(&mut self, target: usize) {
        self.granted = true;
        self.failed(target);
    }
}

impl Call<'_> {
    /// Tries until there is an answer or nothing is left to try.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(super) async fn answer(&mut self) -> Result<(Answer, Occupied), Rejection> {
        let backend = &self.shard.backend;
        let admitted = backend.bounds().admit(backend.connect_timeout()).await;
        let mut permit = admitted.map_err(|setting| backend.overloaded(setting))?;
        if let Some(retries) = backend.retries() {
            retries.earn(self.began);
        }
        let mut course = Course::default();
        while let Some(target) = self.next(&mut course) {
            let load = Load::on(self.shard, target);
            let resting = course.stale < MOST_STALE && course.raced.is_none();
            match self.attempt(target, resting).await {
                Ok(answer) if self.is_not_good_enough(&answer, target) => course.again(target),
                Ok(answer) => {
                    return Ok((answer, Occupied { _load: load, _permit: permit.take() }));
                }
                Err(miss) => self.miss(miss, target, &mut course)?,
            }
        }
        Err(self.exhausted(course.last))
    }

    /// The target to try next. Where every one has failed, the first may be tried again if that is
    /// granted.
    fn next(&mut self, course: &mut Course) -> Option<usize> {
        let next = course.raced.or_else(|| self.shard.pick(&course.tried));
        if next.is_some() || course.tried.is_empty() {
            return next;
        }
        if !std::mem::take(&mut course.granted) && !self.is_sent_again(RetryOn::Connect) {
            return None;
        }
        course.tried.clear();
        self.shard.pick(&course.tried)
    }

    /// Whether an answer is dropped and the request sent again. A target that answers 502, 503 or
    /// 504 has failed either way.
    fn is_not_good_enough(&mut self, answer: &Answer, target: usize) -> bool {
        let status = answer.head.status.as_u16();
        let failed = (502..=504).contains(&status);
        self.shard.backend.judge(target, !failed);
        if !failed || !self.is_sent_again(RetryOn::Status(status)) {
            return false;
        }
        let took = self.now().saturating_sub(answer.started);
        self.shard.backend.counters().answered(answer.head.status, took.as_secs_f64());
        true
    }

    /// Notes why a try came to nothing.
    ///
    /// # Errors
    /// What is answered, if there is to be no other try.
    fn miss(&mut self, miss: Miss, target: usize, course: &mut Course) -> Result<(), Rejection> {
        match miss {
            Miss::Refused(rejection) => Err(rejection),
            Miss::Stale => {
                course.stale += 1;
                self.tries -= 1;
                Ok(())
            }
            Miss::Unseen if course.stale < MOST_STALE => {
                course.stale += 1;
                Ok(())
            }
            Miss::Unseen => {
                course.last = self.blame(target, Fault::Reset);
                course.failed(target);
                Ok(())
            }
            Miss::Down(fault) => {
                course.last = self.blame(target, fault);
                course.failed(target);
                Ok(())
            }
            // A backend may close a connection that rests at any time. What it closes so it has not
            // begun to serve (RFC 9112 §9.3.1).
            Miss::Cut { used: true } if course.raced.is_none() && self.can_rewind() => {
                self.rewind();
                self.shard.backend.counters().retried(true);
                course.raced = Some(target);
                Ok(())
            }
            Miss::Cut { .. } => {
                let fault = self.blame(target, Fault::Reset);
                if !self.is_sent_again(RetryOn::Reset) {
                    return Err(fault.rejection());
                }
                course.again(target);
                Ok(())
            }
            Miss::Fault(fault) => Err(self.blame(target, fault).rejection()),
        }
    }

    /// Whether the request is sent again after `event`: it can be, it is to be, and the budget is
    /// not used up.
    fn is_sent_again(&mut self, event: RetryOn) -> bool {
        let Some(retries) = self.shard.backend.retries() else { return false };
        // Where nothing connects, nothing was sent.
        let can_be = event == RetryOn::Connect || self.can_rewind();
        if !can_be || !retries.covers(event, self.retries) {
            return false;
        }
        let allowed = retries.spend(self.now());
        self.shard.backend.counters().retried(allowed);
        if allowed {
            self.retries += 1;
            self.rewind();
        }
        allowed
    }

    /// Whether the request could be sent once more though a backend has seen it.
    fn can_rewind(&self) -> bool {
        self.again.is_some() && self.sending.body.is_untouched()
    }

    /// Makes the request ready to be sent once more. Only for one whose answer will not be used: it
    /// goes on being sent while its answer is passed on.
    fn rewind(&mut self) {
        if let Some(head) = &self.again {
            self.sending.rewind(head);
        }
    }

    /// Counts a fault of the target.
    fn blame(&self, target: usize, fault: Fault) -> Fault {
        self.shard.backend.judge(target, false);
        self.count(fault)
    }

    /// What is answered when no target is left: with one target, what was wrong with it.
    fn exhausted(&self, last: Fault) -> Rejection {
        let several = self.shard.backend.targets().len() != 1;
        if several { self.count(Fault::NoHealthy).rejection() } else { last.unconnected() }
    }
}

/// After so many connections that were closed while they rested, a new one is opened.
const MOST_STALE: usize = 3;
