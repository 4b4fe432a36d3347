//! `scopegate demo`: issuer, sample API and gateway in one process, on this machine alone.

mod banner;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::task::JoinSet;

use self::banner::Banner;
use super::{Exit, Global};
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Variables, is_loopback};
use crate::demo::certificate::self_signed;
use crate::demo::issuer::Issuer;
use crate::demo::loopback::Loopback;
use crate::demo::timesheets::Timesheets;
use crate::demo::{API_VARIABLE, ISSUER_VARIABLE, POLICY};
use crate::server::{ConfigSource, Lines, Options as ServerOptions, Server};

/// The keys are made at start and gone at the end. Nothing can be bound off loopback.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where the gateway listens; port 0 takes a free one
    #[arg(long, env = "SCOPEGATE_LISTEN", value_name = "ADDRESS", value_parser = loopback)]
    #[arg(default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Where the gateway's metrics and health are
    #[arg(long, env = "SCOPEGATE_ADMIN", value_name = "ADDRESS", value_parser = loopback)]
    #[arg(default_value = "127.0.0.1:8081")]
    admin: SocketAddr,
    /// Where the development issuer listens
    #[arg(long, env = "SCOPEGATE_ISSUER", value_name = "ADDRESS", value_parser = loopback)]
    #[arg(default_value = "127.0.0.1:8082")]
    issuer: SocketAddr,
    /// Where the sample API listens
    #[arg(long, env = "SCOPEGATE_API", value_name = "ADDRESS", value_parser = loopback)]
    #[arg(default_value = "127.0.0.1:8083")]
    api: SocketAddr,
}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(demo(global, options)),
        Err(error) => Err(Failure::start("a runtime", &error)),
    };
    match result {
        Ok(()) => Exit::Fine,
        Err(failure) => {
            drop(writeln!(io::stderr(), "{}", failure.text));
            failure.exit
        }
    }
}

/// Why there is no demo.
struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    fn start(what: &str, error: &io::Error) -> Self {
        Self { exit: Exit::CannotStart, text: format!("error: cannot start {what}: {error}") }
    }
}

async fn demo(global: &Global, options: &Options) -> Result<(), Failure> {
    let issuer_socket = listen("issuer", options.issuer).await?;
    let api_socket = listen("api", options.api).await?;
    let issuer_url = format!("http://{}", issuer_socket.address());
    let variables = Variables::of_process()
        .with(ISSUER_VARIABLE, &issuer_url)
        .with(API_VARIABLE, &format!("http://{}", api_socket.address()));
    let policy = Policy::choose(global.config.as_deref());
    let config = policy.read(&variables, global.colors_stderr())?;
    let clock = Clock::default();
    let issuer = Issuer::new(issuer_url.clone(), audience(&config, &issuer_url)?, clock.clone())
        .map_err(|error| Failure::start("the issuer", &error))?;

    // Dropping the set at the end closes both servers.
    let mut servers = JoinSet::new();
    servers.spawn(issuer.clone().serve(issuer_socket));
    servers.spawn(Timesheets::new().serve(api_socket));
    let gateway = gateway(&policy, variables, options, clock).await?;
    if !global.quiet {
        let banner = Banner {
            policy: &policy,
            issuer: &issuer,
            issuer_url: &issuer_url,
            listen: gateway.addresses()[0],
            admin: gateway.admin_address(),
        };
        let text = banner.text().map_err(|error| Failure::start("the demo", &error))?;
        drop(io::stdout().write_all(text.as_bytes()));
    }
    let ended = gateway.run().await;
    ended.map(drop).map_err(|error| Failure::start("to catch signals", &error))
}

/// The policy of the demo.
enum Policy {
    /// The one in the binary.
    BuiltIn,
    /// `./gateway.yaml`, which is written for the demo: it names the variable of its issuer.
    Here,
    /// The one given by `-c`.
    Own(PathBuf),
}

impl Policy {
    fn choose(given: Option<&Path>) -> Self {
        if let Some(path) = given {
            return Self::Own(path.to_owned());
        }
        match std::fs::read_to_string(HERE) {
            Ok(text) if text.contains(ISSUER_VARIABLE) => Self::Here,
            Ok(_) | Err(_) => Self::BuiltIn,
        }
    }

    /// Its file; `None` for the one in the binary.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::BuiltIn => None,
            Self::Here => Some(Path::new(HERE)),
            Self::Own(path) => Some(path),
        }
    }

    fn name(&self) -> String {
        self.path().map_or_else(|| BUILT_IN.to_owned(), |path| path.display().to_string())
    }

    fn read(&self, variables: &Variables, color: bool) -> Result<Config, Failure> {
        let loaded = match self.path() {
            None => Ok(config::load_text(BUILT_IN, POLICY, variables)),
            Some(path) => config::load(path, variables),
        };
        let Loaded { config, sources, problems, .. } = loaded.map_err(|error| Failure {
            exit: Exit::Usage,
            text: format!("error: cannot read {}: {error}", self.name()),
        })?;
        config.ok_or_else(|| Failure { exit: Exit::Usage, text: problems.render(&sources, color) })
    }
}

/// The audience that the policy asks of the demo's tokens.
fn audience(config: &Config, issuer: &str) -> Result<String, Failure> {
    let known = config.issuers.iter().find(|known| known.url.value == issuer);
    known.and_then(|known| known.audience.first().cloned()).ok_or_else(|| Failure {
        exit: Exit::CannotStart,
        text: format!(
            "error: no issuer of this file is the demo's, {issuer}\n\
             help: write `issuer: ${{{ISSUER_VARIABLE}}}` and `upstream: ${{{API_VARIABLE}}}`"
        ),
    })
}

async fn listen(option: &str, address: SocketAddr) -> Result<Loopback, Failure> {
    Loopback::bind(address).await.map_err(|error| Failure {
        exit: Exit::CannotStart,
        text: format!(
            "error: cannot listen on {address}: {error}\nhelp: --{option} 127.0.0.1:0 takes a free port"
        ),
    })
}

/// Starts the gateway in this process; each request becomes a line on standard output.
async fn gateway(
    policy: &Policy,
    variables: Variables,
    options: &Options,
    clock: Clock,
) -> Result<Server, Failure> {
    let config = match policy.path() {
        None => ConfigSource::Text { name: BUILT_IN, text: POLICY },
        Some(path) => ConfigSource::File(path.to_owned()),
    };
    let certificate =
        self_signed().map_err(|error| Failure::start("with a certificate", &error))?;
    let lines = Lines { writer: Box::new(io::stdout()), terminal: true };
    let server = Server::start(ServerOptions {
        config,
        listen: vec![options.listen],
        admin: Some(options.admin),
        variables,
        clock,
        access_log: Some(lines),
        certificate: Some(certificate),
        ..ServerOptions::new(PathBuf::new())
    });
    server.await.map_err(|error| Failure { exit: Exit::CannotStart, text: error.to_string() })
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "write an address and a port, such as 127.0.0.1:8443".to_owned())?;
    if is_loopback(address.ip()) {
        return Ok(address);
    }
    Err("the demo stays on this machine: use 127.0.0.1 or [::1]".to_owned())
}

const HERE: &str = "gateway.yaml";
const BUILT_IN: &str = "gateway.yaml (built in)";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Words {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn every_address_stays_on_this_machine() {
        for option in ["--listen", "--admin", "--issuer", "--api"] {
            for bad in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8443", "localhost:1", "8443"] {
                assert!(Words::try_parse_from(["demo", option, bad]).is_err(), "{option} {bad}");
            }
            assert!(Words::try_parse_from(["demo", option, "[::1]:0"]).is_ok());
        }
    }

    #[test]
    fn a_file_that_is_given_is_the_policy() {
        let policy = Policy::choose(Some(Path::new("other.yaml")));
        assert_eq!(policy.name(), "other.yaml");
        assert!(POLICY.contains(ISSUER_VARIABLE) && POLICY.contains(API_VARIABLE));
    }
}
