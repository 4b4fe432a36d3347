//! What issuers publish, fetched once and at once, for people who check a configuration.

use std::sync::Arc;

use super::fetch::{Fault, Fetcher};
use super::issuer::Issuer;
use super::metadata;
use super::refresh::{Failure, Place, Step};
use crate::clock::Clock;
use crate::config::{self, Problem};
use crate::record::metrics::Metrics;

/// What an issuer publishes of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// `scopes_supported` (RFC 8414 §2). Default `None`: it is not published, or no metadata is
    /// read.
    pub scopes: Option<Vec<String>>,
}

/// Fetches the metadata and the keys of the issuer with these settings, as serving does, and reads
/// its files.
///
/// # Errors
/// E041 if metadata or keys cannot be fetched or used, E042 or E043 if a file cannot.
pub async fn published(config: &config::Issuer, clock: &Clock) -> Result<Published, Problem> {
    let issuer = Arc::new(Issuer::new(config, &[], clock, &Metrics::default())?);
    let Some(place) = issuer.place() else { return Ok(Published::default()) };
    let refresher = issuer.refresher(place.clone());
    refresher.attempt().await.map_err(|failure| unusable(config, &failure))?;
    if issuer.introspector().is_some_and(|introspector| !introspector.is_placed()) {
        return Err(no_endpoint(config));
    }
    let scopes = match place {
        Place::Metadata(urls) => scopes(config, &urls, &refresher.fetcher).await,
        Place::Keys(_) => None,
    };
    Ok(Published { scopes })
}

async fn scopes(
    config: &config::Issuer,
    urls: &[String],
    fetcher: &Fetcher,
) -> Option<Vec<String>> {
    for url in urls {
        if let Ok(document) = fetcher.get(url).await {
            return metadata::scopes_supported(&document.body, &config.url);
        }
    }
    None
}

fn unusable(config: &config::Issuer, failure: &Failure) -> Problem {
    let what = match failure.step {
        Step::Discovery => "metadata",
        Step::Keys => "key set",
    };
    if let Fault::OtherIssuer(name) = &failure.fault {
        return Problem::new("E041", config.url.at, "issuer URL and the server's own name differ")
            .label(format!("server says `{name}`"))
            .help("the trailing `/` matters: copy the server's value");
    }
    let message = format!("the {what} of issuer `{}` {}", *config.name, failure.fault);
    Problem::new("E041", config.url.at, message)
        .label("its tokens would be answered with 503")
        .help("is the URL right, and can this machine reach it?")
}

fn no_endpoint(config: &config::Issuer) -> Problem {
    let message =
        format!("the metadata of issuer `{}` names no introspection endpoint", *config.name);
    Problem::new("E041", config.url.at, message)
        .label("its opaque tokens would be answered with 503")
        .help("write the endpoint's URL: `introspection: https://...`")
}
