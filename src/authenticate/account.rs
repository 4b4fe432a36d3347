//! Where each part of an identity is found, for people who ask why a token is read as it is.

use serde_json::{Map, Value};

use super::names::Names;
use super::presets;
use super::reading::Reading;
use super::values::first;
use crate::config::{self, ClaimPath};
use crate::identity::Kind;

/// How the claims of a token are read. Nothing in it is proved.
#[derive(Debug)]
pub struct Account {
    /// The preset.
    pub preset: &'static str,
    /// What was found, and where.
    pub fields: Vec<Field>,
    /// Whom the token speaks for.
    pub kind: Kind,
    /// The rule that told: the name of one of the preset's, `client_token_when`, `user_token_when`,
    /// `else-user`, or `none`.
    pub rule: &'static str,
}

/// A part of an identity.
#[derive(Debug)]
pub struct Field {
    /// `subject`, `client`, `scopes`, ...
    pub name: &'static str,
    /// Its texts, one for all but scopes, roles and groups.
    pub values: Vec<String>,
    /// The path of the claim that it was taken from.
    pub path: String,
}

/// How the settings of an issuer read `claims`. `None` if its preset is not known.
#[must_use]
pub fn account(config: &config::Issuer, claims: &Map<String, Value>) -> Option<Account> {
    let preset = presets::find(&config.preset)?;
    let reading = Reading::new(config, preset, &[]);
    let (kind, rule) = reading.kind(claims);
    let fields = single(&reading, claims).into_iter().chain(lists(&reading, claims));
    Some(Account { preset: preset.name, fields: fields.collect(), kind, rule })
}

/// Whether a token whose `iss` says this is from the issuer with these settings.
#[must_use]
pub fn is_called(config: &config::Issuer, iss: &str) -> bool {
    let preset = presets::find(&config.preset);
    preset.is_some_and(|preset| Names::new(config, preset).find(iss).is_some())
}

fn single(reading: &Reading, claims: &Map<String, Value>) -> Vec<Field> {
    let fields = [
        ("subject", &reading.subject),
        ("client", &reading.client),
        ("tenant", &reading.tenant),
        ("token id", &reading.token_id),
        ("session", &reading.session),
    ];
    let field = |(name, paths): (&'static str, &Vec<ClaimPath>)| {
        let value = first(claims, paths)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(Field { name, values: vec![text], path: place(claims, paths)? })
    };
    fields.into_iter().filter_map(field).collect()
}

fn lists(reading: &Reading, claims: &Map<String, Value>) -> Vec<Field> {
    let tenant = first(claims, &reading.tenant).and_then(Value::as_str);
    let of_clients = reading.client_roles.map(|(path, member)| {
        let path = path.iter().copied().chain(["*", member]);
        written(&ClaimPath(path.map(str::to_owned).collect()))
    });
    let roles = place(claims, &reading.roles).into_iter().chain(of_clients).collect::<Vec<_>>();
    let fields = [
        ("scopes", reading.scopes(claims), place(claims, &reading.scopes)),
        ("roles", reading.roles(claims, tenant), Some(roles.join(", "))),
        ("groups", reading.groups(claims), place(claims, &reading.groups)),
    ];
    let field = |(name, values, path): (&'static str, Box<[Box<str>]>, Option<String>)| {
        let values: Vec<String> = values.iter().map(|text| (**text).to_owned()).collect();
        (!values.is_empty()).then_some(Field { name, values, path: path? })
    };
    fields.into_iter().filter_map(field).collect()
}

/// The first path at which something stands, as people write it.
fn place(claims: &Map<String, Value>, paths: &[ClaimPath]) -> Option<String> {
    let found = paths.iter().find(|path| first(claims, std::slice::from_ref(path)).is_some());
    found.map(written)
}

/// With dots, or as a list if a name has dots itself.
fn written(path: &ClaimPath) -> String {
    if path.0.iter().any(|name| name.contains('.')) {
        return format!("[{}]", path.0.join(", "));
    }
    path.0.join(".")
}
