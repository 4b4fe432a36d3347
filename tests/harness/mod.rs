//! A gateway between an issuer and a backend, all in this process on free ports.

pub mod authority;
pub mod backend;
pub mod chaos;
pub mod client;
pub mod command;
pub mod demo;
pub mod h2;
pub mod introspection;
pub mod issuer;
pub mod keys;
pub mod log;
pub mod markdown;
pub mod origin;
pub mod process;
pub mod raw;
pub mod rude;
pub mod scrape;
pub mod socket;
pub mod strict;
pub mod tls;
pub mod token;
pub mod verdicts;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scopegate::clock::Clock;
use scopegate::forward::Resolver;
use scopegate::server::{Lines, Options, Server};

pub use backend::{Backend, Reply, Seen};
pub use client::{Answer, Call};
pub use issuer::Issuer;
pub use token::Token;

/// What a test talks to. Dropping it ends everything.
pub struct Harness {
    pub issuer: Issuer,
    pub backend: Backend,
    pub clock: Clock,
    pub server: Server,
    log: Captured,
    folder: tempfile::TempDir,
}

/// The common case: scopes on methods, a role, a public path.
pub const ORDERS: &str = "
routes:
  /orders/**:
    GET: orders:read
    POST, PUT, PATCH: orders:write
    DELETE: { scope: orders:write, role: admin }
  /status: { public: true }
";

impl Harness {
    /// Starts a gateway with the routes (and whatever else) of `yaml` in front of one backend,
    /// trusting one issuer. `yaml` may set `issuers` or `upstreams` itself, with `{issuer}` and
    /// `{backend}` for the URLs.
    pub async fn start(yaml: &str) -> Self {
        let issuer = Issuer::start().await;
        let backend = Backend::start().await;
        Self::start_with(yaml, issuer, backend).await
    }

    /// The same, with an issuer and a backend that the test prepared.
    pub async fn start_with(yaml: &str, issuer: Issuer, backend: Backend) -> Self {
        let harness = Self::launch(yaml, issuer, backend).await;
        harness.ready().await;
        harness
    }

    /// The same, without waiting for keys.
    pub async fn launch(yaml: &str, issuer: Issuer, backend: Backend) -> Self {
        Self::launch_resolving(yaml, issuer, backend, Resolver::default()).await
    }

    /// The same, with backends' names that stand for what the test says.
    pub async fn resolving(yaml: &str, resolver: Resolver) -> Self {
        let (issuer, backend) = (Issuer::start().await, Backend::start().await);
        let harness = Self::launch_resolving(yaml, issuer, backend, resolver).await;
        harness.ready().await;
        harness
    }

    async fn launch_resolving(
        yaml: &str,
        issuer: Issuer,
        backend: Backend,
        resolver: Resolver,
    ) -> Self {
        let clock = Clock::default();
        let log = Captured::default();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.yaml");
        std::fs::write(&file, config(yaml, &issuer, &backend)).unwrap();
        let lines = Lines { writer: Box::new(log.clone()), terminal: false };
        let options = Options {
            clock: clock.clone(),
            resolver,
            workers: Some(0),
            access_log: Some(lines),
            ..Options::new(file)
        };
        let server = Server::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        Self { issuer, backend, clock, server, log, folder }
    }

    /// Waits until every issuer's first attempt to fetch keys has ended.
    pub async fn ready(&self) {
        for issuer in self.server.gateway().policy().issuers() {
            within(issuer.first_attempt()).await;
        }
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    /// A request that is sent when it is awaited.
    pub fn call(&self, method: &str, path: &str) -> Call {
        Call::new(self.address(), method, path)
    }

    /// A token of the harness's issuer for its audience, with the scope `orders:read`.
    pub fn token(&self) -> Token {
        self.issuer.token().scope("orders:read")
    }

    /// The admin port's address.
    pub fn admin(&self) -> std::net::SocketAddr {
        self.server.admin_address().unwrap()
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server.addresses()[0]
    }

    /// The sum of the series of `name` that have these labels, as a scrape shows them.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        scrape::sum(self.admin(), name, labels).await
    }

    /// The lines of the series of `name`, as a scrape shows them.
    pub async fn series(&self, name: &str) -> Vec<String> {
        scrape::series(self.admin(), name).await
    }

    /// How often a route refused for a reason, once all records are written.
    pub async fn denials(&self, route: &str, reason: &str) -> f64 {
        let labels = [("route", route), ("decision", "deny"), ("reason", reason)];
        self.metric("scopegate_decisions_total", &labels).await
    }

    /// The access log so far, one JSON object per line.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The access log's line about a request, once it is written.
    pub async fn logged(&self, request_id: &str) -> serde_json::Value {
        let id = format!("\"request_id\":\"{request_id}\"");
        let line = || self.log().lines().find(|line| line.contains(&id)).map(str::to_owned);
        until("the log line", async || line().is_some()).await;
        serde_json::from_str(&line().unwrap()).unwrap()
    }

    /// Replaces the configuration; a reload puts it in force.
    pub fn rewrite(&self, yaml: &str) {
        let text = config(yaml, &self.issuer, &self.backend);
        std::fs::write(self.folder.path().join("gateway.yaml"), text).unwrap();
    }
}

/// Fails instead of hanging.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes too long")
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} takes too long");
        tokio::task::yield_now().await;
    }
}

fn config(yaml: &str, issuer: &Issuer, backend: &Backend) -> String {
    let mut text = String::from("admin: 127.0.0.1:0\n");
    if !yaml.contains("listen:") {
        text += "listen: 127.0.0.1:0\n";
    }
    if !yaml.contains("issuers:") {
        text += "issuer: {issuer}\naudience: https://api.example.com\n";
    }
    if !yaml.contains("upstreams:") {
        text += "upstream: {backend}\n";
    }
    text += yaml;
    text.replace("{issuer}", &issuer.url()).replace("{backend}", &backend.url())
}

/// All that this thread logs, at the finest level, for as long as it is not ended.
pub struct Traces {
    captured: Captured,
    _kept: (tracing::subscriber::DefaultGuard, tracing::Dispatch),
}

impl Traces {
    pub fn start() -> Self {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .finish();
        // While only one subscriber lives, tracing lets whichever thread reaches a line first decide
        // for all threads whether anybody listens; with a second one alive it asks both.
        let second = tracing::Dispatch::new(tracing_subscriber::registry());
        Self { captured, _kept: (tracing::subscriber::set_default(subscriber), second) }
    }

    /// What was logged so far.
    pub fn text(&self) -> String {
        self.captured.text()
    }

    /// What was logged.
    pub fn end(self) -> String {
        self.captured.text()
    }
}

/// A writer whose text can be read.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
