//! `routes:` of the file and of the files that it includes.
//!
//! A route that is gone leaves its paths to a wider one, which may ask for less. So what is included
//! must be there: a file that was cut short or swapped while it was read, and a pattern that matches
//! no file, are errors, and a reload that finds one changes nothing.

use std::path::{Path, PathBuf};

use super::language::INCLUDED;
use super::reading::{Fields, Reading};
use super::routes;
use super::value::{some, text};
use super::yaml::{Node, Value};
use super::{Place, Problem, Route};

/// The routes of the file and of what it includes.
pub(super) fn all_routes(
    reading: &mut Reading<'_>,
    root: &Node,
    fields: &Fields<'_>,
) -> Vec<Route> {
    let known = reading.problems.0.len();
    let own = fields.find(reading, "routes");
    let mut all = own.map_or_else(Vec::new, |node| routes::routes(reading, node));
    if let Some(node) = fields.find(reading, "include") {
        for file in some(reading, node, files).into_iter().flatten() {
            all.extend(included(reading, &file));
        }
    }
    let is_told = reading.problems.0.len() > known;
    if reading.routes == 0 && !is_told {
        let at = own.map_or(root.at, |node| node.at);
        reading.note(
            Problem::new("E007", at, "there are no routes")
                .label("every request would be answered with 404")
                .help("such as `routes: { /**: { allow: { token: any } } }`"),
        );
    }
    all
}

/// A file that is included, and where.
struct Included {
    path: PathBuf,
    by: Place,
}

fn included(reading: &mut Reading<'_>, file: &Included) -> Vec<Route> {
    let name = file.path.display().to_string();
    let bytes = match std::fs::read(&file.path) {
        Ok(bytes) => bytes,
        Err(error) => {
            reading.note(unreadable(&file.path, file.by, &error));
            return Vec::new();
        }
    };
    let Some(root) = reading.parse(&name, bytes) else { return Vec::new() };
    if matches!(root.value, Value::Null) {
        reading.note(says_nothing(root.at, file.by));
        return Vec::new();
    }
    let Some(fields) = Fields::open(reading, &root, &INCLUDED, " in an included file") else {
        return Vec::new();
    };
    if fields.key_at("routes").is_none() {
        reading.note(says_nothing(root.at, file.by));
    }
    let node = fields.find(reading, "routes");
    node.map_or_else(Vec::new, |node| routes::routes(reading, node))
}

fn says_nothing(at: Place, by: Place) -> Problem {
    Problem::new("E019", at, "the included file does not say which routes it has")
        .label("`routes` is missing")
        .also(by, "included here")
        .help("for none, write `routes: {}` in it, or take it out of `include`")
}

/// The files that one item of `include:` names, in the order of their names.
fn files(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<Included>> {
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
        return Some(vec![Included { path, by: node.at }]);
    }
    match matching(directory, name) {
        Err(error) => reading.note(unreadable(directory, node.at, &error)),
        Ok(found) if found.is_empty() => reading.note(
            Problem::new("E019", node.at, "no file is included by this")
                .label("nothing matches")
                .help("if there may be none, keep a file with `routes: {}` there"),
        ),
        Ok(found) => {
            return Some(found.into_iter().map(|path| Included { path, by: node.at }).collect());
        }
    }
    None
}

fn unreadable(path: &Path, at: Place, error: &std::io::Error) -> Problem {
    let shown = if path == Path::new("") { Path::new(".") } else { path };
    let message = format!("{} cannot be read", shown.display());
    Problem::new("E009", at, message).label(error.kind().to_string())
}

/// The files of a directory that a pattern matches. One entry that cannot be told is an error: it
/// may be a file with routes. A name that is not UTF-8 is compared by what can be read of it.
fn matching(directory: &Path, pattern: &str) -> std::io::Result<Vec<PathBuf>> {
    let listed = if directory == Path::new("") { Path::new(".") } else { directory };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(listed)? {
        let name = entry?.file_name();
        if glob(pattern, &name.to_string_lossy()) {
            files.push(directory.join(name));
        }
    }
    files.sort();
    Ok(files)
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
