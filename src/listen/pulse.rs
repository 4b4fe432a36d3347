//! Whether the event loops turn, for a watchdog.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The beats of the threads that serve. Each notes by a timer of its own loop that it turns.
#[derive(Debug)]
pub(crate) struct Pulse {
    began: Instant,
    every: Duration,
    /// The last beat of each thread, in milliseconds since `began`.
    beats: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Pulse {
    /// Threads that beat with this period.
    pub(crate) fn new(every: Duration) -> Self {
        Self { began: Instant::now(), every, beats: Mutex::default() }
    }

    /// Beats for as long as the runtime that it is spawned on turns.
    pub(crate) async fn join(self: Arc<Self>) {
        let beat = Arc::new(AtomicU64::new(self.now()));
        self.beats().push(Arc::clone(&beat));
        loop {
            tokio::time::sleep(self.every).await;
            beat.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The longest time for which one of the threads has not beaten.
    pub(crate) fn silence(&self) -> Duration {
        let now = self.now();
        let beats = self.beats();
        let since = beats.iter().map(|beat| now.saturating_sub(beat.load(Ordering::Relaxed)));
        Duration::from_millis(since.max().unwrap_or(0))
    }

    fn beats(&self) -> MutexGuard<'_, Vec<Arc<AtomicU64>>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that hangs is noticed, however well the others are.
    #[tokio::test]
    async fn a_thread_that_hangs_is_silent() {
        let pulse = Arc::new(Pulse::new(Duration::from_millis(5)));
        let healthy = tokio::spawn(Arc::clone(&pulse).join());
        let (hang, hung) = std::sync::mpsc::channel::<()>();
        let other = Arc::clone(&pulse);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::spawn(other.join());
                tokio::task::yield_now().await;
                // Blocks the loop until the test lets go.
                let _ = hung.recv();
            });
        });
        while pulse.silence() < Duration::from_millis(200) {
            tokio::task::yield_now().await;
        }
        drop(hang);
        thread.join().unwrap();
        healthy.abort();
    }
}
