//! Presets that are for no server in particular.

use super::{COMMON, Preset, STRANGERS, SUBJECT_IS_CLIENT, Tell, rule};
use crate::identity::Kind;

pub(super) const PRESETS: &[Preset] = &[
    // Whatever follows RFC 9068 in the main. A person is told by a session or the time of an
    // authentication, never by the mere absence of a machine's signs: in servers whose machines
    // have accounts, `sub` differs from the client id in machine tokens, too.
    Preset {
        name: "generic",
        needs_client: false,
        roles: &[&["roles"]],
        groups: &[&["groups"]],
        client: &[&["client_id"], &["azp"]],
        kinds: &[
            rule("gty", &[Tell::Is(&["gty"], "client-credentials")], Kind::Client),
            rule("no-sub", &[Tell::HasClient, Tell::Absent(&["sub"])], Kind::Client),
            SUBJECT_IS_CLIENT,
            rule("sub-at-clients", &[Tell::IsClientWithin(&["sub"], "", "@clients")], Kind::Client),
            rule(
                "service-account",
                &[Tell::IsClientWithin(&["preferred_username"], "service-account-", "")],
                Kind::Client,
            ),
            rule("session", &[Tell::Present(&["sub"]), Tell::Present(&["sid"])], Kind::User),
            rule("login", &[Tell::Present(&["sub"]), Tell::Present(&["auth_time"])], Kind::User),
        ],
        ..COMMON
    },
    Preset {
        name: "rfc9068",
        header_types: &["at+jwt"],
        profile_claims: true,
        roles: &[&["roles"]],
        groups: &[&["groups"]],
        strangers: STRANGERS,
        kinds: &[SUBJECT_IS_CLIENT],
        else_user: true,
        ..COMMON
    },
];
