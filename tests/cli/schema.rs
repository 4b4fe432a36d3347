//! `scopegate schema`: what editors check a file with, so it must agree with the gateway.

use serde_json::Value;

use super::run;
use crate::harness::markdown::{Block, blocks, documents, folder, root};

/// Whatever the gateway takes, the schema takes.
#[test]
fn every_example_and_document_fits_the_schema() {
    let schema = schema();
    let mut files = folder(&root().join("examples"), "yaml");
    files.push(root().join("gateway.yaml"));
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert_fits(&schema, &text, &file.display().to_string());
    }
    let whole = |block: &Block| block.language == "yaml" && !block.text.starts_with("# fragment");
    for block in documents().iter().flat_map(|path| blocks(path)).filter(whole) {
        assert_fits(&schema, &block.text, &block.at);
    }
}

/// And what it does not take, an editor underlines.
#[test]
fn mistakes_do_not_fit_the_schema() {
    let schema = schema();
    let good = std::fs::read_to_string(root().join("examples/minimal.yaml")).unwrap();
    for (right, wrong) in [
        ("upstream:", "upstreem:"),
        ("GET: orders:read", "get: orders:read"),
        ("GET: orders:read", "GET: [orders:read, orders:admin]"),
        ("GET: orders:read", "timeout: 30"),
        ("public: true", "public: yes"),
        ("role: admin", "roles: admin"),
        ("routes:", "rotues:"),
    ] {
        assert!(good.contains(right), "{right}");
        let yaml: Value = serde_yaml::from_str(&good.replacen(right, wrong, 1)).unwrap();
        assert!(fits(&schema, &schema, &yaml).is_err(), "{wrong}");
    }
}

fn schema() -> Value {
    let empty = tempfile::tempdir().unwrap();
    let ran = run(empty.path(), &["schema"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let schema: Value = serde_json::from_str(&ran.stdout).expect("the schema is JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    schema
}

#[track_caller]
fn assert_fits(schema: &Value, text: &str, name: &str) {
    let yaml: Value = serde_yaml::from_str(text).unwrap();
    if let Err(why) = fits(schema, schema, &yaml) {
        panic!("{name}: {why}");
    }
}

type Fits = Result<(), String>;

/// The part of JSON Schema that the schema uses; of its patterns, the variable's alone.
fn fits(root: &Value, schema: &Value, value: &Value) -> Fits {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        return fits(root, root.pointer(pointer).expect(reference), value);
    }
    if !of_type(&schema["type"], value) {
        return Err(format!("{value} is not of type {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    let is_variable = || value.as_str().is_some_and(|text| text.contains("${"));
    if schema["pattern"] == "\\$\\{" && !is_variable() {
        return Err(format!("{value} has no variable"));
    }
    for choice in ["anyOf", "oneOf"] {
        one_of(root, &schema[choice], value)?;
    }
    for item in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        fits(root, &schema["items"], item)?;
    }
    object(root, schema, value)
}

fn of_type(types: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap_or_default() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("the type {other:?} is not known here"),
    };
    match types {
        Value::Null => true,
        Value::Array(types) => types.iter().any(is),
        one => is(one),
    }
}

fn one_of(root: &Value, choices: &Value, value: &Value) -> Fits {
    let Some(choices) = choices.as_array() else { return Ok(()) };
    let tried: Vec<_> = choices.iter().map(|choice| fits(root, choice, value)).collect();
    if tried.iter().any(Result::is_ok) {
        return Ok(());
    }
    let why: Vec<_> = tried.into_iter().filter_map(Result::err).collect();
    Err(why.join(", and "))
}

fn object(root: &Value, schema: &Value, value: &Value) -> Fits {
    let Some(members) = value.as_object() else { return Ok(()) };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !members.contains_key(required.as_str().expect("a name")) {
            return Err(format!("{required} is missing"));
        }
    }
    let is_mapping = schema["properties"].is_object() || !schema["additionalProperties"].is_null();
    for (name, member) in members.iter().filter(|_| is_mapping) {
        let own = &schema["properties"][name];
        let methods = schema["patternProperties"].as_object().and_then(|all| all.values().next());
        match (own, methods.filter(|_| are_methods(name)), &schema["additionalProperties"]) {
            (Value::Object(_), _, _) => fits(root, own, member),
            (_, Some(rule), _) => fits(root, rule, member),
            (_, None, Value::Bool(false)) => Err("no such key".to_owned()),
            (_, None, other) => fits(root, other, member),
        }
        .map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

fn are_methods(key: &str) -> bool {
    let is_method = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
    key.split(',').all(|word| is_method(word.trim()))
}
