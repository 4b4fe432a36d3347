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
    /// Whether `groups` is all there are. Some servers leave them out if there are many; then no
    /// rule may conclude that a group is missing.
    pub are_groups_known: bool,
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
        let claims = self.claims.read();
        match self.aliases.iter().find(|(alias, _)| alias == name) {
            Some((_, paths)) => {
                paths.iter().find_map(|path| walk(claims, path.0.iter().map(String::as_str)))
            }
            None => walk(claims, [name].into_iter()).or_else(|| walk(claims, name.split('.'))),
        }
    }
}

/// Follows member names, and positions in lists, from the outside in. Null is absent.
pub fn walk<'c, 'p>(
    claims: &'c Map<String, Value>,
    mut path: impl Iterator<Item = &'p str>,
) -> Option<&'c Value> {
    let first = claims.get(path.next()?)?;
    path.try_fold(first, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        Value::Object(members) => members.get(name),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
    .filter(|value| !value.is_null())
}

/// Whether a claim's value is as wanted. One item of a list is enough.
pub(crate) fn meets(wanted: &ClaimMatch, value: Option<&Value>) -> bool {
    if let ClaimMatch::Exists(wanted) = wanted {
        return value.is_some() == *wanted;
    }
    let Some(value) = value else { return false };
    match wanted {
        ClaimMatch::Is(wanted) => one_of(value, |item| item == wanted),
        ClaimMatch::In(wanted) => one_of(value, |item| wanted.contains(item)),
        ClaimMatch::Contains(wanted) => {
            value.as_array().is_some_and(|items| items.contains(wanted))
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
