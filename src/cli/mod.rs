//! What people type. One file per command; this one has the words and the exit codes.

mod check;
mod demo;
mod explain_code;
mod health;
mod init;
mod reload;
mod revoke;
mod routes;
mod schema;
mod serve;
mod token;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything is fine.
    Fine = 0,
    /// A problem was found.
    Problem = 1,
    /// Bad usage, or a file that cannot be read.
    Usage = 2,
    /// The gateway cannot start.
    CannotStart = 3,
    /// The gateway cannot be reached.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// OAuth 2.0 for REST APIs you cannot change.
#[derive(Debug, Parser)]
#[command(name = "scopegate", version, disable_help_subcommand = true, after_help = EXITS)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
struct Global {
    /// The configuration [default: ./gateway.yaml, then /etc/scopegate/gateway.yaml]
    #[arg(short, long, global = true, env = "SCOPEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How answers are written
    #[arg(long, global = true, env = "SCOPEGATE_FORMAT", default_value = "human")]
    format: Format,
    /// When to use colours; NO_COLOR is heeded
    #[arg(long, global = true, env = "SCOPEGATE_COLOR", default_value = "auto")]
    color: Color,
    /// Say less
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Dev issuer, sample API and policy in one process
    Demo(demo::Options),
    /// Run the gateway
    Serve(serve::Options),
    /// Check the file, then swap it into the running gateway
    Reload(reload::Options),
    /// Refuse tokens before their time, through the running gateway
    Revoke(Box<revoke::Options>),
    /// Exit 0 when the running gateway is ready
    Health(health::Options),
    /// Write an 11-line gateway.yaml from an issuer URL and a backend URL
    Init(init::Options),
    /// Find mistakes and risky settings, say where and how to fix them
    Check(check::Options),
    /// Who may call what
    Routes(routes::Options),
    /// Read a token; mint one (demo issuer only)
    #[command(subcommand)]
    Token(token::Command),
    /// Print the JSON Schema of gateway.yaml
    Schema,
    /// Explain an error code, or list the keys of a section
    #[command(name = "help")]
    Explain(explain_code::Options),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    run_with(std::env::args_os().collect()).into()
}

fn run_with(words: Vec<OsString>) -> Exit {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Fine };
            // A closed pipe is the reader's choice.
            drop(error.print());
            return exit;
        }
    };
    let global = cli.global;
    match cli.command {
        Command::Demo(options) => demo::run(&global, &options),
        Command::Serve(options) => serve::run(&global, &options),
        Command::Reload(options) => reload::run(&global, &options),
        Command::Revoke(options) => revoke::run(&global, &options),
        Command::Health(options) => health::run(&global, &options),
        Command::Init(options) => init::run(&global, &options),
        Command::Check(options) => check::run(&global, &options),
        Command::Routes(options) => routes::run(&global, &options),
        Command::Token(command) => token::run(&global, &command),
        Command::Schema => schema::run(&global),
        Command::Explain(options) => explain_code::run(&global, &options),
    }
}

impl Global {
    /// The configuration's path: the one given, else the first default that exists.
    fn config_path(&self) -> Option<PathBuf> {
        let defaults = ["gateway.yaml", "/etc/scopegate/gateway.yaml"];
        self.config
            .clone()
            .or_else(|| defaults.iter().map(PathBuf::from).find(|path| path.exists()))
    }

    /// Whether standard output is to be coloured.
    fn colors_stdout(&self) -> bool {
        self.colors(std::io::stdout().is_terminal())
    }

    /// Whether standard error is to be coloured.
    fn colors_stderr(&self) -> bool {
        self.colors(std::io::stderr().is_terminal())
    }

    fn colors(&self, terminal: bool) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        }
    }
}

/// What the exit codes mean, at the foot of `--help`.
const EXITS: &str = "\
Exit codes: 0 fine, 1 a problem was found, 2 bad usage or an unusable file, 3 cannot start,
4 the gateway cannot be reached. To see it at work: scopegate demo";
