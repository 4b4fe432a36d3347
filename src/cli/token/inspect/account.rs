//! Which claim gave what, and which rule told people from machines.

use serde_json::{Map, Value, json};

use super::decoded::{Decoded, printable};
use crate::authenticate::{Account, Field, account};
use crate::config::{self, Located, Place};

/// How the token is read: by the preset that was asked for, or by the issuer's settings; `None` if
/// there is neither.
pub(super) fn of(
    issuer: Option<config::Issuer>,
    preset: Option<&str>,
    token: &Decoded,
) -> Option<Account> {
    let settings = match (preset, issuer) {
        (None, None) => return None,
        (None, Some(issuer)) => issuer,
        (Some(preset), _) => {
            let located = |value: &str| Located { value: value.to_owned(), at: Place::default() };
            config::Issuer { preset: located(preset), ..config::draft(located("main")) }
        }
    };
    account(&settings, &token.claims)
}

/// A line for each field, below the others.
pub(super) fn lines(account: &Account) -> String {
    let kind = match account.rule {
        "none" => "no rule tells".to_owned(),
        rule => format!("rule {rule}"),
    };
    let row = |name: &str, value: &str, from: &str| format!("\n    {name:<8}  {value}  ← {from}");
    let mut text = format!("\n  read by preset {}:", account.preset);
    text += &row("kind", account.kind.as_str(), &kind);
    for Field { name, values, path } in &account.fields {
        text += &row(name, &printable(&values.join(" ")), &printable(path));
    }
    text
}

/// The same for programs.
pub(super) fn json(account: &Account) -> Value {
    let mut read = Map::new();
    read.insert("preset".into(), account.preset.into());
    read.insert("kind".into(), json!({ "value": account.kind.as_str(), "rule": account.rule }));
    for Field { name, values, path } in &account.fields {
        let value = if is_list(name) { json!(values) } else { json!(values.concat()) };
        read.insert(name.replace(' ', "_"), json!({ "value": value, "claim": path }));
    }
    Value::Object(read)
}

fn is_list(name: &str) -> bool {
    ["scopes", "roles", "groups"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(preset: &str, claims: Value) -> Account {
        let Value::Object(claims) = claims else { panic!("not an object") };
        of(None, Some(preset), &Decoded { header: Map::new(), claims }).unwrap()
    }

    #[test]
    fn each_field_names_its_claim() {
        let claims = json!({
            "sub": "8c1f", "azp": "web-shop", "sid": "s1", "scope": "openid orders.read",
            "realm_access": { "roles": ["customer"] },
            "resource_access": { "orders-api": { "roles": ["orders-read"] } },
        });
        let account = read("keycloak", claims);
        let expected = "
  read by preset keycloak:
    kind      user  ← rule session
    subject   8c1f  ← sub
    client    web-shop  ← azp
    session   s1  ← sid
    scopes    openid orders.read  ← scope
    roles     customer orders-api:orders-read  ← realm_access.roles, resource_access.*.roles";
        assert_eq!(lines(&account), expected);
        let read = json(&account);
        assert_eq!(read["client"], json!({ "value": "web-shop", "claim": "azp" }));
        assert_eq!(read["kind"], json!({ "value": "user", "rule": "session" }));
        assert_eq!(read["scopes"]["value"], json!(["openid", "orders.read"]));
    }

    #[test]
    fn what_nobody_knows_is_said() {
        let account = read("zitadel", json!({ "sub": "777\n", "client_id": "c" }));
        let text = lines(&account);
        assert!(text.contains("kind      unknown  ← no rule tells"), "{text}");
        assert_eq!(text.matches('\n').count(), 4, "{text}");
    }
}
