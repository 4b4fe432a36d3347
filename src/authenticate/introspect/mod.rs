//! Asking an issuer whether a token is active, and what it stands for (RFC 7662).
//!
//! A question's way: [`results`] may know the answer; [`flights`] lets all who ask about one token
//! wait for one call; [`gate`] bounds the calls under way and stops them while the issuer fails;
//! [`credentials`] says who asks; [`answer`] and [`signed`] read what comes back; [`judge`] checks
//! it as a JWT's claims are checked. Providers that know nothing of RFC 7662 are asked as
//! [`provider`] says. Calls run apart from requests: a client that goes away takes
//! no answer with it.

mod answer;
mod asked;
mod assertion;
mod credentials;
mod flights;
mod gate;
mod judge;
mod provider;
mod results;
mod signed;

pub(super) use asked::{needs_keys, needs_nothing};
pub(super) use results::Until;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tracing::{debug, info, warn};

use self::answer::Answer;
use self::credentials::Credentials;
use self::flights::{Flights, Outcome};
use self::gate::{Gate, Turn};
use self::provider::Adapter;
use self::results::Results;
use super::fetch::{Document, Fault, Fetcher};
use super::issuer::Issuer;
use super::verdicts::{Ground, TokenHash, Verdict, Verdicts};
use super::watchers::Requests;
use crate::clock::{Clock, Now};
use crate::config::{self, Problem};
use crate::identity::Identity;
use crate::record::metrics::Metrics;
use crate::rejection::{Rejection, TokenFault};

/// What asks one issuer about tokens.
#[derive(Debug)]
pub(super) struct Introspector {
    settings: config::Introspection,
    endpoint: Arc<Endpoint>,
    way: Way,
    fetcher: Fetcher,
    gate: Arc<Gate>,
    flights: Flights,
    results: Results,
    requests: Requests,
    /// Why the last question was not answered, for the log.
    problem: Mutex<Option<Fault>>,
    /// Where calls run: not where requests do, whose runtimes may end before an answer comes.
    home: OnceLock<Handle>,
    clock: Clock,
}

/// In whose words to ask.
#[derive(Debug)]
enum Way {
    /// RFC 7662's.
    Standard(Credentials),
    /// A provider's own.
    Provider(Adapter),
}

/// Where to ask: configured, or as the metadata says.
#[derive(Debug, Default)]
pub(super) struct Endpoint(ArcSwapOption<String>);

impl Endpoint {
    /// Notes where to ask from now on.
    pub(super) fn set(&self, url: String) {
        self.0.store(Some(Arc::new(url)));
    }
}

/// A question about one token, which is a secret, so it cannot be written out.
#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) token: &'q str,
    pub(super) hash: TokenHash,
    /// What the token itself says, if it is a JWT that was verified.
    pub(super) local: Option<&'q Arc<Identity>>,
}

impl Introspector {
    /// Reads the client's key, if it authenticates with one.
    ///
    /// # Errors
    /// E043 if that key cannot be used.
    pub(super) fn new(
        issuer: &config::Issuer,
        settings: &config::Introspection,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, Box<Problem>> {
        let endpoint = Endpoint::default();
        if let Some(url) = &settings.endpoint {
            endpoint.set(url.value.clone());
        }
        let many = settings.concurrency;
        Ok(Self {
            endpoint: Arc::new(endpoint),
            way: Way::new(settings, &issuer.url)?,
            fetcher: Fetcher::of_answers(issuer.insecure, clock, many, settings.timeout),
            gate: Arc::new(Gate::new(many, clock)),
            flights: Flights::new(many.saturating_mul(WAITING_PER_PLACE)),
            results: Results::new(settings),
            requests: Requests::new(metrics, &issuer.name, "introspection"),
            problem: Mutex::default(),
            home: OnceLock::new(),
            clock: clock.clone(),
            settings: settings.clone(),
        })
    }

    /// Lets calls run on the runtime of the caller, from the first time on.
    pub(super) fn start(&self) {
        self.home.get_or_init(Handle::current);
    }

    /// The endpoint, if the metadata is to name it.
    pub(super) fn open_endpoint(&self) -> Option<Arc<Endpoint>> {
        self.settings.endpoint.is_none().then(|| Arc::clone(&self.endpoint))
    }

    /// Goes on asking where the older one did, until the metadata names another endpoint.
    pub(super) fn succeed(&self, older: &Self) {
        let both_read_it = self.open_endpoint().is_some() && older.open_endpoint().is_some();
        if let Some(url) = older.endpoint.0.load_full().filter(|_| both_read_it) {
            self.endpoint.0.store(Some(url));
        }
    }

    /// Whether it is known where to ask.
    pub(super) fn is_placed(&self) -> bool {
        self.endpoint.0.load().is_some()
    }

    /// Where to ask, waiting for the first reading of the metadata if it is under way.
    async fn endpoint(&self, issuer: &Issuer) -> Result<Arc<String>, Fault> {
        if self.endpoint.0.load().is_none() {
            drop(issuer.keyring.usable_soon(self.clock.now()).await);
        }
        self.endpoint.0.load_full().ok_or(Fault::Invalid(NO_ENDPOINT))
    }

    /// One call. Says nothing of the token but what the issuer said.
    async fn call(&self, issuer: &Issuer, token: &str) -> Result<Answer, Fault> {
        let endpoint = self.endpoint(issuer).await?;
        let credentials = match &self.way {
            Way::Standard(credentials) => credentials,
            Way::Provider(adapter) => return adapter.ask(&self.fetcher, &endpoint, token).await,
        };
        let accept = if self.settings.signed { signed::MEDIA_TYPE } else { "application/json" };
        let form = credentials.form(token, accept, self.clock.now())?;
        let Document { body, .. } = self.fetcher.post(&endpoint, form).await?;
        if !self.settings.signed {
            return Answer::read(&body);
        }
        let recipients = (self.settings.client_id.as_str(), issuer.audience());
        signed::read(issuer, recipients, &body, self.clock.now()).await
    }

    /// Counts a call and tells the log what is new.
    fn note(&self, name: &str, fault: Option<&Fault>, took: Duration) {
        self.requests.count(fault.map_or("ok", Fault::word), took);
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *problem != fault.cloned();
        *problem = fault.cloned();
        match fault {
            Some(fault) if is_news => {
                warn!(target: TARGET, issuer = name, "tokens cannot be introspected: the answer {fault}");
            }
            Some(fault) => {
                debug!(target: TARGET, issuer = name, "tokens cannot be introspected: the answer {fault}");
            }
            None if is_news => {
                info!(target: TARGET, issuer = name, "tokens can be introspected again");
            }
            None => {}
        }
    }
}

impl Way {
    fn new(settings: &config::Introspection, url: &str) -> Result<Self, Box<Problem>> {
        match &settings.provider {
            Some(provider) => Ok(Self::Provider(Adapter::new(provider, &settings.client_id))),
            None => Credentials::new(settings, url).map(Self::Standard),
        }
    }
}

/// Finds out what `issuer` says of a token. All who ask about one token wait for the same call.
///
/// # Errors
/// `Token` if the issuer does not vouch for it, `AuthUnavailable` if that cannot be known.
pub(super) async fn introspect(
    issuer: &Arc<Issuer>,
    question: Question<'_>,
    verdicts: &Arc<Verdicts>,
    now: Now,
) -> Result<Arc<Identity>, Rejection> {
    let Some(introspector) = issuer.introspector() else {
        return Err(Rejection::Token(TokenFault::UnknownIssuer));
    };
    if let Some(known) = introspector.results.recall(&question, now) {
        return known.map_err(Rejection::Token);
    }
    let Some(home) = introspector.home.get() else { return Err(unavailable(SOON)) };
    let joined = introspector.flights.join(
        question.hash,
        // A flight that landed since the caller looked left its result.
        || match introspector.results.recall(&question, now) {
            Some(known) => Some(known),
            None => verdicts.known(&question.hash, issuer, now).map(Ok),
        },
        |landing| {
            home.spawn(fly(
                Arc::clone(issuer),
                OwnQuestion::of(&question),
                Arc::clone(verdicts),
                landing,
            ))
        },
    );
    joined.outcome().await
}

/// A question that outlives who asked it.
struct OwnQuestion {
    token: Box<str>,
    hash: TokenHash,
    local: Option<Arc<Identity>>,
}

impl OwnQuestion {
    fn of(question: &Question<'_>) -> Self {
        let local = question.local.cloned();
        Self { token: question.token.into(), hash: question.hash, local }
    }
}

/// One flight: from the question to the result, which is kept before anybody is told.
async fn fly(
    issuer: Arc<Issuer>,
    question: OwnQuestion,
    verdicts: Arc<Verdicts>,
    landing: flights::Landing,
) {
    let outcome = match issuer.introspector() {
        Some(introspector) => introspector.ask(&issuer, &question, &verdicts).await,
        None => Err(unavailable(SOON)),
    };
    landing.land(outcome);
}

impl Introspector {
    async fn ask(&self, issuer: &Issuer, question: &OwnQuestion, verdicts: &Verdicts) -> Outcome {
        let turn = self.gate.enter().await.map_err(|wait| unavailable(wait.as_secs() + 1))?;
        let started = self.clock.monotonic();
        let answer = self.call(issuer, &question.token).await;
        let took = self.clock.monotonic().saturating_sub(started);
        self.note(issuer.name(), answer.as_ref().err(), took);
        self.settle(turn, issuer.name(), answer.as_ref().err());
        let claims = match answer.map_err(|_| unavailable(SOON))? {
            Answer::Active(claims) => Ok(claims),
            Answer::Inactive => Err(TokenFault::Inactive),
            Answer::OfAnother => Err(TokenFault::WrongAudience),
        };
        let now = self.clock.now();
        let judged =
            claims.and_then(|claims| judge::judge(issuer, claims, question.local.as_ref(), now));
        match judged {
            Ok(judged) => Ok(self.keep(issuer, question, judged, verdicts, now)),
            Err(fault) => {
                self.results.refuse(question.hash, fault, now);
                Err(Rejection::Token(fault))
            }
        }
    }

    fn settle(&self, turn: Turn, name: &str, fault: Option<&Fault>) {
        let is_ill = fault.is_some_and(gate::is_illness);
        if let Some(pause) = turn.settle(is_ill) {
            let seconds = pause.as_secs();
            warn!(target: TARGET, issuer = name, seconds, "introspection pauses: the issuer does not answer");
        }
    }

    /// Keeps a good result: an opaque token's as its verdict, a JWT's beside the verdict that its
    /// signature earned.
    fn keep(
        &self,
        issuer: &Issuer,
        question: &OwnQuestion,
        judged: judge::Judged,
        verdicts: &Verdicts,
        now: Now,
    ) -> Arc<Identity> {
        let judge::Judged { identity, exp } = judged;
        let Some(until) = Until::of(now, self.settings.cache, exp) else { return identity };
        if question.local.is_some() {
            self.results.vouch(question.hash, until);
        } else {
            let kept = Arc::clone(&identity);
            let verdict =
                Verdict { identity: kept, issuer: issuer.id(), ground: Ground::Answer(until) };
            verdicts.remember(question.hash, verdict);
        }
        identity
    }
}

fn unavailable(retry_after: u64) -> Rejection {
    Rejection::AuthUnavailable { retry_after: retry_after.clamp(1, 60) }
}

const NO_ENDPOINT: &str = "the metadata has not named the endpoint yet";

const TARGET: &str = "scopegate::issuer";

/// When it is worth trying again, in seconds, where nothing better is known.
const SOON: u64 = 1;

/// How many tokens may wait for each place at the issuer.
const WAITING_PER_PLACE: usize = 32;
