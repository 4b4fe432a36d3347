//! Lines on their way to a writer, many at a time.
//!
//! A request appends to its thread's buffer, which nobody else locks but the log's own thread, ten
//! times a second. Only the first line of a batch wakes that thread.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the writing thread is called for; the later, the more urgent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    /// There is nothing to write.
    #[default]
    Nothing,
    /// There is a line, and others will follow.
    Soon,
    /// There is enough for a batch.
    Now,
    /// There will be no more.
    End,
}

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct Batches {
    kind: Kind,
    buffers: Box<[Mutex<Buffer>]>,
    call: Mutex<Call>,
    called: Condvar,
    /// Lines for which there was no room.
    dropped: AtomicUsize,
}

/// What the lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One for each request, from all threads at once: they may wait a moment for others.
    Access,
    /// What the gateway says of itself, in the order in which it happens.
    Own,
}

/// On cache lines of its own, so that threads do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Buffer(Vec<u8>);

impl Batches {
    pub(super) fn new(kind: Kind) -> Self {
        let count = if kind == Kind::Access { BUFFERS } else { 1 };
        let buffers = (0..count).map(|_| Mutex::default()).collect();
        let (call, called) = (Mutex::default(), Condvar::new());
        Self { kind, buffers, call, called, dropped: AtomicUsize::new(0) }
    }

    /// Appends a line that `write` writes, without its end.
    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let call = {
            let mut buffer = lock(&self.buffers[PLACE.with(|place| *place) % self.buffers.len()]);
            let text = &mut buffer.0;
            let before = text.len();
            if before > MOST {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            write(text);
            text.push(b'\n');
            match (before, text.len()) {
                (0, _) if self.kind == Kind::Own => Call::Now,
                (0, _) => Call::Soon,
                (..BATCH, BATCH..) => Call::Now,
                (_, _) => return,
            }
        };
        self.raise(call);
    }

    /// Calls for the writing thread.
    pub(super) fn raise(&self, call: Call) {
        let mut current = lock(&self.call);
        if *current < call {
            *current = call;
            self.called.notify_one();
        }
    }

    /// Writes batches until the end is called for.
    pub(super) fn write_to(&self, writer: &mut dyn Write) {
        let mut batch = Vec::new();
        loop {
            let call = self.wait();
            self.write_batches(writer, &mut batch);
            if self.report_dropped() && self.kind == Kind::Own {
                // The last line of this log may be that others are missing.
                self.write_batches(writer, &mut batch);
            }
            if call == Call::End {
                return;
            }
        }
    }

    fn write_batches(&self, writer: &mut dyn Write, batch: &mut Vec<u8>) {
        for buffer in &self.buffers {
            std::mem::swap(&mut lock(buffer).0, batch);
            // A log that cannot be written is no reason to refuse requests.
            drop(writer.write_all(batch));
            batch.clear();
            batch.shrink_to(MOST_KEPT);
        }
        drop(writer.flush());
    }

    /// Waits for a batch, or for the moment that a single line may wait.
    fn wait(&self) -> Call {
        let asleep = self.called.wait_while(lock(&self.call), |call| *call == Call::Nothing);
        let mut call = asleep.unwrap_or_else(PoisonError::into_inner);
        if *call == Call::Soon {
            let more = self.called.wait_timeout_while(call, SOON, |call| *call == Call::Soon);
            call = more.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut *call)
    }

    /// Says how many lines were dropped, if any were.
    fn report_dropped(&self) -> bool {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped == 0 {
            return false;
        }
        let log = match self.kind {
            Kind::Access => "access log",
            Kind::Own => "log",
        };
        tracing::warn!(dropped, "{log} lines were dropped: they are not read fast enough");
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// This thread's buffer.
    static PLACE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % BUFFERS
    };
}

/// Threads beyond so many share buffers.
const BUFFERS: usize = 16;

/// How long a line may wait for others.
const SOON: Duration = Duration::from_millis(100);

/// So many bytes of lines are written at once, even before that.
const BATCH: usize = 64 << 10;

/// So many bytes of a thread's lines may wait; what is above is dropped.
const MOST: usize = 8 << 20;

/// The room that a buffer keeps between batches.
const MOST_KEPT: usize = 2 * BATCH;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    /// Hands on what is written, one message for each call.
    struct Sent(mpsc::Sender<Vec<u8>>);

    impl Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (Arc<Batches>, mpsc::Receiver<Vec<u8>>) {
        let batches = Arc::new(Batches::new(Kind::Access));
        let (sender, written) = mpsc::channel();
        let writing = Arc::clone(&batches);
        thread::spawn(move || writing.write_to(&mut Sent(sender)));
        (batches, written)
    }

    fn append(batches: &Batches, line: &str) {
        batches.append(|out| out.extend_from_slice(line.as_bytes()));
    }

    #[test]
    fn a_single_line_is_written_soon() {
        let (batches, written) = start();
        for line in ["one", "two"] {
            append(&batches, line);
            let found = written.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(found, format!("{line}\n").into_bytes());
        }
        batches.raise(Call::End);
        assert!(written.recv_timeout(Duration::from_secs(10)).is_err());
    }

    #[test]
    fn many_lines_are_written_whole_in_few_calls_and_none_is_lost() {
        const THREADS: usize = 2 * BUFFERS;
        let (batches, written) = start();
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let batches = Arc::clone(&batches);
                thread::spawn(move || {
                    (0..1000).for_each(|line| append(&batches, &format!("{thread} {line}")));
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        batches.raise(Call::End);
        let calls: Vec<_> = written.iter().collect();
        assert!(calls.len() < 1000, "{}", calls.len());
        let text = String::from_utf8(calls.concat()).unwrap();
        for thread in 0..THREADS {
            let own = text.lines().filter_map(|line| line.strip_prefix(&format!("{thread} ")));
            assert!(own.eq((0..1000).map(|line| line.to_string())), "{thread}");
        }
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_not_kept() {
        let batches = Batches::new(Kind::Access);
        let line = "x".repeat(1 << 20);
        (0..20).for_each(|_| append(&batches, &line));
        let held: usize = batches.buffers.iter().map(|buffer| lock(buffer).0.len()).sum();
        assert!(held < MOST + (2 << 20), "{held}");
        assert!(batches.dropped.load(Ordering::Relaxed) > 10);
    }
}
