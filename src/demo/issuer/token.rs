//! The token endpoint (RFC 6749 §3.2): three grants.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::form::{Form, Refusal, secret_json};
use super::one_time::Taken;
use super::registry::{self, Client};
use super::{Code, Consent, Inner, LIFETIME, secret};
use crate::demo::loopback::Answer;

/// Answers `POST /token`.
pub(super) fn token(issuer: &Inner, headers: &HeaderMap, body: &[u8]) -> Answer {
    match grant(issuer, headers, body) {
        Ok(tokens) => secret_json(StatusCode::OK, &tokens),
        Err(refusal) => refusal.answer(),
    }
}

fn grant(issuer: &Inner, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if !kind.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded") {
        return Err(Refusal::InvalidRequest("send application/x-www-form-urlencoded"));
    }
    let form = Form::parse(body);
    let client = authenticate(headers, &form)?;
    issuer.check_resource(&form)?;
    match form.required("grant_type", "grant_type is missing")? {
        "authorization_code" => redeem(issuer, client, &form),
        "client_credentials" => for_itself(issuer, client, &form),
        "refresh_token" => refresh(issuer, client, &form),
        _ => Err(Refusal::UnsupportedGrantType),
    }
}

/// The client, by `Authorization: Basic` or by parameters (RFC 6749 §2.3.1), never by both.
fn authenticate(headers: &HeaderMap, form: &Form<'_>) -> Result<&'static Client, Refusal> {
    let in_form = (form.value("client_id")?, form.value("client_secret")?);
    let Some(field) = headers.get(AUTHORIZATION) else {
        let id = in_form.0.ok_or(Refusal::InvalidClient { basic: false })?;
        return known(id, in_form.1, false);
    };
    if in_form.1.is_some() {
        return Err(Refusal::InvalidRequest("the client authenticates in two ways"));
    }
    let (id, password) = basic(field.as_bytes()).ok_or(Refusal::InvalidClient { basic: true })?;
    if in_form.0.is_some_and(|other| other != id) {
        return Err(Refusal::InvalidRequest("two different client ids"));
    }
    known(&id, Some(&password), true)
}

fn known(id: &str, password: Option<&str>, basic: bool) -> Result<&'static Client, Refusal> {
    registry::client(id)
        .filter(|client| client.accepts(password))
        .ok_or(Refusal::InvalidClient { basic })
}

/// The user and password of `Basic`, each form-encoded before it was joined (RFC 6749 §2.3.1).
fn basic(field: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = std::str::from_utf8(field).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, password) = pair.split_once(':')?;
    Some((decoded(id), decoded(password)))
}

fn decoded(text: &str) -> String {
    let spaces = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
}

fn for_itself(issuer: &Inner, client: &Client, form: &Form<'_>) -> Result<Value, Refusal> {
    if client.secret.is_none() {
        // Whoever knows a public client's id would be that client (RFC 6749 §4.4).
        return Err(Refusal::UnauthorizedClient);
    }
    let scopes = client.grant(form.value("scope")?).ok_or(Refusal::InvalidScope)?;
    let token = issuer.access_token(client, None, &scopes).map_err(|_| Refusal::ServerError)?;
    Ok(answer(&token, &scopes, None))
}

/// Code for tokens (RFC 6749 §4.1.3). The code is spent before anything is compared, so that
/// nobody gets a second guess at the verifier.
fn redeem(issuer: &Inner, client: &Client, form: &Form<'_>) -> Result<Value, Refusal> {
    let code = form.required("code", "code is missing")?;
    let redirect = form.required("redirect_uri", "redirect_uri is missing")?;
    let verifier = form.required("code_verifier", "code_verifier is missing")?;
    let now = issuer.clock.now().unix;
    let mut grants = issuer.grants();
    let Code { consent, redirect: bound, challenge } = match grants.codes.take(code, now) {
        Taken::Fresh(code) => code,
        Taken::Spent(code) => {
            // RFC 6749 §4.1.2: what an earlier use gave should be revoked.
            grants.refreshes.forget(|other| other.family == code.consent.family);
            return Err(Refusal::InvalidGrant("the code was used before"));
        }
        Taken::Unknown => return Err(Refusal::InvalidGrant("the code is unknown or expired")),
    };
    drop(grants);
    if consent.client != client {
        return Err(Refusal::InvalidGrant("the code is another client's"));
    }
    if bound != redirect {
        return Err(Refusal::InvalidGrant("the redirect_uri is not the one of the request"));
    }
    if !secret::is_verifier(verifier) || !equal(&secret::challenge(verifier), &challenge) {
        return Err(Refusal::InvalidGrant("the code_verifier does not fit the code_challenge"));
    }
    let scopes = consent.scopes.clone();
    for_person(issuer, consent, &scopes)
}

/// Refresh token for tokens, with a new refresh token each time (RFC 9700 §4.14.2).
fn refresh(issuer: &Inner, client: &Client, form: &Form<'_>) -> Result<Value, Refusal> {
    let sent = form.required("refresh_token", "refresh_token is missing")?;
    let asked = form.value("scope")?;
    let now = issuer.clock.now().unix;
    let mut grants = issuer.grants();
    let consent = match grants.refreshes.take(sent, now) {
        Taken::Fresh(consent) => consent,
        Taken::Spent(consent) => {
            grants.refreshes.forget(|other| other.family == consent.family);
            return Err(Refusal::InvalidGrant("the refresh token was used before: sign in again"));
        }
        Taken::Unknown => {
            return Err(Refusal::InvalidGrant("the refresh token is unknown or expired"));
        }
    };
    drop(grants);
    if consent.client != client {
        return Err(Refusal::InvalidGrant("the refresh token is another client's"));
    }
    let scopes = narrowed(&consent.scopes, asked)?;
    for_person(issuer, consent, &scopes)
}

/// The scopes asked for, each of which must have been granted (RFC 6749 §6).
fn narrowed(granted: &[String], asked: Option<&str>) -> Result<Vec<String>, Refusal> {
    let Some(asked) = asked else { return Ok(granted.to_vec()) };
    let asked: Vec<String> = asked.split(' ').map(str::to_owned).collect();
    let all_granted = asked.iter().all(|scope| granted.contains(scope));
    all_granted.then_some(asked).ok_or(Refusal::InvalidScope)
}

fn for_person(issuer: &Inner, consent: Consent, scopes: &[String]) -> Result<Value, Refusal> {
    let person = Some((consent.person, consent.auth_time));
    let token = issuer.access_token(consent.client, person, scopes);
    let token = token.map_err(|_| Refusal::ServerError)?;
    let next = issuer.remember_refresh(consent)?;
    Ok(answer(&token, scopes, Some(&next)))
}

fn answer(token: &str, scopes: &[String], refresh: Option<&str>) -> Value {
    let mut answer = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": LIFETIME.as_secs(),
        "scope": scopes.join(" "),
    });
    if let Some(refresh) = refresh {
        answer["refresh_token"] = refresh.into();
    }
    answer
}

fn equal(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
