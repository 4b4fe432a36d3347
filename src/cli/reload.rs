//! `scopegate reload`: checks the file, then has the running gateway read it.

use std::io::Write;

use http::{Method, StatusCode};

use super::{Exit, Format, Global};
use crate::admin::client::{Unreachable, ask};
use crate::admin::{Refused, Reloaded};
use crate::config::{self, Listen, Variables};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where the gateway's administration is [default: what the file says]
    #[arg(long, env = "SCOPEGATE_ADMIN", value_name = "ADDRESS")]
    admin: Option<Listen>,
}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    let address = match address(global, options.admin.as_ref()) {
        Ok(address) => address,
        Err(exit) => return exit,
    };
    match block_on(ask(&address, Method::POST, "/reload")) {
        Ok(Ok((status, body))) => report(global, status, &body),
        Ok(Err(unreachable)) => no_gateway(&unreachable),
        Err(error) => fail(&format!("error: cannot start: {error}"), Exit::CannotStart),
    }
}

/// Runs one exchange with the administration.
pub(super) fn block_on(
    exchange: impl Future<Output = Result<(StatusCode, String), Unreachable>>,
) -> std::io::Result<Result<(StatusCode, String), Unreachable>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(exchange))
}

/// Nobody answers, and what to do about it.
pub(super) fn no_gateway(unreachable: &Unreachable) -> Exit {
    let help = "`scopegate serve` runs one, --admin names where its administration is";
    fail(&format!("error: {unreachable}\nhelp: {help}"), Exit::Unreachable)
}

/// Says on standard error why it ends so.
pub(super) fn fail(line: &str, exit: Exit) -> Exit {
    drop(writeln!(std::io::stderr(), "{line}"));
    exit
}

/// The address given, else the file's. A file with mistakes is not sent: they are shown here.
fn address(global: &Global, given: Option<&Listen>) -> Result<Listen, Exit> {
    if let Some(address) = given {
        return Ok(address.clone());
    }
    let Some(path) = global.config_path() else {
        return Err(fail(NO_FILE, Exit::Usage));
    };
    let loaded = config::load(&path, &Variables::of_process())
        .map_err(|error| fail(&format!("error: {}: {error}", path.display()), Exit::Usage))?;
    let rejected = || {
        let problems = loaded.problems.render(&loaded.sources, global.colors_stderr());
        fail(problems.trim_end(), Exit::Problem);
        fail("rejected: the running gateway was not asked", Exit::Problem)
    };
    if loaded.problems.has_errors() {
        return Err(rejected());
    }
    loaded.config.as_ref().map(|config| config.admin.value.clone()).ok_or_else(rejected)
}

fn report(global: &Global, status: StatusCode, body: &str) -> Exit {
    if global.format == Format::Json {
        drop(writeln!(std::io::stdout(), "{body}"));
        return if status.is_success() { Exit::Fine } else { Exit::Problem };
    }
    if let (StatusCode::OK, Ok(reloaded)) = (status, serde_json::from_str(body)) {
        return accepted(&reloaded);
    }
    match serde_json::from_str(body) {
        Ok(refused) => rejected(&refused),
        Err(_) => fail(&format!("error: the gateway answered {status}"), Exit::Unreachable),
    }
}

fn accepted(reloaded: &Reloaded) -> Exit {
    for note in &reloaded.notes {
        fail(&format!("warn: {}", note.trim_end()), Exit::Fine);
    }
    drop(writeln!(std::io::stdout(), "{}", accepted_line(reloaded)));
    Exit::Fine
}

fn rejected(refused: &Refused) -> Exit {
    fail(refused.problems.trim_end(), Exit::Problem);
    drop(writeln!(std::io::stdout(), "{}", rejected_line(refused)));
    Exit::Problem
}

fn accepted_line(reloaded: &Reloaded) -> String {
    let Reloaded { took_ms, added, removed, changed, .. } = reloaded;
    let plural = if *added == 1 { "" } else { "s" };
    format!(
        "reloaded in {took_ms} ms: {added} route{plural} added, {removed} removed, {changed} changed"
    )
}

fn rejected_line(refused: &Refused) -> String {
    let (hour, minute) = (refused.running_since / 3600 % 24, refused.running_since / 60 % 60);
    let summary = &refused.summary;
    format!("rejected: {summary}; still running the config of {hour:02}:{minute:02} UTC")
}

const NO_FILE: &str = "\
error: there is no gateway.yaml here, nor /etc/scopegate/gateway.yaml
help: --config names the file, or --admin the address of the running gateway's administration";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_changed_or_what_still_runs() {
        let reloaded = Reloaded { took_ms: 3, added: 1, removed: 0, changed: 1, notes: Vec::new() };
        let expected = "reloaded in 3 ms: 1 route added, 0 removed, 1 changed";
        assert_eq!(accepted_line(&reloaded), expected);
        let refused = Refused {
            summary: "E012 a list of scopes must say whether all or any are needed".into(),
            problems: String::new(),
            running_since: 1_700_000_000 + 24 * 60,
        };
        let line = rejected_line(&refused);
        assert!(line.starts_with("rejected: E012 a list"), "{line}");
        assert!(line.ends_with("; still running the config of 22:37 UTC"), "{line}");
    }
}
