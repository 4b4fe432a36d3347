//! The addresses of targets' names: found in the background, never older than a request can know.
//!
//! A name is asked for when it is first needed and then again and again, soon after a connection
//! failed. While nobody answers, the addresses that were known last are used. When an address is
//! gone, the connections that rest are not used again: they may lead to it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::lookup_host;
use tokio::sync::{Mutex, Notify};

use super::exchange::Fault;
use super::target::nanos;
use super::upstream::Backend;
use crate::config::TargetAddress;

/// Finds the addresses of names. [`Resolver::default`] asks the system.
#[derive(Clone)]
pub struct Resolver(Arc<Find>);

type Find = dyn Fn(String) -> Found + Send + Sync;
type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

impl Default for Resolver {
    fn default() -> Self {
        Self(Arc::new(|name| {
            Box::pin(async move {
                let found = lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        }))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// A resolver that knows what `find` says. For tests.
    pub fn new(find: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |name| {
            let found = find(&name);
            Box::pin(async move { found })
        }))
    }
}

/// What is known of a target's addresses.
#[derive(Debug)]
pub(super) struct Names {
    host: String,
    port: u16,
    /// Whether the host is an address itself.
    is_fixed: bool,
    known: ArcSwap<Vec<SocketAddr>>,
    /// Which address is tried first.
    turn: AtomicUsize,
    /// Counts how often an address went away.
    epoch: AtomicU64,
    /// Until when nobody asks again after a failure: nanoseconds on the monotonic clock.
    quiet: AtomicU64,
    is_failing: AtomicBool,
    /// One asks at a time.
    asking: Mutex<()>,
    /// Asks for a refresh before its time.
    wanted: Notify,
}

impl Names {
    /// Nothing is known yet of a name. A unix socket has none, and needs none.
    pub(super) fn of(address: &TargetAddress) -> Self {
        match address {
            TargetAddress::Tcp { host, port, .. } => Self::new(host, *port),
            TargetAddress::Unix(_) => Self { is_fixed: true, ..Self::new("", 0) },
        }
    }

    fn new(host: &str, port: u16) -> Self {
        let address = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        Self {
            host: host.to_owned(),
            port,
            is_fixed: address.is_some(),
            known: ArcSwap::from_pointee(address.into_iter().collect()),
            turn: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
            quiet: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            asking: Mutex::const_new(()),
            wanted: Notify::new(),
        }
    }

    /// Takes over what was known before a reload.
    pub(super) fn inherit(&self, old: &Self) {
        if !self.is_fixed {
            self.known.store(old.known.load_full());
        }
    }

    /// A number that changes when resting connections may lead to an address that is gone.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Asks for fresh addresses soon.
    pub(super) fn want(&self) {
        if !self.is_fixed {
            self.wanted.notify_one();
        }
    }

    /// The addresses, in turn another one first.
    fn in_turn(&self) -> Option<Vec<SocketAddr>> {
        let known = self.known.load();
        if known.is_empty() {
            return None;
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % known.len();
        Some([&known[first..], &known[..first]].concat())
    }

    /// Takes what was found. Addresses that are found in another order are the same.
    fn learn(&self, found: Vec<IpAddr>) -> bool {
        let found = found.into_iter().map(|ip| SocketAddr::new(ip, self.port));
        let mut found: Vec<SocketAddr> = found.collect();
        found.sort_unstable();
        found.dedup();
        let known = self.known.load();
        if **known == found {
            return false;
        }
        let is_gone = known.iter().any(|address| !found.contains(address));
        self.known.store(Arc::new(found));
        if is_gone {
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}

impl Backend {
    /// The target's addresses, another one first each time. Waits only while none was ever found.
    ///
    /// # Errors
    /// `Dns`.
    pub(super) async fn addresses(&self, target: usize) -> Result<Vec<SocketAddr>, Fault> {
        let names = &self.targets()[target].names;
        if let Some(addresses) = names.in_turn() {
            return Ok(addresses);
        }
        let _turn = names.asking.lock().await;
        let is_quiet = nanos(self.clock().monotonic()) < names.quiet.load(Ordering::Relaxed);
        if names.known.load().is_empty() && !is_quiet {
            self.resolve(target).await;
        }
        names.in_turn().ok_or(Fault::Dns)
    }

    /// Asks for the target's addresses once.
    async fn resolve(&self, target: usize) {
        let target = &self.targets()[target];
        let names = &target.names;
        let asked = (self.resolver().0)(names.host.clone()).await;
        let found = asked.ok().filter(|found| !found.is_empty());
        let (failed, was_known) = (found.is_none(), !names.known.load().is_empty());
        let changed = found.is_some_and(|found| names.learn(found)) && was_known;
        if failed {
            let until = self.clock().monotonic() + PAUSE;
            names.quiet.store(nanos(until), Ordering::Relaxed);
        }
        let is_news = names.is_failing.swap(failed, Ordering::Relaxed) != failed;
        let (upstream, target) = (self.name(), &*target.label);
        let addresses = names.known.load().len();
        if failed && is_news {
            tracing::warn!(upstream, target, addresses, "a target's name cannot be resolved");
        } else if changed || is_news {
            tracing::info!(upstream, target, addresses, "a target's name was resolved anew");
        }
    }
}

/// Keeps the addresses of a target fresh until the upstream is gone.
pub(super) async fn keep_fresh(backend: Weak<Backend>, target: usize) {
    loop {
        let Some(strong) = backend.upgrade() else { return };
        let names = &strong.targets()[target].names;
        if names.is_fixed {
            return;
        }
        {
            let _turn = names.asking.lock().await;
            strong.resolve(target).await;
        }
        let clock = strong.clock().clone();
        clock.sleep(PAUSE).await;
        tokio::select! {
            () = clock.sleep(EVERY.mul_f64(0.9 + fastrand::f64() / 5.0)) => {}
            () = names.wanted.notified() => {}
        }
    }
}

/// How long addresses are used before they are asked for again, a tenth more or less.
const EVERY: Duration = Duration::from_secs(30);
/// Between two questions, however many connections fail.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(last: &[u8]) -> Vec<IpAddr> {
        last.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect()
    }

    #[test]
    fn addresses_take_turns() {
        let names = Names::new("orders", 80);
        assert_eq!(names.in_turn(), None);
        assert!(names.learn(ips(&[2, 1, 2])));
        let first = || names.in_turn().unwrap()[0].to_string();
        assert_eq!([first(), first(), first()], ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.1:80"]);
        assert_eq!(names.in_turn().unwrap().len(), 2);
    }

    #[test]
    fn the_epoch_changes_when_an_address_is_gone() {
        let names = Names::new("orders", 80);
        let learn = |last: &[u8]| (names.learn(ips(last)), names.epoch());
        assert_eq!(learn(&[1]), (true, 0));
        assert_eq!(learn(&[2, 1]), (true, 0));
        assert_eq!(learn(&[1, 2]), (false, 0));
        assert_eq!(learn(&[2, 3]), (true, 1));
    }

    #[test]
    fn an_address_is_not_a_name() {
        assert!(Names::new("::1", 80).is_fixed && Names::new("127.0.0.1", 80).is_fixed);
        assert!(!Names::new("localhost", 80).is_fixed);
        assert_eq!(Names::new("::1", 80).in_turn().unwrap()[0].to_string(), "[::1]:80");
    }
}
