//! `scopegate revoke`: refuses tokens before their time, through the running gateway.

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::reload::{block_on, fail, no_gateway};
use super::{Exit, Format, Global};
use crate::admin::client;
use crate::clock::Clock;
use crate::config::{self, Config, Listen, Secret, Variables};
use crate::record::written_time;
use crate::revoke::{Moment, Order};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    #[command(flatten)]
    what: What,
    /// The issuer's name or URL [default: the only one]
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// Only tokens issued before this time [default for --subject: now, plus the issuer's
    /// leeway; else all]
    #[arg(long, value_name = "TIME")]
    issued_before: Option<String>,
    /// When the revocation ends, such as 2026-12-01T00:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "lasts")]
    until: Option<String>,
    /// How long the revocation lasts, such as 12h [default: `revocation.keep`]
    #[arg(long = "for", id = "lasts", value_name = "DURATION")]
    lasts: Option<String>,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who you are, for the log [default: your user name]
    #[arg(long, env = "USER", value_name = "NAME")]
    by: Option<String>,
    /// Where the gateway's administration is [default: what the file says]
    #[arg(long, env = "SCOPEGATE_ADMIN", value_name = "ADDRESS")]
    admin: Option<Listen>,
    /// The secret of `revocation.secret` [default: what the file says]
    #[arg(long, env = "SCOPEGATE_ADMIN_SECRET", hide_env_values = true, value_name = "SECRET")]
    secret: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One token; `-` reads it from standard input. Only its hash is sent
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// The token with this `jti`
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// All tokens of a person, or of a machine with a subject of its own
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// All tokens of a client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// All tokens of a session, by `sid`
    #[arg(long, value_name = "SID")]
    session: Option<String>,
    /// Shows what is revoked
    #[arg(long)]
    list: bool,
    /// Takes a revocation back, by the id that `--list` shows
    #[arg(long, value_name = "ID")]
    undo: Option<String>,
}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    match ask(global, options) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn ask(global: &Global, options: &Options) -> Result<Exit, Exit> {
    let config = config(global, options)?;
    let address =
        options.admin.clone().or_else(|| config.as_ref().map(|config| config.admin.value.clone()));
    let address = address.ok_or_else(|| fail(NO_FILE, Exit::Usage))?;
    let of_file = || config.as_ref()?.revocation.as_ref()?.secret.clone();
    let secret = options.secret.clone().map(Secret::from).or_else(of_file);
    let (method, path, body) = request(options, config.as_ref())?;
    let exchange = client::send(&address, method, &path, secret.as_ref(), body);
    match block_on(exchange) {
        Ok(Ok((status, body))) => Ok(report(global, options, status, &body)),
        Ok(Err(unreachable)) => Err(no_gateway(&unreachable)),
        Err(error) => Err(fail(&format!("error: cannot start: {error}"), Exit::CannotStart)),
    }
}

/// The configuration, for the address and the secret; with both given, it need not be there.
fn config(global: &Global, options: &Options) -> Result<Option<Config>, Exit> {
    let Some(path) = global.config_path() else { return Ok(None) };
    let loaded = config::load(&path, &Variables::of_process());
    match loaded {
        Ok(loaded) if loaded.config.is_some() => Ok(loaded.config),
        Ok(_) | Err(_) if options.admin.is_some() => Ok(None),
        Ok(_) => {
            let line = format!("error: {} has mistakes: see `scopegate check`", path.display());
            Err(fail(&line, Exit::Problem))
        }
        Err(error) => Err(fail(&format!("error: {}: {error}", path.display()), Exit::Usage)),
    }
}

fn request(options: &Options, config: Option<&Config>) -> Result<(Method, String, Bytes), Exit> {
    if options.what.list {
        return Ok((Method::GET, "/revocations".to_owned(), Bytes::new()));
    }
    if let Some(id) = &options.what.undo {
        let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let path = format!("/revocations/{id}");
        let problem = || fail("error: that is no id; `--list` shows them", Exit::Usage);
        return is_id.then_some((Method::DELETE, path, Bytes::new())).ok_or_else(problem);
    }
    // Numbers and text always serialise.
    let body = serde_json::to_vec(&order(options, config)?).unwrap_or_default();
    Ok((Method::POST, "/revocations".to_owned(), body.into()))
}

fn order(options: &Options, config: Option<&Config>) -> Result<Order, Exit> {
    let what = &options.what;
    let base = match &what.token {
        Some(token) => {
            let keep = config.and_then(|config| config.revocation.as_ref()).map(|found| found.keep);
            let token = token_text(token)?;
            Order::for_token(&token, Clock::default().now().unix, keep.unwrap_or(A_DAY))
        }
        None => Order::default(),
    };
    let until = moment(options.until.as_deref())?;
    // What is asked for counts; what the token says fills a gap.
    let until = until.or(base.until.filter(|_| options.lasts.is_none()));
    Ok(Order {
        issuer: options.issuer.clone(),
        jti: what.jti.clone(),
        subject: what.subject.clone(),
        client: what.client.clone(),
        session: what.session.clone(),
        issued_before: moment(options.issued_before.as_deref())?,
        until,
        lasts: options.lasts.clone(),
        by: options.by.clone().filter(|by| !by.is_empty()),
        why: options.why.clone(),
        ..base
    })
}

fn moment(text: Option<&str>) -> Result<Option<Moment>, Exit> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|expected: &str| fail(&format!("error: expected {expected}"), Exit::Usage))
}

fn token_text(given: &str) -> Result<String, Exit> {
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        let read = std::io::stdin().take(MOST_INPUT).read_to_string(&mut text);
        read.map_err(|error| fail(&format!("error: standard input: {error}"), Exit::Usage))?;
    }
    let token = text.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if token.is_empty() || !token.chars().all(is_plain) {
        return Err(fail("error: that is no token", Exit::Usage));
    }
    Ok(token.to_owned())
}

fn report(global: &Global, options: &Options, status: StatusCode, body: &str) -> Exit {
    let exit = if status.is_success() { Exit::Fine } else { Exit::Problem };
    if global.format == Format::Json {
        drop(writeln!(std::io::stdout(), "{body}"));
        return exit;
    }
    let Ok(answer) = serde_json::from_str::<Value>(body) else {
        return fail(&format!("error: the gateway answered {status}"), Exit::Unreachable);
    };
    if !status.is_success() {
        let title = answer["title"].as_str().unwrap_or("it was refused");
        return fail(&format!("error: {title}"), exit);
    }
    let lines = match () {
        () if options.what.list => listing(&answer),
        () if options.what.undo.is_some() => format!("withdrawn: {}\n", described(&answer)),
        () => format!("revoked: {}\n", described(&answer)),
    };
    drop(write!(std::io::stdout(), "{lines}"));
    if answer["durable"] == Value::Bool(false) {
        fail("warn: a restart forgets it: `revocation.store` is not in use", exit);
    }
    exit
}

fn listing(answer: &Value) -> String {
    let entries = answer["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: String = entries.iter().map(|entry| described(entry) + "\n").collect();
    let total = answer["total"].as_u64().unwrap_or_default();
    lines.push_str(&format!("{total} in all\n"));
    lines
}

/// `jti-5f2b…  issuer https://…  until 2026-…  by root: because`.
fn described(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let time = |name: &str| entry[name].as_u64().map(|at| written_time(Duration::from_secs(at)));
    let mut line = text("id");
    let before = time("issued_before").map(|time| format!("before {time}"));
    let issued = before.or_else(|| refuses_many(&line).then(|| "whenever".to_owned()));
    for (word, part) in [
        ("issuer", entry["issuer"].as_str().map(str::to_owned)),
        ("issued", issued),
        ("until", time("until")),
        ("by", Some(text("by"))),
        ("why:", entry["why"].as_str().map(str::to_owned)),
    ] {
        if let Some(part) = part {
            line.push_str(&format!("  {word} {part}"));
        }
    }
    line
}

/// Whether an entry with this id refuses more than one token.
fn refuses_many(id: &str) -> bool {
    ["subject-", "client-", "session-"].iter().any(|kind| id.starts_with(kind))
}

const NO_FILE: &str = "\
error: there is no gateway.yaml here, nor /etc/scopegate/gateway.yaml
help: --config names the file, or --admin the address of the running gateway's administration";

const EXAMPLES: &str = "\
Examples:
  scopegate revoke --subject alice --why 'laptop stolen'    all that alice has now
  scopegate revoke --client nightly-uploader --for 7d       a client, whenever its tokens were issued
  scopegate revoke --token - < leaked.txt                   one token
  scopegate revoke --list";

const A_DAY: Duration = Duration::from_secs(86_400);

const MOST_INPUT: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::described;

    #[test]
    fn an_entry_says_on_which_day_it_ends() {
        let entry =
            json!({ "id": "jti-5f2b", "until": 1_795_430_523, "by": "root", "why": "lost" });
        let line = "jti-5f2b  until 2026-11-23T10:42:03.000Z  by root  why: lost";
        assert_eq!(described(&entry), line);
        let entry = json!({ "id": "client-5f2b", "until": 1_795_430_523, "by": "root" });
        let line = "client-5f2b  issued whenever  until 2026-11-23T10:42:03.000Z  by root";
        assert_eq!(described(&entry), line);
        let entry = json!({ "id": "subject-5f2b", "issued_before": 1_795_430_523, "by": "root" });
        let line = "subject-5f2b  issued before 2026-11-23T10:42:03.000Z  by root";
        assert_eq!(described(&entry), line);
    }
}
