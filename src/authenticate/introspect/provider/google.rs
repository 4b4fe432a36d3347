//! Google's `tokeninfo`, which answers whoever asks, about tokens of every app.

use form_urlencoded::Serializer;
use http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::copy;
use crate::authenticate::fetch::{FORM, Fault, Question};
use crate::authenticate::introspect::answer::Answer;

/// `POST /tokeninfo`: in a form, because URLs are logged on the way.
pub(super) fn question(endpoint: &str, token: &str) -> Question {
    let form = Serializer::new(String::new()).append_pair("access_token", token).finish();
    Question {
        method: Method::POST,
        url: endpoint.to_owned(),
        authorization: None,
        accept: "application/json",
        body: Some((FORM, form)),
        answers: &[StatusCode::BAD_REQUEST],
    }
}

/// Numbers and truth values are written as text.
pub(super) fn answer(status: StatusCode, members: &Map<String, Value>) -> Result<Answer, Fault> {
    if status != StatusCode::OK {
        let is_said = members.get("error").and_then(Value::as_str) == Some("invalid_token");
        return if is_said { Ok(Answer::Inactive) } else { Err(Fault::Status(status)) };
    }
    let exp = members.get("exp").and_then(number);
    let exp = exp.ok_or(Fault::Invalid("it does not say when the token ends"))?;
    let mut claims = Map::new();
    copy(&mut claims, members, &["access_type", "aud", "azp", "email", "hd", "scope", "sub"]);
    claims.insert("exp".to_owned(), exp.into());
    if let Some(presenter) = members.get("azp") {
        claims.insert("client_id".to_owned(), presenter.clone());
    }
    if let Some(is_verified) = members.get("email_verified").and_then(flag) {
        claims.insert("email_verified".to_owned(), is_verified.into());
    }
    Ok(Answer::Active(claims))
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn flag(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}
