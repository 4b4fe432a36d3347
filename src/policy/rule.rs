//! What a route asks of its callers, ready to be judged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::clock::Now;
use crate::config::{ClaimMatch, TokenKind};
use crate::identity::{Identity, Kind, Place, all_of, is_comparable, meets, one_of};
use crate::rejection::{Denial, StepUp, Unmet};
use crate::target::Target;

/// A requirement and where it is written.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(super) check: Check,
    /// `gateway.yaml:10`.
    pub(super) at: Arc<str>,
}

/// A requirement with every name resolved.
#[derive(Debug)]
pub(super) enum Check {
    All(Box<[Rule]>),
    Any(Box<[Rule]>),
    Not(Box<Rule>),
    One(Single),
}

/// A requirement that has no parts.
#[derive(Debug)]
pub(super) enum Single {
    Acr(Arc<[String]>),
    /// The claim's name and what its value must be.
    Claim(Arc<str>, Condition),
    Client(Box<str>),
    Group(Arc<str>),
    Issuer(Box<str>),
    MaxAge(Duration),
    Role(Arc<str>),
    Scope(Box<str>),
    Source(Box<[IpNet]>),
    Token(TokenKind),
}

/// What a claim's value must be.
#[derive(Debug)]
pub(super) enum Condition {
    Value(ClaimMatch),
    /// Equal to the segment of the path at this index.
    Segment(usize),
}

/// What a rule is judged on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'r> {
    pub(crate) identity: &'r Identity,
    pub(crate) target: &'r Target,
    pub(crate) client: IpAddr,
    pub(crate) now: Now,
}

impl Rule {
    /// Whether the facts meet this rule.
    ///
    /// # Errors
    /// The first requirement that is not met; one for a stronger authentication before all
    /// others, because it is the one that the client can mend.
    pub(crate) fn judge(&self, facts: Facts<'_>) -> Result<(), Denial> {
        let unmet = match &self.check {
            Check::All(rules) => return all(rules, facts),
            Check::Any(rules) => return any(rules, facts),
            // What is not known is not absent, either.
            Check::Not(rule) if rule.is_unknown(facts.identity) => rule.check.forbidden(),
            Check::Not(rule) => match rule.judge(facts) {
                Ok(()) => rule.check.forbidden(),
                Err(_) => return Ok(()),
            },
            Check::One(single) if single.is_met(facts) => return Ok(()),
            Check::One(single) => single.lack(facts.identity),
        };
        Err(Denial { unmet, rule: Arc::clone(&self.at) })
    }

    /// Whether the rule asks for something that the token keeps to itself, or says in a form that
    /// cannot be read.
    fn is_unknown(&self, identity: &Identity) -> bool {
        match &self.check {
            Check::All(rules) | Check::Any(rules) => {
                rules.iter().any(|rule| rule.is_unknown(identity))
            }
            Check::Not(rule) => rule.is_unknown(identity),
            Check::One(single) => single.is_unknown(identity),
        }
    }

    /// The scopes that every caller needs.
    pub(super) fn required_scopes(&self) -> Vec<Box<str>> {
        match &self.check {
            Check::One(Single::Scope(scope)) => vec![scope.clone()],
            Check::All(rules) => rules.iter().flat_map(Self::required_scopes).collect(),
            Check::Any(_) | Check::Not(_) | Check::One(_) => Vec::new(),
        }
    }
}

fn all(rules: &[Rule], facts: Facts<'_>) -> Result<(), Denial> {
    let mut first = None;
    for denial in rules.iter().filter_map(|rule| rule.judge(facts).err()) {
        if matches!(denial.unmet, Unmet::StepUp(_)) {
            return Err(denial);
        }
        first.get_or_insert(denial);
    }
    first.map_or(Ok(()), Err)
}

/// The configuration refuses an empty list; should one get here, nothing meets it.
fn any(rules: &[Rule], facts: Facts<'_>) -> Result<(), Denial> {
    let mut first = None;
    for rule in rules {
        match rule.judge(facts) {
            Ok(()) => return Ok(()),
            Err(denial) => {
                first.get_or_insert(denial);
            }
        }
    }
    Err(first.unwrap_or(Denial { unmet: Unmet::TokenKind, rule: "".into() }))
}

impl Check {
    /// The requirement that nobody meets.
    pub(super) fn nobody() -> Self {
        Self::Any([].into())
    }

    /// What is said when this is met but must not be.
    fn forbidden(&self) -> Unmet {
        match self {
            Self::All(rules) | Self::Any(rules) => match rules.first() {
                Some(rule) => rule.check.forbidden(),
                None => Unmet::TokenKind,
            },
            Self::Not(rule) => rule.check.forbidden(),
            Self::One(single) => single.forbidden(),
        }
    }
}

impl Single {
    fn is_met(&self, facts: Facts<'_>) -> bool {
        let identity = facts.identity;
        match self {
            Self::Acr(accepted) => has_acr(identity, accepted),
            Self::Claim(name, condition) => condition.holds(identity, name, facts.target),
            Self::Client(id) => identity.client.as_deref() == Some(id),
            Self::Group(name) => identity.groups.iter().any(|group| **group == **name),
            Self::Issuer(name) => *identity.issuer == **name,
            Self::MaxAge(age) => is_fresh(identity, *age, facts.now),
            Self::Role(name) => identity.roles.iter().any(|role| **role == **name),
            Self::Scope(scope) => identity.has_scope(scope),
            Self::Source(networks) => networks.iter().any(|net| net.contains(&facts.client)),
            Self::Token(kind) => is_kind(identity, *kind),
        }
    }

    fn is_unknown(&self, identity: &Identity) -> bool {
        match self {
            Self::Acr(_) => identity.unread.acr,
            Self::Claim(name, condition) => match identity.claim_at(name) {
                Place::Nothing => false,
                Place::Value(value) => !condition.can_judge(identity, name, value),
                Place::Unreadable => true,
            },
            Self::Group(_) => identity.unread.groups,
            Self::MaxAge(_) => identity.unread.auth_time,
            Self::Role(_) => identity.unread.roles,
            Self::Scope(_) => identity.unread.scopes,
            Self::Token(TokenKind::User | TokenKind::Client) => identity.kind == Kind::Unknown,
            Self::Client(_) | Self::Issuer(_) | Self::Source(_) | Self::Token(TokenKind::Any) => {
                false
            }
        }
    }

    /// What is said when this is not met.
    fn lack(&self, identity: &Identity) -> Unmet {
        match self {
            Self::Acr(accepted) => step_up(identity, Arc::clone(accepted), None),
            Self::Claim(name, _) => Unmet::Claim(Arc::clone(name)),
            Self::Client(_) | Self::Issuer(_) => Unmet::Client,
            Self::Group(name) => Unmet::Group(Arc::clone(name)),
            Self::MaxAge(age) => step_up(identity, [].into(), Some(age.as_secs())),
            Self::Role(name) => Unmet::Role(Arc::clone(name)),
            Self::Scope(scope) => Unmet::Scope([scope.clone()].into()),
            Self::Source(_) => Unmet::Source,
            Self::Token(_) => Unmet::TokenKind,
        }
    }

    fn forbidden(&self) -> Unmet {
        match self {
            Self::Acr(_) => Unmet::Claim("acr".into()),
            Self::Claim(name, _) => Unmet::Claim(Arc::clone(name)),
            Self::Client(_) | Self::Issuer(_) => Unmet::Client,
            Self::Group(_) => Unmet::Claim("groups".into()),
            Self::MaxAge(_) => Unmet::Claim("auth_time".into()),
            Self::Role(_) => Unmet::Claim("roles".into()),
            Self::Scope(_) => Unmet::Claim("scope".into()),
            Self::Source(_) => Unmet::Source,
            Self::Token(_) => Unmet::TokenKind,
        }
    }
}

/// The challenge of RFC 9470 §3. A machine can never step up, so it is refused instead.
fn step_up(identity: &Identity, acr: Arc<[String]>, max_age: Option<u64>) -> Unmet {
    if identity.kind == Kind::Client {
        return Unmet::TokenKind;
    }
    Unmet::StepUp(StepUp { acr, max_age })
}

fn has_acr(identity: &Identity, accepted: &[String]) -> bool {
    identity.acr.as_deref().is_some_and(|acr| accepted.iter().any(|accepted| accepted == acr))
}

fn is_fresh(identity: &Identity, age: Duration, now: Now) -> bool {
    // A date far ahead is none: in milliseconds, every login would be fresh for ever.
    let latest = now.unix.saturating_add(MOST_AHEAD);
    let time = identity.auth_time.filter(|time| *time <= latest);
    time.is_some_and(|time| now.unix.saturating_sub(time) <= age)
}

fn is_kind(identity: &Identity, kind: TokenKind) -> bool {
    match kind {
        TokenKind::Any => true,
        TokenKind::User => identity.kind == Kind::User,
        TokenKind::Client => identity.kind == Kind::Client,
    }
}

impl Condition {
    fn holds(&self, identity: &Identity, name: &str, target: &Target) -> bool {
        let place = identity.claim_at(name);
        match self {
            Self::Value(wanted) => meets(wanted, place),
            // A machine's subject is its client's id, which may be chosen to equal a person's name
            // (RFC 9700 §4.15).
            Self::Segment(_) if name == SUBJECT && identity.subject.is_none() => false,
            Self::Segment(index) => {
                let value = place.value();
                let segment = target.segment(*index).map(|text| percent_decode_str(text));
                let Some(Ok(segment)) = segment.map(|text| text.decode_utf8()) else {
                    return false;
                };
                value.is_some_and(|value| one_of(value, |item| is_text(item, &segment)))
            }
        }
    }
}

impl Condition {
    /// Whether it can be told of a claim's value that it is not as wanted.
    fn can_judge(&self, identity: &Identity, name: &str, value: &Value) -> bool {
        match self {
            Self::Value(wanted) => is_comparable(wanted, value),
            Self::Segment(_) if name == SUBJECT && identity.subject.is_none() => false,
            Self::Segment(_) => {
                all_of(value, |item| item.is_string() || item.is_i64() || item.is_u64())
            }
        }
    }
}

/// How far an issuer's clock may be ahead: the most that `leeway` may be.
const MOST_AHEAD: Duration = Duration::from_secs(300);

/// The registered claim (RFC 7519 §4.1.2).
const SUBJECT: &str = "sub";

/// Whether a text or whole number reads as `text`.
fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value == text,
        Value::Number(number) => (number.is_i64() || number.is_u64()) && number.to_string() == text,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}
