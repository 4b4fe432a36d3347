//! A limit by name: a steady rate, a quota for a longer period, or both.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::clock::Clock;
use crate::config::Limit;
use crate::rejection::{Exceeded, Rejection};

use super::bucket::{Bucket, Left};
use super::fields;

/// A limit and everyone's state in it.
#[derive(Debug)]
pub struct Plan {
    name: Arc<str>,
    limit: Limit,
    callers: usize,
    rate: Option<Bucket>,
    quota: Option<Bucket>,
    /// `RateLimit-Policy`, ready-made.
    policy: HeaderValue,
}

/// Proof that a request was counted, and what is left.
#[derive(Clone, Debug, Default)]
pub struct Quota {
    /// In the caller's plan, and in the route's limit.
    spent: [Option<Spent>; 2],
}

#[derive(Clone, Debug)]
struct Spent {
    plan: Arc<Plan>,
    rate: Option<Left>,
    quota: Option<Left>,
}

impl Plan {
    /// A plan in which nobody has spent anything; at most `callers` are kept apart.
    #[must_use]
    pub fn new(name: &str, limit: Limit, callers: usize, clock: &Clock) -> Self {
        let bucket = |rate, burst| Bucket::new(rate, burst, callers, clock);
        Self {
            rate: limit.rate.map(|rate| bucket(rate, limit.burst)),
            quota: limit.quota.map(|quota| bucket(quota, None)),
            policy: fields::policy(name, &limit),
            name: name.into(),
            limit,
            callers,
        }
    }

    /// Whether it was made from the same settings, so that a reload can keep what was spent.
    #[must_use]
    pub fn is_made_from(&self, name: &str, limit: &Limit, callers: usize) -> bool {
        *self.name == *name && self.limit == *limit && self.callers == callers
    }

    /// The plan's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The settings.
    #[must_use]
    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// Counts one request of `caller`; what is left is (rate, quota).
    pub(super) fn spend(&self, caller: u128) -> Result<(Option<Left>, Option<Left>), Rejection> {
        let rate = self.rate.as_ref().map(|rate| rate.take(caller)).transpose();
        let rate =
            rate.map_err(|left| Rejection::RateLimited(self.exceeded(left, Some(left), None)))?;
        let quota = self.quota.as_ref().map(|quota| quota.take(caller)).transpose();
        let quota = quota
            .map_err(|left| Rejection::QuotaExceeded(self.exceeded(left, rate, Some(left))))?;
        Ok((rate, quota))
    }

    fn exceeded(&self, left: Left, rate: Option<Left>, quota: Option<Left>) -> Exceeded {
        let fields = Some((self.policy.clone(), fields::state(&self.name, rate, quota)));
        Exceeded { policy: Arc::clone(&self.name), retry_after: left.reset, fields }
    }

    /// Forgets callers that have been quiet for long enough.
    pub fn forget_idle(&self) {
        for bucket in self.rate.iter().chain(&self.quota) {
            bucket.forget_idle();
        }
    }
}

impl Quota {
    /// Counts one request of `caller` in `plan`.
    ///
    /// # Errors
    /// `RateLimited` or `QuotaExceeded`.
    pub fn take(&mut self, plan: &Arc<Plan>, caller: u128) -> Result<(), Rejection> {
        let (rate, quota) = plan.spend(caller)?;
        let free = self.spent.iter_mut().find(|spent| spent.is_none());
        debug_assert!(free.is_some(), "a request spends in two plans at most");
        if let Some(free) = free {
            *free = Some(Spent { plan: Arc::clone(plan), rate, quota });
        }
        Ok(())
    }

    /// Tells the client what is left, in `RateLimit-Policy` and `RateLimit` fields beside those
    /// that the backend may have sent (draft-ietf-httpapi-ratelimit-headers).
    pub fn annotate(&self, headers: &mut HeaderMap) {
        for spent in self.spent.iter().flatten() {
            headers.append(fields::POLICY, spent.plan.policy.clone());
            let state = fields::state(&spent.plan.name, spent.rate, spent.quota);
            headers.append(fields::STATE, state);
        }
    }

    /// The smallest number of requests that may follow at once.
    #[must_use]
    pub fn remaining(&self) -> Option<u32> {
        let spent = self.spent.iter().flatten();
        let left = spent.flat_map(|spent| spent.rate.iter().chain(&spent.quota));
        left.map(|left| left.remaining).min()
    }
}
