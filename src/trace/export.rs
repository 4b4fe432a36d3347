//! Sending steps of traces to a collector, beside the requests and never in their way.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use prometheus::IntCounter;
use tokio::sync::{mpsc, oneshot};

use super::otlp::{self, Attributes, Span};
use crate::authenticate::fetch::{self, HttpClient};
use crate::clock::Clock;
use crate::config::Otlp;
use crate::record::metrics::Metrics;

/// Where steps wait to be sent. When it is dropped, the rest is sent.
#[derive(Debug)]
pub(super) struct Exporter {
    queue: mpsc::Sender<Message>,
    /// Until it is started.
    worker: Mutex<Option<Worker>>,
    dropped: IntCounter,
}

#[derive(Debug)]
enum Message {
    Step(Box<Span>),
    /// To be told when all before it is sent.
    Flush(oneshot::Sender<()>),
}

/// Sends what waits, some at a time.
#[derive(Debug)]
struct Worker {
    queue: mpsc::Receiver<Message>,
    settings: Otlp,
    resource: Attributes,
    client: HttpClient,
    clock: Clock,
    exported: IntCounter,
    dropped: IntCounter,
    /// When it was last said that it fails, on the monotonic clock.
    warned: Option<Duration>,
}

/// Steps to be sent, and who waits for that.
#[derive(Default)]
struct Batch {
    steps: Vec<Span>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Exporter {
    pub(super) fn new(settings: &Otlp, clock: &Clock, metrics: &Metrics) -> Self {
        let (sender, queue) = mpsc::channel(MOST_WAITING);
        let dropped = metrics.trace_spans.with_label_values(&["dropped"]);
        let worker = Worker {
            queue,
            resource: resource(settings),
            settings: settings.clone(),
            client: fetch::client(1),
            clock: clock.clone(),
            exported: metrics.trace_spans.with_label_values(&["exported"]),
            dropped: dropped.clone(),
            warned: None,
        };
        Self { queue: sender, worker: Mutex::new(Some(worker)), dropped }
    }

    /// Starts to send, on the runtime of the caller. Later calls do nothing.
    pub(super) fn start(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            tokio::spawn(worker.run());
        }
    }

    /// Leaves a step to be sent, or counts that there is no room.
    pub(super) fn send(&self, step: Span) {
        if self.queue.try_send(Message::Step(Box::new(step))).is_err() {
            self.dropped.inc();
        }
    }

    /// Waits until what was left so far is sent, or the time for it is up.
    pub(super) async fn flush(&self) {
        let (sender, sent) = oneshot::channel();
        let flush = async {
            if self.queue.send(Message::Flush(sender)).await.is_ok() {
                // An error means that the worker is gone, and with it whatever was to be waited for.
                let _ = sent.await;
            }
        };
        let _ = tokio::time::timeout(FLUSH_WITHIN, flush).await;
    }
}

impl Worker {
    async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            if !batch.steps.is_empty() {
                self.send(&batch.steps).await;
            }
            for waiting in batch.waiting {
                // Who no longer waits need not be told.
                let _ = waiting.send(());
            }
        }
    }

    /// Waits for a step and what follows it soon. `None` if nobody is left who could send.
    async fn gather(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        batch.take(self.queue.recv().await?);
        let clock = self.clock.clone();
        let mut alarm = std::pin::pin!(clock.sleep(EVERY));
        while batch.steps.len() < MOST_AT_ONCE && batch.waiting.is_empty() {
            tokio::select! {
                next = self.queue.recv() => match next {
                    Some(message) => batch.take(message),
                    None => break,
                },
                () = &mut alarm => break,
            }
        }
        Some(batch)
    }

    async fn send(&mut self, steps: &[Span]) {
        let count = steps.len() as u64;
        match self.post(otlp::request(&self.resource, steps)).await {
            Ok(()) => {
                self.exported.inc_by(count);
                if self.warned.take().is_some() {
                    tracing::info!(target: "scopegate::tracing", "traces are exported again");
                }
            }
            Err(why) => {
                self.dropped.inc_by(count);
                self.warn(&why);
            }
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), String> {
        let mut request = Request::post(&self.settings.url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(USER_AGENT, concat!("scopegate/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|_| "its URL cannot be asked".to_owned())?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.client.request(request)).await;
        match answer {
            Err(_) => Err("it does not answer in time".to_owned()),
            Ok(Err(error)) if error.is_connect() => Err("no connection".to_owned()),
            Ok(Err(_)) => Err("its answer is not HTTP".to_owned()),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(refusal(answer.status())),
        }
    }

    /// Says that it fails, once in a while.
    fn warn(&mut self, why: &str) {
        let now = self.clock.monotonic();
        if self.warned.is_some_and(|at| now.saturating_sub(at) < WARN_EVERY) {
            return;
        }
        self.warned = Some(now);
        tracing::warn!(
            target: "scopegate::tracing",
            "traces are lost: the collector cannot be used: {why}",
        );
    }
}

impl Batch {
    fn take(&mut self, message: Message) {
        match message {
            Message::Step(step) => self.steps.push(*step),
            Message::Flush(waiting) => self.waiting.push(waiting),
        }
    }
}

fn refusal(status: StatusCode) -> String {
    format!("it answers {}", status.as_u16())
}

/// Who sends the steps (semantic conventions, `service`). What the operator says comes first.
fn resource(settings: &Otlp) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.text("service.name", &settings.service);
    for (key, value) in &settings.resource {
        attributes.text(key, value);
    }
    if !settings.resource.iter().any(|(key, _)| key == VERSION) {
        attributes.text(VERSION, env!("CARGO_PKG_VERSION"));
    }
    attributes
}

const VERSION: &str = "service.version";
/// Steps that wait; more are dropped.
const MOST_WAITING: usize = 2_048;
const MOST_AT_ONCE: usize = 512;
/// How long a step waits for others to go with.
const EVERY: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A collector that hangs must not keep the gateway from stopping.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);
const WARN_EVERY: Duration = Duration::from_secs(600);
