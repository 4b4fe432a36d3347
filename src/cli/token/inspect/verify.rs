//! Whether the gateway would take a token: asked of the gateway's own checks.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::{Decoded, printable};
use crate::authenticate::{Authenticator, Issuer, Verdicts, is_called};
use crate::cli::Global;
use crate::clock::Clock;
use crate::config::{self, Config, Introspected, Variables};
use crate::identity::{Caller, Kind};
use crate::record::metrics::Metrics;
use crate::revoke::Revocations;

/// What came of checking a token.
#[derive(Debug)]
pub(super) enum Verification {
    /// No configuration names its issuer.
    None,
    /// The keys could not be had.
    Unknown { issuer: String, why: String },
    /// The checks refuse it, for this reason.
    Refused { issuer: String, reason: &'static str },
    /// The checks take it.
    Good { issuer: String, kind: Kind, audience: Vec<String>, how: &'static str },
}

/// Checks `text` as a request's token would be, if the configuration names its issuer; returns the
/// issuer's settings, too.
///
/// # Errors
/// A sentence, if the configuration was asked for and cannot be used.
pub(super) async fn verify(
    global: &Global,
    text: &str,
    token: &Decoded,
    clock: &Clock,
) -> Result<(Verification, Option<config::Issuer>), String> {
    let Some(config) = configuration(global)? else { return Ok((Verification::None, None)) };
    let iss = token.claims.get("iss").and_then(serde_json::Value::as_str).unwrap_or_default();
    let Some(issuer) = config.issuers.iter().find(|issuer| is_called(issuer, iss)) else {
        return Ok((Verification::None, None));
    };
    let verification = check(&config, issuer, text, clock).await?;
    Ok((verification, Some(issuer.clone())))
}

async fn check(
    config: &Config,
    issuer: &config::Issuer,
    text: &str,
    clock: &Clock,
) -> Result<Verification, String> {
    let metrics = Metrics::default();
    let name = issuer.name.value.clone();
    let keys = Issuer::new(issuer, &config.identity_headers, clock, &metrics)
        .map_err(|problem| problem.message)?;
    let keys = Arc::new(keys);
    keys.start();
    let fetched = tokio::time::timeout(PATIENCE, keys.first_attempt()).await;
    let status = keys.status();
    if fetched.is_err() || !status.ready {
        let why = status.problem.unwrap_or_else(|| "its keys did not come in time".to_owned());
        return Ok(Verification::Unknown { issuer: name, why });
    }
    let verdicts = Arc::new(Verdicts::new(1, &metrics));
    // Whether a gateway refuses it before its time, that gateway alone knows.
    let revocations = Arc::new(Revocations::none(clock, &metrics));
    let authenticator = Authenticator::new(vec![keys], verdicts, revocations, config.limits.token);
    let mut headers = HeaderMap::new();
    let Ok(credentials) = HeaderValue::try_from(format!("Bearer {text}")) else {
        return Ok(Verification::Refused { issuer: name, reason: "malformed_request" });
    };
    headers.insert(AUTHORIZATION, credentials);
    Ok(match authenticator.identify(&headers, None, clock.now()).await {
        Ok(Caller::Bearer(identity)) => {
            let audience = issuer.audience.clone();
            Verification::Good { issuer: name, kind: identity.kind, audience, how: how(issuer) }
        }
        Ok(Caller::Anonymous) => Verification::Refused { issuer: name, reason: "missing_token" },
        Err(refusal) => Verification::Refused { issuer: name, reason: refusal.reason().as_str() },
    })
}

/// What was checked, in a sentence.
fn how(issuer: &config::Issuer) -> &'static str {
    match issuer.introspection.as_ref().map(|introspection| introspection.tokens) {
        None | Some(Introspected::Opaque | Introspected::Routes) => {
            "verified: signature, issuer, audience and time"
        }
        Some(Introspected::Always) => {
            "verified: signature, issuer, audience and time; its issuer calls it active"
        }
        Some(Introspected::Only) => "verified: its issuer calls it active; audience and time",
    }
}

/// The configuration; `None` if none was asked for and the default one is absent or faulty.
fn configuration(global: &Global) -> Result<Option<Config>, String> {
    let Some(path) = global.config_path() else { return Ok(None) };
    let loaded = match config::load(&path, &Variables::of_process()) {
        Ok(loaded) => loaded,
        Err(_) if global.config.is_none() => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    match loaded.config {
        Some(config) => Ok(Some(config)),
        None if global.config.is_none() => Ok(None),
        None => Err(format!("{} has errors: `scopegate check` shows them", path.display())),
    }
}

impl Verification {
    /// The issuer's name in the configuration.
    pub(super) fn issuer(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Unknown { issuer, .. }
            | Self::Refused { issuer, .. }
            | Self::Good { issuer, .. } => Some(issuer),
        }
    }

    /// Whom the token speaks for, by the issuer's preset.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Good { kind, .. } => Some(*kind),
            Self::None | Self::Unknown { .. } | Self::Refused { .. } => None,
        }
    }

    /// Whether the checks take it, if they could be made.
    pub(super) fn verdict(&self) -> Option<bool> {
        match self {
            Self::None | Self::Unknown { .. } => None,
            Self::Refused { .. } => Some(false),
            Self::Good { .. } => Some(true),
        }
    }

    /// The word for the refusal.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::None | Self::Unknown { .. } | Self::Good { .. } => None,
        }
    }

    /// Audiences that the gateway does not ask for: the token is good elsewhere too.
    pub(super) fn note(&self, audience: &[String]) -> Option<String> {
        let Self::Good { audience: ours, .. } = self else { return None };
        let others = audience.iter().filter(|name| !ours.contains(name));
        let others: Vec<String> = others.map(|name| format!("\"{name}\"")).collect();
        (!others.is_empty()).then(|| format!("note: aud also lists {}", others.join(", ")))
    }

    /// What came of it, in a sentence.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::None => {
                "not verified: the signature was not checked, so none of this is proved".to_owned()
            }
            Self::Unknown { issuer, why } => {
                format!("not verified: issuer {issuer}: {}", printable(why))
            }
            Self::Refused { reason, .. } => format!("refused: {reason}"),
            Self::Good { how, .. } => (*how).to_owned(),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
