//! How many requests a caller may send.
//!
//! A [`Plan`] counts callers apart by a 128-bit hash that has the issuer in it, so that equal
//! client ids of two issuers never share a quota. What an unverified request claims is never
//! counted against anyone but the address it came from.

mod bucket;
mod callers;
mod fields;
mod plan;

pub use plan::{Plan, Quota};

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Limit, Per, Rate};
use crate::rejection::{Exceeded, Rejection};

/// The limit of requests per address, spent before any cryptography.
#[derive(Debug)]
pub struct Flood(Plan);

impl Flood {
    /// A limit of `rate`, with a burst of the rate's count; at most `callers` addresses are kept
    /// apart.
    #[must_use]
    pub fn new(rate: Rate, callers: usize, clock: &Clock) -> Self {
        Self(Plan::new(FLOOD, per_address(rate), callers, clock))
    }

    /// Whether it was made from the same settings.
    #[must_use]
    pub fn is_made_from(&self, rate: Rate, callers: usize) -> bool {
        self.0.is_made_from(FLOOD, &per_address(rate), callers)
    }

    /// Counts one request.
    ///
    /// # Errors
    /// `Flood`.
    pub fn take(&self, client: IpAddr) -> Result<(), Rejection> {
        match self.0.spend(address_key(client)) {
            Ok(_) => Ok(()),
            Err(Rejection::RateLimited(exceeded)) => {
                Err(Rejection::Flood(Exceeded { fields: None, ..exceeded }))
            }
            Err(other) => Err(other),
        }
    }

    /// Forgets addresses that have been quiet for long enough.
    pub fn forget_idle(&self) {
        self.0.forget_idle();
    }
}

const FLOOD: &str = "flood";

fn per_address(rate: Rate) -> Limit {
    Limit { rate: Some(rate), burst: None, quota: None, per: Per::Ip }
}

/// The key that stands for an address: all of IPv4, the /64 network of IPv6, which is what one
/// customer of a provider has to choose from.
#[must_use]
pub fn address_key(address: IpAddr) -> u128 {
    const IPV4: u128 = 1 << 64;
    match address.to_canonical() {
        IpAddr::V4(address) => IPV4 | u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64,
    }
}

/// The plans that are in force for single callers.
#[derive(Debug, Default)]
pub struct Plans {
    /// By name.
    pub by_name: std::collections::HashMap<String, Arc<Plan>, foldhash::fast::RandomState>,
    /// By client id.
    pub by_client: std::collections::HashMap<String, Arc<Plan>, foldhash::fast::RandomState>,
    /// The claim that names the plan.
    pub from: Option<crate::config::ClaimPath>,
    /// For everyone else.
    pub default: Option<Arc<Plan>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_share_a_key_and_mapped_ones_are_ipv4() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("::a00:1"));
    }

    #[test]
    fn a_flood_from_one_address_is_refused_until_time_passes() {
        let clock = Clock::default();
        let rate = Rate { count: 3, period: std::time::Duration::from_secs(1) };
        let flood = Flood::new(rate, 10, &clock);
        let client = "10.0.0.1".parse().unwrap();
        let passed = (0..10).filter(|_| flood.take(client).is_ok()).count();
        assert_eq!(passed, 3);
        assert!(flood.take("10.0.0.2".parse().unwrap()).is_ok());
        clock.advance(std::time::Duration::from_secs(1));
        assert!(flood.take(client).is_ok());
    }
}
