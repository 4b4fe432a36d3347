//! The keys of one issuer at one time.

use jsonwebtoken::Algorithm;

use super::keys::Key;

/// A set of usable keys.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// Which set this is: 0 is the empty one before any was obtained, and each set that differs
    /// from the one before has the next number.
    pub(super) generation: u64,
}

/// What a search for a key found.
#[derive(Debug)]
pub(super) enum Found<'k> {
    /// The one key that fits.
    Key(&'k Key),
    /// More than one key could be meant.
    Ambiguous,
    /// The key is known, but not for this algorithm.
    Unfit,
    /// There is no such key here.
    Missing,
}

impl KeySet {
    /// The set that follows this one, or `None` if `keys` are the same as before.
    pub(super) fn followed_by(&self, keys: Vec<Key>) -> Option<Self> {
        if self.generation > 0 && prints(&self.keys) == prints(&keys) {
            return None;
        }
        Some(Self { keys, generation: self.generation + 1 })
    }

    /// The key called `kid` that fits `algorithm`, among those whose owner is accepted. Several keys
    /// may share an id if they are of different types (RFC 7517 §4.5). Without a `kid` exactly one
    /// key must fit.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        is_owner: impl Fn(Option<&str>) -> bool,
    ) -> Found<'_> {
        let named = |key: &&Key| {
            (kid.is_none() || key.kid.as_deref() == kid) && is_owner(key.owner.as_deref())
        };
        let mut fitting = self.keys.iter().filter(named).filter(|key| key.fits(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::Key(key),
            (Some(_), Some(_)) => Found::Ambiguous,
            (None, _) if kid.is_some() && self.keys.iter().any(|key| named(&key)) => Found::Unfit,
            (None, _) => Found::Missing,
        }
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether a key fits `algorithm`.
    pub(super) fn serves(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.fits(algorithm))
    }
}

fn prints(keys: &[Key]) -> Vec<&[u8; 32]> {
    let mut prints: Vec<_> = keys.iter().map(|key| &key.print).collect();
    prints.sort_unstable();
    prints
}
