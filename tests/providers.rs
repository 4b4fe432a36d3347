//! Each provider's example, with tokens as that provider writes them.
//!
//! The payloads are in `fixtures/providers/<preset>/`, with what must be read from them; they are
//! signed here, and their dates are moved to now.

mod inspect;
mod samples;
mod settings;
mod social;
mod strangers;
mod tenants;

use samples::{Sample, World};

use crate::harness::command::Scopegate;
use crate::harness::markdown::{blocks, folder, root};

/// The example, the fixtures, the path that a person may read, and the kinds of token there are.
const PROVIDERS: [(&str, &str); 16] = [
    ("keycloak", "keycloak"),
    ("auth0", "auth0"),
    ("okta", "okta"),
    ("entra", "entra"),
    ("entra-multi-tenant", "entra"),
    ("cognito", "cognito"),
    ("google", "google-id"),
    ("duende", "duende"),
    ("hydra", "hydra"),
    ("oidc-provider", "oidc-provider"),
    ("spring", "spring-as"),
    ("zitadel", "zitadel"),
    ("authentik", "authentik"),
    ("pingone", "pingone"),
    ("pingfederate", "pingfederate"),
    ("ilert", "ilert"),
];

/// Examples whose provider is asked about its opaque tokens in its own way; see [`social`].
const SOCIAL: [&str; 3] = ["facebook", "github", "google-opaque"];

/// Examples whose provider's own tokens are never accepted.
const ELSEWHERE: [&str; 2] = ["nylas", "spotify"];

/// Whoever copies an example gets a file without a single complaint, and it begins with a sentence.
#[test]
fn every_example_passes_check() {
    for file in folder(&root().join("examples/providers"), "yaml") {
        let name = file.display().to_string();
        let ran = Scopegate::within(root(), &["check", "-c", &name]).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
        assert!(ran.stdout.starts_with(&format!("{name}: ok, ")), "{}", ran.stdout);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# ") && text.lines().next().unwrap().len() > 20, "{name}");
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let is_tried = PROVIDERS.iter().any(|(example, _)| *example == stem);
        let is_tried = is_tried || SOCIAL.contains(&stem);
        assert!(is_tried || ELSEWHERE.contains(&stem), "{name} is not tried");
    }
}

/// The document shows the issuers of the examples, to the letter.
#[test]
fn the_document_has_the_examples() {
    let shown: Vec<_> = blocks(&root().join("docs/providers.md")).into_iter().collect();
    let jwts = PROVIDERS.iter().map(|(example, _)| *example);
    for example in jwts.chain(SOCIAL) {
        let issuers = samples::issuers(example);
        let is_shown = shown.iter().any(|block| block.text == format!("# fragment\n{issuers}"));
        assert!(is_shown, "docs/providers.md should have\n```yaml\n# fragment\n{issuers}```");
    }
}

/// AZ-06, AZ-07, CL-09: people and machines pass where they may; who they are, and every role and
/// scope, is read from where the provider writes it.
#[tokio::test]
async fn people_and_machines_are_told_apart() {
    for (example, fixtures) in PROVIDERS {
        let t = World::start(example).await;
        for sample in Sample::all(fixtures).iter().filter(|sample| sample.is_good()) {
            let what = format!("{example}: {}", sample.name);
            let seen = t.passes("POST", "/any", sample).await;
            sample.is_read_as_expected(&seen, &what);
            let (open, closed, path) = match sample.expected("kind") {
                "user" => ("/people", "/machines", "/orders/1"),
                _ => ("/machines", "/people", "/orders/import"),
            };
            t.passes("POST", open, sample).await;
            t.refuses("POST", closed, sample, 403, "wrong_token_kind").await;
            t.passes("POST", path, sample).await;
        }
    }
}

/// A route of the example that is for people lets none of the provider's machines in.
#[tokio::test]
async fn machines_are_not_let_into_routes_for_people() {
    for (example, fixtures) in PROVIDERS {
        let t = World::start(example).await;
        let samples = Sample::all(fixtures);
        let machines = samples.iter().filter(|sample| sample.name.starts_with("machine"));
        let mut tried = 0;
        for machine in machines {
            assert_eq!(machine.expected("kind"), "client", "{example}");
            t.refuses("POST", "/orders/1", machine, 403, "wrong_token_kind").await;
            tried += 1;
        }
        assert!(tried > 0, "{example} has no machine");
    }
}

/// CL-08, CL-09: what is made for the client, or for the token endpoint, calls nothing.
#[tokio::test]
async fn id_tokens_and_refresh_tokens_are_refused() {
    for (example, fixtures) in PROVIDERS {
        let t = World::start(example).await;
        let samples = Sample::all(fixtures);
        for sample in samples.iter().filter(|sample| !sample.is_good()) {
            t.refuses("POST", "/any", sample, 401, sample.refusal()).await;
        }
        let has = |name: &str| samples.iter().any(|sample| sample.name == name);
        assert!(has("refresh") && (has("id") || fixtures == "google-id"), "{example}");
    }
}

/// Opaque tokens of providers that do not say for whom they are never pass.
#[tokio::test]
async fn tokens_that_are_bound_to_no_app_are_refused() {
    for (example, token) in [
        ("nylas", "nyk_v0_8kQx2mWc5rTzL1pVb9HdYs3fGj6n"),
        ("spotify", "BQDkJ3m9xQf7W2sLpVzR5tYb8HcN1aGd4eKjUo6iTqXw"),
    ] {
        let t = World::start(example).await;
        let opaque = Sample::opaque(token);
        t.refuses("POST", "/any", &opaque, 401, "malformed_token").await;
        let samples = Sample::all("keycloak");
        let person = samples.iter().find(|sample| sample.name == "person").unwrap();
        t.passes("POST", "/orders/1", person).await;
    }
}

/// AZ-03: a broader scope is enough where a narrower one is asked for, and not the reverse.
#[tokio::test]
async fn a_broader_scope_contains_a_narrower_one() {
    let t = World::start("ilert").await;
    let samples = Sample::all("ilert");
    let writes = samples.iter().find(|sample| sample.name == "person").unwrap();
    let reads = samples.iter().find(|sample| sample.name == "machine").unwrap();
    t.passes("GET", "/orders/1", writes).await;
    t.passes("GET", "/orders/1", reads).await;
    let reader = writes.clone().with("scope", "source:r");
    t.refuses("POST", "/orders/1", &reader, 403, "missing_scope").await;
    let other = writes.clone().with("scope", "source:writer");
    t.refuses("GET", "/orders/1", &other, 403, "missing_scope").await;
}
