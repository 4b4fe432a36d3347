//! The limit of open descriptors, and what of it clients may take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;

/// Raises the limit of open descriptors as far as the system lets this process. The soft limit of
/// 1024 that most systems start with is for programs that use `select`, and this one does not.
#[must_use]
pub fn raise_limit() -> Descriptors {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // Some systems have a lower limit beside it; then the old one stays.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    Descriptors(getrlimit(Resource::Nofile).current)
}

/// How many descriptors this process may have open; `None` is any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptors(pub Option<u64>);

impl Descriptors {
    /// The limits with as many connections as there are descriptors for, beside those that
    /// backends, issuers and files take.
    #[must_use]
    pub fn fit(self, limits: Limits) -> Limits {
        let Some(all) = self.0 else { return limits };
        let connections = usize::try_from(all - reserve(all)).unwrap_or(usize::MAX);
        Limits { connections: limits.connections.min(connections), ..limits }
    }

    /// What to tell the operator, if `limits` asks for more than there is.
    #[must_use]
    pub fn shortage(self, limits: &Limits) -> Option<String> {
        let (all, fitting) = (self.0?, self.fit(*limits).connections);
        (fitting < limits.connections).then(|| {
            format!(
                "limits.connections is {}, but this process may open {all} descriptors: {fitting} \
                 connections at most are accepted, the rest is for backends, issuers and files; \
                 allow it more (`LimitNOFILE=` in the unit, `ulimit -n`, `--ulimit nofile=`) or \
                 write less",
                limits.connections
            )
        })
    }
}

/// What is not for clients: a quarter, but no more than 4096 and, of what little there may be, no
/// more than half.
fn reserve(all: u64) -> u64 {
    (all / 4).max(64).min(all / 2).min(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(all: u64, connections: usize) -> usize {
        Descriptors(Some(all)).fit(Limits { connections, ..Limits::default() }).connections
    }

    #[test]
    fn backends_keep_descriptors_of_their_own() {
        assert_eq!(fitting(1024, 10_000), 768);
        assert_eq!(fitting(100, 10_000), 50);
        assert_eq!(fitting(1_048_576, 10_000), 10_000);
        assert_eq!(Descriptors(None).fit(Limits::default()), Limits::default());
    }

    #[test]
    fn a_shortage_is_told_with_numbers() {
        let told = Descriptors(Some(1024)).shortage(&Limits::default()).unwrap();
        for part in ["limits.connections is 10000", "1024", "768", "LimitNOFILE="] {
            assert!(told.contains(part), "{told}");
        }
        assert_eq!(Descriptors(Some(20_000)).shortage(&Limits::default()), None);
    }
}
