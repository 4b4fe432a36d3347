//! An authorization server whose tokens are accepted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use tokio::task::AbortHandle;

use super::claims::Checks;
use super::fetch::Fetcher;
use super::introspect::{Introspector, needs_keys, needs_nothing};
use super::key_set::{Found, KeySet};
use super::keyring::{Asked, Keyring};
use super::names::{Named, Names};
use super::reading::Reading;
use super::refresh::{Place, Refresher};
use super::tally::Tally;
use super::token::Jws;
use super::turnstile::Turnstile;
use super::watchers::Watchers;
use super::{key_file, keys, metadata, presets};
use crate::clock::{Clock, Now};
use crate::config::{self, ClientProof, IdentityHeader, KeySource, Problem};
use crate::identity::Identity;
use crate::record::metrics::Metrics;
use crate::rejection::{Rejection, TokenFault};
use crate::revoke::Marks;

/// An authorization server whose tokens are accepted: its settings and its keys.
#[derive(Debug)]
pub struct Issuer {
    /// Different for every instance of the process.
    id: u64,
    config: config::Issuer,
    headers: Vec<IdentityHeader>,
    checks: Checks,
    reading: Reading,
    pub(super) keyring: Arc<Keyring>,
    tally: Tally,
    watchers: Arc<Watchers>,
    introspector: Option<Introspector>,
    task: OnceLock<Option<AbortHandle>>,
}

impl Issuer {
    /// An issuer that has not fetched anything yet; reads its static key file and the gateway's own
    /// key, if there are such.
    ///
    /// # Errors
    /// E042 or E043 if one of these files cannot be used, E022 if the preset is not known.
    #[expect(clippy::result_large_err, reason = "made once per issuer and load")]
    pub fn new(
        config: &config::Issuer,
        headers: &[IdentityHeader],
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, Problem> {
        let preset = presets::find(&config.preset).ok_or_else(|| unknown_preset(config))?;
        let reading = Reading::new(config, preset, headers);
        let watchers = Arc::new(Watchers::new(metrics, reading.issuer()));
        let introspector = config
            .introspection
            .as_ref()
            .map(|settings| Introspector::new(config, settings, clock, metrics));
        let introspector = introspector.transpose().map_err(|problem| *problem)?;
        let keyring = keyring(config, clock, &watchers).map_err(|problem| *problem)?;
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            config: config.clone(),
            headers: headers.to_vec(),
            checks: Checks::new(config, preset),
            keyring: Arc::new(keyring),
            tally: Tally::new(metrics, reading.issuer()),
            reading,
            watchers,
            introspector,
            task: OnceLock::new(),
        })
    }

    /// Whether this issuer was made from the same settings, so that a reload can keep its state.
    /// Never true of an issuer with a key file, or with a key of the gateway's own in one: these are
    /// read again instead.
    #[must_use]
    pub fn is_made_from(&self, config: &config::Issuer, headers: &[IdentityHeader]) -> bool {
        let proof = config.introspection.as_ref().map(|introspection| &introspection.proof);
        let is_file = matches!(config.keys, KeySource::File(_))
            || matches!(proof, Some(ClientProof::PrivateKey { .. }));
        !is_file && self.config == *config && self.headers == headers
    }

    /// Takes over the keys of the issuer that this one replaces, if both fetch them from the same
    /// place and pick them by the same rules: a changed leeway is no reason to have no keys. The same
    /// holds for the endpoint that the metadata names. To be called before [`start`](Self::start).
    pub fn succeed(&self, older: &Self) {
        let rules = |issuer: &Self| {
            let config = &issuer.config;
            let place = (config.url.value.clone(), config.keys.clone(), config.insecure);
            (place, config.algorithms.clone(), needs_keys(config))
        };
        if self.place().is_some() && rules(self) == rules(older) {
            self.keyring.succeed(&older.keyring);
            if let (Some(own), Some(older)) = (&self.introspector, &older.introspector) {
                own.succeed(older);
            }
        }
    }

    /// Starts fetching keys in the background, on the runtime of the caller, where the issuer will
    /// also be asked about tokens. Later calls do nothing. The work ends when the issuer is dropped.
    pub fn start(self: &Arc<Self>) {
        self.introspector.iter().for_each(Introspector::start);
        self.task.get_or_init(|| {
            let Some(place) = self.place() else {
                self.watchers.succeeded(&self.keyring.latest(), true, self.keyring.clock.now());
                return None;
            };
            self.keyring.start();
            Some(tokio::spawn(self.refresher(place).run()).abort_handle())
        });
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        self.reading.issuer()
    }

    /// What is known of the issuer's keys.
    #[must_use]
    pub fn status(&self) -> IssuerStatus {
        let set = self.keyring.latest();
        let serving = self.config.algorithms.iter().filter(|algorithm| set.serves(**algorithm));
        IssuerStatus {
            ready: self.keyring.is_ready(self.keyring.clock.now()),
            keys: set.len(),
            algorithms: serving.map(|algorithm| format!("{algorithm:?}")).collect(),
            introspects: self.introspector.is_some(),
            problem: self.keyring.problem(),
        }
    }

    /// Waits until the first attempt to fetch keys has ended, well or badly. Returns at once for an
    /// issuer with a key file, and never before [`start`](Self::start).
    pub async fn first_attempt(&self) {
        self.keyring.first_attempt().await;
    }

    /// Where to fetch keys or the name of an endpoint; `None` if neither is to be fetched.
    pub(super) fn place(&self) -> Option<Place> {
        if needs_nothing(&self.config) {
            return None;
        }
        match &self.config.keys {
            KeySource::Discovery => Some(Place::Metadata(metadata::well_known(self.url()).into())),
            KeySource::Metadata(url) => Some(Place::Metadata(vec![url.value.clone()])),
            KeySource::Url(url) => Some(Place::Keys(url.value.clone())),
            KeySource::File(_) => None,
        }
    }

    /// What runs in the background. It shares the keyring, not the issuer, which it must not keep.
    pub(super) fn refresher(&self, place: Place) -> Refresher {
        Refresher {
            keyring: Arc::clone(&self.keyring),
            fetcher: Fetcher::new(self.config.insecure, &self.keyring.clock),
            watchers: Arc::clone(&self.watchers),
            issuer_url: self.url().into(),
            place,
            algorithms: self.config.algorithms.clone(),
            wants_keys: needs_keys(&self.config),
            endpoint: self.introspector.as_ref().and_then(Introspector::open_endpoint),
        }
    }
}

/// What verifying tokens needs.
impl Issuer {
    /// Different for every instance of the process.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The issuer identifier.
    #[must_use]
    pub fn url(&self) -> &str {
        self.reading.names().url()
    }

    /// Whether a token whose `iss` says this is from this issuer.
    #[must_use]
    pub fn is_called(&self, iss: &str) -> bool {
        self.reading.names().find(iss).is_some()
    }

    /// What revocations know a token of this issuer by, hashed when somebody first asks.
    pub(super) fn marks<'i>(&self, identity: &'i Identity) -> &'i Marks {
        identity.marks.get_or_init(|| Box::new(self.reading.marks(identity.claims.read())))
    }

    /// The clock skew that is allowed.
    pub(super) fn leeway(&self) -> Duration {
        self.config.leeway
    }

    /// The counters of this issuer's tokens.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What asks it about tokens.
    pub(super) fn introspector(&self) -> Option<&Introspector> {
        self.introspector.as_ref()
    }

    /// What its tokens must say.
    pub(super) fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Where its tokens say what.
    pub(super) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The names of this API.
    pub(super) fn audience(&self) -> &[String] {
        &self.config.audience
    }

    /// Which set of keys may be used at `now`, if there is one.
    pub(super) fn generation(&self, now: Now) -> Option<u64> {
        self.keyring.generation(now)
    }

    /// Verifies a token that says it is from this issuer. Returns who it speaks for, and the
    /// generation of the keys that said so.
    pub(super) async fn verify(
        &self,
        jws: Jws<'_>,
        now: Now,
        turnstile: &Turnstile,
    ) -> Result<(Identity, u64), Rejection> {
        let generation = self.check_signature(&jws, now, Some(turnstile)).await?;
        // From here on the claims are the issuer's own words.
        let identity = self.read(jws, now).map_err(Rejection::Token)?;
        Ok((identity, generation))
    }

    fn read(&self, jws: Jws<'_>, now: Now) -> Result<Identity, TokenFault> {
        let claims = jws.claims()?;
        let window = self.checks.check(&jws.header, &claims, now.unix)?;
        self.reading.identity(jws.payload, claims, window)
    }

    /// Checks a signature, of a request's token behind its `turnstile`; returns the generation of
    /// the keys that verified it.
    pub(super) async fn check_signature(
        &self,
        jws: &Jws<'_>,
        now: Now,
        turnstile: Option<&Turnstile>,
    ) -> Result<u64, Rejection> {
        let algorithm = keys::algorithm(&jws.header.alg)
            .filter(|algorithm| self.config.algorithms.contains(algorithm))
            .ok_or(Rejection::Token(TokenFault::AlgorithmRefused))?;
        let names = self.reading.names();
        let named = jws.claimed_issuer().map(|iss| names.find(iss)).map_err(Rejection::Token)?;
        let named = named.ok_or(Rejection::Token(TokenFault::UnknownIssuer))?;
        let wanted = Wanted { kid: jws.header.kid.as_deref(), algorithm, names, named };
        let set = self.set_for(wanted, now).await?;
        let _turn = match turnstile {
            Some(turnstile) => Some(turnstile.turn().await),
            None => None,
        };
        let fault = match wanted.find_in(&set) {
            Found::Key(key) if key.verifies(jws.signed, &jws.signature, algorithm) => {
                return Ok(set.generation);
            }
            Found::Key(_) => TokenFault::BadSignature,
            Found::Unfit => TokenFault::AlgorithmRefused,
            Found::Ambiguous | Found::Missing => TokenFault::UnknownKey,
        };
        Err(Rejection::Token(fault))
    }

    /// The keys to look in: those at hand, or, if they lack the one that is asked for, those that a
    /// refresh brings.
    async fn set_for(&self, wanted: Wanted<'_>, now: Now) -> Result<Arc<KeySet>, Rejection> {
        let set = self.keyring.usable_soon(now).await?;
        match wanted.find_in(&set) {
            // Asking the issuer again would not help.
            Found::Key(_) | Found::Unfit | Found::Ambiguous => return Ok(set),
            Found::Missing => {}
        }
        match self.keyring.refresh().await {
            Asked::Refreshed | Asked::TimedOut => {}
            Asked::Throttled { is_first: true } => self.watchers.throttled(wanted.kid),
            Asked::Throttled { is_first: false } => {}
        }
        self.keyring.usable_soon(now).await
    }
}

/// The key that a token says it was signed with.
#[derive(Clone, Copy)]
struct Wanted<'t> {
    kid: Option<&'t str>,
    algorithm: Algorithm,
    names: &'t Names,
    named: &'t Named,
}

impl Wanted<'_> {
    fn find_in<'k>(&self, set: &'k KeySet) -> Found<'k> {
        set.find(self.kid, self.algorithm, |owner| self.names.is_key_of(owner, self.named))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(Some(task)) = self.task.get() {
            task.abort();
        }
    }
}

/// The state of an issuer's keys, for people.
#[derive(Clone, Debug)]
pub struct IssuerStatus {
    /// Whether tokens can be verified now.
    pub ready: bool,
    /// The number of keys that can verify tokens.
    pub keys: usize,
    /// The algorithms that those keys are for.
    pub algorithms: Vec<String>,
    /// Whether it is asked about tokens.
    pub introspects: bool,
    /// Why the last refresh failed, if it did. No secret and no text from the issuer, except for
    /// the name that it gives itself if that is not the configured one.
    pub problem: Option<String>,
}

/// The issuer's keys: those of its file, or room for those that will be fetched.
fn keyring(
    config: &config::Issuer,
    clock: &Clock,
    watchers: &Watchers,
) -> Result<Keyring, Box<Problem>> {
    if needs_nothing(config) {
        return Ok(Keyring::fixed(Vec::new(), clock));
    }
    match &config.keys {
        KeySource::Discovery | KeySource::Metadata(_) | KeySource::Url(_) => {
            Ok(Keyring::new(config.max_stale, clock))
        }
        KeySource::File(path) => {
            let keys = key_file::read(path, &config.algorithms)?;
            watchers.skipped(keys.skipped);
            Ok(Keyring::fixed(keys.usable, clock))
        }
    }
}

fn unknown_preset(config: &config::Issuer) -> Problem {
    let names: Vec<_> = presets::preset_names().collect();
    Problem::new("E022", config.preset.at, format!("no preset is called `{}`", *config.preset))
        .label("not a preset")
        .help(format!("presets: {}", names.join(", ")))
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
