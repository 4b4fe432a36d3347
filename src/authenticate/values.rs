//! Texts and lists among claims, at paths that say where.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::config::ClaimPath;
use crate::identity::walk;
use crate::rejection::TokenFault;
use crate::revoke::id_text;

/// What stands at the first of these paths at which something stands.
pub(super) fn first<'c>(claims: &'c Map<String, Value>, paths: &[ClaimPath]) -> Option<&'c Value> {
    paths.iter().find_map(|path| walk(claims, path.0.iter().map(String::as_str)))
}

/// Text that must be text if it is there; empty text is as good as none.
pub(super) fn text(
    claims: &Map<String, Value>,
    paths: &[ClaimPath],
) -> Result<Option<Box<str>>, TokenFault> {
    let Some(value) = first(claims, paths) else { return Ok(None) };
    let text = value.as_str().ok_or(TokenFault::Malformed)?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(Box::from))
}

/// Text, if it is there and is text.
pub(super) fn optional(claims: &Map<String, Value>, paths: &[ClaimPath]) -> Option<Box<str>> {
    first(claims, paths)?.as_str().filter(|text| !text.is_empty()).map(Box::from)
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
