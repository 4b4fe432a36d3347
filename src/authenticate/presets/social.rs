//! Providers of opaque tokens that are asked in their own way. The claims are those that
//! [`introspect`](crate::authenticate) makes of their answers.

use super::{COMMON, Preset, ScopeForm, Tell, rule};
use crate::identity::Kind;

pub(super) const PRESETS: &[Preset] = &[
    // A page's token acts for a page, and whose doing that is nobody can tell.
    Preset {
        name: "facebook",
        header_types: &[],
        scope_form: ScopeForm::List,
        token_id: &[],
        session: &[],
        kinds: &[
            rule("type-USER", &[Tell::Is(&["type"], "USER")], Kind::User),
            rule("type-APP", &[Tell::Is(&["type"], "APP")], Kind::Client),
        ],
        ..COMMON
    },
    // Only people let an app act for them; tokens of installations are not answered for.
    Preset {
        name: "github",
        header_types: &[],
        scope_form: ScopeForm::List,
        token_id: &[],
        session: &[],
        kinds: &[
            rule("type-User", &[Tell::Is(&["type"], "User")], Kind::User),
            rule("sub", &[Tell::Absent(&["type"]), Tell::Present(&["sub"])], Kind::User),
        ],
        ..COMMON
    },
    // There is `email` only if the token has the scope for it; service accounts have theirs in
    // domains of their own.
    Preset {
        name: "google-opaque",
        header_types: &[],
        token_id: &[],
        session: &[],
        kinds: &[
            rule(
                "email-of-service-account",
                &[Tell::EndsWith(&["email"], ".gserviceaccount.com")],
                Kind::Client,
            ),
            rule("email", &[Tell::Present(&["email"])], Kind::User),
        ],
        ..COMMON
    },
];
