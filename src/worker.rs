//! Which of the threads that serve this one is: what is kept for each thread apart is never waited
//! for.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of this thread among those that have asked, modulo the length of what is kept.
pub(crate) fn index(length: usize) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    INDEX.with(|index| *index) % length
}

/// For how many threads something is kept: the workers come first, and some other threads may serve
/// too. More threads than that share, which is slower and nothing else.
pub(crate) fn count() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}
