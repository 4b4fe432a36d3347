//! `scopegate health`: exit code 0 when the running gateway is ready, for container health checks.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use http::{Method, StatusCode};

use super::reload::{block_on, fail, no_gateway};
use super::{Exit, Global};
use crate::admin::client::ask;
use crate::config::{self, Listen, Variables};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where the gateway's administration is [default: what the file says]
    #[arg(long, env = "SCOPEGATE_ADMIN", value_name = "ADDRESS")]
    admin: Option<Listen>,
}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    let address = options.admin.clone().or_else(|| configured(global)).unwrap_or(DEFAULT);
    let path = if global.verbose > 0 { "/readyz?verbose" } else { "/readyz" };
    match block_on(ask(&address, Method::GET, path)) {
        Ok(Ok((status, body))) => report(global, status, &body),
        Ok(Err(unreachable)) => no_gateway(&unreachable),
        Err(error) => fail(&format!("error: cannot start: {error}"), Exit::CannotStart),
    }
}

/// The file may have been broken since the gateway read it: that is no reason to call the gateway
/// unhealthy.
fn configured(global: &Global) -> Option<Listen> {
    let loaded = config::load(&global.config_path()?, &Variables::of_process()).ok()?;
    loaded.config.map(|config| config.admin.value)
}

fn report(global: &Global, status: StatusCode, body: &str) -> Exit {
    if !global.quiet {
        drop(write!(std::io::stdout(), "{body}"));
    }
    if status.is_success() { Exit::Fine } else { Exit::Problem }
}

/// The configuration's default.
const DEFAULT: Listen =
    Listen::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081));
