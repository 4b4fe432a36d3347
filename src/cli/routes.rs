//! `scopegate routes`: who may call what.

use std::io::Write;

use http::Method;

use super::check::{answer, configuration};
use super::{Exit, Format, Global};
use crate::config::{
    ClaimMatch, Config, Mode, Place, Public, Route, Rule, RuleKind, Says, Sources, TokenKind,
};
use crate::method;

#[derive(Debug, clap::Args)]
pub(super) struct Options {}

pub(super) fn run(global: &Global, options: &Options) -> Exit {
    let Options {} = options;
    let (_, loaded) = match configuration(global) {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    let Some(config) = &loaded.config else {
        let problems = loaded.problems.render(&loaded.sources, global.colors_stderr());
        drop(write!(std::io::stderr(), "{problems}"));
        return Exit::Problem;
    };
    let table = Table { config, sources: &loaded.sources };
    match global.format {
        Format::Human => answer(&table.matrix()),
        Format::Json => answer(&format!("{:#}\n", table.json())),
    }
    Exit::Fine
}

/// The routes of a configuration, to be shown.
struct Table<'c> {
    config: &'c Config,
    sources: &'c Sources,
}

/// A row: a route's cells, or one text for all methods.
struct Row {
    report: bool,
    path: String,
    cells: Cells,
    to: String,
}

enum Cells {
    Each(Vec<String>),
    All(String),
}

impl Table<'_> {
    fn matrix(&self) -> String {
        let columns = self.columns();
        let rows: Vec<Row> =
            self.config.routes.iter().map(|route| self.row(route, &columns)).collect();
        let titles: Vec<String> = columns.iter().map(|column| title(column)).collect();
        let path_width = widest(rows.iter().map(|row| row.path.as_str()).chain(["PATH"]));
        let widths = widths(&rows, &titles);
        let mut text = format!("  {:path_width$}  {}  TO\n", "PATH", join(&titles, &widths));
        for row in &rows {
            let mark = if row.report { '!' } else { ' ' };
            let cells = match &row.cells {
                Cells::Each(cells) => join(cells, &widths),
                Cells::All(cell) => {
                    stretch(cell, widths.iter().sum::<usize>() + 2 * (widths.len() - 1))
                }
            };
            text.push_str(&format!("{mark} {:path_width$}  {cells}  {}\n", row.path, row.to));
        }
        text
    }

    /// The methods of each column: the usual ones, and those that some route names.
    fn columns(&self) -> Vec<Vec<Method>> {
        let mut columns = vec![vec![Method::GET], vec![Method::POST]];
        let same =
            |route: &Route| self.cell(route, &Method::PUT) == self.cell(route, &Method::PATCH);
        match self.config.routes.iter().all(same) {
            true => columns.push(vec![Method::PUT, Method::PATCH]),
            false => columns.extend([vec![Method::PUT], vec![Method::PATCH]]),
        }
        columns.push(vec![Method::DELETE]);
        let named = self.config.routes.iter().flat_map(|route| &route.methods);
        for method in named.flat_map(|rule| &rule.methods) {
            if !columns.iter().flatten().any(|known| *known == method.value) {
                columns.push(vec![method.value.clone()]);
            }
        }
        columns
    }

    fn row(&self, route: &Route, columns: &[Vec<Method>]) -> Row {
        let report = self.mode(route) == Mode::Report;
        let is_one = route.methods.is_empty() && columns.iter().flatten().all(method::is_usual);
        let cells = match (&route.allow, is_one, report) {
            (Some(rule), true, true) => Cells::All(format!("report-only: {}", self.rule(rule))),
            (Some(rule), true, false) => Cells::All(self.rule(rule)),
            (_, _, _) => {
                Cells::Each(columns.iter().map(|methods| self.cell(route, &methods[0])).collect())
            }
        };
        Row { report, path: route.pattern.text.clone(), cells, to: self.upstream(route) }
    }

    fn mode(&self, route: &Route) -> Mode {
        route.mode.as_ref().map_or(self.config.mode, |mode| mode.value)
    }

    fn upstream(&self, route: &Route) -> String {
        let only = || self.config.upstreams.first().map(|upstream| &upstream.name);
        let name = route.upstream.as_ref().or_else(only);
        name.map(|name| name.value.clone()).unwrap_or_default()
    }

    /// Who may call a method of a route.
    fn cell(&self, route: &Route, method: &Method) -> String {
        match route.says_of(method) {
            Says::Public(public) => open(public).to_owned(),
            Says::Rule(rule) => self.rule(rule),
            Says::Nothing => "405".to_owned(),
        }
    }

    /// A rule in a few words. What a variable stands for is not shown.
    fn rule(&self, rule: &Rule) -> String {
        let text = |value: &str| self.shown(rule.at, value);
        match &rule.kind {
            RuleKind::Public(public) => open(*public).to_owned(),
            RuleKind::Scope(scope) => text(scope),
            RuleKind::Role(role) => format!("role {}", text(role)),
            RuleKind::Group(group) => format!("group {}", text(group)),
            RuleKind::Client(client) => format!("client {}", text(client)),
            RuleKind::Issuer(issuer) => format!("issuer {}", text(issuer)),
            RuleKind::Token(TokenKind::Any) => "any token".to_owned(),
            RuleKind::Token(TokenKind::User) => "people only".to_owned(),
            RuleKind::Token(TokenKind::Client) => "machines only".to_owned(),
            RuleKind::Acr(classes) => format!("acr {}", text(&classes.join(" or "))),
            RuleKind::MaxAge(age) => format!("login within {}", duration(age.as_secs())),
            RuleKind::Source(networks) => {
                let list: Vec<String> = networks.iter().map(ToString::to_string).collect();
                format!("from {}", text(&list.join(" or ")))
            }
            RuleKind::Claim(name, matcher) => self.claim(rule.at, name, matcher),
            RuleKind::Use(name) => text(name),
            RuleKind::All(rules) => self.list(rules, " + "),
            RuleKind::Any(rules) => self.list(rules, " | "),
            RuleKind::Not(inner) => format!("not {}", self.part(inner)),
        }
    }

    fn list(&self, rules: &[Rule], between: &str) -> String {
        rules.iter().map(|rule| self.part(rule)).collect::<Vec<_>>().join(between)
    }

    /// A rule inside another, in brackets if it has parts.
    fn part(&self, rule: &Rule) -> String {
        let text = self.rule(rule);
        match &rule.kind {
            RuleKind::All(rules) | RuleKind::Any(rules) if rules.len() > 1 => format!("({text})"),
            RuleKind::All(_)
            | RuleKind::Any(_)
            | RuleKind::Public(_)
            | RuleKind::Scope(_)
            | RuleKind::Role(_)
            | RuleKind::Group(_)
            | RuleKind::Client(_)
            | RuleKind::Issuer(_)
            | RuleKind::Token(_)
            | RuleKind::Acr(_)
            | RuleKind::MaxAge(_)
            | RuleKind::Source(_)
            | RuleKind::Claim(..)
            | RuleKind::Use(_)
            | RuleKind::Not(_) => text,
        }
    }

    fn claim(&self, at: Place, name: &str, matcher: &ClaimMatch) -> String {
        let value = |value: &serde_json::Value| match value.as_str() {
            Some(text) => self.shown(at, text),
            None => self.shown(at, &value.to_string()),
        };
        match matcher {
            ClaimMatch::Is(is) => format!("{name} = {}", value(is)),
            ClaimMatch::In(list) => {
                let list: Vec<String> = list.iter().map(value).collect();
                format!("{name} in {}", list.join(", "))
            }
            ClaimMatch::Contains(part) => format!("{name} has {}", value(part)),
            ClaimMatch::StartsWith(text) => format!("{name} = {}*", self.shown(at, text)),
            ClaimMatch::EndsWith(text) => format!("{name} = *{}", self.shown(at, text)),
            ClaimMatch::Exists(true) => format!("has {name}"),
            ClaimMatch::Exists(false) => format!("no {name}"),
            ClaimMatch::Param(param) => format!("{name} = {{{param}}}"),
        }
    }

    /// A value, or the text of the file if variables were expanded in it.
    fn shown(&self, at: Place, value: &str) -> String {
        if self.sources.text(at).contains("${") { "${...}".to_owned() } else { value.to_owned() }
    }

    fn json(&self) -> serde_json::Value {
        let columns = self.columns();
        let methods = columns.iter().flatten();
        self.config
            .routes
            .iter()
            .map(|route| {
                let cells: serde_json::Map<String, serde_json::Value> = methods
                    .clone()
                    .map(|method| (method.to_string(), self.cell(route, method).into()))
                    .collect();
                serde_json::json!({
                    "path": route.pattern.text,
                    "methods": cells,
                    "mode": match self.mode(route) {
                        Mode::Enforce => "enforce",
                        Mode::Report => "report",
                    },
                    "upstream": self.upstream(route),
                    "at": self.sources.cite(route.pattern.at),
                })
            })
            .collect()
    }
}

fn open(public: Public) -> &'static str {
    match public {
        Public::Open => "public",
        Public::Optional => "token optional",
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

fn title(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join("/")
}

/// The width of each column; the last is wide enough for texts that span them all.
fn widths(rows: &[Row], titles: &[String]) -> Vec<usize> {
    let mut widths: Vec<usize> = titles.iter().map(|title| title.chars().count()).collect();
    let mut span = 0;
    for row in rows {
        match &row.cells {
            Cells::Each(cells) => {
                for (width, cell) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(cell.chars().count());
                }
            }
            Cells::All(cell) => span = span.max(cell.chars().count()),
        }
    }
    let total = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
    if let Some(last) = widths.last_mut() {
        *last += span.saturating_sub(total);
    }
    widths
}

fn widest<'t>(texts: impl Iterator<Item = &'t str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or_default()
}

fn join(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    padded.collect::<Vec<_>>().join("  ")
}

/// Text with dots behind it: it holds for all columns.
fn stretch(text: &str, width: usize) -> String {
    let left = width.saturating_sub(text.chars().count());
    match left {
        0..=2 => format!("{text}{}", " ".repeat(left)),
        _ => format!("{text}  {}", "\u{b7}".repeat(left - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Variables, load_text};

    fn matrix(text: &str) -> String {
        let loaded = load_text("gateway.yaml", text, &Variables::default().with("S", "secret"));
        assert_eq!(loaded.problems.render(&loaded.sources, false), "");
        let config = loaded.config.unwrap();
        Table { config: &config, sources: &loaded.sources }.matrix()
    }

    #[test]
    fn the_matrix_shows_who_may_call_what() {
        let text = "
issuer: https://id.example.com
audience: api
upstreams: { orders: http://orders:3000, billing: http://billing:3000 }
rules: { staff: { role: staff } }
routes:
  /status: { upstream: orders, public: true }
  /orders/**:
    upstream: orders
    GET: orders:read
    POST, PUT, PATCH: orders:write
    DELETE: { scope: orders:write, use: staff }
  /tenants/{tenant}/invoices/**:
    upstream: billing
    allow: { scope: billing, claim: { tenant: \"{tenant}\" } }
  /admin/**: { upstream: billing, mode: report, allow: { use: staff, acr: mfa } }
  /hidden: { upstream: billing, GET: \"${S}\" }
";
        let expected = "  PATH                           GET          POST          PUT/PATCH     DELETE                TO
  /status                        public       405           405           405                   orders
  /orders/**                     orders:read  orders:write  orders:write  orders:write + staff  orders
  /tenants/{tenant}/invoices/**  billing + tenant = {tenant}  ································  billing
! /admin/**                      report-only: staff + acr mfa  ·······························  billing
  /hidden                        ${...}       405           405           405                   billing
";
        let found = matrix(text);
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn parts_of_a_rule_are_told_apart() {
        let text = "
issuer: https://id.example.com
audience: api
upstream: http://orders:3000
routes:
  /a: { GET: { any: [a, { all: [b, { not: { group: /x } }] }], token: user, max_age: 15m } }
  /b: { PUT: b, PATCH: { client: c, source: 10.0.0.0/8 }, OPTIONS: { public: true } }
";
        let found = matrix(text);
        assert!(
            found.contains("(a | (b + not group /x)) + people only + login within 15m"),
            "{found}"
        );
        assert!(found.contains("PUT "), "{found}");
        assert!(found.contains("client c + from 10.0.0.0/8"), "{found}");
        assert!(found.contains("OPTIONS"), "{found}");
    }
}
