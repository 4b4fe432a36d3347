//! Where issuers tell of logouts (OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8).
//!
//! The one part of the gateway that strangers can write to: what they send is bounded in size and
//! rate, and nothing of it counts before the issuer's signature is verified.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, request};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::entry::{Entry, Source};
use super::key::{Key, Kind};
use super::order::Known;
use super::outcome::{NotEntered, TARGET};
use super::set::Revocations;
use crate::authenticate::{Issuer, Logout, LogoutFault, claimed_issuer};
use crate::clock::{Clock, Now};
use crate::config::{BackchannelLogout, Config};
use crate::limit::Flood;
use crate::rejection::Rejection;

/// The paths at which issuers tell of logouts.
#[derive(Debug, Default)]
pub struct Doors(Vec<Door>);

/// One issuer's.
#[derive(Debug)]
struct Door {
    issuer: Arc<Issuer>,
    settings: BackchannelLogout,
    /// How long its revocations last.
    lasts: Duration,
    flood: Flood,
    revocations: Arc<Revocations>,
}

/// The doors at one path; there is at least one.
#[derive(Debug)]
pub struct At<'d> {
    doors: &'d [Door],
    path: &'d str,
}

/// Why a request is not carried out.
enum Fault {
    /// 400, in the words of RFC 6749 §5.2, as Back-Channel Logout §2.8 wants it. The words are for
    /// the log alone.
    Bad(&'static str),
    /// 503: the issuer may try again.
    NotKept(NotEntered),
    /// As any request is refused.
    Refused(Rejection),
}

impl Doors {
    /// The doors that a configuration opens. `issuers` are its issuers.
    #[must_use]
    pub fn new(
        config: &Config,
        issuers: &[Arc<Issuer>],
        revocations: &Arc<Revocations>,
        clock: &Clock,
    ) -> Self {
        let known = Known::of(config);
        let doors = config.issuers.iter().filter_map(|written| {
            let issuer = issuers.iter().find(|issuer| **issuer.name() == *written.name.value)?;
            let settings = written.backchannel_logout.clone()?;
            Some(Door {
                issuer: Arc::clone(issuer),
                lasts: known.lasts(Some(&written.url)),
                flood: Flood::new(settings.rate, config.limits.callers, clock),
                settings,
                revocations: Arc::clone(revocations),
            })
        });
        Self(doors.collect())
    }

    /// The doors at a canonical path, if there are any.
    #[must_use]
    pub fn at<'d>(&'d self, path: &'d str) -> Option<At<'d>> {
        let is_here = |door: &Door| door.settings.path.value == path;
        self.0.iter().any(is_here).then_some(At { doors: &self.0, path })
    }

    /// Forgets addresses that have been quiet for long enough.
    pub fn forget_idle(&self) {
        self.0.iter().for_each(|door| door.flood.forget_idle());
    }
}

impl At<'_> {
    /// Answers one request from `client`.
    ///
    /// # Errors
    /// `MethodRefused`, `Flood`, `BodyTooLarge`, `MalformedRequest`, `AuthUnavailable`.
    pub async fn answer<B>(
        &self,
        head: &request::Parts,
        body: B,
        client: IpAddr,
        now: Now,
    ) -> Result<Response<Bytes>, Rejection>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        match self.process(head, body, client, now).await {
            Ok(()) => Ok(respond(StatusCode::OK, None)),
            Err(Fault::Refused(rejection)) => Err(rejection),
            Err(Fault::Bad(why)) => {
                tracing::warn!(target: TARGET, why, %client, path = self.path, "a logout was refused");
                self.here().for_each(|door| door.revocations.rejected_logout());
                Ok(respond(StatusCode::BAD_REQUEST, Some(BAD)))
            }
            Err(Fault::NotKept(why)) => {
                tracing::error!(target: TARGET, %why, path = self.path, "a logout cannot be kept");
                Ok(respond(StatusCode::SERVICE_UNAVAILABLE, Some(NOT_KEPT)))
            }
        }
    }

    async fn process<B>(
        &self,
        head: &request::Parts,
        body: B,
        client: IpAddr,
        now: Now,
    ) -> Result<(), Fault>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        if head.method != Method::POST {
            let allowed = HeaderValue::from_static("POST");
            return Err(Fault::Refused(Rejection::MethodRefused(allowed)));
        }
        self.here().try_for_each(|door| door.flood.take(client)).map_err(Fault::Refused)?;
        let body = whole(&head.headers, body).await?;
        let token = logout_token(&body)?;
        let claimed = claimed_issuer(&token).ok_or(Fault::Bad("it is not a JWT"))?;
        let door = self.here().find(|door| door.issuer.is_called(&claimed));
        door.ok_or(Fault::Bad("its issuer has no back-channel logout here"))?
            .carry_out(&token, now)
            .await
    }

    fn here(&self) -> impl Iterator<Item = &Door> {
        self.doors.iter().filter(|door| door.settings.path.value == self.path)
    }
}

impl Door {
    async fn carry_out(&self, token: &str, now: Now) -> Result<(), Fault> {
        let verified = self.issuer.verify_logout(token, &self.settings, now).await;
        let logout = verified.map_err(|fault| match fault {
            LogoutFault::Bad(why) => Fault::Bad(why),
            LogoutFault::Unknown(rejection) => Fault::Refused(rejection),
        })?;
        let entries = self.entries(&logout, now.unix);
        let revocations = Arc::clone(&self.revocations);
        // It waits for the disk, and goes on if the issuer does not.
        let entered = tokio::task::spawn_blocking(move || revocations.enter(entries)).await;
        match entered {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(NotEntered::Replayed)) => Err(Fault::Bad("it was used before")),
            Ok(Err(why)) => Err(Fault::NotKept(why)),
            // The thread was lost with whatever it did: nothing is known to be kept.
            Err(_) => Err(Fault::Refused(Rejection::Overloaded)),
        }
    }

    /// BL-05: `sid` ends that session, `sub` alone all of the subject's. Tokens that name no
    /// session end with any session of their subject: nobody can tell that they belong to another.
    fn entries(&self, logout: &Logout, now: Duration) -> Vec<Entry> {
        let entry = |kind, name: &str, issued_before, until: Duration| Entry {
            id: Key::of(kind, self.issuer.url(), name),
            issuer: Some(self.issuer.url().to_owned()),
            issued_before,
            until: until.as_secs() + 1,
            entered: now.as_secs(),
            source: Source::BackchannelLogout,
            by: self.issuer.name().to_string(),
            why: Some("logout".to_owned()),
        };
        // By the clock that dates the tokens, too; one of the same second may be older.
        let before = Some(logout.issued.as_secs() + 1);
        let until = now.saturating_add(self.lasts);
        let mut entries = vec![entry(Kind::Logout, &logout.jti, None, logout.ends)];
        match (&logout.session, &logout.subject) {
            (Some(session), subject) => {
                entries.push(entry(Kind::Session, session, None, until));
                let lone = subject.iter().map(|sub| entry(Kind::Sessionless, sub, before, until));
                entries.extend(lone);
            }
            (None, subject) => {
                entries.extend(subject.iter().map(|sub| entry(Kind::Subject, sub, before, until)));
            }
        }
        entries
    }
}

/// The body, if it is a form and no longer than any logout token's.
async fn whole<B>(headers: &HeaderMap, body: B) -> Result<Bytes, Fault>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Fault::Bad("the body is not a form"));
    }
    let reading = Box::pin(Limited::new(body, MOST_BYTES).collect());
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Fault::Refused(Rejection::BodyTooLarge(MOST_BYTES as u64)))
        }
        Ok(Err(_)) => Err(Fault::Bad("the body breaks off")),
        Err(_) => Err(Fault::Bad("the body is too slow")),
    }
}

/// The one `logout_token` of a form (§2.5).
fn logout_token(form: &[u8]) -> Result<String, Fault> {
    let mut tokens = form_urlencoded::parse(form).filter(|(name, _)| name == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Ok(token.into_owned()),
        (None, _) => Err(Fault::Bad("there is no logout_token")),
        (Some(_), Some(_)) => Err(Fault::Bad("there are two logout tokens")),
    }
}

/// BL-06.
fn respond(status: StatusCode, error: Option<&'static str>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(error.unwrap_or_default().as_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if error.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// Which check failed would help whoever forges logouts; the log has it.
const BAD: &str =
    r#"{"error":"invalid_request","error_description":"the logout token is not acceptable"}"#;

const NOT_KEPT: &str =
    r#"{"error":"temporarily_unavailable","error_description":"the logout cannot be kept"}"#;

/// A form with the longest token that real servers send, many times over.
const MOST_BYTES: usize = 32 << 10;

/// For the whole body.
const PATIENCE: Duration = Duration::from_secs(5);
