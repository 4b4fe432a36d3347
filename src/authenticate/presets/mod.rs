//! What the tokens of each kind of authorization server look like, as data.
//!
//! A preset is a row of one of the tables below; adding one needs no code. Each field is an ordered
//! list of claim paths of which the first that is present counts, never a union, and the
//! configuration can replace any of them for one issuer.

mod hosted;
mod installed;
mod social;
mod standard;

#[cfg(test)]
mod table;

use crate::identity::Kind;

/// The member names that lead to a claim, from the outside in.
pub(super) type Path = &'static [&'static str];

/// The claims of one kind of authorization server.
#[derive(Debug)]
pub(super) struct Preset {
    /// What `preset:` says.
    pub(super) name: &'static str,
    /// The one issuer that the preset is for, if there is only one, and its other spellings.
    pub(super) issuer: Option<(&'static str, &'static [&'static str])>,
    /// What the header's `typ` may say; [`ABSENT`] is for none.
    pub(super) header_types: &'static [&'static str],
    /// Whether it is ID tokens that are accepted, because the server makes no other JWTs.
    pub(super) id_tokens: bool,
    /// Whether `sub`, `client_id`, `iat` and `jti` must be there (RFC 9068 §2.2).
    pub(super) profile_claims: bool,
    /// Whether a token must name a client. It tells the access tokens of many servers from their ID
    /// tokens, which name it in `aud` alone.
    pub(super) needs_client: bool,
    /// Claims that every access token of such a server has.
    pub(super) required: &'static [Needed],
    /// Claims that no access token of such a server has.
    pub(super) refused: &'static [&'static str],
    /// What says for which API the token is.
    pub(super) audience: &'static [Path],
    pub(super) scopes: &'static [Path],
    pub(super) scope_form: ScopeForm,
    pub(super) roles: &'static [Path],
    pub(super) role_form: RoleForm,
    /// Roles that belong to clients: an object of objects, and the member of those that lists them.
    /// Each is read as `client:role`, beside `roles`.
    pub(super) client_roles: Option<(Path, &'static str)>,
    pub(super) groups: &'static [Path],
    /// Claims whose presence says that the groups did not fit into the token.
    pub(super) groups_elsewhere: &'static [Path],
    pub(super) client: &'static [Path],
    pub(super) subject: &'static [Path],
    /// Which customer of the server, where one issuer serves several.
    pub(super) tenant: &'static [Path],
    pub(super) token_id: &'static [Path],
    pub(super) session: &'static [Path],
    /// Whether the server's keys may say whose they are, in the member `issuer` (Entra).
    pub(super) keys_name_issuers: bool,
    /// Signs of other servers' machines, asked first. A token that has one was made by a server
    /// that this preset is not for, so nobody knows whom it speaks for.
    pub(super) strangers: &'static [KindRule],
    /// The first that matches tells whom the token speaks for.
    pub(super) kinds: &'static [KindRule],
    /// Whether a token that has a subject and matches no rule is a person's.
    pub(super) else_user: bool,
}

/// A claim that must be there.
#[derive(Debug)]
pub(super) struct Needed {
    /// One of these must be present.
    pub(super) one_of: &'static [&'static str],
    /// And say one of these; none: whatever.
    pub(super) says: &'static [&'static str],
}

/// How scopes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScopeForm {
    /// An array of strings.
    List,
    /// A string with single spaces between scopes (RFC 6749 §3.3).
    Text,
    /// Either.
    TextOrList,
}

/// How roles are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoleForm {
    /// One string, or an array of them.
    List,
    /// The member names of an object whose values are objects that name the tenants in which the
    /// role holds (Zitadel). A role counts if it holds in the token's own tenant.
    OfTenants,
}

/// A sign of whom a token speaks for.
#[derive(Debug)]
pub(super) struct KindRule {
    /// What people are told when it decided.
    pub(super) name: &'static str,
    /// All of these must hold.
    pub(super) when: &'static [Tell],
    pub(super) kind: Kind,
}

/// A condition on claims. "The client" and "the subject" are as the preset or the configuration
/// reads them; conditions on the client fail if there is none.
#[derive(Debug)]
pub(super) enum Tell {
    /// The claim is absent.
    Absent(Path),
    /// The claim's text has this in it, and something before it.
    Contains(Path, &'static str),
    /// The claim's text ends so.
    EndsWith(Path, &'static str),
    /// The token names a client.
    HasClient,
    /// The claim has this text.
    Is(Path, &'static str),
    /// The claim has the client's id, exactly.
    IsClient(Path),
    /// The claim has the client's id between these texts, whatever the case.
    IsClientWithin(Path, &'static str, &'static str),
    /// The claim is a token id of Keycloak whose prefix names this grant, such as `cc` in `trrtcc:`.
    KeycloakGrant(Path, &'static str),
    /// The token names no subject.
    NoSubject,
    /// The claim is present, and not zero.
    Present(Path),
    /// The two claims have the same text.
    Same(Path, Path),
    /// The claim's text begins with the first, ends with the second and has more between.
    Within(Path, &'static str, &'static str),
}

/// The preset called `name`.
pub(super) fn find(name: &str) -> Option<&'static Preset> {
    all().find(|preset| preset.name == name)
}

/// The names that `preset:` may say.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    all().map(|preset| preset.name)
}

fn all() -> impl Iterator<Item = &'static Preset> {
    [standard::PRESETS, installed::PRESETS, hosted::PRESETS, social::PRESETS].into_iter().flatten()
}

/// What a list of header types says for a token without `typ`.
pub(super) const ABSENT: &str = "absent";

/// Claims that only ID tokens have (OpenID Connect Core §3.1.3.6, §3.3.2.11).
pub(super) const OF_ID_TOKENS: [(&str, &[&str]); 2] = [("at_hash", &[]), ("c_hash", &[])];

/// Claims that only other kinds of tokens have, with the values that give them away; no values:
/// the claim's presence does. For all presets (RFC 9068 §5, Back-Channel Logout §2.4, Keycloak's
/// `typ`).
pub(super) const FOREIGN: [(&str, &[&str]); 3] = [
    ("events", &[]),
    ("token_type", &["id", "id_token", "refresh", "refresh_token"]),
    ("typ", &["ID", "Logout", "Offline", "Refresh"]),
];

/// The claim that says what a token is for, where it exists at all, and what it must say.
pub(super) const TOKEN_USE: (&str, &[&str]) = ("token_use", &["access", "access_token"]);

/// Claims that say that the token is an access token.
pub(super) const DECLARES_ACCESS: [(&str, &[&str]); 2] = [TOKEN_USE, ("typ", &["Bearer", "DPoP"])];

/// What most servers have in common; the rows of the tables say what differs.
const COMMON: Preset = Preset {
    name: "",
    issuer: None,
    header_types: &["at+jwt", "JWT", ABSENT],
    id_tokens: false,
    profile_claims: false,
    needs_client: true,
    required: &[],
    refused: &[],
    audience: &[&["aud"]],
    scopes: &[&["scope"]],
    scope_form: ScopeForm::Text,
    roles: &[],
    role_form: RoleForm::List,
    client_roles: None,
    groups: &[],
    groups_elsewhere: &[],
    client: &[&["client_id"]],
    subject: &[&["sub"]],
    tenant: &[],
    token_id: &[&["jti"]],
    session: &[&["sid"]],
    keys_name_issuers: false,
    strangers: &[],
    kinds: &[],
    else_user: false,
};

const fn rule(name: &'static str, when: &'static [Tell], kind: Kind) -> KindRule {
    KindRule { name, when, kind }
}

const fn present(one_of: &'static [&'static str]) -> Needed {
    Needed { one_of, says: &[] }
}

/// RFC 9068 §2.2: the subject of a client's own token is the client.
const SUBJECT_IS_CLIENT: KindRule =
    rule("sub-is-client", &[Tell::IsClient(&["sub"])], Kind::Client);

/// The machines of servers that write a subject for people alone. A login or a name shows that
/// there is a person, whom another server calls something else.
const NO_SUBJECT: KindRule = rule(
    "no-sub",
    &[
        Tell::NoSubject,
        Tell::Absent(&["auth_time"]),
        Tell::Absent(&["email"]),
        Tell::Absent(&["sid"]),
        Tell::Absent(&["sub"]),
        Tell::Absent(&["username"]),
    ],
    Kind::Client,
);

/// For presets that take every other subject for a person: the machines of servers whose machines
/// have subjects of their own.
const STRANGERS: &[KindRule] = &[
    rule("gty-of-auth0", &[Tell::Is(&["gty"], "client-credentials")], Kind::Unknown),
    rule("sub-of-auth0", &[Tell::IsClientWithin(&["sub"], "", "@clients")], Kind::Unknown),
    rule(
        "service-account-of-keycloak",
        &[Tell::IsClientWithin(&["preferred_username"], "service-account-", "")],
        Kind::Unknown,
    ),
    rule("jti-of-keycloak", &[Tell::KeycloakGrant(&["jti"], "cc")], Kind::Unknown),
    rule("jti-of-zitadel", &[Tell::Within(&["jti"], "V2_", "")], Kind::Unknown),
    rule("idtyp-of-entra", &[Tell::Is(&["idtyp"], "app")], Kind::Unknown),
];
