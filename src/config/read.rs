//! Reading a whole configuration: the file, what it includes, and the checks that need all of it.

use std::path::Path;

use super::language::FILE;
use super::reading::{Fields, Reading};
use super::server::network;
use super::value::{duration, located, located_switch, parsed, rate, some};
use super::yaml::{Node, Value};
use super::{
    Config, Located, Problem, Problems, Severity, Sources, Variables, cors, headers, include,
    issuers, link, overlap, plans, revocation, rules, server, tracing, unverified, upstreams,
};

/// A configuration that was read, or why it could not be.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration; `None` if there are errors.
    pub config: Option<Config>,
    /// The files it was read from.
    pub sources: Sources,
    /// What is wrong with it: errors, or only warnings.
    pub problems: Problems,
    /// How many routes were found, with errors or without.
    pub routes: usize,
}

impl Loaded {
    /// Adds problems that were found beside the reading, but for warnings that the file silences.
    /// The configuration stays, whatever is wrong with it.
    pub(crate) fn add(&mut self, found: Vec<Problem>) {
        self.problems.0.extend(found);
        arrange(&mut self.problems, &self.sources);
    }
}

/// Reads a file and what it includes.
///
/// # Errors
/// If the file itself cannot be read. All else is in [`Loaded::problems`].
pub fn load(path: &Path, variables: &Variables) -> std::io::Result<Loaded> {
    let bytes = std::fs::read(path)?;
    let base = path.parent().unwrap_or(Path::new(""));
    Ok(assemble(&path.display().to_string(), bytes, base, variables))
}

/// Reads a configuration from text; `name` is what problems call it. Relative paths and includes
/// are looked up in the working directory.
#[must_use]
pub fn load_text(name: &str, text: &str, variables: &Variables) -> Loaded {
    assemble(name, text.as_bytes().to_vec(), Path::new(""), variables)
}

fn assemble(name: &str, bytes: Vec<u8>, base: &Path, variables: &Variables) -> Loaded {
    finish(&mut Reading::new(base, variables), name, bytes)
}

/// Reads everything, and keeps the configuration only if nothing is wrong with it.
pub(super) fn finish(reading: &mut Reading<'_>, name: &str, bytes: Vec<u8>) -> Loaded {
    let root = reading.parse(name, bytes);
    let config = root.and_then(|root| file(reading, &root)).map(|mut config| {
        link::check(reading, &config);
        overlap::check(reading, &config);
        unverified::check(reading, &config);
        config.allowed_warnings = allowed_warnings(&reading.sources);
        config
    });
    let sources = std::mem::take(&mut reading.sources);
    let mut problems = std::mem::take(&mut reading.problems);
    arrange(&mut problems, &sources);
    let config = config.filter(|_| !problems.has_errors());
    Loaded { config, sources, problems, routes: reading.routes }
}

/// Drops the warnings that are silenced, and brings the rest into the order of the files.
fn arrange(problems: &mut Problems, sources: &Sources) {
    let allowed = allowed_warnings(sources);
    problems.0.retain(|problem| {
        problem.severity == Severity::Error || !allowed.iter().any(|id| id == problem.code)
    });
    problems.0.sort_by_key(|problem| problem.at.map(|at| (at.file, at.start)));
}

fn file(reading: &mut Reading<'_>, root: &Node) -> Option<Config> {
    if matches!(root.value, Value::Null) {
        let problem = Problem::new("E007", root.at, "the file is empty").label("nothing here");
        reading.note(problem.help("`scopegate init` writes one to begin with"));
        return None;
    }
    let fields = Fields::open(reading, root, &FILE, "")?;
    let listen = server::listen(reading, &fields);
    let tls = server::tls(reading, &fields, &listen);
    let trusted = fields.read(reading, "trusted_proxies", |r, node| Some(some(r, node, network)));
    let identity_headers = upstreams::identity_headers(reading, &fields);
    Some(Config {
        listen,
        tls,
        public_url: fields.read(reading, "public_url", public_url),
        admin: server::admin(reading, &fields),
        trusted_proxies: trusted.unwrap_or_default(),
        issuers: issuers::issuers(reading, &fields),
        upstreams: upstreams::upstreams(reading, &fields),
        kept_headers: headers::kept(reading, &fields, &identity_headers),
        identity_headers,
        keep_authorization: fields.read(reading, "keep_authorization", located_switch),
        plans: fields.read(reading, "plans", plans::plans).unwrap_or_default(),
        default_plan: fields.read(reading, "default_plan", located),
        plan_from: fields.read(reading, "plan_from", plans::plan_from),
        clients: fields.read(reading, "clients", plans::clients).unwrap_or_default(),
        flood: fields.read(reading, "flood", |r, node| {
            rate(r, node).map(|value| Located { value, at: node.at })
        }),
        cors: fields.read(reading, "cors", |r, node| cors::cors(r, node, "")),
        mode: fields.read(reading, "mode", server::mode).unwrap_or_default(),
        rules: fields.read(reading, "rules", rules::named).unwrap_or_default(),
        revocation: fields.read(reading, "revocation", revocation::revocation),
        routes: include::all_routes(reading, root, &fields),
        logs: fields.read(reading, "logs", server::logs).unwrap_or_default(),
        errors: fields.read(reading, "errors", server::errors).unwrap_or_default(),
        tracing: tracing::tracing(reading, &fields, root.at),
        server_timing: fields.read(reading, "server_timing", server::on).unwrap_or_default(),
        hsts: fields.read(reading, "hsts", duration),
        drain: fields.read(reading, "drain", server::drain).unwrap_or_default(),
        limits: fields.read(reading, "limits", server::limits).unwrap_or_default(),
        allowed_warnings: Vec::new(),
    })
}

fn public_url(reading: &mut Reading<'_>, node: &Node) -> Option<Located<String>> {
    let value = parsed(reading, node, "a URL", super::network::parse_public_url)?;
    Some(Located { value, at: node.at })
}

/// The ids in comments such as `# scopegate: allow A101, A120`.
fn allowed_warnings(sources: &Sources) -> Vec<String> {
    let mut ids = Vec::new();
    for line in sources.0.iter().flat_map(|source| source.text.lines()) {
        let Some((before, list)) = line.split_once("# scopegate: allow ") else { continue };
        if !before.is_empty() && !before.ends_with([' ', '\t']) {
            continue;
        }
        let words = list.split([',', ' ']).take_while(|word| word.is_empty() || is_warning(word));
        ids.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    }
    ids
}

fn is_warning(word: &str) -> bool {
    word.len() == 4 && word.starts_with('A') && word[1..].bytes().all(|b| b.is_ascii_digit())
}
