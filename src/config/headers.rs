//! `headers:`, what passes of the fields that are removed otherwise.

use http::HeaderName;

use super::language::{HEADERS, REQUEST_HEADERS};
use super::reading::{Fault, Fields, Reading};
use super::suggest::nearest;
use super::told::{self, TOLD, fold};
use super::value::{at_least_one, parsed};
use super::yaml::Node;
use super::{IdentityHeader, Located};

/// `headers: { request: { keep: … } }`: fields that pass from strangers too.
pub(super) fn kept(
    reading: &mut Reading<'_>,
    file: &Fields<'_>,
    identity: &[IdentityHeader],
) -> Vec<Located<HeaderName>> {
    let Some(node) = file.find(reading, "headers") else { return Vec::new() };
    let Some(fields) = Fields::open(reading, node, &HEADERS, " in `headers`") else {
        return Vec::new();
    };
    let Some(node) = fields.find(reading, "request") else { return Vec::new() };
    let fields = Fields::open(reading, node, &REQUEST_HEADERS, " in `headers.request`");
    let names = fields.and_then(|fields| {
        let node = fields.find(reading, "keep")?;
        at_least_one(reading, node, |r, node| name(r, node, identity))
    });
    names.unwrap_or_default()
}

fn name(
    reading: &mut Reading<'_>,
    node: &Node,
    identity: &[IdentityHeader],
) -> Option<Located<HeaderName>> {
    let name = parsed(reading, node, "a field's name", |text| parse(text, identity))?;
    Some(Located { value: name, at: node.at })
}

fn parse(text: &str, identity: &[IdentityHeader]) -> Result<HeaderName, Fault> {
    let fault = |label: &str| Err(Fault::new("E073", "cannot be kept", label));
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        return fault("expected a field's name, such as `True-Client-IP`");
    };
    let folded = fold(name.as_str());
    let own = |header: &IdentityHeader| {
        let own = fold(header.name.as_str());
        own == folded || format!("{own}-truncated") == folded
    };
    if identity.iter().any(own) {
        return fault(told::WRITTEN);
    }
    if let Some(why) = told::never(&folded) {
        return fault(why);
    }
    if folded != name.as_str() {
        return fault("only letters, digits and `-`: another spelling is another's");
    }
    if !told::is_told(&folded) {
        return match nearest(&folded, TOLD.iter().copied()) {
            Some(near) => fault(&format!("did you mean `{near}`?")),
            None => fault("it is not removed from anybody"),
        };
    }
    Ok(name)
}
