//! The language as a JSON Schema (draft 2020-12), for editors.

use serde_json::{Map, Value as Json, json};

use super::language::{FILE, Key, Kind, SECTIONS, Section};

/// The schema of `gateway.yaml`.
pub(crate) fn schema() -> Json {
    let mut defs = Map::new();
    for section in SECTIONS {
        if section.name != FILE.name {
            defs.insert(section.name.to_owned(), definition(section));
        }
    }
    defs.insert("variable".into(), json!({ "type": "string", "pattern": "\\$\\{" }));
    let mut root = Map::new();
    root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".into(), json!("gateway.yaml"));
    if let Json::Object(file) = definition(&FILE) {
        root.extend(file);
    }
    root.remove("required");
    // Routes may all come from included files.
    root.insert("anyOf".into(), json!([{ "required": ["routes"] }, { "required": ["include"] }]));
    root.insert("$defs".into(), Json::Object(defs));
    Json::Object(root)
}

fn definition(section: &Section) -> Json {
    let mut object = mapping(section);
    if !section.or_text {
        object["description"] = json!(section.doc);
        return object;
    }
    json!({ "description": section.doc, "oneOf": [{ "type": "string", "minLength": 1 }, object] })
}

fn mapping(section: &Section) -> Json {
    let keys = section.keys.iter().filter(|key| !key.later);
    let properties: Map<String, Json> =
        keys.map(|key| (key.name.to_owned(), property(key))).collect();
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !section.required.is_empty() {
        object["required"] = json!(section.required);
    }
    if section.methods {
        object["patternProperties"] = json!({ METHODS: { "$ref": "#/$defs/rules" } });
    }
    object
}

fn property(key: &Key) -> Json {
    let mut property = of_kind(&key.kind);
    property["description"] = json!(key.doc);
    property
}

fn of_kind(kind: &Kind) -> Json {
    match kind {
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::Form(form, _) => json!({ "type": "string", "pattern": or_variable(form) }),
        Kind::Word(words) => json!({ "anyOf": [{ "enum": words }, { "$ref": VARIABLE }] }),
        Kind::Switch => json!({ "anyOf": [{ "type": "boolean" }, { "$ref": VARIABLE }] }),
        Kind::Count => {
            let form = or_variable("[0-9]+");
            json!({ "type": ["integer", "string"], "minimum": 0, "pattern": form })
        }
        Kind::Size => {
            let form = or_variable("[0-9]+(B|KiB|MiB|GiB)?");
            json!({ "type": ["integer", "string"], "minimum": 0, "pattern": form })
        }
        Kind::Literal => json!({ "type": ["string", "number", "boolean"] }),
        Kind::One(section) => json!({ "$ref": format!("#/$defs/{}", section.name) }),
        Kind::Named(kind) => json!({ "type": "object", "additionalProperties": of_kind(kind) }),
        Kind::List(kind) => json!({ "type": "array", "items": of_kind(kind) }),
        Kind::Some(kind) => {
            let one = of_kind(kind);
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
        Kind::Either(kinds) => json!({ "anyOf": kinds.iter().map(of_kind).collect::<Vec<_>>() }),
    }
}

/// A form, or any text with a variable in it.
fn or_variable(form: &str) -> String {
    format!("^({form})$|\\$\\{{")
}

const VARIABLE: &str = "#/$defs/variable";

/// The keys of a route that are methods.
const METHODS: &str = "^[A-Z][A-Z0-9_-]*( *, *[A-Z][A-Z0-9_-]*)*$";
