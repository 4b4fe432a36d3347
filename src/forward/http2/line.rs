//! One connection, and the task that drives it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};

use crate::forward::breaker::Place;
use crate::forward::exchange::Fault;
use crate::forward::response_head::MOST_BYTES;
use crate::forward::socket::Socket;
use crate::forward::upstream::Backend;

/// An open connection. Dropped, it closes when the streams on it have ended.
#[derive(Debug)]
pub(super) struct Line {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
}

/// A request's place on a connection, given back when it is dropped.
#[derive(Debug)]
pub(in crate::forward) struct Lane {
    pub(super) sender: SendRequest<Bytes>,
    state: Arc<State>,
}

/// What is known of a connection.
#[derive(Debug)]
struct State {
    backend: Arc<Backend>,
    target: usize,
    /// Of the target's addresses when it was opened.
    epoch: u64,
    secured: bool,
    /// How often something was read.
    heard: AtomicU64,
    usage: Mutex<Usage>,
}

#[derive(Debug)]
struct Usage {
    streams: usize,
    /// When the last stream ended, on the monotonic clock.
    rests_since: Duration,
    /// Whether it takes no new streams.
    retired: bool,
    /// Given up when it is gone; it is counted no more.
    place: Option<Place>,
    /// What broke it, if that is known.
    fault: Option<Fault>,
}

impl Line {
    /// Begins to speak HTTP/2 on a socket. What the server is ready for it will say; until then the
    /// library's assumptions hold.
    pub(super) async fn open(
        socket: Socket,
        target: usize,
        backend: &Arc<Backend>,
        place: Place,
    ) -> Result<Self, Fault> {
        let state = Arc::new(State::new(socket.is_secured(), target, backend, place));
        let watched = Watched { socket, state: Arc::clone(&state) };
        let opened = settings().handshake(watched).await;
        let Ok((sender, mut connection)) = opened else {
            state.close();
            return Err(Fault::Reset);
        };
        let (pings, driven) = (connection.ping_pong(), Arc::clone(&state));
        tokio::spawn(async move {
            tokio::select! {
                // Whoever has a stream on it hears of its end by that.
                _ended = connection => {}
                () = watch(pings, &driven) => {}
            }
            driven.close();
        });
        Ok(Self { sender, state })
    }

    /// Whether new streams may begin.
    pub(super) fn is_open(&self) -> bool {
        !self.state.usage().retired && self.state.is_current()
    }

    /// A place for one more stream, if there is one.
    pub(super) fn lane(&self) -> Option<Lane> {
        let most = self.sender.current_max_send_streams().min(MOST_STREAMS);
        let mut usage = self.state.usage();
        if usage.retired || usage.streams >= most {
            return None;
        }
        usage.streams += 1;
        if usage.streams == 1 {
            self.state.count(true);
        }
        drop(usage);
        Some(Lane { sender: self.sender.clone(), state: Arc::clone(&self.state) })
    }
}

impl Lane {
    /// The index of the target that it leads to.
    pub(super) fn target(&self) -> usize {
        self.state.target
    }

    /// Whether the connection is TLS.
    pub(super) fn is_secured(&self) -> bool {
        self.state.secured
    }

    /// Lets no new stream begin on the connection.
    pub(super) fn retire(&self) {
        self.state.usage().retired = true;
    }

    /// How often something was read from the connection.
    pub(super) fn heard(&self) -> u64 {
        self.state.heard.load(Ordering::Relaxed)
    }

    /// What broke the connection, if it is broken and that is known.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.state.usage().fault
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let now = self.state.backend.clock().monotonic();
        let mut usage = self.state.usage();
        usage.streams -= 1;
        usage.rests_since = now;
        if usage.streams == 0 && usage.place.is_some() {
            self.state.count(false);
        }
        drop(usage);
        self.state.backend.targets()[self.state.target].lane_freed.notify_waiters();
    }
}

impl State {
    fn new(secured: bool, target: usize, backend: &Arc<Backend>, place: Place) -> Self {
        backend.counters().idle.inc();
        let rests_since = backend.clock().monotonic();
        let usage =
            Usage { streams: 0, rests_since, retired: false, place: Some(place), fault: None };
        Self {
            backend: Arc::clone(backend),
            target,
            epoch: backend.targets()[target].names.epoch(),
            secured,
            heard: AtomicU64::new(0),
            usage: Mutex::new(usage),
        }
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the connection as one that works from now on, or as one that rests.
    fn count(&self, works: bool) {
        let counters = self.backend.counters();
        let (from, to) = match works {
            true => (&counters.idle, &counters.active),
            false => (&counters.active, &counters.idle),
        };
        from.dec();
        to.inc();
    }

    fn close(&self) {
        let mut usage = self.usage();
        usage.retired = true;
        let (place, streams) = (usage.place.take(), usage.streams);
        drop(usage);
        if place.is_some() {
            let counters = self.backend.counters();
            if streams == 0 { counters.idle.dec() } else { counters.active.dec() }
        }
    }

    /// Whether all addresses that were known when it was opened still are.
    fn is_current(&self) -> bool {
        self.epoch == self.backend.targets()[self.target].names.epoch()
    }

    /// Whether no stream was on it for the idle timeout; it then takes no new ones.
    fn is_tired(&self) -> bool {
        let now = self.backend.clock().monotonic();
        let mut usage = self.usage();
        let rested = now.saturating_sub(usage.rests_since);
        let tired = usage.streams == 0 && rested >= self.backend.idle_timeout();
        usage.retired |= tired;
        tired
    }
}

/// Ends when the connection has rested for too long, or when its server does not answer a ping
/// while streams wait. It is asked only after a silence: some servers close connections on which
/// they are pinged without having said something in between.
async fn watch(pings: Option<PingPong>, state: &State) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    let half = (state.backend.idle_timeout() / 2).max(Duration::from_millis(1));
    loop {
        let heard = state.heard.load(Ordering::Relaxed);
        sleep(half).await;
        if state.is_tired() {
            return;
        }
        let silent = state.heard.load(Ordering::Relaxed) == heard;
        if silent && state.usage().streams > 0 {
            let answered = timeout(half, pings.ping(Ping::opaque())).await;
            if !matches!(answered, Ok(Ok(_))) {
                state.usage().fault = Some(Fault::Timeout);
                return;
            }
        }
    }
}

fn settings() -> Builder {
    let mut settings = Builder::new();
    settings
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        // Streams whose clients read slowly cannot stop the others.
        .initial_connection_window_size(STREAM_WINDOW * MOST_STREAMS as u32)
        .max_header_list_size(MOST_BYTES as u32)
        .initial_max_send_streams(MOST_STREAMS)
        .max_send_buffer_size(STREAM_WINDOW as usize);
    settings
}

/// A socket that tells when something is read, and what broke it.
struct Watched {
    socket: Socket,
    state: Arc<State>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.socket).poll_read(cx, buffer));
        match &read {
            Ok(()) => drop(self.state.heard.fetch_add(1, Ordering::Relaxed)),
            Err(error) => self.state.usage().fault = Some(Fault::of_read(error)),
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Streams on one connection, if its server allows as many.
const MOST_STREAMS: usize = 100;
/// Bytes of one response that may have come without its client having taken them.
const STREAM_WINDOW: u32 = 256 << 10;
