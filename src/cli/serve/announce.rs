//! The lines at start: what runs, and how issuers and backends are.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::logs::{Log, Style};
use crate::authenticate::{Issuer, IssuerStatus};
use crate::config;
use crate::forward::Upstream;
use crate::listen::Place;
use crate::policy::{Census, Policy};
use crate::server::Prepared;

/// Says what starts.
pub(super) struct Announcer {
    voice: Voice,
    policy: Arc<Policy>,
    upstreams: Vec<config::Upstream>,
}

/// Where lines go.
#[derive(Clone)]
struct Voice {
    log: Arc<Log>,
    quiet: bool,
}

impl Announcer {
    pub(super) fn new(prepared: &Prepared, log: Arc<Log>, quiet: bool) -> Self {
        Self {
            voice: Voice { log, quiet },
            policy: Arc::clone(prepared.policy()),
            upstreams: prepared.config().upstreams.clone(),
        }
    }

    /// The first lines: the version, the file, its routes and its warnings.
    pub(super) fn greet(&self, path: &Path, warnings: &str) {
        self.voice.info(&greeting(path, self.policy.census()));
        if !warnings.is_empty() {
            self.voice.warn(warnings.trim_end());
        }
    }

    /// How issuers and backends are, as far as is known within a second, and where to go.
    pub(super) async fn report(
        self,
        proxies: Vec<Place>,
        secure: bool,
        admin: Vec<Place>,
        took: Duration,
    ) {
        let issuers: Vec<_> = self.policy.issuers().iter().map(ask_issuer).collect();
        let upstreams: Vec<_> = self.policy.upstreams().iter().map(ask_upstream).collect();
        for (name, asked) in issuers {
            let status = asked.await.unwrap_or_default();
            self.voice.state(&format!("issuer {name}"), &issuer_words(status));
        }
        for (name, asked) in upstreams {
            let answer = asked.await.unwrap_or_default();
            let words = upstream_words(answer, &self.targets(&name));
            self.voice.state(&format!("upstream {name}"), &words);
        }
        self.voice.info(&last_line(&proxies, secure, &admin, took));
    }

    /// The upstream's targets as URLs.
    fn targets(&self, name: &str) -> Vec<String> {
        let upstream = self.upstreams.iter().find(|upstream| upstream.name.value == name);
        let targets = upstream.iter().flat_map(|upstream| &upstream.targets);
        targets.map(|target| target.address.url()).collect()
    }
}

/// `Ok` is well, `Err` is worth a warning.
type Words = Result<String, String>;

/// What is asked for in the background, and its name.
type Asked<T> = (Arc<str>, JoinHandle<Option<T>>);

fn ask_issuer(issuer: &Arc<Issuer>) -> Asked<IssuerStatus> {
    let issuer = Arc::clone(issuer);
    let name = Arc::clone(issuer.name());
    let asked = tokio::spawn(async move {
        timeout(PATIENCE, issuer.first_attempt()).await.ok().map(|()| issuer.status())
    });
    (name, asked)
}

fn ask_upstream(upstream: &Arc<Upstream>) -> Asked<Result<Duration, String>> {
    let upstream = Arc::clone(upstream);
    let name = Arc::clone(upstream.name());
    let asked = tokio::spawn(async move { timeout(PATIENCE, upstream.probe()).await.ok() });
    (name, asked)
}

fn issuer_words(status: Option<IssuerStatus>) -> Words {
    match status {
        Some(status) if status.ready => Ok(crate::server::describe_issuer(&status)),
        Some(status) => {
            let problem = status.problem.unwrap_or_else(|| "no keys".to_owned());
            Err(format!("{problem}: its tokens are answered 503 until it has keys"))
        }
        None => Err("no answer yet: its tokens are answered 503 until it has keys".to_owned()),
    }
}

fn upstream_words(answer: Option<Result<Duration, String>>, targets: &[String]) -> Words {
    let problem = match answer {
        Some(Ok(took)) => return Ok(format!("{}, {} ms", targets.join(" "), took.as_millis())),
        Some(Err(problem)) => problem,
        None => "no answer yet".to_owned(),
    };
    let until = match targets.len() {
        ..2 => "its routes answer 502 until it is up",
        2.. => "requests go to its other targets; without any, its routes answer 503",
    };
    Err(format!("{problem}: {until}"))
}

/// `scopegate 0.1.0 · gateway.yaml · 9 routes: 1 public, 1 report-only`.
fn greeting(path: &Path, census: Census) -> String {
    let plural = if census.all == 1 { "" } else { "s" };
    let kinds = [(census.public, "public"), (census.report, "report-only")];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect();
    let colon = if kinds.is_empty() { "" } else { ": " };
    let version = env!("CARGO_PKG_VERSION");
    let (file, all, kinds) = (path.display(), census.all, kinds.join(", "));
    format!("scopegate {version} · {file} · {all} route{plural}{colon}{kinds}")
}

fn last_line(proxies: &[Place], secure: bool, admin: &[Place], took: Duration) -> String {
    let scheme = if secure { "https" } else { "http" };
    format!(
        "proxy {} · admin {} · ready in {} ms · SIGHUP reloads, Ctrl-C drains",
        urls(proxies, scheme),
        urls(admin, "http"),
        took.as_millis(),
    )
}

fn urls(places: &[Place], scheme: &str) -> String {
    let urls = places.iter().map(|place| match place {
        Place::Tcp(address) => format!("{scheme}://{address}"),
        Place::Unix(_) => place.to_string(),
    });
    urls.collect::<Vec<_>>().join(" ")
}

impl Voice {
    fn info(&self, line: &str) {
        match self.log.style {
            Style::Json => tracing::info!("{line}"),
            Style::Human if self.quiet => {}
            Style::Human => self.log.say(&format!("  {line}")),
        }
    }

    fn warn(&self, text: &str) {
        match self.log.style {
            Style::Json => tracing::warn!("{text}"),
            Style::Human => self.log.say(text),
        }
    }

    /// `ok    issuer main       3 keys, ES256 RS256`.
    fn state(&self, name: &str, words: &Words) {
        match (self.log.style, words) {
            (Style::Json, Ok(words)) => tracing::info!(name, "{words}"),
            (Style::Json, Err(words)) => tracing::warn!(name, "{words}"),
            (Style::Human, Ok(words)) => self.info(&format!("ok    {name:<17} {words}")),
            (Style::Human, Err(words)) => self.warn(&format!("  warn  {name:<17} {words}")),
        }
    }
}

/// How long a line waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_names_what_is_special() {
        let census = Census { all: 9, public: 1, report: 1 };
        let line = greeting(Path::new("gateway.yaml"), census);
        let version = env!("CARGO_PKG_VERSION");
        let expected =
            format!("scopegate {version} · gateway.yaml · 9 routes: 1 public, 1 report-only");
        assert_eq!(line, expected);
        let line = greeting(Path::new("g"), Census { all: 1, ..Census::default() });
        assert!(line.ends_with("· 1 route"), "{line}");
    }

    fn tcp(address: &str) -> Place {
        Place::Tcp(address.parse().unwrap())
    }

    #[test]
    fn the_last_line_says_where_to_go() {
        let line = last_line(
            &[tcp("0.0.0.0:8443"), tcp("[::]:8443"), Place::Unix("/run/gw.sock".into())],
            true,
            &[tcp("127.0.0.1:8081")],
            Duration::from_millis(31),
        );
        let expected = "proxy https://0.0.0.0:8443 https://[::]:8443 \
                        unix:/run/gw.sock · admin http://127.0.0.1:8081 \
                        · ready in 31 ms · SIGHUP reloads, Ctrl-C drains";
        assert_eq!(line, expected);
    }

    #[test]
    fn whoever_does_not_answer_is_a_warning() {
        assert!(issuer_words(None).unwrap_err().starts_with("no answer yet"));
        let refused = Some(Err("connection refused".to_owned()));
        let expected = "connection refused: its routes answer 502 until it is up";
        let one = ["http://orders:3000".to_owned()];
        assert_eq!(upstream_words(refused.clone(), &one).unwrap_err(), expected);
        let two = [one[0].clone(), "http://orders:3001".to_owned()];
        assert!(upstream_words(refused, &two).unwrap_err().contains("to its other targets"));
        let words = upstream_words(Some(Ok(Duration::from_millis(2))), &two);
        assert_eq!(words.unwrap(), "http://orders:3000 http://orders:3001, 2 ms");
    }
}
