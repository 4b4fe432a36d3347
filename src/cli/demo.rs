//! `scopegate demo`: issuer, sample API and gateway in one process, on this machine alone.

mod banner;

mod policy;

use std::io::{self, Write};
use std::net::SocketAddr;

use tokio::task::JoinSet;

use self::banner::Banner;
use self::policy::Policy;
use super::{Exit, Global};
use crate::clock::Clock;
use crate::config::{Config, Variables, is_loopback};
use crate::demo::issuer::Issuer;
use crate::demo::loopback::Loopback;
use crate::demo::timesheets::Timesheets;
use crate::demo::{API_VARIABLE, ISSUER_VARIABLE, certificate};
use crate::forward::Resolver;
use crate::server::{self, Lines, Prepared, Server, Signals, StartError};

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

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match error {
            StartError::Config(_) => Exit::Usage,
            StartError::Listen(_) | StartError::Tls(_) => Exit::CannotStart,
        };
        Self { exit, text: error.to_string().trim_end().to_owned() }
    }
}

async fn demo(global: &Global, options: &Options) -> Result<(), Failure> {
    let signals =
        Signals::catch().map_err(|error| Failure::start("listening to signals", &error))?;
    let issuer_socket = listen("issuer", options.issuer).await?;
    let api_socket = listen("api", options.api).await?;
    let issuer_url = format!("http://{}", issuer_socket.address());
    let variables = Variables::of_process()
        .with(ISSUER_VARIABLE, &issuer_url)
        .with(API_VARIABLE, &format!("http://{}", api_socket.address()));
    let policy = Policy::choose(global.config.as_deref());
    let clock = Clock::default();
    let prepared = prepare(global, options, &policy, variables, clock.clone())?;
    let issuer = Issuer::new(issuer_url.clone(), audience(prepared.config(), &issuer_url)?, clock)
        .map_err(|error| Failure::start("the issuer", &error))?;

    // Dropping the set at the end closes both servers.
    let mut servers = JoinSet::new();
    servers.spawn(issuer.clone().serve(issuer_socket));
    servers.spawn(Timesheets::new().serve(api_socket));
    let gateway = prepared.start().await?;
    if !global.quiet {
        greet(&policy, &issuer, &issuer_url, &gateway)?;
    }
    gateway.run(signals).await;
    Ok(())
}

/// The gateway of `scopegate serve`, but for its addresses and its certificate.
fn prepare(
    global: &Global,
    options: &Options,
    policy: &Policy,
    variables: Variables,
    clock: Clock,
) -> Result<Prepared, Failure> {
    let certificate = certificate::self_signed()
        .map_err(|error| Failure::start("TLS without a certificate", &error))?;
    // People watch the demo, also through a pipe.
    let lines = Lines { writer: Box::new(io::stdout()), terminal: true };
    Ok(Prepared::read(server::Options {
        config: policy.source(),
        listen: vec![options.listen.into()],
        admin: Some(options.admin.into()),
        variables,
        clock,
        resolver: Resolver::default(),
        workers: Some(WORKERS),
        access_log: Some(lines),
        certificate: Some(certificate),
        color: global.colors_stderr(),
        ..server::Options::new(std::path::PathBuf::new())
    })?)
}

/// The audience that the policy asks of the demo's tokens.
fn audience(config: &Config, issuer: &str) -> Result<String, Failure> {
    let known = config.issuers.iter().find(|known| known.url.value == issuer);
    known.and_then(|known| known.audience.first().cloned()).ok_or_else(|| Failure {
        exit: Exit::Usage,
        text: format!(
            "error: no issuer of this file is the demo's, {issuer}\n\
             help: write `issuer: ${{{ISSUER_VARIABLE}}}` and `upstream: ${{{API_VARIABLE}}}`"
        ),
    })
}

fn greet(
    policy: &Policy,
    issuer: &Issuer,
    issuer_url: &str,
    gateway: &Server,
) -> Result<(), Failure> {
    let (Some(listen), Some(admin)) = (gateway.addresses().first(), gateway.admin_address()) else {
        return Ok(());
    };
    let banner = Banner { policy, issuer, issuer_url, listen: *listen, admin };
    let text = banner.text().map_err(|error| Failure::start("the demo", &error))?;
    drop(io::stdout().write_all(text.as_bytes()));
    Ok(())
}

async fn listen(option: &str, address: SocketAddr) -> Result<Loopback, Failure> {
    Loopback::bind(address).await.map_err(|error| Failure {
        exit: Exit::CannotStart,
        text: format!(
            "error: cannot listen on {address}: {error}\nhelp: --{option} 127.0.0.1:0 takes a free port"
        ),
    })
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

/// Threads that serve; a demo leaves the others to whoever tries it.
const WORKERS: usize = 2;

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
}
