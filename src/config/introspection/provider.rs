//! Providers whose tokens are opaque and who know nothing of RFC 7662: they are asked in their own
//! way, behind a preset of their own.

use super::{ClientProof, Introspected, Introspection, client, endpoint, settings};
use crate::config::reading::{Fields, Reading};
use crate::config::value::text;
use crate::config::{Issuer, Located, Problem, Secret};

/// A provider, and with what the gateway proves that it is the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// `GET /debug_token`, with the app's id and secret.
    Facebook(Secret),
    /// `POST /applications/{client_id}/token`, with the app's id and secret.
    GitHub(Secret),
    /// `POST /tokeninfo`, which answers whoever asks.
    Google,
}

impl Provider {
    /// Whether a preset stands for a provider that is asked in its own way.
    pub(in crate::config) fn is_preset(name: &str) -> bool {
        Name::of(name).is_some()
    }
}

/// A provider without its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Facebook,
    GitHub,
    Google,
}

impl Name {
    fn of(preset: &str) -> Option<Self> {
        match preset {
            "facebook" => Some(Self::Facebook),
            "github" => Some(Self::GitHub),
            "google-opaque" => Some(Self::Google),
            _ => None,
        }
    }

    /// What the issuer is called that says no `url`: the origin of the API.
    fn origin(self) -> &'static str {
        match self {
            Self::Facebook => "https://graph.facebook.com",
            Self::GitHub => "https://api.github.com",
            Self::Google => "https://oauth2.googleapis.com",
        }
    }

    fn endpoint(self, app: &str) -> String {
        let origin = self.origin();
        match self {
            Self::Facebook => format!("{origin}/debug_token"),
            Self::GitHub => format!("{origin}/applications/{app}/token"),
            Self::Google => format!("{origin}/tokeninfo"),
        }
    }
}

/// Reads what the preset of a provider needs; `false` if the preset is none of a provider.
pub(super) fn read(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &mut Issuer) -> bool {
    let Some(name) = Name::of(&issuer.preset) else { return false };
    refuse_unused(reading, fields, issuer, name);
    let endpoint = fields.read(reading, "introspection", |r, node| endpoint(r, node, issuer));
    let app = app(reading, fields, issuer);
    let provider = provider(reading, fields, issuer, name);
    let settings = settings(reading, fields, false);
    let (Some(app), Some(provider)) = (app, provider) else { return true };
    let written = endpoint.flatten();
    let at = issuer.preset.at;
    if fields.key_at("url").is_none() {
        // The same number is somebody else on another server.
        let origin = || Located { value: name.origin().to_owned(), at };
        issuer.url = written.clone().unwrap_or_else(origin);
    }
    let endpoint = written.unwrap_or_else(|| Located { value: name.endpoint(&app), at });
    issuer.introspection = Some(Introspection {
        endpoint: Some(endpoint),
        client_id: app,
        proof: ClientProof::Absent,
        provider: Some(provider),
        tokens: Introspected::Only,
        ..settings
    });
    true
}

/// The id of the app whose tokens are accepted, which must be the audience.
fn app(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &Issuer) -> Option<String> {
    client::lacks(reading, fields, issuer, "client_id");
    let app = fields.read(reading, "client_id", text)?;
    let at = fields.key_at("client_id").unwrap_or(issuer.name.at);
    if app.is_empty() || !app.bytes().all(is_plain) {
        let message = format!("`client_id` of issuer `{}` is no app's id", *issuer.name);
        let label = "letters, digits, `.`, `_` and `-`";
        reading.note(Problem::new("E008", at, message).label(label));
        return None;
    }
    let is_other = |audience: &String| *audience != app;
    if issuer.audience.iter().any(is_other) {
        let at = fields.key_at("audience").unwrap_or(at);
        let message = format!("issuer `{}` would accept tokens of another app", *issuer.name);
        reading.note(
            Problem::new("E028", at, message)
                .label(format!("preset `{}` binds tokens to the app", *issuer.preset))
                .help("write the app's id here, too: the same as in `client_id`"),
        );
    }
    Some(app)
}

/// It becomes a part of a URL and of `Authorization`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn provider(
    reading: &mut Reading<'_>,
    fields: &Fields<'_>,
    issuer: &Issuer,
    name: Name,
) -> Option<Provider> {
    let secret = |reading: &mut Reading<'_>| {
        client::lacks(reading, fields, issuer, "client_secret");
        fields.read(reading, "client_secret", |r, node| {
            client::secret(r, fields, "client_secret", node)
        })
    };
    match name {
        Name::Facebook => secret(reading).map(Provider::Facebook),
        Name::GitHub => secret(reading).map(Provider::GitHub),
        Name::Google => Some(Provider::Google),
    }
}

/// Settings of what such a provider has not would be ignored.
fn refuse_unused(reading: &mut Reading<'_>, fields: &Fields<'_>, issuer: &Issuer, name: Name) {
    let secret = (name == Name::Google).then_some("client_secret");
    for key in UNUSED.into_iter().chain(secret) {
        let Some(at) = fields.key_at(key) else { continue };
        let message = format!("issuer `{}` does not use `{key}`", *issuer.name);
        let label = format!("preset `{}` asks the provider in its own way", *issuer.preset);
        reading.note(Problem::new("E014", at, message).label(label).help("delete it"));
    }
}

/// What is about JWTs, keys, metadata, or RFC 7662.
const UNUSED: [&str; 15] = [
    "accept_typ",
    "algorithms",
    "audience_claim",
    "backchannel_logout",
    "client_auth",
    "client_key",
    "client_key_id",
    "client_secret_encoding",
    "introspect",
    "introspection_signed",
    "issuer_aliases",
    "jwks",
    "jwks_url",
    "metadata_url",
    "tenants",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, Variables, load_text};

    fn loaded(settings: &str) -> Loaded {
        let text = format!(
            "issuers:\n  main: {{ {settings} }}\nupstream: http://127.0.0.1:3000\n\
             routes:\n  /a: {{ GET: a }}\n"
        );
        load_text("gateway.yaml", &text, &Variables::default().with("SECRET", "s3cret"))
    }

    fn codes(settings: &str) -> String {
        let codes: Vec<_> = loaded(settings).problems.0.iter().map(|found| found.code).collect();
        codes.join(" ")
    }

    const GITHUB: &str =
        "preset: github, client_id: Iv1.a, audience: Iv1.a, client_secret: \"${SECRET}\"";

    fn issuer(settings: &str) -> Issuer {
        loaded(settings).config.expect("no errors").issuers.remove(0)
    }

    #[test]
    fn a_provider_is_asked_where_it_is() {
        for (settings, url, endpoint) in [
            (GITHUB, "https://api.github.com", "https://api.github.com/applications/Iv1.a/token"),
            (
                "preset: facebook, client_id: \"138\", audience: \"138\", client_secret: \"${SECRET}\"",
                "https://graph.facebook.com",
                "https://graph.facebook.com/debug_token",
            ),
            (
                "preset: google-opaque, client_id: 1.apps, audience: [1.apps]",
                "https://oauth2.googleapis.com",
                "https://oauth2.googleapis.com/tokeninfo",
            ),
        ] {
            let issuer = issuer(settings);
            let asked = issuer.introspection.unwrap();
            assert_eq!((&*issuer.url.value, &*asked.endpoint.unwrap().value), (url, endpoint));
            assert_eq!((asked.tokens, asked.proof), (Introspected::Only, ClientProof::Absent));
        }
        let elsewhere = issuer(&format!("{GITHUB}, introspection: https://ghe/api/v3/t"));
        assert_eq!(elsewhere.url.value, "https://ghe/api/v3/t");
        let named = format!("{GITHUB}, url: https://ghe, introspection: https://ghe/api/v3/t");
        assert_eq!(issuer(&named).url.value, "https://ghe");
    }

    #[test]
    fn what_would_loosen_it_or_be_ignored_is_refused() {
        for (settings, expected) in [
            (GITHUB.to_owned(), ""),
            (GITHUB.replace(", audience: Iv1.a", ""), "E020"),
            (GITHUB.replace("audience: Iv1.a", "audience: other"), "E028"),
            (GITHUB.replace("audience: Iv1.a", "audience: [Iv1.a, other]"), "E028"),
            (GITHUB.replace("client_id: Iv1.a, ", ""), "E007"),
            (GITHUB.replace("Iv1.a", "\"a/../b\""), "E008"),
            (GITHUB.replace(", client_secret: \"${SECRET}\"", ""), "E007"),
            (GITHUB.replace("\"${SECRET}\"", "s3cret"), "A102"),
            (format!("{GITHUB}, introspection: http://ghe/t"), "E021"),
            (format!("{GITHUB}, introspection: https://ghe/t?a=b"), "E022"),
            (format!("{GITHUB}, introspection: true"), ""),
            (GITHUB.replace("github", "google-opaque"), "E014"),
        ] {
            assert_eq!(codes(&settings), expected, "{settings}");
        }
        for unused in UNUSED {
            let found = codes(&format!("{GITHUB}, {unused}: x"));
            assert!(found.split(' ').any(|code| code == "E014"), "{unused}: {found}");
        }
    }

    #[test]
    fn the_short_form_has_no_place_for_the_app() {
        let text = "issuer: https://a\naudience: b\npreset: github\n\
                    upstream: http://127.0.0.1:1\nroutes: { /a: { GET: a } }\n";
        let loaded = load_text("gateway.yaml", text, &Variables::default());
        let codes: Vec<_> = loaded.problems.0.iter().map(|found| found.code).collect();
        assert_eq!(codes, ["E028"]);
    }
}
