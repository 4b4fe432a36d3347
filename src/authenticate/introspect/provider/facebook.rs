//! Facebook's `debug_token`.

use form_urlencoded::Serializer;
use http::Method;
use serde_json::{Map, Value};

use super::{copy, id};
use crate::authenticate::fetch::{Fault, Question};
use crate::authenticate::introspect::answer::Answer;
use crate::config::Secret;

/// `GET /debug_token` with an app token, which is id and secret with a bar between. The query holds
/// both secrets: nothing that fails may quote the URL.
pub(super) fn question(endpoint: &str, app: &str, secret: &Secret, token: &str) -> Question {
    let query = Serializer::new(String::new())
        .append_pair("input_token", token)
        .append_pair("access_token", &format!("{app}|{}", secret.reveal()))
        .finish();
    Question {
        method: Method::GET,
        url: format!("{endpoint}?{query}"),
        authorization: None,
        accept: "application/json",
        body: None,
        answers: &[],
    }
}

pub(super) fn answer(mut members: Map<String, Value>) -> Result<Answer, Fault> {
    let Some(Value::Object(data)) = members.remove("data") else {
        return Err(Fault::Invalid("it has no `data`"));
    };
    match data.get("is_valid") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Answer::Inactive),
        Some(_) | None => return Err(Fault::Invalid("`is_valid` is neither true nor false")),
    }
    let app = id(data.get("app_id")).ok_or(Fault::Invalid("it names no app"))?;
    let mut claims = Map::new();
    claims.insert("aud".to_owned(), app.clone().into());
    claims.insert("client_id".to_owned(), app.into());
    if let Some(user) = id(data.get("user_id")) {
        claims.insert("sub".to_owned(), user.into());
    }
    copy(&mut claims, &data, &["type"]);
    for (name, claim) in [("scopes", "scope"), ("issued_at", "iat"), ("expires_at", "exp")] {
        if let Some(value) = data.get(name).filter(|value| !value.is_null()) {
            claims.insert(claim.to_owned(), value.clone());
        }
    }
    // Never.
    if claims.get("exp").and_then(Value::as_u64) == Some(0) {
        claims.remove("exp");
    }
    Ok(Answer::Active(claims))
}
