//! A preset that is pointed at the wrong provider.

use serde_json::json;

use super::samples::{Sample, World};
use super::{PROVIDERS, samples};

/// AZ-07: tokens of every other provider, as if the issuer had made them. Most are refused, and
/// whatever passes is never a machine for a person or a person for a machine.
#[tokio::test]
async fn no_preset_takes_another_providers_machine_for_a_person() {
    let (mut tried, mut refused) = (0, 0);
    for (example, own) in PROVIDERS.into_iter().filter(|(_, own)| *own != "ilert") {
        let t = World::start(example).await;
        let ours = Sample::of(own, "person");
        for stranger in strangers(own) {
            let what = format!("{example} with {} of {:?}", stranger.name, stranger.claims["iss"]);
            let kind = stranger.expected("kind").to_owned();
            let token = disguised(stranger, &ours);
            let (people, machines) = match kind.as_str() {
                "client" => ("/people", "/machines"),
                _ => ("/machines", "/people"),
            };
            let (status, is_seen) = t.status("POST", people, &token).await;
            assert!(status == 401 || status == 403, "{what}: {status}");
            assert!(!is_seen, "{what}");
            tried += 1;
            refused += usize::from(t.status("POST", machines, &token).await.0 != 200);
        }
    }
    assert!(tried > 400, "{tried}");
    assert!(refused * 10 > tried * 9, "{refused} of {tried}");
}

/// The people and machines of all other providers.
fn strangers(own: &str) -> Vec<Sample> {
    let others = PROVIDERS.iter().map(|(_, fixtures)| *fixtures);
    let mut others: Vec<_> = others.filter(|fixtures| *fixtures != own).collect();
    others.dedup();
    others.into_iter().flat_map(Sample::all).filter(Sample::is_good).collect()
}

/// The token as our own issuer might have made it for this API.
fn disguised(stranger: Sample, ours: &Sample) -> Sample {
    let mut token = stranger.with("iss", ours.claims["iss"].clone());
    match ours.claims.get("aud") {
        Some(aud) => token.with("aud", aud.clone()),
        None => {
            token.claims.remove("aud");
            token
        }
    }
}

/// A preset that is only right for certain issuers cannot be given to another.
#[test]
fn presets_are_refused_at_issuers_that_they_are_not_for() {
    use crate::harness::command::Scopegate;
    for (example, url, other) in [
        ("google", "https://accounts.google.com", "https://id.example.com"),
        ("okta", "https://acme.okta.com/oauth2/default", "https://acme.okta.com"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = samples::text(example).replace(&format!("url: {url}"), &format!("url: {other}"));
        std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
        let ran = Scopegate::within(folder.path(), &["check"]).run();
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.stdout.contains("error[E028]"), "{}", ran.stdout);
    }
}

/// What the example asks of every token is asked of every token.
#[tokio::test]
async fn required_claims_are_required() {
    let t = World::start("google").await;
    let person = Sample::of("google-id", "person");
    t.passes("POST", "/any", &person).await;
    for value in [json!(false), json!("true"), json!(null)] {
        let unverified = person.clone().with("email_verified", value);
        t.refuses("POST", "/any", &unverified, 401, "wrong_token_type").await;
    }
    let without = person.without("email_verified");
    t.refuses("POST", "/any", &without, 401, "wrong_token_type").await;
}
