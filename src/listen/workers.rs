//! The threads that serve: each has a runtime of its own, so that no connection waits for a
//! thread other than its own.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use super::accept::{Listener, accept};
use super::bind::Set;
use super::pulse::Pulse;
use super::{Phase, Service};

/// The running threads.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Mutex<Vec<JoinHandle<()>>>,
    runtimes: Vec<Handle>,
    running: watch::Sender<bool>,
}

impl Workers {
    /// Starts so many threads, which have nothing to do yet; with 0 the caller's runtime serves.
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let (running, run) = watch::channel(true);
        let mut workers = Self { threads: Mutex::default(), runtimes: Vec::new(), running };
        for index in 0..threads {
            let (runtime, thread) = thread(index, run.clone())?;
            workers.runtimes.push(runtime);
            workers.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(workers)
    }

    /// Gives each thread its set of sockets.
    pub(super) fn serve<S: Service>(
        &self,
        sets: Vec<Set>,
        listeners: &[Arc<Listener<S>>],
        phase: &watch::Receiver<Phase>,
        pulse: Option<&Arc<Pulse>>,
    ) -> io::Result<()> {
        for (index, set) in sets.into_iter().enumerate() {
            let loops = Loops {
                set,
                listeners: listeners.to_vec(),
                phase: phase.clone(),
                pulse: pulse.cloned(),
            };
            // Within the runtime, so that an error surfaces here and not on the thread.
            let _inside = self.runtimes.get(index).map(Handle::enter);
            loops.spawn()?;
        }
        Ok(())
    }

    /// Ends the threads and waits for them. Until then each keeps its runtime, since connections
    /// to backends are shared and a request on one thread may use one that another drives.
    pub(super) async fn stop(&self) {
        self.running.send_replace(false);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A panic was reported when it happened.
                drop(thread.join());
            }
        });
        drop(join.await);
    }
}

/// What one worker accepts on.
struct Loops<S> {
    set: Set,
    listeners: Vec<Arc<Listener<S>>>,
    phase: watch::Receiver<Phase>,
    pulse: Option<Arc<Pulse>>,
}

impl<S: Service> Loops<S> {
    /// Spawns the accept loops on the current runtime.
    fn spawn(self) -> io::Result<()> {
        for (index, socket) in self.set {
            let Some(listener) = self.listeners.get(index) else { continue };
            tokio::spawn(accept(socket.open()?, Arc::clone(listener), self.phase.clone()));
        }
        if let Some(pulse) = self.pulse {
            tokio::spawn(pulse.join());
        }
        Ok(())
    }
}

fn thread(index: usize, mut run: watch::Receiver<bool>) -> io::Result<(Handle, JoinHandle<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        // An error means that the listeners are gone: also an end.
        drop(runtime.block_on(run.wait_for(|running| !running)));
        end(runtime);
    });
    Ok((handle, thread?))
}

fn end(runtime: Runtime) {
    runtime.shutdown_timeout(END_WITHIN);
}

/// How long blocking work, such as a name look-up, may hold up the end of a thread.
const END_WITHIN: Duration = Duration::from_millis(200);
