//! JSON objects in which no member is named twice.
//!
//! RFC 7519 §4 leaves it to the parser whether a duplicate is an error or the last one wins. Where
//! two parsers choose differently, a token says one thing to the gateway and another to the
//! backend, so a duplicate is an error here, at any depth.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a JSON object. `None` for anything else: other values, duplicate members, a byte order
/// mark, other encodings than UTF-8, numbers out of range, nesting deeper than 128 levels.
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes).ok()? {
        Unique(Value::Object(members)) => Some(members),
        Unique(_) => None,
    }
}

/// The text of one member of a JSON object; the first if there are several. `None` if the bytes are
/// no JSON object, or the member is no text; `Some(None)` if there is no such member.
pub(super) fn member<'b>(bytes: &'b [u8], name: &str) -> Option<Option<Cow<'b, str>>> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let found = deserializer.deserialize_map(One { name }).ok()?;
    deserializer.end().ok()?;
    Some(found)
}

/// Reads one member and passes over the others.
struct One<'n> {
    name: &'n str,
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(name)) = members.next_key()? {
            if name == self.name && found.is_none() {
                found = Some(members.next_value::<Text<'de>>()?.0);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Text, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'b>(#[serde(borrow)] Cow<'b, str>);

/// A value without duplicate members.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Unique)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let Unique(value) = members.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::{member, object};

    #[test]
    fn a_member_is_found_without_reading_the_rest() {
        let iss =
            |text: &'static str| member(text.as_bytes(), "iss").map(|iss| iss.map(String::from));
        assert_eq!(iss(r#"{"a":{"iss":1},"\u0069ss":"x\u00e6","b":[]}"#), Some(Some("xæ".into())));
        assert_eq!(iss(r#"{"a":1}"#), Some(None));
        for text in [
            r#"{"iss":1}"#,
            r#"{"iss":null}"#,
            r#"["iss"]"#,
            r#"{"iss":"x"} x"#,
            r#"{"iss":"x""#,
            "",
        ] {
            assert_eq!(iss(text), None, "{text}");
        }
    }

    #[test]
    fn an_object_is_read_with_all_kinds_of_values() {
        let text = r#"{"a":null,"b":[true,-1,18446744073709551615,1.5,"\u00e6"],"c":{"d":""}}"#;
        let members = object(text.as_bytes()).unwrap();
        assert_eq!(serde_json::Value::Object(members).to_string(), text.replace("\\u00e6", "æ"));
    }

    /// JT-12
    #[test]
    fn a_member_named_twice_is_refused_at_any_depth_and_in_any_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[[{"a":1,"b":2,"a":null}]]}"#,
        ] {
            assert!(object(text.as_bytes()).is_none(), "{text}");
        }
    }

    /// JT-15
    #[test]
    fn what_is_not_a_utf8_object_is_refused() {
        let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for bytes in [
            b"[]".as_slice(),
            br#""x""#,
            b"null",
            b"1",
            b"",
            b"{} x",
            b"{}{}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":1e400}",
            b"{\"a\":NaN}",
            &utf16,
            deep.as_bytes(),
        ] {
            assert!(
                object(bytes).is_none(),
                "{}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(20)])
            );
        }
    }
}
