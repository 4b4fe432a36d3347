//! `scopegate check`: find mistakes and risky settings, say where and how to fix them.

mod lifetime;
mod online;
mod scopes;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Exit, Format, Global};
use crate::clock::Clock;
use crate::config::hidden::prose;
use crate::config::{Loaded, Variables, load, load_text};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Ask the issuers, too: fetch their metadata and keys, and look for the routes' scopes there
    #[arg(long)]
    online: bool,
    /// With --online: a file with a sample token, whose lifetime is looked at; - is standard input
    #[arg(long, value_name = "FILE", requires = "online")]
    token: Option<PathBuf>,
}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    let start = Instant::now();
    let (name, mut loaded) = match configuration(global) {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    if options.online
        && let Err(exit) = go_online(&name, &mut loaded, options.token.as_deref())
    {
        return exit;
    }
    answer(&report(global, &name, &loaded, start.elapsed()));
    if loaded.problems.has_errors() { Exit::Problem } else { Exit::Fine }
}

/// Adds what the issuers and a sample token tell. A file with mistakes of its own asks nobody.
fn go_online(name: &str, loaded: &mut Loaded, token: Option<&Path>) -> Result<(), Exit> {
    if name == "-" && token == Some(Path::new("-")) {
        complain("the configuration and the token cannot both be standard input", "name a file");
        return Err(Exit::Usage);
    }
    let Some(config) = &loaded.config else { return Ok(()) };
    let now = Clock::default().now().unix.as_secs().into();
    let lifetime = token.map(|file| lifetime::problem(config, file, now)).transpose();
    let lifetime = lifetime.map_err(|why| {
        complain(&why, "`--token FILE` is a token that a configured issuer made");
        Exit::Usage
    })?;
    let mut found = online::problems(config).map_err(|error| {
        complain(&error.to_string(), "the issuers cannot be asked");
        Exit::CannotStart
    })?;
    found.extend(lifetime.flatten());
    loaded.add(found);
    Ok(())
}

fn report(global: &Global, name: &str, loaded: &Loaded, took: Duration) -> String {
    if global.format == Format::Json {
        return format!("{:#}\n", loaded.problems.to_json(&loaded.sources));
    }
    let mut text = loaded.problems.render(&loaded.sources, global.colors_stdout());
    if !global.quiet || !text.is_empty() {
        text.push_str(&summary(name, loaded, took));
        text.push('\n');
    }
    text
}

/// `gateway.yaml: 1 error in 9 routes (4 ms)`
fn summary(name: &str, loaded: &Loaded, took: Duration) -> String {
    let routes = count(loaded.routes, "route");
    let problems = match loaded.problems.count() {
        (0, 0) => return format!("{name}: ok, {routes} ({} ms)", took.as_millis()),
        (0, warnings) => count(warnings, "warning"),
        (errors, 0) => count(errors, "error"),
        (errors, warnings) => {
            format!("{}, {}", count(errors, "error"), count(warnings, "warning"))
        }
    };
    format!("{name}: {problems} in {routes} ({} ms)", took.as_millis())
}

fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// Reads the configuration that the options name; `-` is standard input. Says on standard error
/// why it cannot.
pub(super) fn configuration(global: &Global) -> Result<(String, Loaded), Exit> {
    let Some(path) = global.config_path() else {
        complain(
            "there is neither ./gateway.yaml nor /etc/scopegate/gateway.yaml",
            "`scopegate init` writes one; `scopegate -c FILE` names another",
        );
        return Err(Exit::Usage);
    };
    let name = path.display().to_string();
    let loaded = if path == Path::new("-") { standard_input() } else { from_file(&path) };
    match loaded {
        Ok(loaded) => Ok((name, loaded)),
        Err(error) => {
            complain(&format!("cannot read {name}: {error}"), "`-c FILE` names another");
            Err(Exit::Usage)
        }
    }
}

fn from_file(path: &Path) -> std::io::Result<Loaded> {
    load(path, &Variables::of_process())
}

fn standard_input() -> std::io::Result<Loaded> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(load_text("-", &text, &Variables::of_process()))
}

/// Writes the answer to standard output. A closed pipe is the reader's choice.
pub(super) fn answer(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes an error and the way out to standard error.
pub(super) fn complain(error: &str, help: &str) {
    let text = prose(&format!("error: {error}\nhelp: {help}\n"));
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

const EXAMPLES: &str = "\
Examples:
  scopegate check
  scopegate check --online                        # the issuers, as serve would ask them
  scopegate check --online --token sample.jwt     # whether its issuer's tokens live long";

#[cfg(test)]
mod tests {
    use super::*;

    fn summarised(text: &str) -> String {
        let loaded = load_text("gateway.yaml", text, &Variables::default());
        summary("gateway.yaml", &loaded, Duration::from_millis(4))
    }

    #[test]
    fn the_last_line_counts() {
        let good = "upstream: http://127.0.0.1:3000\nroutes:\n  /a: { public: true }\n";
        assert_eq!(summarised(good), "gateway.yaml: ok, 1 route (4 ms)");
        let bad = good.replace("true }", "true }\n  /b:\n  /c: { POST: { public: true } }");
        assert_eq!(summarised(&bad), "gateway.yaml: 1 error, 1 warning in 3 routes (4 ms)");
        let risky = good.replace("upstream", "admin: 0.0.0.0:1\nupstream");
        assert_eq!(summarised(&risky), "gateway.yaml: 1 warning in 1 route (4 ms)");
    }
}
