//! The sections about the process itself: `listen`, `tls`, `admin`, `logs`, `errors`, `drain`,
//! `limits`.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::language::{DRAIN, ERRORS, LIMITS, LOGS, TLS};
use super::listen::parse_listen;
use super::reading::{Fault, Fields, Reading};
use super::value::{
    at_least_one, count, duration, nowhere, parse_size, parsed, size, switch, text, wait, word,
};
use super::yaml::{Node, Value};
use super::{
    Drain, ErrorDetail, Errors, Limits, Listen, Located, LogFormat, LogIdentity, Logs, MemoryLimit,
    Mode, Problem, Tls, TlsPair, network,
};

/// `listen:`, one address or a list.
pub(super) fn listen(reading: &mut Reading<'_>, file: &Fields<'_>) -> Vec<Located<Listen>> {
    let Some(node) = file.find(reading, "listen") else {
        let address = SocketAddr::from(([127, 0, 0, 1], 8443));
        return vec![Located { value: Listen::Tcp(address), at: nowhere() }];
    };
    at_least_one(reading, node, |reading, node| {
        let value = parsed(reading, node, "an address such as `0.0.0.0:8443`", parse_listen)?;
        Some(Located { value, at: node.at })
    })
    .unwrap_or_default()
}

/// `tls:`, which may be absent on loopback only.
pub(super) fn tls(
    reading: &mut Reading<'_>,
    file: &Fields<'_>,
    listen: &[Located<Listen>],
) -> Option<Located<Tls>> {
    if file.key_at("tls").is_none() {
        let exposed = listen.iter().find(|listen| listen.value.is_exposed());
        if let Some(listen) = exposed {
            reading.note(
                Problem::new("E024", listen.at, "tokens would cross the network in plaintext")
                    .label("this is not loopback, and there is no `tls`")
                    .help(
                        "write `tls: { cert: FILE, key: FILE }`, or `tls: off` if something in \
                         front of the gateway ends TLS",
                    ),
            );
        }
    }
    let node = file.find(reading, "tls")?;
    let value = match &node.value {
        Value::Text(text) if text == "off" => Tls::Off,
        Value::List(_) | Value::Map(_) => Tls::Pairs(at_least_one(reading, node, tls_pair)?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Unset => {
            reading.expected(node, "`off`, or a mapping with `cert` and `key`");
            return None;
        }
    };
    Some(Located { value, at: node.at })
}

fn tls_pair(reading: &mut Reading<'_>, node: &Node) -> Option<TlsPair> {
    let fields = Fields::open(reading, node, &TLS, " in `tls`")?;
    pair(reading, node, &fields)
}

/// `cert` and `key` of a mapping that needs both.
pub(super) fn pair(reading: &mut Reading<'_>, node: &Node, fields: &Fields<'_>) -> Option<TlsPair> {
    let cert = fields.read(reading, "cert", path);
    let key = fields.read(reading, "key", path);
    for name in ["cert", "key"] {
        if fields.key_at(name).is_none() {
            reading.note(
                Problem::new("E007", node.at, format!("`tls` has no `{name}`"))
                    .label("both `cert` and `key` are needed"),
            );
        }
    }
    Some(TlsPair { cert: cert?, key: key? })
}

/// A path; a relative one is relative to the configuration file.
pub(super) fn path(reading: &mut Reading<'_>, node: &Node) -> Option<Located<PathBuf>> {
    let written = text(reading, node)?;
    Some(Located { value: reading.base.join(written), at: node.at })
}

/// `admin:`
pub(super) fn admin(reading: &mut Reading<'_>, file: &Fields<'_>) -> Located<Listen> {
    let default = SocketAddr::from(([127, 0, 0, 1], 8081));
    let default = Located { value: Listen::Tcp(default), at: nowhere() };
    let Some(node) = file.find(reading, "admin") else { return default };
    let Some(value) = parsed(reading, node, "an address and a port", parse_listen) else {
        return default;
    };
    if value.is_exposed() {
        reading.note(
            Problem::new("A220", node.at, "the admin port can be reached from other machines")
                .label("not loopback")
                .help("it has no authentication: keep it on a network of your own"),
        );
    }
    Located { value, at: node.at }
}

/// A network, or one address.
pub(super) fn network(reading: &mut Reading<'_>, node: &Node) -> Option<IpNet> {
    parsed(reading, node, "a network such as `10.0.0.0/8`", network::parse_network)
}

/// `mode:`
pub(super) fn mode(reading: &mut Reading<'_>, node: &Node) -> Option<Mode> {
    word(reading, node, &[("enforce", Mode::Enforce), ("report", Mode::Report)])
}

/// `logs:`
pub(super) fn logs(reading: &mut Reading<'_>, node: &Node) -> Option<Logs> {
    let fields = Fields::open(reading, node, &LOGS, " in `logs`")?;
    let formats =
        [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
    let identities =
        [("full", LogIdentity::Full), ("hash", LogIdentity::Hash), ("none", LogIdentity::None)];
    let format = fields.read(reading, "format", |r, node| word(r, node, &formats));
    let off =
        fields.read(reading, "access", |r, node| word(r, node, &[("on", false), ("off", true)]));
    let identity = fields.read(reading, "identity", |r, node| word(r, node, &identities));
    Some(Logs {
        format: format.unwrap_or_default(),
        access_off: off.unwrap_or_default(),
        identity: identity.unwrap_or_default(),
    })
}

/// `on` or `off`.
pub(super) fn on(reading: &mut Reading<'_>, node: &Node) -> Option<bool> {
    word(reading, node, &[("on", true), ("off", false)])
}

/// `errors:`
pub(super) fn errors(reading: &mut Reading<'_>, node: &Node) -> Option<Errors> {
    let fields = Fields::open(reading, node, &ERRORS, " in `errors`")?;
    let details = [
        ("minimal", ErrorDetail::Minimal),
        ("standard", ErrorDetail::Standard),
        ("full", ErrorDetail::Full),
    ];
    let detail = fields.read(reading, "detail", |r, node| word(r, node, &details));
    let docs = fields.read(reading, "docs", |r, node| {
        parsed(r, node, "a URL", |text| network::parse_url(text).map(|_| text.to_owned()))
    });
    Some(Errors { detail: detail.unwrap_or_default(), docs })
}

/// `drain:`
pub(super) fn drain(reading: &mut Reading<'_>, node: &Node) -> Option<Drain> {
    let fields = Fields::open(reading, node, &DRAIN, " in `drain`")?;
    let mut drain = Drain::default();
    set(&mut drain.delay, fields.read(reading, "delay", duration));
    set(&mut drain.timeout, fields.read(reading, "timeout", duration));
    Some(drain)
}

/// `limits:`
pub(super) fn limits(reading: &mut Reading<'_>, node: &Node) -> Option<Limits> {
    let fields = Fields::open(reading, node, &LIMITS, " in `limits`")?;
    let mut limits = Limits::default();
    let header_bytes = fields.read(reading, "header_bytes", |r, n| bytes(r, n, 8 << 10, 1 << 20));
    set(&mut limits.header_bytes, header_bytes);
    set(&mut limits.headers, fields.read(reading, "headers", |r, n| number(r, n, 10, 1_000)));
    set(&mut limits.token, fields.read(reading, "token", |r, n| bytes(r, n, 256, 1 << 20)));
    set(&mut limits.body, fields.read(reading, "body", |r, n| size(r, n, 0, u64::MAX)));
    set(&mut limits.header_timeout, fields.read(reading, "header_timeout", wait));
    set(&mut limits.idle_timeout, fields.read(reading, "idle_timeout", wait));
    set(&mut limits.connections, fields.read(reading, "connections", |r, n| number(r, n, 1, MANY)));
    limits.connections_per_peer =
        fields.read(reading, "connections_per_peer", |r, n| number(r, n, 1, MANY));
    limits.requests = fields.read(reading, "requests", |r, node| {
        Some(Located { value: number(r, node, 1, MANY)?, at: node.at })
    });
    limits.memory = fields.read(reading, "memory", |r, node| {
        let value = parsed(r, node, "a share such as `90%`, or a size", parse_memory)?;
        Some(Located { value, at: node.at })
    });
    set(&mut limits.verdicts, fields.read(reading, "verdicts", |r, n| number(r, n, 1, MANY)));
    set(&mut limits.callers, fields.read(reading, "callers", |r, n| number(r, n, 1, MANY)));
    Some(limits)
}

fn number(reading: &mut Reading<'_>, node: &Node, least: u64, most: u64) -> Option<usize> {
    count(reading, node, least, most).and_then(|found| usize::try_from(found).ok())
}

fn bytes(reading: &mut Reading<'_>, node: &Node, least: u64, most: u64) -> Option<usize> {
    size(reading, node, least, most).and_then(|found| usize::try_from(found).ok())
}

/// `90%`, `2GiB` or `off`.
fn parse_memory(text: &str) -> Result<MemoryLimit, Fault> {
    if text == "off" {
        return Ok(MemoryLimit::Off);
    }
    let Some(share) = text.strip_suffix('%') else {
        return parse_size(text).and_then(|bytes| match bytes {
            LEAST_MEMORY.. => Ok(MemoryLimit::Bytes(bytes)),
            _ => Err(Fault::new("E061", "is out of range", "at least 64MiB")),
        });
    };
    match share.parse() {
        Ok(share @ 10..=100) => Ok(MemoryLimit::Share(share)),
        Ok(_) | Err(_) => Err(Fault::new("E061", "is out of range", "expected `10%` to `100%`")),
    }
}

/// Less than that no gateway starts with.
const LEAST_MEMORY: u64 = 64 << 20;

/// Replaces a default by what was read, if something was.
pub(super) fn set<T>(place: &mut T, found: Option<T>) {
    if let Some(found) = found {
        *place = found;
    }
}

/// `true` or `false`, by default the latter.
pub(super) fn flag(reading: &mut Reading<'_>, fields: &Fields<'_>, key: &'static str) -> bool {
    fields.read(reading, key, switch).unwrap_or_default()
}

/// What fits into the memory of any machine that serves.
const MANY: u64 = 100_000_000;
