//! Reading a whole configuration: the file, what it includes, and the checks that need all of it.

use std::path::{Path, PathBuf};

use super::language::{FILE, INCLUDED};
use super::reading::{Fields, Reading};
use super::server::network;
use super::value::{duration, located, parsed, rate, some, text};
use super::yaml::{Node, Value};
use super::{
    Config, Located, Problem, Problems, Route, Severity, Sources, Variables, cors, issuers, link,
    overlap, plans, revocation, routes, rules, server, tracing, upstreams,
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
    Some(Config {
        listen,
        tls,
        public_url: fields.read(reading, "public_url", public_url),
        admin: server::admin(reading, &fields),
        trusted_proxies: trusted.unwrap_or_default(),
        issuers: issuers::issuers(reading, &fields),
        upstreams: upstreams::upstreams(reading, &fields),
        identity_headers: upstreams::identity_headers(reading, &fields),
        keep_authorization: server::flag(reading, &fields, "keep_authorization"),
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
        routes: all_routes(reading, root, &fields),
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

/// The routes of the file and of what it includes.
fn all_routes(reading: &mut Reading<'_>, root: &Node, fields: &Fields<'_>) -> Vec<Route> {
    let own = fields.find(reading, "routes");
    let mut all = own.map_or_else(Vec::new, |node| routes::routes(reading, node));
    if let Some(node) = fields.find(reading, "include") {
        for file in some(reading, node, included_files).into_iter().flatten() {
            all.extend(included_routes(reading, &file, node));
        }
    }
    let written = fields.key_at("routes").is_some() || fields.key_at("include").is_some();
    if !written || own.is_some_and(|node| matches!(&node.value, Value::Map(e) if e.is_empty())) {
        let at = own.map_or(root.at, |node| node.at);
        reading.note(
            Problem::new("E007", at, "there are no routes")
                .label("every request would be answered with 404")
                .help("such as `routes: { /**: { allow: { token: any } } }`"),
        );
    }
    all
}

fn included_routes(reading: &mut Reading<'_>, path: &Path, include: &Node) -> Vec<Route> {
    let name = path.display().to_string();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("{name} cannot be read");
            let problem = Problem::new("E009", include.at, message);
            reading.note(problem.label(error.kind().to_string()));
            return Vec::new();
        }
    };
    let Some(root) = reading.parse(&name, bytes) else { return Vec::new() };
    if matches!(root.value, Value::Null) {
        return Vec::new();
    }
    let Some(fields) = Fields::open(reading, &root, &INCLUDED, " in an included file") else {
        return Vec::new();
    };
    let node = fields.find(reading, "routes");
    node.map_or_else(Vec::new, |node| routes::routes(reading, node))
}

/// The files that one item of `include:` names, in the order of their names.
fn included_files(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<PathBuf>> {
    let written = text(reading, node)?;
    let path = reading.base.join(written);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let directory = path.parent().unwrap_or(Path::new(""));
    if directory.to_string_lossy().contains('*') {
        let problem = Problem::new("E009", node.at, "`*` can stand in a file's name only");
        reading.note(problem.label("write the directory out"));
        return None;
    }
    if !name.contains('*') {
        return Some(vec![path]);
    }
    let listed = if directory == Path::new("") { Path::new(".") } else { directory };
    let entries = match std::fs::read_dir(listed) {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("{} cannot be read", listed.display());
            let problem = Problem::new("E009", node.at, message);
            reading.note(problem.label(error.kind().to_string()));
            return None;
        }
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut files: Vec<PathBuf> =
        names.filter(|found| glob(name, found)).map(|found| directory.join(found)).collect();
    files.sort();
    Some(files)
}

/// Whether `*` in a pattern can be replaced so that it becomes `name`. Hidden files are matched by
/// patterns that begin with a dot only.
fn glob(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let parts: Vec<&str> = tail.split('*').collect();
    let Some((last, middle)) = parts.split_last() else { return true };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
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
