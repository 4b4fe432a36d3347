//! What the endpoint answers (RFC 7662 §2.2).

use serde_json::{Map, Value};

use crate::authenticate::fetch::Fault;
use crate::authenticate::json;

/// What an issuer says of a token.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// It is good, and this is what it stands for.
    Active(Map<String, Value>),
    /// It is not.
    Inactive,
    /// It is good, and was made for another app than the one that the gateway accepts.
    OfAnother,
}

impl Answer {
    /// Reads an answer. What is not one tells nothing, neither good nor bad.
    pub(super) fn read(body: &[u8]) -> Result<Self, Fault> {
        let members = json::object(body).ok_or(Fault::Invalid("it is not a JSON object"))?;
        Self::of(members)
    }

    /// The answer that these members are. `active` is a JSON boolean: text, numbers and null are
    /// somebody else's idea of one.
    pub(super) fn of(mut members: Map<String, Value>) -> Result<Self, Fault> {
        match members.remove("active") {
            Some(Value::Bool(true)) => Ok(Self::Active(members)),
            Some(Value::Bool(false)) => Ok(Self::Inactive),
            Some(_) | None => Err(Fault::Invalid("`active` is neither true nor false")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IN-03
    #[test]
    fn only_true_is_active() {
        let active = Answer::read(br#"{"active":true,"sub":"a"}"#).unwrap();
        let Answer::Active(claims) = active else { panic!("not active") };
        assert_eq!(Value::Object(claims).to_string(), r#"{"sub":"a"}"#);
        assert_eq!(Answer::read(br#"{"active":false,"sub":"a"}"#), Ok(Answer::Inactive));
        for body in [
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"{"active":"false"}"#,
            r#"{"active":[true]}"#,
            r#"{"Active":true}"#,
            r#"{"active":false,"active":true}"#,
            "{}",
            "true",
            "[]",
            "",
            "<html></html>",
        ] {
            assert!(matches!(Answer::read(body.as_bytes()), Err(Fault::Invalid(_))), "{body}");
        }
    }
}
