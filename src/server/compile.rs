//! From a file to a policy that could be enforced.

use std::sync::Arc;

use super::{ConfigSource, Options, revocation};
use crate::authenticate::Verdicts;
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Problems, Severity, Sources, Tls, Variables};
use crate::forward::Resolver;
use crate::listen::Certificates;
use crate::policy::{Policy, Shared};
use crate::record::metrics::Metrics;

/// Where a configuration comes from.
pub(super) struct Source {
    pub(super) config: ConfigSource,
    pub(super) variables: Variables,
    pub(super) resolver: Resolver,
}

impl Source {
    pub(super) fn of(options: &Options) -> Self {
        Self {
            config: options.config.clone(),
            variables: options.variables.clone(),
            resolver: options.resolver.clone(),
        }
    }
}

/// A configuration and its policy.
pub(super) struct Compiled {
    pub(super) config: Config,
    pub(super) sources: Sources,
    pub(super) policy: Arc<Policy>,
    /// The warnings, rendered.
    pub(super) warnings: String,
}

/// Why there is none.
pub(super) struct Fault {
    /// The first error, in a line.
    pub(super) summary: String,
    /// All problems, rendered.
    pub(super) problems: String,
}

impl Fault {
    pub(super) fn of(problems: &Problems, sources: &Sources, color: bool) -> Self {
        let first = problems.0.iter().find(|problem| problem.severity == Severity::Error);
        let summary = first.map_or_else(
            || "the configuration cannot be used".to_owned(),
            |problem| format!("{} {}", problem.code, problem.message),
        );
        Self { summary, problems: problems.render(sources, color) }
    }
}

/// Compiles the configuration of a gateway that starts, with the state that policies share.
pub(super) fn first(
    source: &Source,
    clock: &Clock,
    color: bool,
) -> Result<(Compiled, Shared), Fault> {
    let read = read(source, color)?;
    let metrics = Metrics::default();
    let verdicts = Arc::new(Verdicts::new(read.config.limits.verdicts, &metrics));
    let revocations = revocation::open(&read.config, &read.sources, clock, &metrics, color)?;
    let revocations = Arc::new(revocations);
    let resolver = source.resolver.clone();
    let shared = Shared { clock: clock.clone(), metrics, verdicts, revocations, resolver };
    Ok((read.compile(None, &shared, color)?, shared))
}

/// Compiles the configuration that is to follow `previous`.
pub(super) fn next(source: &Source, previous: &Policy, shared: &Shared) -> Result<Compiled, Fault> {
    read(source, false)?.compile(Some(previous), shared, false)
}

/// The certificates that a configuration names; `None` if it says that there is no TLS.
pub(super) fn certificates(
    compiled: &Compiled,
    color: bool,
) -> Result<Option<Certificates>, Fault> {
    let Some(Tls::Pairs(pairs)) = compiled.config.tls.as_deref() else { return Ok(None) };
    let certificates = Certificates::from_files(pairs);
    certificates.map(Some).map_err(|problems| Fault::of(&problems, &compiled.sources, color))
}

/// A configuration without mistakes of its own.
struct Read {
    config: Config,
    sources: Sources,
    warnings: String,
}

fn read(source: &Source, color: bool) -> Result<Read, Fault> {
    let loaded = load(source)?;
    let fault = |problems: &Problems| Fault::of(problems, &loaded.sources, color);
    if loaded.problems.has_errors() {
        return Err(fault(&loaded.problems));
    }
    let Some(config) = loaded.config else { return Err(fault(&loaded.problems)) };
    let warnings = match loaded.problems.0.is_empty() {
        true => String::new(),
        false => loaded.problems.render(&loaded.sources, color),
    };
    Ok(Read { config, sources: loaded.sources, warnings })
}

fn load(source: &Source) -> Result<Loaded, Fault> {
    match &source.config {
        ConfigSource::File(path) => config::load(path, &source.variables).map_err(|error| {
            let summary = format!("cannot read {}: {error}", path.display());
            let problems = format!("error: {summary}\nhelp: `-c FILE` names another");
            Fault { problems, summary }
        }),
        ConfigSource::Text { name, text } => Ok(config::load_text(name, text, &source.variables)),
    }
}

impl Read {
    fn compile(
        self,
        previous: Option<&Policy>,
        shared: &Shared,
        color: bool,
    ) -> Result<Compiled, Fault> {
        let Self { config, sources, warnings } = self;
        let policy = Policy::compile(&config, &sources, previous, shared)
            .map_err(|problems| Fault::of(&problems, &sources, color))?;
        Ok(Compiled { config, sources, policy: Arc::new(policy), warnings })
    }
}
