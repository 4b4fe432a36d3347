//! GitHub's check of a token by the OAuth app that it was made for.

use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{copy, id};
use crate::authenticate::fetch::{Fault, Question};
use crate::authenticate::introspect::answer::Answer;

/// `POST /applications/{client_id}/token`, by the app itself.
pub(super) fn question(endpoint: &str, credentials: &HeaderValue, token: &str) -> Question {
    Question {
        method: Method::POST,
        url: endpoint.to_owned(),
        authorization: Some(credentials.clone()),
        accept: "application/vnd.github+json",
        body: Some(("application/json", json!({ "access_token": token }).to_string())),
        answers: &[StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY],
    }
}

/// The answer echoes the token, so only what is needed of it is taken.
pub(super) fn answer(status: StatusCode, members: &Map<String, Value>) -> Result<Answer, Fault> {
    if status != StatusCode::OK {
        // A page of something else at that address is no word of GitHub's.
        let is_said = members.get("message").is_some_and(Value::is_string);
        return if is_said { Ok(Answer::Inactive) } else { Err(Fault::Status(status)) };
    }
    let app = members.get("app").and_then(|app| app.get("client_id")).and_then(Value::as_str);
    let app = app.ok_or(Fault::Invalid("it names no app"))?;
    let mut claims = Map::new();
    claims.insert("aud".to_owned(), app.into());
    claims.insert("client_id".to_owned(), app.into());
    if let Some(scopes) = members.get("scopes").filter(|scopes| scopes.is_array()) {
        claims.insert("scope".to_owned(), scopes.clone());
    }
    for (name, claim) in [("created_at", "iat"), ("expires_at", "exp")] {
        if let Some(moment) = moment(members.get(name))? {
            claims.insert(claim.to_owned(), moment.into());
        }
    }
    if let Some(Value::Object(user)) = members.get("user") {
        // The number stays; the login changes hands.
        if let Some(id) = id(user.get("id")) {
            claims.insert("sub".to_owned(), id.into());
        }
        copy(&mut claims, user, &["login", "type"]);
    }
    Ok(Answer::Active(claims))
}

/// Seconds since 1970; `None` for null, which is never.
fn moment(value: Option<&Value>) -> Result<Option<u64>, Fault> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let time = value.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let seconds = time.and_then(|time| u64::try_from(time.unix_timestamp()).ok());
    seconds.map(Some).ok_or(Fault::Invalid("it has a date that is none"))
}
