//! The authorization endpoint: a person signs in and lets a client act for her (RFC 6749 §4.1).

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::form::{Form, Refusal};
use super::registry::{self, ALICE, Client};
use super::{Code, Consent, Inner, secret};
use crate::demo::loopback::Answer;

/// Answers `GET /authorize?query`: a page with one button, or for `prompt=none&login_hint=alice`
/// (which is what the button says) the redirect with a code.
pub(super) fn authorize(issuer: &Inner, query: &str) -> Answer {
    let form = Form::parse(query.as_bytes());
    // Nothing is sent to an address that has not been checked (RFC 6749 §4.1.2.1).
    let (client, redirect) = match destination(&form) {
        Ok(found) => found,
        Err(why) => return page(StatusCode::BAD_REQUEST, &format!("<p>{why}.</p>")),
    };
    match decide(issuer, client, redirect, &form) {
        Ok(Decision::Ask { scopes }) => page(StatusCode::OK, &question(client, &scopes, &form)),
        Ok(Decision::Granted { code }) => go_back(issuer, redirect, &form, &[("code", &code)]),
        Err(refusal) => {
            let error = [("error", refusal.code()), ("error_description", refusal.description())];
            go_back(issuer, redirect, &form, &error)
        }
    }
}

enum Decision {
    Ask { scopes: Vec<String> },
    Granted { code: String },
}

fn destination<'f>(form: &'f Form<'_>) -> Result<(&'static Client, &'f str), &'static str> {
    let id = form.required("client_id", "client_id is missing").map_err(Refusal::description)?;
    let client = registry::client(id).ok_or("no client has this client_id")?;
    let redirect =
        form.required("redirect_uri", "redirect_uri is missing").map_err(Refusal::description)?;
    if !client.redirects_to(redirect) {
        return Err("this redirect_uri is not one of the client's");
    }
    Ok((client, redirect))
}

fn decide(
    issuer: &Inner,
    client: &'static Client,
    redirect: &str,
    form: &Form<'_>,
) -> Result<Decision, Refusal> {
    form.value("state")?;
    if form.required("response_type", "response_type is missing")? != "code" {
        return Err(Refusal::UnsupportedResponseType);
    }
    issuer.check_resource(form)?;
    let challenge = challenge(form)?;
    let scopes = client.grant(form.value("scope")?).ok_or(Refusal::InvalidScope)?;
    if form.value("prompt")? != Some("none") {
        return Ok(Decision::Ask { scopes });
    }
    let person = form.value("login_hint")?.and_then(registry::person);
    let person = person.ok_or(Refusal::LoginRequired)?;
    let auth_time = issuer.clock.now().unix;
    let consent = Consent { client, person, scopes, auth_time, family: issuer.family() };
    let code = Code { consent, redirect: redirect.to_owned(), challenge: challenge.to_owned() };
    Ok(Decision::Granted { code: issuer.remember(code)? })
}

/// PKCE with S256, always (RFC 9700 §2.1.1).
fn challenge<'f>(form: &'f Form<'_>) -> Result<&'f str, Refusal> {
    let challenge = form.required("code_challenge", "code_challenge is missing: PKCE is needed")?;
    if form.value("code_challenge_method")? != Some("S256") {
        return Err(Refusal::InvalidRequest("code_challenge_method must be S256"));
    }
    if challenge.len() != secret::ENCODED || !challenge.bytes().all(secret::is_base64url) {
        return Err(Refusal::InvalidRequest("code_challenge is not a SHA-256 in base64url"));
    }
    Ok(challenge)
}

/// The redirect to the client, with `state` as it came and `iss` (RFC 9207).
fn go_back(issuer: &Inner, redirect: &str, form: &Form<'_>, result: &[(&str, &str)]) -> Answer {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(result);
    if let Ok(Some(state)) = form.value("state") {
        query.append_pair("state", state);
    }
    query.append_pair("iss", &issuer.url);
    let target = format!("{redirect}?{}", query.finish());
    let Ok(target) = HeaderValue::try_from(target) else {
        return page(StatusCode::BAD_REQUEST, "<p>the redirect_uri cannot be sent.</p>");
    };
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    answer.headers_mut().insert(LOCATION, target);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}

fn question(client: &Client, scopes: &[String], form: &Form<'_>) -> String {
    let mut query = form.without(&["prompt", "login_hint"]);
    query.append_pair("prompt", "none").append_pair("login_hint", ALICE);
    // The encoding leaves `&` as the only character that means something in HTML.
    let link = query.finish().replace('&', "&amp;");
    let scopes = scopes.join(", ");
    format!(
        "<p><b>{}</b> asks for: {scopes}</p><p><a href=\"/authorize?{link}\">Continue as {ALICE}</a></p>",
        client.id
    )
}

/// A page made of our own words: nothing of a request is put into it but what `question` encodes.
fn page(status: StatusCode, content: &str) -> Answer {
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Scopegate demo issuer</title>\
         <style>{STYLE}</style><h1>Scopegate demo issuer</h1>{content}\
         <p>Made for trying things out on this machine: no password is asked for.</p></html>"
    );
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const CONTENT_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;\
                     color-scheme:light dark}a{display:inline-block;padding:.5rem 1rem;border:1px solid;\
                     border-radius:.4rem;text-decoration:none}";
