//! What an issuer says about introspection (RFC 7662), and what routes ask of it.

mod agreement;
mod client;
mod provider;

pub(super) use agreement::check;
pub(super) use client::secret;
pub use provider::Provider;

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::reading::{Fields, Reading};
use super::server::{flag, set};
use super::value::{self, count, located, parsed, text, wait, word};
use super::yaml::{Node, Value};
use super::{Issuer, KeySource, Located, Problem, Secret, network};

/// How an issuer is asked about tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// The endpoint (RFC 7662 §2); `None` if the issuer's metadata names it.
    pub endpoint: Option<Located<String>>,
    /// The client id of the gateway at this issuer (RFC 6749 §2.2).
    pub client_id: String,
    /// How the gateway proves that it is that client.
    pub proof: ClientProof,
    /// The provider that is asked in its own way instead of RFC 7662's.
    pub provider: Option<Provider>,
    /// About which tokens the issuer is asked.
    pub tokens: Introspected,
    /// How long an answer about a good token is used, never past its `exp`. Default 60 s; 0 asks
    /// again for every request.
    pub cache: Duration,
    /// How long an answer about a bad token is used. Default 5 s; 0 asks again for every request.
    pub negative_cache: Duration,
    /// For a whole exchange. Default 5 s.
    pub timeout: Duration,
    /// How many questions may be under way at once. Default 32.
    pub concurrency: usize,
    /// Whether answers must be signed (RFC 9701). Default false.
    pub signed: bool,
}

/// How a client proves who it is (RFC 6749 §2.3, RFC 7523 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// Not as RFC 6749 has it: a [`Provider`] knows its own way.
    Absent,
    /// `client_secret_basic`: id and secret in the `Authorization` field.
    Basic {
        /// The secret.
        secret: Secret,
        /// Whether id and secret are form-encoded first, as RFC 6749 §2.3.1 wants. Default true.
        is_encoded: bool,
    },
    /// `client_secret_post`: id and secret in the form.
    Post(Secret),
    /// `private_key_jwt`: an assertion that is signed for each question.
    PrivateKey {
        /// A PEM file.
        key: Located<PathBuf>,
        /// The `kid` under which the issuer knows the key.
        kid: Option<String>,
    },
}

/// About which tokens an issuer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introspected {
    /// Those that are not JWTs; and JWTs on routes that say so.
    Opaque,
    /// JWTs on routes that say so, and no others.
    Routes,
    /// All. JWTs are verified first.
    Always,
    /// All, and JWTs are not verified: the issuer's keys are not fetched.
    Only,
}

impl Introspection {
    /// Whether opaque tokens are shown to this issuer.
    #[must_use]
    pub fn takes_opaque(&self) -> bool {
        match self.tokens {
            Introspected::Opaque | Introspected::Always | Introspected::Only => true,
            Introspected::Routes => false,
        }
    }

    /// Whether the issuer's keys are used: for tokens, or for signed answers.
    #[must_use]
    pub fn needs_keys(&self) -> bool {
        self.signed || self.tokens != Introspected::Only
    }
}

/// The introspection of an issuer whose other keys are read already. An issuer that does not say
/// its URL is known by its endpoint's, which no token can name.
pub(super) fn introspection(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &mut Issuer) {
    if provider::read(reading, fields, issuer) {
        return;
    }
    let has_url = fields.key_at("url").is_some();
    let endpoint = fields.read(reading, "introspection", |r, node| endpoint(r, node, issuer));
    let client_id = fields.read(reading, "client_id", text);
    let proof = client::proof(reading, fields, issuer);
    let settings = settings(reading, fields, has_url);
    if fields.key_at("introspection").is_none() {
        return refuse_strays(reading, fields, issuer);
    }
    client::lacks(reading, fields, issuer, "client_id");
    let (Some(endpoint), Some(client_id), Some(proof)) = (endpoint, client_id, proof) else {
        return;
    };
    let found = Introspection { endpoint, client_id, proof, ..settings };
    check_url(reading, fields, issuer, &found);
    check_sources(reading, fields, issuer, &found);
    if let (false, Some(endpoint)) = (has_url, &found.endpoint) {
        issuer.url = endpoint.clone();
    }
    issuer.introspection = Some(found);
}

/// All but the endpoint and the client.
fn settings(reading: &mut Reading<'_>, fields: &Fields<'_>, has_url: bool) -> Introspection {
    let mut settings = Introspection {
        endpoint: None,
        client_id: String::new(),
        proof: ClientProof::Absent,
        provider: None,
        tokens: if has_url { Introspected::Opaque } else { Introspected::Only },
        cache: Duration::from_secs(60),
        negative_cache: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        concurrency: 32,
        signed: flag(reading, fields, "introspection_signed"),
    };
    set(&mut settings.tokens, fields.read(reading, "introspect", tokens));
    set(&mut settings.cache, fields.read(reading, "cache", value::duration));
    set(&mut settings.negative_cache, fields.read(reading, "negative_cache", value::duration));
    set(&mut settings.timeout, fields.read(reading, "introspection_timeout", wait));
    set(&mut settings.concurrency, fields.read(reading, "introspection_concurrency", places));
    settings
}

/// Settings of what is not there would be ignored.
fn refuse_strays(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &Issuer) {
    for key in OWN {
        let Some(at) = fields.key_at(key) else { continue };
        let message = format!("`{key}` of issuer `{}` belongs to `introspection`", *issuer.name);
        reading.note(
            Problem::new("E014", at, message)
                .label("there is no `introspection`")
                .help("write `introspection: https://...`, or `true` if the metadata names it"),
        );
    }
}

/// The endpoint: https, or http to this machine, or `insecure: true`; `None` for `true`, which leaves
/// it to the metadata.
fn endpoint(
    reading: &mut Reading<'_>,
    node: &Node,
    issuer: &Issuer,
) -> Option<Option<Located<String>>> {
    if let Value::Bool(true) = node.value {
        return Some(None);
    }
    let url: Uri = parsed(reading, node, "a URL, or `true`", network::parse_url)?;
    if network::is_exposed(&url) && !issuer.insecure {
        let message = format!("tokens would be shown to issuer `{}` over plain http", *issuer.name);
        reading.note(
            Problem::new("E021", node.at, message)
                .label("whoever is on the way could read them, and answer")
                .help("use https, or write `insecure: true` in the issuer for tests"),
        );
    }
    located(reading, node).map(Some)
}

fn tokens(reading: &mut Reading<'_>, node: &Node) -> Option<Introspected> {
    let words = [
        ("opaque", Introspected::Opaque),
        ("routes", Introspected::Routes),
        ("always", Introspected::Always),
        ("only", Introspected::Only),
    ];
    word(reading, node, &words)
}

fn places(reading: &mut Reading<'_>, node: &Node) -> Option<usize> {
    count(reading, node, 1, 10_000).and_then(|found| usize::try_from(found).ok())
}

/// Whoever verifies tokens, or discovers, must know what tokens and metadata call the issuer.
fn check_url(
    reading: &mut Reading<'_>,
    fields: &Fields<'_>,
    issuer: &Issuer,
    found: &Introspection,
) {
    if fields.key_at("url").is_some() || (found.endpoint.is_some() && !found.needs_keys()) {
        return;
    }
    let message = format!("issuer `{}` has no `url`", *issuer.name);
    let mut needing = ["introspect", "introspection_signed", "introspection"].into_iter();
    let at = needing.find_map(|key| fields.key_at(key)).unwrap_or(issuer.name.at);
    reading.note(
        Problem::new("E007", at, message)
            .label("this needs the issuer's `url`")
            .help("the issuer identifier: what its tokens and metadata call it, to the letter"),
    );
}

/// Metadata that is not read cannot name the endpoint, and keys that nothing verifies are a
/// misunderstanding.
fn check_sources(
    reading: &mut Reading<'_>,
    fields: &Fields<'_>,
    issuer: &Issuer,
    found: &Introspection,
) {
    let is_discovered = matches!(issuer.keys, KeySource::Discovery | KeySource::Metadata(_));
    let at = fields.key_at("introspection").unwrap_or(issuer.name.at);
    if found.endpoint.is_none() && !is_discovered {
        let message = format!("nothing says where issuer `{}` answers", *issuer.name);
        reading.note(
            Problem::new("E025", at, message)
                .label("`true` means that the metadata says it, and none is read")
                .help("write the endpoint's URL"),
        );
    }
    let unused = ["jwks", "jwks_url"].into_iter().find_map(|key| fields.key_at(key));
    if let Some(at) = unused.filter(|_| !found.needs_keys()) {
        let message = format!("nothing uses the keys of issuer `{}`", *issuer.name);
        reading.note(
            Problem::new("E014", at, message)
                .label("its tokens are introspected only")
                .help("delete it, or write `introspect: opaque` to verify JWTs"),
        );
    }
}

/// The keys that mean nothing without `introspection`.
const OWN: [&str; 12] = [
    "introspect",
    "client_id",
    "client_secret",
    "client_secret_encoding",
    "client_auth",
    "client_key",
    "client_key_id",
    "cache",
    "negative_cache",
    "introspection_timeout",
    "introspection_concurrency",
    "introspection_signed",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::language::ISSUER;
    use crate::config::{Variables, load_text};

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::from("p@ss".to_owned());
        assert!(!format!("{secret:?}").contains("p@ss"));
        assert_eq!(secret.reveal(), "p@ss");
    }

    /// The problems of an issuer with these settings, rendered, and their codes.
    fn problems(settings: &str, more: &str) -> (String, Vec<&'static str>) {
        let text = format!(
            "issuers:\n  main: {{ audience: api, {settings} }}\n{more}\
             upstream: http://127.0.0.1:3000\nroutes:\n  /a: {{ GET: a }}\n"
        );
        let variables = Variables::default().with("SECRET", "s3cret");
        let loaded = load_text("gateway.yaml", &text, &variables);
        let codes = loaded.problems.0.iter().map(|problem| problem.code).collect();
        (loaded.problems.render(&loaded.sources, false), codes)
    }

    fn codes(settings: &str) -> Vec<&'static str> {
        problems(settings, "").1
    }

    const CLIENT: &str = "client_id: gw, client_secret: \"${SECRET}\"";

    #[test]
    fn what_is_complete_is_accepted() {
        for settings in [
            "introspection: https://as/i",
            "introspection: http://127.0.0.1:1/i",
            "url: https://as, introspection: true",
            "url: https://as, introspection: true, metadata_url: https://as/m",
            "url: https://as, introspection: https://as/i, jwks_url: https://as/k",
            "url: https://as, introspection: https://as/i, introspect: routes, cache: 0s",
            "introspection: https://as/i, client_auth: client_secret_post, negative_cache: 1s",
        ] {
            assert_eq!(codes(&format!("{settings}, {CLIENT}")), [""; 0], "{settings}");
        }
        assert!(codes("introspection: https://as/i, client_id: a, client_key: k.pem").is_empty());
    }

    #[test]
    fn what_is_missing_or_of_no_use_is_told() {
        for (settings, expected) in [
            ("introspection: https://as/i", "E007 E007"),
            ("introspection: https://as/i, client_id: a", "E007"),
            ("introspection: https://as/i, client_id: a, client_auth: private_key_jwt", "E007"),
            ("url: https://as, client_id: a, cache: 5s, introspect: always", "E014 E014 E014"),
        ] {
            assert_eq!(codes(settings).join(" "), expected, "{settings}");
        }
        for (settings, expected) in [
            ("introspection: true", "E007"),
            ("introspection: false, url: https://as", "E006"),
            ("introspection: https://as/i?x=1", "E022"),
            ("introspection: http://as/i", "E021"),
            ("introspection: https://as/i, introspect: always", "E007"),
            ("introspection: https://as/i, introspection_signed: true", "E007"),
            ("introspection: true, url: https://as, jwks_url: https://as/k", "E025"),
            ("introspection: https://as/i, jwks_url: https://as/k", "E014"),
            (
                "introspection: https://as/i, client_key: k.pem, client_auth: client_secret_post",
                "E014",
            ),
            ("introspection: https://as/i, client_auth: basic", "E008"),
            ("introspection: https://as/i, introspect: sometimes", "E008"),
            ("introspection: https://as/i, introspection_timeout: 0s", "E061"),
            ("introspection: https://as/i, introspection_concurrency: 0", "E061"),
            ("introspection: https://as/i, cache: 60", "E060"),
        ] {
            let found = codes(&format!("{settings}, {CLIENT}"));
            assert_eq!(found.join(" "), expected, "{settings}");
        }
        assert_eq!(
            codes(&format!("introspection: https://as/i, insecure: true, {CLIENT}")),
            ["A101"]
        );
    }

    #[test]
    fn plain_http_is_told_with_its_place() {
        let (text, _) = problems(&format!("introspection: http://as/i, {CLIENT}"), "");
        let expected = "\
error[E021]: tokens would be shown to issuer `main` over plain http
 --> gateway.yaml:2:41
  |
2 |   main: { audience: api, introspection: http://as/i, client_id: gw, client_secret: \"${SECRET}\" }
  |                                         ^^^^^^^^^^^ whoever is on the way could read them, and answer
  |
  = help: use https, or write `insecure: true` in the issuer for tests     (scopegate help E021)

";
        assert_eq!(text, expected);
    }

    #[test]
    fn one_issuer_is_asked_about_opaque_tokens() {
        let more = format!(
            "  two: {{ audience: api, url: https://b, introspection: https://b/i, {CLIENT} }}\n"
        );
        let one = format!("introspection: https://as/i, {CLIENT}");
        let (text, found) = problems(&one, &more);
        assert_eq!(found, ["E026"]);
        assert!(text.contains("opaque tokens could be of `main` or `two`"), "{text}");
        assert!(text.contains("gateway.yaml:3:3"), "{text}");
        let more = more.replace("url:", "introspect: routes, url:");
        assert_eq!(problems(&one, &more).1, [""; 0]);
    }

    #[test]
    fn a_route_asks_issuers_that_can_be_asked() {
        let route_with = |issuers: &str, rule: &str| {
            let text = format!(
                "issuers: {{ {issuers} }}\nupstream: http://127.0.0.1:3000\nroutes:\n  \
                 /pay: {{ introspect: always, {rule} }}\n"
            );
            let variables = Variables::default().with("SECRET", "s3cret");
            let loaded = load_text("gateway.yaml", &text, &variables);
            loaded.problems.0.iter().map(|problem| problem.code).collect::<Vec<_>>()
        };
        let route = |issuers: &str| route_with(issuers, "GET: a");
        let able = format!("a: {{ audience: api, introspection: https://as/i, {CLIENT} }}");
        assert_eq!(route(&able), [""; 0]);
        assert_eq!(route("b: { audience: api, url: https://b }"), ["E025"]);
        assert_eq!(route(&format!("{able}, b: {{ audience: api, url: https://b }}")), ["A150"]);
        let faulty = able.replace("https:", "gopher:");
        assert_eq!(route(&faulty), ["E022"]);
        assert_eq!(route_with(&able, "public: true"), ["E014"]);
        assert_eq!(route_with(&able, "GET: { public: true }"), ["E014"]);
        assert_eq!(route_with(&able, "public: true, POST: a"), [""; 0]);
        assert_eq!(route_with(&able, "public: optional"), [""; 0]);
    }

    /// A message shows its whole line: the secret must not be on it.
    #[test]
    fn a_secret_in_the_file_is_warned_of_and_not_shown() {
        let (text, found) =
            problems("introspection: https://as/i, client_id: gw, client_secret: hunter2", "");
        assert_eq!(found, ["A102"]);
        assert!(text.contains("client_secret: *******"), "{text}");
        for secret in ["1234567", "[hunter2]", "'hunter2', cache: 60", "hunter2, bogus: 1"] {
            let settings =
                format!("introspection: http://as/i, client_id: a, client_secret: {secret}");
            let (text, found) = problems(&settings, "");
            assert!(found.len() >= 2, "{found:?}");
            assert!(!text.contains("hunter2") && !text.contains("1234567"), "{text}");
        }
    }

    #[test]
    fn every_key_is_one_of_the_language() {
        assert!(OWN.iter().all(|key| ISSUER.key(key).is_some()));
    }
}
