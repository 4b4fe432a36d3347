//! Secrets that are good for one use: authorization codes and refresh tokens.

use std::collections::HashMap;
use std::time::Duration;

/// A bounded set of secrets, each with what it stands for.
#[derive(Debug)]
pub(super) struct OneTime<T> {
    entries: HashMap<String, Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    expires: Duration,
    spent: bool,
}

/// What was found under a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    /// Never issued, or forgotten since.
    Unknown,
    /// Used before: someone has a copy (RFC 6749 §10.5, RFC 9700 §4.14.2).
    Spent(T),
    /// Its only use.
    Fresh(T),
}

impl<T: Clone> OneTime<T> {
    /// An empty set.
    pub(super) fn new() -> Self {
        Self { entries: HashMap::new() }
    }

    /// Remembers `secret` until `expires`. At the capacity the one that expires first is forgotten.
    pub(super) fn put(&mut self, secret: String, value: T, expires: Duration, now: Duration) {
        self.entries.retain(|_, entry| entry.expires > now);
        if self.entries.len() >= CAPACITY {
            let first = self.entries.iter().min_by_key(|(_, entry)| entry.expires);
            if let Some(oldest) = first.map(|(secret, _)| secret.clone()) {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(secret, Entry { value, expires, spent: false });
    }

    /// Spends `secret`: whatever comes of it, it is never fresh again.
    pub(super) fn take(&mut self, secret: &str, now: Duration) -> Taken<T> {
        match self.entries.get_mut(secret) {
            Some(entry) if entry.expires > now => {
                let value = entry.value.clone();
                let spent = std::mem::replace(&mut entry.spent, true);
                if spent { Taken::Spent(value) } else { Taken::Fresh(value) }
            }
            Some(_) | None => Taken::Unknown,
        }
    }

    /// Forgets all that `which` holds for.
    pub(super) fn forget(&mut self, which: impl Fn(&T) -> bool) {
        self.entries.retain(|_, entry| !which(&entry.value));
    }
}

/// More than a developer uses, less than a runaway script could fill the memory with.
const CAPACITY: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn a_secret_is_fresh_once_and_gone_when_it_expires() {
        let mut set = OneTime::new();
        set.put("a".into(), 1, SOON, Duration::ZERO);
        assert_eq!(set.take("b", Duration::ZERO), Taken::Unknown);
        assert_eq!(set.take("a", Duration::ZERO), Taken::Fresh(1));
        assert_eq!(set.take("a", Duration::ZERO), Taken::Spent(1));
        assert_eq!(set.take("a", SOON), Taken::Unknown);
    }

    #[test]
    fn it_stays_within_its_capacity() {
        let mut set = OneTime::new();
        for n in 0..CAPACITY as u64 + 10 {
            set.put(n.to_string(), n, SOON + Duration::from_secs(n), Duration::ZERO);
        }
        assert_eq!(set.entries.len(), CAPACITY);
        assert_eq!(set.take("9", Duration::ZERO), Taken::Unknown);
        assert_eq!(set.take("10", Duration::ZERO), Taken::Fresh(10));
    }
}
