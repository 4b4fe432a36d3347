//! Texts and lists among claims, at paths that say where.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::config::ClaimPath;
use crate::identity::{self, Place, all_of};
use crate::rejection::TokenFault;
use crate::revoke::id_text;

/// What stands at the first of these paths at which something stands.
pub(super) fn first<'c>(claims: &'c Map<String, Value>, paths: &[ClaimPath]) -> Option<&'c Value> {
    identity::first(claims, paths).value()
}

/// Whether what stands at these paths, if anything does, can be read as the list that `is_list` says
/// it is: what cannot be read is not absent.
pub(super) fn is_readable(
    claims: &Map<String, Value>,
    paths: &[ClaimPath],
    is_list: impl FnOnce(&Value) -> bool,
) -> bool {
    match identity::first(claims, paths) {
        Place::Nothing => true,
        Place::Value(value) => is_list(value),
        Place::Unreadable => false,
    }
}

/// Whether [`list`] leaves nothing out.
pub(super) fn is_list(value: &Value) -> bool {
    all_of(value, Value::is_string)
}

/// Whether [`of_tenant`] leaves nothing out.
pub(super) fn is_of_tenants(value: &Value) -> bool {
    let is_role =
        |roles: &Value| roles.as_object().is_some_and(|roles| roles.values().all(Value::is_object));
    all_of(value, is_role)
}

/// Text that must be text if it is there; empty text is as good as none.
pub(super) fn text(
    claims: &Map<String, Value>,
    paths: &[ClaimPath],
) -> Result<Option<Box<str>>, TokenFault> {
    let Some(value) = first_said(claims, paths) else { return Ok(None) };
    let text = value.as_str().ok_or(TokenFault::Malformed)?;
    Ok(Some(text.into()))
}

/// Text, if it is there and is text.
pub(super) fn optional(claims: &Map<String, Value>, paths: &[ClaimPath]) -> Option<Box<str>> {
    first_said(claims, paths)?.as_str().map(Box::from)
}

/// The first at which something stands that says anything: empty text hides nothing behind it.
fn first_said<'c>(claims: &'c Map<String, Value>, paths: &[ClaimPath]) -> Option<&'c Value> {
    let mut values = paths.iter().filter_map(|path| first(claims, std::slice::from_ref(path)));
    values.find(|value| value.as_str() != Some(""))
}

/// The identifier at these paths, in the one spelling that revocations know ([`id_text`]).
///
/// # Errors
/// `Malformed` for what cannot be spelled so: a token by it could not be revoked.
pub(super) fn id<'c>(
    claims: &'c Map<String, Value>,
    paths: &[ClaimPath],
) -> Result<Option<Cow<'c, str>>, TokenFault> {
    let Some(value) = first(claims, paths) else { return Ok(None) };
    match id_text(value) {
        None if value.as_str() != Some("") => Err(TokenFault::Malformed),
        text => Ok(text),
    }
}

/// The roles that hold in `tenant`: the names of members whose values name it. Some versions wrap
/// each role's object in a list.
pub(super) fn of_tenant(value: &Value, tenant: Option<&str>) -> Vec<Box<str>> {
    let Some(tenant) = tenant else { return Vec::new() };
    match value {
        Value::Object(roles) => {
            let holds = |value: &Value| {
                value.as_object().is_some_and(|tenants| tenants.contains_key(tenant))
            };
            roles
                .iter()
                .filter(|(_, value)| holds(value))
                .map(|(role, _)| (**role).into())
                .collect()
        }
        Value::Array(items) => {
            items.iter().flat_map(|item| of_tenant(item, Some(tenant))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The strings of a list; a single string is a list of one (some servers collapse them).
pub(super) fn list(value: &Value) -> Vec<Box<str>> {
    match value.as_array() {
        Some(items) => items.iter().filter_map(Value::as_str).map(Box::from).collect(),
        None => value.as_str().map(Box::from).into_iter().collect(),
    }
}
