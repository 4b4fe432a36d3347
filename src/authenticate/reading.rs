//! From verified claims to an [`Identity`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde_json::{Map, Value};

use super::claims::{self, Window};
use super::presets::{Path, Preset, ScopeForm};
use super::{headers, kinds};
use crate::config::{self, ClaimPath, IdentityHeader};
use crate::identity::{Identity, Kind, LimitKeys, walk};
use crate::rejection::TokenFault;
use crate::revoke::Marks;

/// Where an issuer's tokens say what, resolved once from preset and configuration.
#[derive(Debug)]
pub(super) struct Reading {
    preset: &'static Preset,
    issuer: Arc<str>,
    issuer_url: Arc<str>,
    scopes: Vec<ClaimPath>,
    scope_form: ScopeForm,
    roles: Vec<ClaimPath>,
    client_roles: Option<(Path, &'static str)>,
    groups: Vec<ClaimPath>,
    client: Vec<ClaimPath>,
    subject: Vec<ClaimPath>,
    aliases: Arc<[(String, ClaimPath)]>,
    machine_marks: Vec<(ClaimPath, String)>,
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
            config
                .claims
                .iter()
                .find(|(alias, _)| alias.value == name)
                .map(|(_, path)| path.clone())
        };
        let field = |name: &str, paths: &[Path]| match named(name) {
            Some(path) => vec![path],
            None => paths.iter().map(claim_path).collect(),
        };
        // Who names a claim knows how it is written.
        let is_scope_named = named("scopes").is_some();
        let form = if is_scope_named { ScopeForm::TextOrList } else { preset.scope_form };
        let alias = |(name, path): &(config::Located<String>, ClaimPath)| {
            (name.value.clone(), path.clone())
        };
        Self {
            preset,
            issuer: config.name.as_str().into(),
            issuer_url: config.url.as_str().into(),
            scopes: field("scopes", preset.scopes),
            scope_form: form,
            roles: field("roles", preset.roles),
            client_roles: preset.client_roles.filter(|_| named("roles").is_none()),
            groups: field("groups", preset.groups),
            client: field("client", preset.client),
            subject: field("subject", preset.subject),
            aliases: config.claims.iter().map(alias).collect(),
            machine_marks: config.client_token_when.clone(),
            implied: closure(&config.implies),
            headers: headers.to_vec(),
        }
    }

    /// The issuer's name in the configuration.
    pub(super) fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// The issuer identifier.
    pub(super) fn issuer_url(&self) -> &str {
        &self.issuer_url
    }

    /// What the claims of a verified token say.
    pub(super) fn identity(
        &self,
        claims: Map<String, Value>,
        window: Window,
    ) -> Result<Identity, TokenFault> {
        let client = text(&claims, &self.client)?;
        let subject = text(&claims, &self.subject)?;
        let kind =
            kinds::kind_of(&claims, client.as_deref(), &self.machine_marks, self.preset.kinds);
        // A backend that trusts the subject must never read a client id there (RFC 9700 §4.15).
        let person = subject.clone().filter(|subject| {
            kind != Kind::Client && client.as_ref().is_none_or(|client| client != subject)
        });
        let keys = self.limit_keys(client.as_deref(), person.as_deref(), subject.as_deref());
        let issued = claims::date(&claims, "iat").unwrap_or_default();
        let (sub, id) = (subject.as_deref(), client.as_deref());
        let marks = Marks::of(&self.issuer_url, &claims, issued, sub, id);
        let scopes = self.scopes(&claims);
        let mut identity = Identity {
            issuer: Arc::clone(&self.issuer),
            issuer_url: Arc::clone(&self.issuer_url),
            subject: person,
            client,
            kind,
            granted: self.grant(&scopes),
            scopes,
            roles: self.roles(&claims),
            groups: first(&claims, &self.groups).map(list).unwrap_or_default().into(),
            acr: claims.get("acr").and_then(Value::as_str).map(Box::from),
            auth_time: claims::date(&claims, "auth_time").unwrap_or_default(),
            expires: window.expires,
            not_before: window.not_before,
            jti_hash: claims.get("jti").and_then(Value::as_str).map(short_hash),
            claims,
            aliases: Arc::clone(&self.aliases),
            headers: Box::default(),
            keys,
            marks,
        };
        identity.headers = headers::headers(&self.headers, &identity);
        Ok(identity)
    }

    /// One source, in the form that the preset names; scopes in another form grant nothing.
    fn scopes(&self, claims: &Map<String, Value>) -> Box<[Box<str>]> {
        let Some(value) = first(claims, &self.scopes) else { return Box::default() };
        match (value.as_str(), self.scope_form) {
            (Some(text), _) => {
                text.split(' ').filter(|scope| !scope.is_empty()).map(Box::from).collect()
            }
            (None, ScopeForm::TextOrList) => list(value).into(),
            (None, ScopeForm::Text) => Box::default(),
        }
    }

    /// The scopes and all that they imply, each once.
    fn grant(&self, scopes: &[Box<str>]) -> Box<[Box<str>]> {
        let mut granted: Vec<Box<str>> = Vec::with_capacity(scopes.len());
        for scope in scopes {
            let implied = self.implied.get(&**scope).into_iter().flatten().map(String::as_str);
            for scope in std::iter::once(&**scope).chain(implied) {
                if !granted.iter().any(|known| **known == *scope) {
                    granted.push(scope.into());
                }
            }
        }
        granted.into()
    }

    fn roles(&self, claims: &Map<String, Value>) -> Box<[Box<str>]> {
        let mut roles = first(claims, &self.roles).map(list).unwrap_or_default();
        let clients = self
            .client_roles
            .and_then(|(path, member)| Some((walk(claims, path.iter().copied())?, member)));
        if let Some((Value::Object(clients), member)) = clients {
            for (client, value) in clients {
                let own = value.get(member).map(list).unwrap_or_default();
                roles.extend(own.iter().map(|role| format!("{client}:{role}").into()));
            }
        }
        roles.into()
    }

    /// The same client id at two issuers is two clients, and a client is never a user of the same
    /// name: issuer and domain are part of what is hashed. 128 bits of SHA-256, so that nobody can
    /// search for a name that spends another's quota.
    fn limit_keys(
        &self,
        client: Option<&str>,
        person: Option<&str>,
        subject: Option<&str>,
    ) -> LimitKeys {
        let key = |domain: &str, id: &str| {
            let mut context = Context::new(&SHA256);
            for part in [domain, &self.issuer_url, "\0", id] {
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
        LimitKeys {
            client: of_client,
            user: person.map_or(of_client, |person| key("user\0", person)),
        }
    }
}

fn claim_path(path: &Path) -> ClaimPath {
    ClaimPath(path.iter().copied().map(str::to_owned).collect())
}

fn first<'c>(claims: &'c Map<String, Value>, paths: &[ClaimPath]) -> Option<&'c Value> {
    paths.iter().find_map(|path| walk(claims, path.0.iter().map(String::as_str)))
}

/// Text that must be text if it is there; empty text is as good as none.
fn text(claims: &Map<String, Value>, paths: &[ClaimPath]) -> Result<Option<Box<str>>, TokenFault> {
    let Some(value) = first(claims, paths) else { return Ok(None) };
    let text = value.as_str().ok_or(TokenFault::Malformed)?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(Box::from))
}

/// The strings of a list; a single string is a list of one (some servers collapse them).
fn list(value: &Value) -> Vec<Box<str>> {
    match value.as_array() {
        Some(items) => items.iter().filter_map(Value::as_str).map(Box::from).collect(),
        None => value.as_str().map(Box::from).into_iter().collect(),
    }
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
    hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
