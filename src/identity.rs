//! Who calls: the normalised reading of a verified token.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::{ClaimMatch, ClaimPath};
use crate::revoke::Marks;

/// Who sent a request, as far as the gateway looked.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody in particular: no token was needed, or none was sent where it is optional.
    Anonymous,
    /// The bearer of a verified token.
    Bearer(Arc<Identity>),
}

impl Caller {
    /// The identity, if there is one.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Self::Anonymous => None,
            Self::Bearer(identity) => Some(identity),
        }
    }
}

/// Whom a token speaks for (RFC 9700 §4.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person.
    User,
    /// A client on its own behalf.
    Client,
    /// The token does not tell; it fails any rule that asks for a kind.
    Unknown,
}

impl Kind {
    /// `user`, `client` or `unknown`: the word in headers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
            Self::Unknown => "unknown",
        }
    }
}

/// What a verified token says. Built once per token, shared by its requests.
#[derive(Debug)]
pub struct Identity {
    /// The issuer's name in the configuration.
    pub issuer: Arc<str>,
    /// The issuer identifier, the token's `iss`.
    pub issuer_url: Arc<str>,
    /// The person; `None` in a machine's token, so that no client id is taken for a user.
    pub subject: Option<Box<str>>,
    /// The client that the token was issued to.
    pub client: Option<Box<str>>,
    /// Whom the token speaks for.
    pub kind: Kind,
    /// The scopes as the token lists them.
    pub scopes: Box<[Box<str>]>,
    /// The ones that `implies` adds.
    pub implied: Box<[Box<str>]>,
    /// The roles.
    pub roles: Box<[Box<str>]>,
    /// The groups.
    pub groups: Box<[Box<str>]>,
    /// What of the token could not be read: no rule may conclude that something is missing there.
    pub unread: Unread,
    /// Which customer of the issuer, where one issuer serves several.
    pub tenant: Option<Box<str>>,
    /// The authentication context class (RFC 9470).
    pub acr: Option<Box<str>>,
    /// When the person authenticated, since 1970.
    pub auth_time: Option<Duration>,
    /// The first moment at which the token is no longer accepted: `exp` plus leeway.
    pub expires: Duration,
    /// The first moment at which it is accepted: `nbf` minus leeway.
    pub not_before: Duration,
    /// The hash of the token's id, for logs: of `jti`, or what the preset has for it.
    pub jti_hash: Option<Box<str>>,
    /// All claims.
    pub claims: Claims,
    /// The issuer's names for claims.
    pub aliases: Arc<[(String, Vec<ClaimPath>)]>,
    /// The identity headers for backends, as field lines with their ends: written once, sent with
    /// each request.
    pub headers: Box<[u8]>,
    /// What limits count this caller by.
    pub keys: LimitKeys,
    /// What revocations know the token by, once somebody has asked.
    pub marks: OnceLock<Box<Marks>>,
}

/// What a token says in a form that is not known, or keeps to itself. It grants nothing, and under
/// `not` it is no proof of absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// `acr` is no text.
    pub acr: bool,
    /// `auth_time` is missing, or no date.
    pub auth_time: bool,
    /// The groups are no list of texts, or somewhere else: some servers leave them out if there are
    /// many.
    pub groups: bool,
    /// The roles are not as the issuer writes them.
    pub roles: bool,
    /// The scopes are not as the issuer writes them, or not of the characters that scopes have.
    pub scopes: bool,
}

/// What stands at a path among claims.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place<'c> {
    /// Nothing, or null.
    Nothing,
    /// A value.
    Value(&'c Value),
    /// The path leads through something that has no members, or out of the token: what stands there
    /// is not known.
    Unreadable,
}

/// All claims of a token, as text: read into a tree when a rule first asks, which for most tokens is
/// never. A tree takes several times the memory, and there may be a hundred thousand tokens.
#[derive(Debug)]
pub struct Claims {
    text: Box<[u8]>,
    tree: OnceLock<Map<String, Value>>,
}

impl Claims {
    /// The claims that `text`, a JSON object, says. What it was read as is at hand until
    /// [`forget`](Self::forget).
    #[must_use]
    pub fn new(text: Box<[u8]>, tree: Map<String, Value>) -> Self {
        Self { text, tree: tree.into() }
    }

    /// The claims.
    #[must_use]
    pub fn read(&self) -> &Map<String, Value> {
        // It was read once, when the token was verified.
        self.tree.get_or_init(|| serde_json::from_slice(&self.text).unwrap_or_default())
    }

    /// Keeps only the text.
    pub fn forget(&mut self) {
        self.tree.take();
    }
}

/// Hashes that stand for a caller in limiters. The issuer is part of each (OIDC Core §5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitKeys {
    /// Of issuer and client, or of issuer and subject in a token without a client.
    pub client: u128,
    /// Of issuer and subject, or the client's in a token without a subject.
    pub user: u128,
}

impl Identity {
    /// Whether the token grants `scope`, by itself or through `implies`.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().chain(&self.implied).any(|granted| **granted == *scope)
    }

    /// The claim called `name`: an alias of the issuer, else a dotted path. Null is absent.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claim_at(name).value()
    }

    /// The same; tells what is not there from what cannot be read.
    #[must_use]
    pub fn claim_at(&self, name: &str) -> Place<'_> {
        let claims = self.claims.read();
        match self.aliases.iter().find(|(alias, _)| alias == name) {
            Some((_, paths)) => first(claims, paths),
            None => match walk(claims, [name].into_iter()) {
                Place::Nothing => walk(claims, name.split('.')),
                place @ (Place::Value(_) | Place::Unreadable) => place,
            },
        }
    }
}

impl<'c> Place<'c> {
    /// The value, if there is one.
    #[must_use]
    pub fn value(self) -> Option<&'c Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

/// What stands at the first of these paths at which something stands. A path that cannot be
/// followed hides nothing that stands at another.
pub(crate) fn first<'c>(claims: &'c Map<String, Value>, paths: &[ClaimPath]) -> Place<'c> {
    let mut places = paths.iter().map(|path| walk(claims, path.0.iter().map(String::as_str)));
    let mut found = Place::Nothing;
    while !matches!(found, Place::Value(_)) {
        match places.next() {
            Some(Place::Nothing) => {}
            Some(place) => found = place,
            None => break,
        }
    }
    found
}

/// Follows member names, and positions in lists, from the outside in. Null is absent.
pub(crate) fn walk<'c, 'p>(
    claims: &'c Map<String, Value>,
    mut path: impl Iterator<Item = &'p str>,
) -> Place<'c> {
    let Some(name) = path.next() else { return Place::Nothing };
    let mut at = claims.get(name);
    // OIDC Core §5.6.2: the claim is somewhere else, and what it says there is not known.
    if at.is_none() && claims.get("_claim_names").is_some_and(|names| names.get(name).is_some()) {
        return Place::Unreadable;
    }
    for name in path {
        at = match (at, name.parse::<usize>()) {
            (None | Some(Value::Null), _) => return Place::Nothing,
            (Some(Value::Object(members)), _) => members.get(name),
            (Some(Value::Array(items)), Ok(index)) => items.get(index),
            (Some(_), _) => return Place::Unreadable,
        };
    }
    match at {
        None | Some(Value::Null) => Place::Nothing,
        Some(value) => Place::Value(value),
    }
}

/// Whether what stands there is as wanted. One item of a list is enough. What cannot be read is
/// neither there nor absent.
pub(crate) fn meets(wanted: &ClaimMatch, place: Place<'_>) -> bool {
    if let ClaimMatch::Exists(wanted) = wanted {
        return place != Place::Unreadable && place.value().is_some() == *wanted;
    }
    let Some(value) = place.value() else { return false };
    match wanted {
        ClaimMatch::Is(wanted) => one_of(value, |item| is_same(item, wanted)),
        ClaimMatch::In(wanted) => {
            one_of(value, |item| wanted.iter().any(|wanted| is_same(item, wanted)))
        }
        ClaimMatch::Contains(wanted) => {
            value.as_array().is_some_and(|items| items.iter().any(|item| is_same(item, wanted)))
        }
        ClaimMatch::StartsWith(start) => {
            one_of(value, |item| item.as_str().is_some_and(|text| text.starts_with(start)))
        }
        ClaimMatch::EndsWith(end) => {
            one_of(value, |item| item.as_str().is_some_and(|text| text.ends_with(end)))
        }
        // Parameters are compiled to segments, and existence was answered above.
        ClaimMatch::Exists(_) | ClaimMatch::Param(_) => false,
    }
}

/// Whether two values are one. JSON has one kind of number, however it is written.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            one.as_f64() == other.as_f64()
        }
        _ => one == other,
    }
}

/// Whether it can be told that `value` is not as wanted: it is of the kind that is wanted. Something
/// of another kind may mean the same to whoever wrote it.
pub(crate) fn is_comparable(wanted: &ClaimMatch, value: &Value) -> bool {
    let is_like = |item: &Value, wanted: &Value| {
        std::mem::discriminant(item) == std::mem::discriminant(wanted)
    };
    match wanted {
        ClaimMatch::Is(wanted) => all_of(value, |item| is_like(item, wanted)),
        ClaimMatch::In(wanted) => {
            all_of(value, |item| wanted.iter().any(|wanted| is_like(item, wanted)))
        }
        ClaimMatch::Contains(wanted) => {
            value.is_array() && all_of(value, |item| is_like(item, wanted))
        }
        ClaimMatch::StartsWith(_) | ClaimMatch::EndsWith(_) => all_of(value, Value::is_string),
        ClaimMatch::Exists(_) => true,
        // Parameters are compiled to segments.
        ClaimMatch::Param(_) => false,
    }
}

/// Whether a value, or each item of a list, holds.
pub(crate) fn all_of(value: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    value.as_array().map_or_else(|| holds(value), |items| items.iter().all(&holds))
}

/// Whether a value, or one item of a list, holds.
pub(crate) fn one_of(value: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    value.as_array().map_or_else(|| holds(value), |items| items.iter().any(&holds))
}

/// A 128-bit hash of `parts` for limiters, apart for each `domain`. Keyed at random in each
/// process, so that nobody can choose names that collide.
#[must_use]
pub fn limit_key(domain: &str, parts: &[&str]) -> u128 {
    use std::hash::{BuildHasher, Hash};
    use std::sync::LazyLock;

    use foldhash::quality::RandomState;

    static KEYS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);
    let half = |state: &RandomState| {
        let mut hasher = state.build_hasher();
        (domain, parts).hash(&mut hasher);
        u128::from(std::hash::Hasher::finish(&hasher))
    };
    half(&KEYS.0) << 64 | half(&KEYS.1)
}
