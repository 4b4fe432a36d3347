//! The presets as the tables of `docs/providers.md`, which must say what is enforced.

use super::{Needed, Path, Preset, RoleForm, ScopeForm, all};
use crate::config::language;
use crate::identity::Kind;

#[test]
fn the_document_has_the_presets_as_they_are() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md");
    let text = std::fs::read_to_string(file).unwrap();
    for table in [fields(), checks(), kinds()] {
        assert!(text.contains(&table), "docs/providers.md should have\n{table}");
    }
}

#[test]
fn the_configuration_knows_the_presets_and_no_others() {
    let names: Vec<_> = all().map(|preset| preset.name).collect();
    assert_eq!(language::PRESETS, names);
}

/// A person is never concluded from nothing where another server's machine would look the same.
#[test]
fn presets_that_conclude_persons_know_strangers() {
    for preset in all().filter(|preset| preset.else_user) {
        assert!(!preset.strangers.is_empty(), "{}", preset.name);
        assert!(preset.needs_client && !preset.kinds.is_empty(), "{}", preset.name);
    }
}

/// Which claims hold what.
fn fields() -> String {
    let mut table = String::from(
        "| Preset | scopes | roles | groups | client | subject | tenant | token id | audience |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for preset in all() {
        let cells = [
            format!("`{}`", preset.name),
            scopes(preset),
            roles(preset),
            groups(preset),
            paths(preset.client),
            paths(preset.subject),
            paths(preset.tenant),
            paths(preset.token_id),
            paths(preset.audience),
        ];
        row(&mut table, &cells);
    }
    table
}

/// What makes a token an access token of such a server.
fn checks() -> String {
    let mut table = String::from(
        "| Preset | `typ` of the header | must have | must not have |\n|---|---|---|---|\n",
    );
    for preset in all() {
        let mut needed: Vec<String> = preset.required.iter().map(needed).collect();
        if preset.profile_claims {
            needed.push("`sub`, `client_id`, `iat` and `jti`".to_owned());
        } else if preset.needs_client {
            needed.push("a client".to_owned());
        }
        let cells = [
            format!("`{}`", preset.name),
            names(preset.header_types),
            list(&needed, "; "),
            names(preset.refused),
        ];
        row(&mut table, &cells);
    }
    table
}

/// The rules that tell people from machines, in order.
fn kinds() -> String {
    let mut table = String::from("| Preset | a machine, a person, or neither |\n|---|---|\n");
    for preset in all() {
        let rules = preset.kinds.iter().map(|rule| format!("`{}`: {}", rule.name, word(rule.kind)));
        let last = match preset.else_user {
            true => "`else-user`: a person if there is a subject",
            false => "`none`: nobody knows",
        };
        let rules: Vec<String> = rules.chain([last.to_owned()]).collect();
        row(&mut table, &[format!("`{}`", preset.name), list(&rules, "; ")]);
    }
    table
}

fn scopes(preset: &Preset) -> String {
    let form = match preset.scope_form {
        ScopeForm::List => " (list)",
        ScopeForm::Text => " (text)",
        ScopeForm::TextOrList => " (text or list)",
    };
    match preset.scopes {
        [] => "none".to_owned(),
        scopes => paths(scopes) + form,
    }
}

fn roles(preset: &Preset) -> String {
    let own = match (preset.roles, preset.role_form) {
        ([], _) => Vec::new(),
        (roles, RoleForm::List) => vec![paths(roles)],
        (roles, RoleForm::OfTenants) => vec![format!("{} of the tenant", paths(roles))],
    };
    let of_clients = preset
        .client_roles
        .map(|(path, member)| format!("`{}.*.{member}` as `client:role`", path.join(".")));
    let all: Vec<String> = own.into_iter().chain(of_clients).collect();
    list(&all, " and ")
}

fn groups(preset: &Preset) -> String {
    match preset.groups_elsewhere {
        [] => paths(preset.groups),
        elsewhere => format!("{}; unknown if {}", paths(preset.groups), paths(elsewhere)),
    }
}

fn needed(needed: &Needed) -> String {
    let names: Vec<String> = needed.one_of.iter().map(|name| format!("`{name}`")).collect();
    match needed.says {
        [] => list(&names, " or "),
        says => format!("{} = {}", list(&names, " or "), says.join(" or ")),
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "person",
        Kind::Client => "machine",
        Kind::Unknown => "unknown",
    }
}

fn paths(paths: &[Path]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| format!("`{}`", path.join("."))).collect();
    list(&paths, ", ")
}

fn names(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    list(&names, ", ")
}

fn list(words: &[String], between: &str) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(between) }
}

fn row(table: &mut String, cells: &[String]) {
    table.push_str(&format!("| {} |\n", cells.join(" | ")));
}
