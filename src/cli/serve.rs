//! `scopegate serve`: runs the gateway until it is told to stop.

mod announce;
mod logs;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::{Exit, Global};
use crate::config::{Listen, Variables};
use crate::listen::{Inherited, ListenError};
use crate::overload::{Descriptors, raise_limit};
use crate::server::{
    Drained, Lines, Notifier, Options as ServerOptions, Prepared, Signals, StartError,
};
use announce::Announcer;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where clients connect, in place of the file's `listen`; may be given more than once
    #[arg(long, env = "SCOPEGATE_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    listen: Vec<Listen>,
    /// Where metrics, health and reload are, in place of the file's `admin`
    #[arg(long, env = "SCOPEGATE_ADMIN", value_name = "ADDRESS")]
    admin: Option<Listen>,
    /// How many threads serve [default: one for each core]
    #[arg(long, env = "SCOPEGATE_WORKERS", value_name = "N",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    workers: Option<usize>,
    /// Listens beside a running gateway of the same user, on the same addresses; stop that one with
    /// SIGTERM once this one is ready, and no connection is refused
    #[arg(long, env = "SCOPEGATE_TAKEOVER")]
    takeover: bool,
}

/// What this process was given by whoever started it.
struct Given {
    inherited: Inherited,
    notifier: Notifier,
    descriptors: Descriptors,
}

impl Given {
    /// Takes it. There must be no other thread yet.
    fn take() -> Self {
        Self {
            inherited: Inherited::from_env(),
            notifier: Notifier::from_env(),
            descriptors: raise_limit(),
        }
    }
}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    let began = Instant::now();
    let given = Given::take();
    let Some(path) = global.config_path() else {
        say(NO_FILE);
        return Exit::Usage;
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: cannot start: {error}"));
            return Exit::CannotStart;
        }
    };
    match runtime.block_on(serve(global, options, given, &path, began)) {
        Ok(exit) => exit,
        Err(error) => {
            say(error.to_string().trim_end());
            if error.exit_code() == Exit::Usage as u8 { Exit::Usage } else { Exit::CannotStart }
        }
    }
}

async fn serve(
    global: &Global,
    options: &Options,
    given: Given,
    path: &Path,
    began: Instant,
) -> Result<Exit, StartError> {
    // Before anything that takes time: a signal that comes first would end the process.
    let signals = Signals::catch().map_err(ListenError::Worker)?;
    let prepared = Prepared::read(server_options(global, options, given, path))?;
    let log = Arc::new(logs::start(global, prepared.config().logs.format));
    let announcer = Announcer::new(&prepared, Arc::clone(&log), global.quiet);
    announcer.greet(path, prepared.warnings());
    let ended = announce_and_run(prepared, announcer, signals, began).await;
    log.end();
    ended
}

async fn announce_and_run(
    prepared: Prepared,
    announcer: Announcer,
    signals: Signals,
    began: Instant,
) -> Result<Exit, StartError> {
    let server = prepared.start().await?;
    // Serving goes on meanwhile: whoever is slow to answer is only said to be.
    let announcing = tokio::spawn(announcer.report(
        server.places().to_vec(),
        server.is_secure(),
        server.admin_places().to_vec(),
        began.elapsed(),
    ));
    let ended = server.run(signals).await;
    announcing.abort();
    Ok(farewell(ended))
}

fn farewell(ended: Drained) -> Exit {
    match ended {
        Drained { cut: 0 } => tracing::info!("stopped"),
        Drained { cut } => tracing::warn!(cut, "stopped before all requests had finished"),
    }
    Exit::Fine
}

fn server_options(global: &Global, options: &Options, given: Given, path: &Path) -> ServerOptions {
    let stdout = std::io::stdout();
    let terminal = stdout.is_terminal();
    ServerOptions {
        listen: options.listen.clone(),
        admin: options.admin.clone(),
        variables: Variables::of_process(),
        workers: options.workers,
        access_log: Some(Lines { writer: Box::new(stdout), terminal }),
        color: global.colors_stderr(),
        inherited: Arc::new(given.inherited),
        takeover: options.takeover,
        notifier: given.notifier,
        descriptors: given.descriptors,
        ..ServerOptions::new(path.to_owned())
    }
}

/// Writes a line for people. If nobody reads it, that is no reason to stop.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

const NO_FILE: &str = "\
error: there is no gateway.yaml here, nor /etc/scopegate/gateway.yaml
help: `scopegate init` writes one, `scopegate demo` shows a gateway at work, --config names a file";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn addresses_come_as_a_list_or_one_by_one() {
        let words = ["serve", "--listen", "127.0.0.1:1,[::1]:2", "--listen", "0.0.0.0:3"];
        let options = Words::try_parse_from(words).ok().unwrap().options;
        assert_eq!(options.listen.len(), 3);
        let words = ["serve", "--listen", "unix:/run/gw.sock,systemd:web"];
        let options = Words::try_parse_from(words).ok().unwrap().options;
        assert_eq!(options.listen[1], Listen::Systemd("web".into()));
        assert!(Words::try_parse_from(["serve", "--listen", "8080"]).is_err());
        assert!(Words::try_parse_from(["serve", "--workers", "0"]).is_err());
    }
}
