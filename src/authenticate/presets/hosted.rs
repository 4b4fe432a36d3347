//! Servers that somebody else runs.

use super::{
    ABSENT, COMMON, NO_SUBJECT, Needed, Preset, STRANGERS, SUBJECT_IS_CLIENT, ScopeForm, Tell,
    present, rule,
};
use crate::identity::Kind;

pub(super) const PRESETS: &[Preset] = &[
    // Scopes and permissions differ: with role-based access control on, a scope is what both the
    // client and the person may, so a union with `permissions` would grant too much. The subjects
    // of people begin with the name of a connection and a bar.
    Preset {
        name: "auth0",
        header_types: &["at+jwt", "JWT"],
        client: &[&["azp"], &["client_id"]],
        tenant: &[&["org_id"]],
        kinds: &[
            rule("sub_profile-user", &[Tell::Is(&["sub_profile"], "user")], Kind::User),
            rule("sub_profile", &[Tell::Present(&["sub_profile"])], Kind::Client),
            rule("gty", &[Tell::Is(&["gty"], "client-credentials")], Kind::Client),
            rule("sub-at-clients", &[Tell::IsClientWithin(&["sub"], "", "@clients")], Kind::Client),
            SUBJECT_IS_CLIENT,
            rule("sub-of-connection", &[Tell::Contains(&["sub"], "|")], Kind::User),
        ],
        ..COMMON
    },
    // A person's `sub` is the name to log in by, which changes and is given to others: the one that
    // stays is `uid`, which machines do not have. ID tokens have no `cid`.
    Preset {
        name: "okta",
        scopes: &[&["scp"]],
        scope_form: ScopeForm::List,
        groups: &[&["groups"]],
        client: &[&["cid"]],
        subject: &[&["uid"]],
        kinds: &[rule("uid", &[Tell::Present(&["uid"])], Kind::User), SUBJECT_IS_CLIENT],
        ..COMMON
    },
    // `sub` is another one for each client; who somebody is, is `tid` and `oid`. Over 200 groups
    // are left out, with a note where to ask. ID tokens have neither `azp` nor `appid`.
    Preset {
        name: "entra",
        header_types: &["at+jwt", "JWT"],
        required: &[Needed { one_of: &["ver"], says: &["1.0", "2.0"] }, present(&["tid"])],
        refused: &["nonce"],
        scopes: &[&["scp"]],
        roles: &[&["roles"]],
        groups: &[&["groups"]],
        groups_elsewhere: &[&["_claim_names", "groups"], &["hasgroups"]],
        client: &[&["azp"], &["appid"]],
        subject: &[&["oid"]],
        tenant: &[&["tid"]],
        token_id: &[&["uti"]],
        keys_name_issuers: true,
        kinds: &[
            rule("idtyp-app", &[Tell::Is(&["idtyp"], "app")], Kind::Client),
            rule("idtyp-user", &[Tell::Is(&["idtyp"], "user")], Kind::User),
            rule("scp", &[Tell::Present(&["scp"])], Kind::User),
            rule(
                "oid-is-sub-without-scp",
                &[Tell::Absent(&["scp"]), Tell::Same(&["oid"], &["sub"])],
                Kind::Client,
            ),
        ],
        ..COMMON
    },
    // Access tokens have no `aud`: the clients that may call are listed instead.
    Preset {
        name: "cognito",
        header_types: &["at+jwt", ABSENT],
        required: &[Needed { one_of: &["token_use"], says: &["access"] }],
        audience: &[&["client_id"]],
        groups: &[&["cognito:groups"]],
        kinds: &[rule("username", &[Tell::Present(&["username"])], Kind::User), SUBJECT_IS_CLIENT],
        ..COMMON
    },
    // Access tokens are opaque; these are ID tokens, made for this API on purpose. Service accounts
    // may leave `email` out of theirs, so its absence proves nothing.
    Preset {
        name: "google-id",
        issuer: Some(("https://accounts.google.com", &["accounts.google.com"])),
        header_types: &["JWT"],
        id_tokens: true,
        scopes: &[],
        client: &[&["azp"]],
        tenant: &[&["hd"]],
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
    // Machines' tokens have no subject, or one without any sign of a login. From March 2027 on
    // `typ` is always `at+jwt`.
    Preset {
        name: "pingone",
        header_types: &["at+jwt", ABSENT],
        required: &[present(&["env"])],
        tenant: &[&["env"]],
        strangers: STRANGERS,
        kinds: &[
            NO_SUBJECT,
            SUBJECT_IS_CLIENT,
            rule("no-login", &[Tell::Absent(&["auth_time"]), Tell::Absent(&["acr"])], Kind::Client),
        ],
        else_user: true,
        ..COMMON
    },
];
