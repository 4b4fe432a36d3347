//! Servers that people install themselves.

use super::{
    ABSENT, COMMON, NO_SUBJECT, Needed, Preset, RoleForm, STRANGERS, SUBJECT_IS_CLIENT, ScopeForm,
    Tell, present, rule,
};
use crate::identity::Kind;

pub(super) const PRESETS: &[Preset] = &[
    // Service accounts have accounts: `sub` is a UUID and never the client. The prefix of `jti` is
    // an implementation detail, but the only sign if the client scope `service_account` is removed.
    Preset {
        name: "keycloak",
        needs_client: false,
        required: &[Needed { one_of: &["typ"], says: &["Bearer", "DPoP"] }],
        roles: &[&["realm_access", "roles"]],
        client_roles: Some((&["resource_access"], "roles")),
        groups: &[&["groups"]],
        client: &[&["azp"], &["client_id"]],
        kinds: &[
            rule("jti-grant", &[Tell::KeycloakGrant(&["jti"], "cc")], Kind::Client),
            rule(
                "service-account",
                &[Tell::IsClientWithin(&["preferred_username"], "service-account-", "")],
                Kind::Client,
            ),
            rule(
                "client_id-without-session",
                &[Tell::Present(&["client_id"]), Tell::Absent(&["sid"])],
                Kind::Client,
            ),
            rule("session", &[Tell::Present(&["sid"])], Kind::User),
        ],
        ..COMMON
    },
    // IdentityServer. A machine's token has no `sub`, so no strict reading of RFC 9068 fits; single
    // values of lists are written as strings.
    Preset {
        name: "duende",
        header_types: &["at+jwt"],
        scope_form: ScopeForm::TextOrList,
        roles: &[&["role"]],
        strangers: STRANGERS,
        kinds: &[NO_SUBJECT, SUBJECT_IS_CLIENT],
        else_user: true,
        ..COMMON
    },
    // `token_use`, which introspection adds, is checked for every preset.
    Preset {
        name: "hydra",
        header_types: &["at+jwt", "JWT"],
        required: &[present(&["scp", "scope", "ext"])],
        scopes: &[&["scp"], &["scope"]],
        scope_form: ScopeForm::TextOrList,
        strangers: STRANGERS,
        kinds: &[SUBJECT_IS_CLIENT],
        else_user: true,
        ..COMMON
    },
    // The `sub` of a machine's JWT is its client; answers of introspection about one have no `sub`.
    Preset {
        name: "oidc-provider",
        header_types: &["at+jwt"],
        strangers: STRANGERS,
        kinds: &[NO_SUBJECT, SUBJECT_IS_CLIENT],
        else_user: true,
        ..COMMON
    },
    // The audience is the client, and no other claim names it. ID tokens have the same audience,
    // but `azp` and no `nbf`; tokens of most other servers have a `client_id`.
    Preset {
        name: "spring-as",
        header_types: &["at+jwt", ABSENT],
        required: &[present(&["nbf"])],
        refused: &["azp", "client_id", "nonce"],
        scope_form: ScopeForm::List,
        client: &[&["aud", "0"], &["aud"]],
        strangers: STRANGERS,
        kinds: &[SUBJECT_IS_CLIENT],
        else_user: true,
        ..COMMON
    },
    // Machines are users with a user's id, and a JWT does not tell: the configuration must. Scopes
    // are in the answers of introspection alone. ID tokens have the same audience, but `azp` and
    // neither `nbf` nor `jti`.
    Preset {
        name: "zitadel",
        required: &[present(&["nbf"]), present(&["jti"])],
        refused: &["azp", "nonce"],
        roles: &[&["urn:zitadel:iam:org:project:roles"]],
        role_form: RoleForm::OfTenants,
        tenant: &[&["urn:zitadel:iam:user:resourceowner:id"]],
        ..COMMON
    },
    // The access token is the ID token with `azp` and `uid`; that is all that tells them apart.
    Preset {
        name: "authentik",
        header_types: &["at+jwt", "JWT"],
        required: &[present(&["azp"]), present(&["uid"])],
        refused: &["nonce"],
        groups: &[&["groups"]],
        client: &[&["azp"]],
        token_id: &[&["jti"], &["uid"]],
        kinds: &[rule(
            "service-account",
            &[Tell::Within(&["preferred_username"], "ak-", "-client_credentials")],
            Kind::Client,
        )],
        ..COMMON
    },
    // What tokens hold is configured there, so it is often configured here, too.
    Preset {
        name: "pingfederate",
        scope_form: ScopeForm::TextOrList,
        strangers: STRANGERS,
        kinds: &[NO_SUBJECT, SUBJECT_IS_CLIENT],
        else_user: true,
        ..COMMON
    },
];
