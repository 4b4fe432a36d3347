//! About which of its tokens an issuer is asked, and what that spares it.

use crate::authenticate::Scrutiny;
use crate::authenticate::issuer::Issuer;
use crate::config::{self, Introspected, Introspection};

impl Issuer {
    /// Whether opaque tokens are shown to it.
    pub(in crate::authenticate) fn takes_opaque(&self) -> bool {
        self.introspector().is_some_and(|introspector| introspector.settings.takes_opaque())
    }

    /// Whether its JWTs are verified with its keys.
    pub(in crate::authenticate) fn verifies(&self) -> bool {
        self.tokens() != Some(Introspected::Only)
    }

    /// Whether a JWT that was verified needs its answer besides. On a route that asks for one every
    /// issuer is asked, also those that cannot be.
    pub(in crate::authenticate) fn wants_answer(&self, scrutiny: Scrutiny) -> bool {
        match scrutiny {
            Scrutiny::Introspect => true,
            Scrutiny::Usual => self.tokens() == Some(Introspected::Always),
        }
    }

    fn tokens(&self) -> Option<Introspected> {
        self.introspector().map(|introspector| introspector.settings.tokens)
    }
}

/// Whether an issuer's keys verify anything.
pub(in crate::authenticate) fn needs_keys(config: &config::Issuer) -> bool {
    config.introspection.as_ref().is_none_or(Introspection::needs_keys)
}

/// Whether nothing is fetched in the background: the issuer is only asked, and known where.
pub(in crate::authenticate) fn needs_nothing(config: &config::Issuer) -> bool {
    let is_placed = config.introspection.as_ref().is_some_and(|found| found.endpoint.is_some());
    is_placed && !needs_keys(config)
}
