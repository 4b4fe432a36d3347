//! From a bearer token to an identity.
//!
//! A request's way: [`bearer`] finds the token, [`verdicts`] may know it, else [`token`] takes it
//! apart, its `iss` chooses the [`issuer`], whose [`keyring`] has the key that must verify it;
//! [`claims`] says whether it is an access token for this API and valid now, and [`reading`] makes
//! an identity of it. Nothing that a token says is used before its signature is verified, except
//! for choosing whose keys to try.
//!
//! A token that is opaque, or whose issuer or route wants it so, is shown to its issuer, which says
//! what it stands for: [`mod@introspect`].
//!
//! Apart from requests, [`refresh`] keeps keys fresh: [`fetch`], [`metadata`], [`keys`].

mod account;
mod bearer;
mod claims;
pub(crate) mod fetch;
mod headers;
mod introspect;
mod issuer;
mod json;
mod key_file;
mod key_set;
mod keyring;
mod keys;
mod kinds;
mod lease;
mod logout;
mod metadata;
mod names;
mod presets;
mod published;
mod reading;
mod refresh;
mod tally;
mod token;
mod turnstile;
mod values;
mod verdicts;
mod watchers;

#[cfg(test)]
mod tests;

pub use account::{Account, Field, account, is_called};
pub use issuer::{Issuer, IssuerStatus};
pub(crate) use lease::Lease;
pub use logout::{Logout, LogoutFault, claimed_issuer};
pub use presets::preset_names;
pub use published::{Published, published};
pub use verdicts::Verdicts;

use std::sync::Arc;

use http::HeaderMap;

use self::introspect::{Question, introspect};
use self::token::Jws;
use self::verdicts::{Good, Ground, TokenHash, Verdict};
use crate::clock::Now;
use crate::identity::{Caller, Identity};
use crate::rejection::{Rejection, TokenFault};
use crate::revoke::{Revocations, Spellings};

/// How closely a route wants tokens looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrutiny {
    /// As their issuer is configured.
    Usual,
    /// Their issuer is asked about each (RFC 7662), JWTs too; tokens of issuers that cannot be
    /// asked are refused.
    Introspect,
}

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

    /// Finds out who calls, with the usual scrutiny.
    ///
    /// # Errors
    /// As [`identify_with`](Self::identify_with).
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        now: Now,
    ) -> Result<Caller, Rejection> {
        self.identify_with(Scrutiny::Usual, headers, query, now).await
    }

    /// Finds out who calls.
    ///
    /// # Errors
    /// `MissingToken`, `MalformedCredentials`, `TwoTokens`, `TokenInQuery`, `RequestTooLarge`,
    /// `Token`, or `AuthUnavailable`.
    pub async fn identify_with(
        &self,
        scrutiny: Scrutiny,
        headers: &HeaderMap,
        query: Option<&str>,
        now: Now,
    ) -> Result<Caller, Rejection> {
        let credentials = bearer::credentials(headers, query, self.token_limit)?;
        let hash = self.verdicts.hash_of(credentials.bytes());
        let good = match self.verdicts.recall(&hash, &self.issuers, now) {
            Some(known) => known?,
            // Boxed, for it is seldom: the way of a known token holds and moves nothing of it.
            None => Box::pin(self.verify(credentials.token()?, hash, now)).await?,
        };
        // TX-01: asked of every token, remembered or not.
        let token = || Spellings::of(credentials.bytes());
        let marks = || good.issuer.marks(&good.identity);
        if self.revocations.refuses(token, marks, now.unix) {
            return Err(good.issuer.tally().refuse(TokenFault::Revoked));
        }
        if !good.is_answered && good.issuer.wants_answer(scrutiny) {
            let local = Some(&good.identity);
            let question = Question { token: credentials.token()?, hash, local };
            Box::pin(self.ask(good.issuer, question, now)).await?;
        }
        good.issuer.tally().accept();
        Ok(Caller::Bearer(good.identity))
    }

    /// The issuers, in the order of the configuration.
    #[must_use]
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// Verifies a token that is not known, counts a refusal, and remembers a good one.
    async fn verify(&self, token: &str, hash: TokenHash, now: Now) -> Result<Good<'_>, Rejection> {
        let (jws, issuer) =
            self.assign(token).map_err(|fault| self.verdicts.unassigned.refuse(fault))?;
        let Some(jws) = jws else {
            let identity = self.ask(issuer, Question { token, hash, local: None }, now).await?;
            return Ok(Good { identity, issuer, is_answered: true });
        };
        match issuer.verify(jws, now, &self.verdicts.turnstile).await {
            Ok((identity, generation)) => {
                let identity = Arc::new(identity);
                let (kept, ground) = (Arc::clone(&identity), Ground::Keys(generation));
                let verdict = Verdict { identity: kept, issuer: issuer.id(), ground };
                self.verdicts.remember(hash, verdict);
                Ok(Good { identity, issuer, is_answered: false })
            }
            Err(rejection) => Err(counted(issuer, rejection)),
        }
    }

    /// Asks an issuer about a token, and counts a refusal.
    async fn ask(
        &self,
        issuer: &Arc<Issuer>,
        question: Question<'_>,
        now: Now,
    ) -> Result<Arc<Identity>, Rejection> {
        let answer = introspect(issuer, question, &self.verdicts, now).await;
        answer.map_err(|rejection| counted(issuer, rejection))
    }

    /// Finds the issuer that a token names, compared byte for byte (RFC 9068 §4) with the
    /// spellings configured, or the one that knows opaque tokens. No other issuer is tried. The token is taken apart if its issuer's keys
    /// can verify it.
    fn assign<'t>(&self, token: &'t str) -> Result<(Option<Jws<'t>>, &Arc<Issuer>), TokenFault> {
        if !token::is_jose(token) {
            let mut takers = self.issuers.iter().filter(|issuer| issuer.takes_opaque());
            return Ok((None, takers.next().ok_or(TokenFault::Malformed)?));
        }
        let jws = Jws::parse(token)?;
        let url = jws.claimed_issuer()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.is_called(url));
        let issuer = issuer.ok_or(TokenFault::UnknownIssuer)?;
        Ok((Some(jws).filter(|_| issuer.verifies()), issuer))
    }
}

/// Counts a refusal that is about the token.
fn counted(issuer: &Issuer, rejection: Rejection) -> Rejection {
    if let Rejection::Token(fault) = rejection {
        return issuer.tally().refuse(fault);
    }
    rejection
}
