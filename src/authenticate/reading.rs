//! From verified claims to an [`Identity`].

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde_json::{Map, Value};

use super::claims::{self, Window};
use super::headers;
use super::kinds::{Kinds, Said};
use super::names::{Named, Names};
use super::presets::{Path, Preset, RoleForm, ScopeForm};
use super::values::{self, first, list, of_tenant, optional};
use crate::config::{self, ClaimPath, IdentityHeader};
use crate::identity::{Claims, Identity, Kind, LimitKeys, Place, Unread, walk};
use crate::rejection::TokenFault;
use crate::revoke::{Marks, Names as Told, id_text};

/// Where an issuer's tokens say what, resolved once from preset and configuration.
#[derive(Debug)]
pub(super) struct Reading {
    issuer: Arc<str>,
    names: Names,
    needs_client: bool,
    pub(super) scopes: Vec<ClaimPath>,
    scope_form: ScopeForm,
    pub(super) roles: Vec<ClaimPath>,
    role_form: RoleForm,
    pub(super) client_roles: Option<(Path, &'static str)>,
    pub(super) groups: Vec<ClaimPath>,
    groups_elsewhere: Vec<ClaimPath>,
    pub(super) client: Vec<ClaimPath>,
    pub(super) subject: Vec<ClaimPath>,
    pub(super) tenant: Vec<ClaimPath>,
    pub(super) token_id: Vec<ClaimPath>,
    pub(super) session: Vec<ClaimPath>,
    aliases: Arc<[(String, Vec<ClaimPath>)]>,
    kinds: Kinds,
    /// Every scope that contains others, with all that it contains, however indirectly.
    implied: HashMap<String, Vec<String>>,
    headers: Vec<IdentityHeader>,
}

impl Reading {
    pub(super) fn new(
        config: &config::Issuer,
        preset: &'static Preset,
        headers: &[IdentityHeader],
    ) -> Self {
        let named = |name: &str| {
            let claim = config.claims.iter().find(|(alias, _)| alias.value == name);
            claim.map(|(_, paths)| paths.clone())
        };
        let field = |name: &str, paths: &[Path]| named(name).unwrap_or_else(|| paths_of(paths));
        // Who names a claim knows how it is written.
        let is_scope_named = named("scopes").is_some();
        let form = if is_scope_named { ScopeForm::TextOrList } else { preset.scope_form };
        Self {
            issuer: config.name.as_str().into(),
            names: Names::new(config, preset),
            needs_client: preset.needs_client,
            scopes: field("scopes", preset.scopes),
            scope_form: form,
            roles: field("roles", preset.roles),
            role_form: preset.role_form,
            client_roles: preset.client_roles.filter(|_| named("roles").is_none()),
            groups: field("groups", preset.groups),
            groups_elsewhere: paths_of(preset.groups_elsewhere),
            client: field("client", preset.client),
            subject: field("subject", preset.subject),
            tenant: field("tenant", preset.tenant),
            token_id: field("token_id", preset.token_id),
            session: field("session", preset.session),
            aliases: aliases(config, preset),
            kinds: Kinds::new(config, preset),
            implied: closure(&config.implies),
            headers: headers.to_vec(),
        }
    }

    /// The issuer's name in the configuration.
    pub(super) fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// What the issuer is called in tokens.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// What the claims of a verified token say.
    ///
    /// `text` is what they were read from.
    pub(super) fn identity(
        &self,
        text: Vec<u8>,
        claims: Map<String, Value>,
        window: Window,
    ) -> Result<Identity, TokenFault> {
        let named = self.named(&claims)?;
        let client = values::text(&claims, &self.client)?;
        if self.needs_client && client.is_none() {
            return Err(TokenFault::WrongTokenType);
        }
        let subject = values::text(&claims, &self.subject)?;
        self.check_ids(&claims)?;
        let (kind, _) = self.kinds.of(Said {
            claims: &claims,
            client: client.as_deref(),
            subject: subject.as_deref(),
        });
        let tenant = self.tenant(&claims, named)?;
        // A backend that trusts the subject must never read a client id there (RFC 9700 §4.15).
        let person = subject.clone().filter(|subject| {
            kind != Kind::Client && client.as_ref().is_none_or(|client| client != subject)
        });
        let keys = limit_keys(&named.url, client.as_deref(), person.as_deref(), subject.as_deref());
        let scopes = self.scopes(&claims);
        let mut identity = Identity {
            issuer: Arc::clone(&self.issuer),
            issuer_url: Arc::clone(&named.url),
            subject: person,
            client,
            kind,
            implied: self.implied(&scopes),
            scopes,
            roles: self.roles(&claims, tenant.as_deref()),
            groups: self.groups(&claims),
            unread: self.unread(&claims, tenant.as_deref()),
            tenant,
            acr: claims.get("acr").and_then(Value::as_str).map(Box::from),
            auth_time: claims::date(&claims, "auth_time").unwrap_or_default(),
            expires: window.expires,
            not_before: window.not_before,
            jti_hash: values::id(&claims, &self.token_id)?.as_deref().map(short_hash),
            claims: Claims::new(text.into(), claims),
            aliases: Arc::clone(&self.aliases),
            headers: Box::default(),
            keys,
            marks: OnceLock::new(),
        };
        identity.headers = headers::headers(&self.headers, &identity);
        identity.claims.forget();
        Ok(identity)
    }

    /// Refuses what revocations could not name, under the configured claims and the registered ones.
    fn check_ids(&self, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        for paths in [&self.token_id, &self.session] {
            values::id(claims, paths)?;
        }
        let registered = ["jti", "sid", "sub"].into_iter().filter_map(|name| claims.get(name));
        let is_odd = |value: &Value| {
            !value.is_null() && value.as_str() != Some("") && id_text(value).is_none()
        };
        if registered.into_iter().any(is_odd) { Err(TokenFault::Malformed) } else { Ok(()) }
    }

    /// What revocations know the token by. They name the issuer as it is configured, so its tenants
    /// and spellings are one here: to revoke too much is the lesser harm.
    pub(super) fn marks(&self, claims: &Map<String, Value>) -> Marks {
        let (subject, client) = (optional(claims, &self.subject), optional(claims, &self.client));
        let id = |paths| values::id(claims, paths).unwrap_or_default();
        let (token_id, session) = (id(&self.token_id), id(&self.session));
        Marks::of(
            self.names.url(),
            claims,
            Told {
                token_id: token_id.as_deref(),
                session: session.as_deref(),
                subject: subject.as_deref(),
                client: client.as_deref(),
            },
        )
    }

    /// One source, in the form that the preset names; scopes in another form grant nothing.
    pub(super) fn scopes(&self, claims: &Map<String, Value>) -> Box<[Box<str>]> {
        let Some(value) = first(claims, &self.scopes) else { return Box::default() };
        match (value.as_str(), self.scope_form) {
            (Some(text), ScopeForm::Text | ScopeForm::TextOrList) => {
                text.split(' ').filter(|scope| !scope.is_empty()).map(Box::from).collect()
            }
            (None, ScopeForm::List | ScopeForm::TextOrList) => list(value).into(),
            (None, ScopeForm::Text) | (Some(_), ScopeForm::List) => Box::default(),
        }
    }

    /// Whom the token's `iss` names. An answer about a token may leave out whose it is if there is
    /// only one it can be.
    fn named(&self, claims: &Map<String, Value>) -> Result<&Named, TokenFault> {
        let iss = claims.get("iss").map_or(Some(&**self.names.url()), Value::as_str);
        let iss = iss.ok_or(TokenFault::Malformed)?;
        self.names.find(iss).ok_or(TokenFault::UnknownIssuer)
    }

    /// The tenant that the claims name, which must be the one of the issuer that was accepted.
    fn tenant(
        &self,
        claims: &Map<String, Value>,
        named: &Named,
    ) -> Result<Option<Box<str>>, TokenFault> {
        let Some(accepted) = &named.tenant else { return Ok(optional(claims, &self.tenant)) };
        // Rules and headers read the claim as it stands: a list that names two tenants, or a claim
        // beside the first, would speak for another tenant than the one whose key signed.
        let places = self.tenant.iter().map(|path| walk(claims, path.0.iter().map(String::as_str)));
        let mut claimed = places.filter(|place| *place != Place::Nothing);
        match claimed.all(|place| place.value().and_then(Value::as_str) == Some(&**accepted)) {
            true => Ok(Some((**accepted).into())),
            false => Err(TokenFault::UnknownIssuer),
        }
    }

    /// The scopes that these imply and that are not among them, each once.
    fn implied(&self, scopes: &[Box<str>]) -> Box<[Box<str>]> {
        // A token may repeat a scope thousands of times.
        let (mut broader, mut known) = (scopes.to_vec(), HashSet::new());
        broader.retain(|scope| known.insert(scope.clone()));
        let narrower = broader.iter().filter_map(|scope| self.implied.get(&**scope)).flatten();
        let narrower = narrower.map(|scope| Box::from(scope.as_str()));
        narrower.filter(|scope| known.insert(Box::clone(scope))).collect()
    }

    /// What the claims say in a form that is not the issuer's.
    pub(super) fn unread(&self, claims: &Map<String, Value>, tenant: Option<&str>) -> Unread {
        let acr = claims.get("acr").is_some_and(|acr| !acr.is_null() && !acr.is_string());
        let is_groups = values::is_readable(claims, &self.groups, values::is_list);
        let is_scopes = values::is_readable(claims, &self.scopes, |value| self.is_scopes(value));
        Unread {
            acr,
            auth_time: !matches!(claims::date(claims, "auth_time"), Ok(Some(_))),
            groups: !is_groups || first(claims, &self.groups_elsewhere).is_some(),
            roles: !self.are_roles_read(claims, tenant),
            scopes: !is_scopes,
        }
    }

    /// Whether these are scopes (RFC 6749 §3.3) in the form that the preset names.
    fn is_scopes(&self, value: &Value) -> bool {
        let is_scope =
            |text: &str| text.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~'));
        let are_scopes = |text: &str| text.split(' ').all(is_scope);
        match (value, self.scope_form) {
            (Value::String(text), ScopeForm::Text | ScopeForm::TextOrList) => are_scopes(text),
            (Value::Array(items), ScopeForm::List | ScopeForm::TextOrList) => {
                items.iter().all(|item| item.as_str().is_some_and(is_scope))
            }
            (_, _) => false,
        }
    }

    fn are_roles_read(&self, claims: &Map<String, Value>, tenant: Option<&str>) -> bool {
        let own = values::is_readable(claims, &self.roles, |value| match self.role_form {
            RoleForm::List => values::is_list(value),
            RoleForm::OfTenants => tenant.is_some() && values::is_of_tenants(value),
        });
        let Some((path, member)) = self.client_roles else { return own };
        own && match walk(claims, path.iter().copied()) {
            Place::Nothing => true,
            Place::Value(Value::Object(clients)) => clients.values().all(|client| {
                client
                    .as_object()
                    .is_some_and(|client| client.get(member).is_none_or(values::is_list))
            }),
            Place::Value(_) | Place::Unreadable => false,
        }
    }

    /// Whom the token speaks for, and the rule that says so.
    pub(super) fn kind(&self, claims: &Map<String, Value>) -> (Kind, &'static str) {
        let client = optional(claims, &self.client);
        let subject = optional(claims, &self.subject);
        self.kinds.of(Said { claims, client: client.as_deref(), subject: subject.as_deref() })
    }

    pub(super) fn groups(&self, claims: &Map<String, Value>) -> Box<[Box<str>]> {
        first(claims, &self.groups).map(list).unwrap_or_default().into()
    }

    pub(super) fn roles(
        &self,
        claims: &Map<String, Value>,
        tenant: Option<&str>,
    ) -> Box<[Box<str>]> {
        let mut roles = match (first(claims, &self.roles), self.role_form) {
            (None, _) => Vec::new(),
            (Some(value), RoleForm::List) => list(value),
            (Some(value), RoleForm::OfTenants) => of_tenant(value, tenant),
        };
        let clients = self
            .client_roles
            .and_then(|(path, member)| Some((walk(claims, path.iter().copied()).value()?, member)));
        if let Some((Value::Object(clients), member)) = clients {
            for (client, value) in clients {
                let own = value.get(member).map(list).unwrap_or_default();
                roles.extend(own.iter().map(|role| format!("{client}:{role}").into()));
            }
        }
        roles.into()
    }
}

/// The same client id at two issuers is two clients, and a client is never a user of the same
/// name: issuer and domain are part of what is hashed. 128 bits of SHA-256, so that nobody can
/// search for a name that spends another's quota.
fn limit_keys(
    issuer_url: &str,
    client: Option<&str>,
    person: Option<&str>,
    subject: Option<&str>,
) -> LimitKeys {
    let key = |domain: &str, id: &str| {
        let mut context = Context::new(&SHA256);
        for part in [domain, issuer_url, "\0", id] {
            context.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&context.finish().as_ref()[..16]);
        u128::from_be_bytes(bytes)
    };
    let of_client = match (client, subject) {
        (Some(client), _) => key("client\0", client),
        (None, Some(subject)) => key("user\0", subject),
        (None, None) => key("nobody\0", ""),
    };
    LimitKeys { client: of_client, user: person.map_or(of_client, |person| key("user\0", person)) }
}

/// The names for claims that rules and headers may use: the configuration's, and `tenant`, for
/// which a token might have a claim that means something else. Where one issuer serves several
/// tenants and no claim is known to name them, the name stands for nothing: a hostile tenant could
/// write the claim.
fn aliases(config: &config::Issuer, preset: &Preset) -> Arc<[(String, Vec<ClaimPath>)]> {
    let own = config.claims.iter().map(|(name, paths)| (name.value.clone(), paths.clone()));
    let tenant = ("tenant".to_owned(), paths_of(preset.tenant));
    let is_known = !preset.tenant.is_empty() || !config.tenants.is_empty();
    own.chain(is_known.then_some(tenant)).collect()
}

/// A preset's paths as those of a configuration.
pub(super) fn paths_of(paths: &[Path]) -> Vec<ClaimPath> {
    let owned = |path: &Path| ClaimPath(path.iter().copied().map(str::to_owned).collect());
    paths.iter().map(owned).collect()
}

/// Follows every implication to its end, through cycles, too.
fn closure(implies: &[(String, Vec<String>)]) -> HashMap<String, Vec<String>> {
    let narrower = |scope: &str| {
        let rows = implies.iter().filter(|(broader, _)| broader == scope).collect::<Vec<_>>();
        rows.into_iter().flat_map(|(_, narrower)| narrower)
    };
    let reach = |broader: &String| {
        let mut seen: HashSet<&String> = HashSet::from([broader]);
        let mut found = Vec::new();
        let mut open: Vec<&String> = narrower(broader).collect();
        while let Some(scope) = open.pop() {
            if seen.insert(scope) {
                found.push(scope.clone());
                open.extend(narrower(scope));
            }
        }
        found
    };
    implies.iter().map(|(broader, _)| (broader.clone(), reach(broader))).collect()
}

/// 128 bits of SHA-256 in hexadecimal: enough to find a token again, and not the token's id.
fn short_hash(text: &str) -> Box<str> {
    let hash = digest(&SHA256, text.as_bytes());
    let halves = hash.as_ref()[..16].iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.filter_map(|half| char::from_digit(half.into(), 16)).collect::<String>().into()
}
