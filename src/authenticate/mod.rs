//! From a bearer token to an identity.
//!
//! A request's way: [`bearer`] finds the token, [`verdicts`] may know it, else [`token`] takes it
//! apart, its `iss` chooses the [`issuer`], whose [`keyring`] has the key that must verify it;
//! [`claims`] says whether it is an access token for this API and valid now, and [`reading`] makes
//! an identity of it. Nothing that a token says is used before its signature is verified, except
//! for choosing whose keys to try.
//!
//! Apart from requests, [`refresh`] keeps keys fresh: [`fetch`], [`metadata`], [`keys`].

mod bearer;
mod claims;
mod fetch;
mod headers;
mod issuer;
mod json;
mod key_file;
mod key_set;
mod keyring;
mod keys;
mod kinds;
mod logout;
mod metadata;
mod presets;
mod reading;
mod refresh;
mod tally;
mod token;
mod verdicts;
mod watchers;

#[cfg(test)]
mod tests;

pub use issuer::{Issuer, IssuerStatus};
pub use logout::{Logout, LogoutFault, claimed_issuer};
pub use presets::preset_names;
pub use verdicts::Verdicts;

use std::sync::Arc;

use http::HeaderMap;

use self::token::Jws;
use self::verdicts::{TokenHash, Verdict};
use crate::clock::Now;
use crate::identity::{Caller, Identity};
use crate::rejection::{Rejection, TokenFault};
use crate::revoke::Revocations;

/// Verifies tokens for one policy.
#[derive(Debug)]
pub struct Authenticator {
    issuers: Vec<Arc<Issuer>>,
    verdicts: Arc<Verdicts>,
    revocations: Arc<Revocations>,
    token_limit: usize,
}

impl Authenticator {
    /// An authenticator for these issuers. `token_limit` is in bytes. `verdicts` and `revocations`
    /// outlive policies.
    #[must_use]
    pub fn new(
        issuers: Vec<Arc<Issuer>>,
        verdicts: Arc<Verdicts>,
        revocations: Arc<Revocations>,
        token_limit: usize,
    ) -> Self {
        Self { issuers, verdicts, revocations, token_limit }
    }

    /// Finds out who calls.
    ///
    /// # Errors
    /// `MissingToken`, `MalformedCredentials`, `TwoTokens`, `TokenInQuery`, `RequestTooLarge`,
    /// `Token`, or `AuthUnavailable`.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        now: Now,
    ) -> Result<Caller, Rejection> {
        let credentials = bearer::credentials(headers, query, self.token_limit)?;
        let hash = verdicts::hash_of(credentials.bytes());
        let (identity, issuer) = match self.verdicts.recall(&hash, &self.issuers, now) {
            Some(known) => known?,
            None => self.verify(credentials.token()?, hash, now).await?,
        };
        // TX-01: asked of every token, remembered or not.
        if self.revocations.refuses(&hash, &identity.marks, now.unix) {
            return Err(issuer.tally().refuse(TokenFault::Revoked));
        }
        issuer.tally().accept();
        Ok(Caller::Bearer(identity))
    }

    /// The issuers, in the order of the configuration.
    #[must_use]
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// Verifies a token that is not known, counts it if it is refused, and remembers a good one.
    async fn verify(
        &self,
        token: &str,
        hash: TokenHash,
        now: Now,
    ) -> Result<(Arc<Identity>, &Issuer), Rejection> {
        let (jws, issuer) =
            self.assign(token).map_err(|fault| self.verdicts.unassigned.refuse(fault))?;
        match issuer.verify(jws, now).await {
            Ok((identity, generation)) => {
                let identity = Arc::new(identity);
                let kept = Arc::clone(&identity);
                let verdict = Verdict { identity: kept, issuer: issuer.id(), generation };
                self.verdicts.remember(hash, verdict);
                Ok((identity, issuer))
            }
            Err(Rejection::Token(fault)) => Err(issuer.tally().refuse(fault)),
            Err(rejection) => Err(rejection),
        }
    }

    /// Takes a token apart and finds the issuer that it names, compared byte for byte (RFC 9068
    /// §4). No other issuer is tried.
    fn assign<'t>(&self, token: &'t str) -> Result<(Jws<'t>, &Issuer), TokenFault> {
        let jws = Jws::parse(token)?;
        let url = jws.claimed_issuer()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.url() == url);
        Ok((jws, issuer.ok_or(TokenFault::UnknownIssuer)?))
    }
}
