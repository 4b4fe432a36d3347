//! The spellings of one issuer's identifier, and the tenants that an issuer of several may have.
//!
//! Every spelling is written out when the configuration is loaded, so a token's `iss` is looked up
//! and never matched against a pattern: no text of a token can become part of an issuer.

use std::collections::HashMap;
use std::sync::Arc;

use super::presets::Preset;
use crate::config::{self, TENANT};

/// What an issuer is called.
#[derive(Debug)]
pub(super) struct Names {
    /// The issuer identifier, as it is configured; with a placeholder if there are tenants.
    url: Arc<str>,
    /// What each `iss` stands for.
    known: HashMap<Box<str>, Named>,
    /// Whether a key that says whose it is serves for nobody else.
    are_keys_bound: bool,
}

/// Whom an `iss` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The identifier of the issuer, the same for all its spellings, so that somebody is the same
    /// whichever of them a token uses; of the tenant, if there are tenants.
    pub(super) url: Arc<str>,
    /// The tenant.
    pub(super) tenant: Option<Arc<str>>,
}

impl Names {
    pub(super) fn new(config: &config::Issuer, preset: &Preset) -> Self {
        let url = config.url.value.as_str();
        let of_preset = preset.issuer.filter(|(known, _)| *known == url).map(|(_, others)| others);
        let spellings: Vec<&str> = std::iter::once(url)
            .chain(config.issuer_aliases.iter().map(|alias| alias.value.as_str()))
            .chain(of_preset.into_iter().flatten().copied())
            .collect();
        let mut known = HashMap::new();
        if !url.contains(TENANT) {
            let named = Named { url: url.into(), tenant: None };
            // The reader refuses a placeholder here; should one get through, it names nobody.
            let plain = spellings.iter().filter(|spelling| !spelling.contains(TENANT));
            known.extend(plain.map(|spelling| (Box::from(*spelling), named.clone())));
        }
        for tenant in config.tenants.iter().map(|tenant| tenant.value.as_str()) {
            let named =
                Named { url: url.replace(TENANT, tenant).into(), tenant: Some(tenant.into()) };
            let templates = spellings.iter().filter(|spelling| spelling.contains(TENANT));
            known.extend(
                templates.map(|spelling| (spelling.replace(TENANT, tenant).into(), named.clone())),
            );
        }
        let are_keys_bound = preset.keys_name_issuers || !config.tenants.is_empty();
        Self { url: url.into(), known, are_keys_bound }
    }

    /// The issuer identifier, as it is configured.
    pub(super) fn url(&self) -> &Arc<str> {
        &self.url
    }

    /// Whom `iss` names; compared byte for byte (RFC 9068 §4).
    pub(super) fn find(&self, iss: &str) -> Option<&Named> {
        self.known.get(iss)
    }

    /// Whether a key whose JWK says that it is `owner`'s may verify a token of `named`. Where one
    /// set has the keys of several tenants, one tenant's key must not sign for another.
    pub(super) fn is_key_of(&self, owner: Option<&str>, named: &Named) -> bool {
        let Some(owner) = owner.filter(|_| self.are_keys_bound) else { return true };
        match &named.tenant {
            Some(tenant) => self.find(&owner.replace(TENANT, tenant)) == Some(named),
            // A key of all tenants is also a key of this one.
            None => owner.contains(TENANT) || self.find(owner).is_some(),
        }
    }
}
