//! `plans:`, `clients:` and a route's `limit:`.

use super::claims::claim_path;
use super::language::{CLIENT, LIMIT, PER, PLAN_FROM};
use super::reading::{Fields, Reading};
use super::value::{self, count, entries, located, rate, text, unknown_word};
use super::yaml::{Node, Value};
use super::{ClaimPath, Client, Limit, Located, Per, Plan, Problem, RouteLimit};

/// `plans:`
pub(super) fn plans(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<Plan>> {
    let mut plans = Vec::new();
    for entry in entries(reading, node) {
        let name = value::name(reading, &entry.key);
        let owner = format!(" in plan `{}`", *name);
        let limit = limit(reading, &entry.node, &owner).unwrap_or_else(nothing);
        plans.push(Plan { name, limit });
    }
    Some(plans)
}

/// `limit:` of a route: the name of a plan, or a limit.
pub(super) fn route_limit(
    reading: &mut Reading<'_>,
    node: &Node,
    owner: &str,
) -> Option<Located<RouteLimit>> {
    let value = match &node.value {
        Value::Map(_) => RouteLimit::Limit(limit(reading, node, owner)?),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Unset
        | Value::List(_) => RouteLimit::Plan(text(reading, node)?),
    };
    Some(Located { value, at: node.at })
}

fn limit(reading: &mut Reading<'_>, node: &Node, owner: &str) -> Option<Limit> {
    let fields = Fields::open(reading, node, &LIMIT, owner)?;
    let burst = fields.read(reading, "burst", |r, node| count(r, node, 1, u64::from(u32::MAX)));
    let limit = Limit {
        rate: fields.read(reading, "rate", rate),
        burst: burst.and_then(|burst| u32::try_from(burst).ok()),
        quota: fields.read(reading, "quota", rate),
        per: fields.read(reading, "per", per).unwrap_or_default(),
    };
    let (has_rate, has_quota) = (fields.key_at("rate"), fields.key_at("quota"));
    if has_rate.is_none() && has_quota.is_none() {
        reading.note(
            Problem::new("E007", node.at, "this limits nothing")
                .label("`rate` or `quota` is missing")
                .help("such as `{ rate: 60/min, burst: 20 }` or `{ quota: 1000/day }`"),
        );
    } else if let (None, Some(at)) = (has_rate, fields.key_at("burst")) {
        let problem = Problem::new("E007", at, "`burst` belongs to a `rate`");
        reading.note(problem.label("there is no `rate`"));
    }
    Some(limit)
}

fn per(reading: &mut Reading<'_>, node: &Node) -> Option<Per> {
    if let Value::Map(_) = &node.value {
        let fields = Fields::open(reading, node, &PER, " in `per`")?;
        let claim = fields.read(reading, "claim", text)?;
        return Some(Per::Claim(claim));
    }
    value::parsed(reading, node, "client, user, ip, route, or `{ claim: NAME }`", |text| match text
    {
        "client" => Ok(Per::Client),
        "user" => Ok(Per::User),
        "ip" => Ok(Per::Ip),
        "route" => Ok(Per::Route),
        _ => Err(unknown_word(text, ["client", "user", "ip", "route"].into_iter())
            .help("or `per: { claim: NAME }`")),
    })
}

/// Stands for a limit that could not be read; a configuration with one is never used.
fn nothing() -> Limit {
    Limit { rate: None, burst: None, quota: None, per: Per::default() }
}

/// `plan_from:`
pub(super) fn plan_from(reading: &mut Reading<'_>, node: &Node) -> Option<ClaimPath> {
    let fields = Fields::open(reading, node, &PLAN_FROM, " in `plan_from`")?;
    if fields.key_at("claim").is_none() {
        let problem = Problem::new("E007", node.at, "`plan_from` has no `claim`");
        reading.note(problem.label("such as `{ claim: plan }`"));
    }
    fields.read(reading, "claim", claim_path)
}

/// `clients:`
pub(super) fn clients(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<Client>> {
    let mut clients = Vec::new();
    for entry in entries(reading, node) {
        let owner = format!(" in client `{}`", entry.key.value);
        let Some(fields) = Fields::open(reading, &entry.node, &CLIENT, &owner) else { continue };
        let plan = fields.read(reading, "plan", located);
        let name = fields.read(reading, "name", text);
        clients.push(Client { id: entry.key.clone(), plan, name });
    }
    Some(clients)
}
