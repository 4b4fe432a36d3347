//! Whether a caller may do what it asks for.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Now;
use crate::config::{Mode, Per};
use crate::identity::{Caller, Identity};
use crate::limit::{Plan, Quota, address_key};
use crate::policy::{Access, Facts, Found, Route};
use crate::rejection::{Denial, Rejection, Unmet};
use crate::target::Target;

/// Proof that a caller satisfied a route's requirement, or that the route only reports. Only this
/// module makes one, and only a permit forwards.
#[derive(Debug)]
pub struct Permit<'p> {
    route: &'p Arc<Route>,
    caller: Caller,
}

impl<'p> Found<'p> {
    /// Judges the caller.
    ///
    /// # Errors
    /// `Denied`; `MissingToken` for a route that needs one.
    pub fn authorize(
        self,
        caller: Caller,
        target: &Target,
        client: IpAddr,
        now: Now,
    ) -> Result<Permit<'p>, Rejection> {
        if let Access::Restricted(requirement) = self.access() {
            let identity = caller.identity().ok_or(Rejection::MissingToken)?;
            let facts = Facts { identity, target, client, now };
            requirement.rule.judge(facts).map_err(|denial| {
                Rejection::Denied(with_all_scopes(denial, &requirement.scopes))
            })?;
        }
        Ok(Permit { route: self.route(), caller })
    }

    /// Lets a refused request through if the route only reports and the refusal is about the
    /// caller; whoever was identified before stays identified.
    ///
    /// # Errors
    /// The refusal, where it is carried out.
    pub fn tolerate(
        self,
        rejection: Rejection,
        caller: Option<&Arc<Identity>>,
    ) -> Result<(Permit<'p>, Rejection), Rejection> {
        if self.route().mode != Mode::Report || !rejection.is_about_the_caller() {
            return Err(rejection);
        }
        let caller =
            caller.map_or(Caller::Anonymous, |identity| Caller::Bearer(Arc::clone(identity)));
        Ok((Permit { route: self.route(), caller }, rejection))
    }
}

/// A client that lacks one scope is told all that the operation needs (RFC 6750 §3.1), so that it
/// asks its issuer once.
fn with_all_scopes(denial: Denial, required: &[Box<str>]) -> Denial {
    let Unmet::Scope(missing) = &denial.unmet else { return denial };
    let further = missing.iter().filter(|scope| !required.contains(scope));
    let all: Vec<_> = required.iter().chain(further).cloned().collect();
    Denial { unmet: Unmet::Scope(all.into()), ..denial }
}

impl<'p> Permit<'p> {
    /// The route that is permitted.
    #[must_use]
    pub fn route(&self) -> &'p Arc<Route> {
        self.route
    }

    /// Who was permitted.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Counts the request against the caller's plan and the route's limit.
    ///
    /// # Errors
    /// `RateLimited` or `QuotaExceeded`.
    pub fn spend(&self, plan: Option<&Arc<Plan>>, client: IpAddr) -> Result<Quota, Rejection> {
        let mut quota = Quota::default();
        for plan in [plan, self.route.limit.as_ref()].into_iter().flatten() {
            quota.take(plan, key(plan, &self.caller, client))?;
        }
        Ok(quota)
    }
}

/// What a plan counts this caller by.
fn key(plan: &Plan, caller: &Caller, client: IpAddr) -> u128 {
    let Some(identity) = caller.identity() else {
        return match plan.limit().per {
            Per::Route => 0,
            Per::Client | Per::User | Per::Ip | Per::Claim(_) => address_key(client),
        };
    };
    match &plan.limit().per {
        Per::Client => identity.keys.client,
        Per::User => identity.keys.user,
        Per::Ip => address_key(client),
        Per::Route => 0,
        Per::Claim(name) => claim_key(identity, name).unwrap_or(identity.keys.client),
    }
}

/// Text and numbers of a claim, kept apart by issuer.
fn claim_key(identity: &Identity, name: &str) -> Option<u128> {
    let value = identity.claim(name)?;
    let text = match value.as_str() {
        Some(text) => std::borrow::Cow::Borrowed(text),
        None => value.to_string().into(),
    };
    Some(crate::identity::limit_key("claim", &[&identity.issuer_url, name, &text]))
}
