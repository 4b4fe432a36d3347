//! What the tokens of each kind of authorization server look like, as data.
//!
//! A preset is a row of [`PRESETS`]; adding one needs no code. Each field is an ordered list of
//! claim paths of which the first that is present counts, never a union.

use crate::identity::Kind;

/// The member names that lead to a claim, from the outside in.
pub(super) type Path = &'static [&'static str];

/// The claims of one kind of authorization server.
#[derive(Debug)]
pub(super) struct Preset {
    /// What `preset:` says.
    pub(super) name: &'static str,
    /// What the header's `typ` may say.
    pub(super) header_type: HeaderType,
    /// What the claim `typ` must say, if it must say anything.
    pub(super) payload_types: &'static [&'static str],
    /// Whether `sub`, `client_id`, `iat` and `jti` must be there (RFC 9068 §2.2).
    pub(super) profile_claims: bool,
    pub(super) scopes: &'static [Path],
    pub(super) scope_form: ScopeForm,
    pub(super) roles: &'static [Path],
    /// Roles that belong to clients: an object of objects, and the member of those that lists them.
    /// Each is read as `client:role`, beside `roles`.
    pub(super) client_roles: Option<(Path, &'static str)>,
    pub(super) groups: &'static [Path],
    pub(super) client: &'static [Path],
    pub(super) subject: &'static [Path],
    /// The first that matches tells whom the token speaks for; none means unknown.
    pub(super) kinds: &'static [KindRule],
}

/// What the header's `typ` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderType {
    /// `at+jwt` and nothing else (RFC 9068 §4).
    AccessToken,
    /// That, `JWT`, or nothing; never another kind (RFC 8725 §3.11).
    Unnamed,
}

/// How scopes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScopeForm {
    /// A string with single spaces between scopes (RFC 6749 §3.3).
    Text,
    /// That, or an array of strings.
    TextOrList,
}

/// A sign of whom a token speaks for.
#[derive(Debug)]
pub(super) struct KindRule {
    /// All of these must hold.
    pub(super) when: &'static [Tell],
    pub(super) kind: Kind,
}

/// A condition on claims. "The client" is the client id as the preset or the configuration reads
/// it; these conditions fail if there is none.
#[derive(Debug)]
pub(super) enum Tell {
    /// The claim is present, and not zero.
    Present(Path),
    /// The claim is absent.
    Absent(Path),
    /// The claim has this text.
    Is(Path, &'static str),
    /// The token names a client.
    HasClient,
    /// The claim has the client's id, exactly.
    IsClient(Path),
    /// The claim has the client's id between these texts, whatever the case.
    IsClientWithin(Path, &'static str, &'static str),
    /// The claim is a token id of Keycloak whose prefix names this grant, such as `cc` in `trrtcc:`.
    KeycloakGrant(Path, &'static str),
}

/// The preset called `name`.
pub(super) fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The names that `preset:` may say.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.name)
}

/// Claims that only other kinds of tokens have, with the values that give them away; no values:
/// the claim's presence does. For all presets (RFC 9068 §5, OpenID Connect Core §3.1.3.6,
/// Back-Channel Logout §2.4, Keycloak's `typ`).
pub(super) const FOREIGN: [(&str, &[&str]); 5] = [
    ("at_hash", &[]),
    ("c_hash", &[]),
    ("events", &[]),
    ("token_type", &["id", "id_token", "refresh", "refresh_token"]),
    ("typ", &["ID", "Logout", "Offline", "Refresh"]),
];

/// The claim that says what a token is for, where it exists at all, and what it must say.
pub(super) const TOKEN_USE: (&str, &[&str]) = ("token_use", &["access", "access_token"]);

/// Claims that say that the token is an access token.
pub(super) const DECLARES_ACCESS: [(&str, &[&str]); 2] = [TOKEN_USE, ("typ", &["Bearer", "DPoP"])];

const PRESETS: [Preset; 3] = [
    // Whatever follows RFC 9068 in the main. A person is told by a session or the time of an
    // authentication, never by the mere absence of a machine's signs: in servers whose machines
    // have accounts, `sub` differs from the client id in machine tokens, too.
    Preset {
        name: "generic",
        header_type: HeaderType::Unnamed,
        payload_types: &[],
        profile_claims: false,
        scopes: &[&["scope"]],
        scope_form: ScopeForm::Text,
        roles: &[&["roles"]],
        client_roles: None,
        groups: &[&["groups"]],
        client: &[&["client_id"], &["azp"]],
        subject: &[&["sub"]],
        kinds: &[
            KindRule { when: &[Tell::Is(&["gty"], "client-credentials")], kind: Kind::Client },
            KindRule { when: &[Tell::HasClient, Tell::Absent(&["sub"])], kind: Kind::Client },
            KindRule { when: &[Tell::IsClient(&["sub"])], kind: Kind::Client },
            KindRule {
                when: &[Tell::IsClientWithin(&["sub"], "", "@clients")],
                kind: Kind::Client,
            },
            KindRule {
                when: &[Tell::IsClientWithin(&["preferred_username"], "service-account-", "")],
                kind: Kind::Client,
            },
            KindRule {
                when: &[Tell::Present(&["sub"]), Tell::Present(&["sid"])],
                kind: Kind::User,
            },
            KindRule {
                when: &[Tell::Present(&["sub"]), Tell::Present(&["auth_time"])],
                kind: Kind::User,
            },
        ],
    },
    Preset {
        name: "rfc9068",
        header_type: HeaderType::AccessToken,
        payload_types: &[],
        profile_claims: true,
        scopes: &[&["scope"]],
        scope_form: ScopeForm::Text,
        roles: &[&["roles"]],
        client_roles: None,
        groups: &[&["groups"]],
        client: &[&["client_id"]],
        subject: &[&["sub"]],
        kinds: &[
            KindRule { when: &[Tell::IsClient(&["sub"])], kind: Kind::Client },
            KindRule { when: &[], kind: Kind::User },
        ],
    },
    Preset {
        name: "keycloak",
        header_type: HeaderType::Unnamed,
        payload_types: &["Bearer", "DPoP"],
        profile_claims: false,
        scopes: &[&["scope"]],
        scope_form: ScopeForm::Text,
        roles: &[&["realm_access", "roles"]],
        client_roles: Some((&["resource_access"], "roles")),
        groups: &[&["groups"]],
        client: &[&["azp"], &["client_id"]],
        subject: &[&["sub"]],
        kinds: &[
            KindRule { when: &[Tell::KeycloakGrant(&["jti"], "cc")], kind: Kind::Client },
            KindRule {
                when: &[Tell::IsClientWithin(&["preferred_username"], "service-account-", "")],
                kind: Kind::Client,
            },
            KindRule {
                when: &[Tell::Present(&["client_id"]), Tell::Absent(&["sid"])],
                kind: Kind::Client,
            },
            KindRule { when: &[Tell::Present(&["sid"])], kind: Kind::User },
        ],
    },
];
