//! The cache of verified tokens: JT-19.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{World, es256, settings};
use crate::authenticate::Verdicts;

fn counted(world: &World, result: &str) -> u64 {
    world.metrics.token_cache_requests.with_label_values(&[result]).get()
}

/// JT-19
#[tokio::test]
async fn a_token_is_verified_once_and_its_identity_shared() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    let token = signer.token(&world.claims());
    let first = world.identify(&token).await.unwrap();
    let second = world.identify(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!((counted(&world, "miss"), counted(&world, "hit")), (1, 1));
    assert_eq!(world.metrics.token_cache_entries.get(), 1);
    assert_eq!(world.tokens_counted("main", "valid"), 2);
}

/// JT-19, CVE-2026-107719
#[tokio::test]
async fn a_remembered_token_expires_like_any_other() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    let token = signer.token(&world.claims());
    assert_eq!(world.outcome(&token).await, "ok");
    world.clock.advance_wall(Duration::from_secs(3600 + 25));
    assert_eq!(world.outcome(&token).await, "ok");
    world.clock.advance_wall(Duration::from_secs(5));
    assert_eq!(world.outcome(&token).await, "token_expired");
    assert_eq!(world.verdicts.len(), 0);
    assert_eq!(world.outcome(&token).await, "token_expired");
    assert_eq!(world.tokens_counted("main", "token_expired"), 2);
}

/// JT-19: the age limit holds for remembered tokens, too.
#[tokio::test]
async fn a_remembered_token_gets_too_old() {
    let (signer, keys) = es256();
    let world = World::with(&keys, |config| config.max_token_age = Some(Duration::from_secs(600)));
    let token = signer.token(&world.claims());
    assert_eq!(world.outcome(&token).await, "ok");
    world.clock.advance_wall(Duration::from_secs(631));
    assert_eq!(world.outcome(&token).await, "token_expired");
}

/// CVE-2026-33496: what one issuer's settings accepted is nothing to another policy.
#[tokio::test]
async fn a_verdict_holds_for_the_issuer_instance_that_made_it() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    let token = signer.token(&world.claims());
    assert_eq!(world.outcome(&token).await, "ok");
    let mut stricter = settings(super::URL);
    stricter.audience = vec!["https://other-api.example".to_owned()];
    let issuer = world.file_issuer(&keys, stricter);
    let reloaded = world.authenticator_for(vec![issuer]);
    let refused = world.identify_by(&reloaded, &token).await.unwrap_err();
    assert_eq!(refused.reason().as_str(), "wrong_audience");
    let nobody = world.authenticator_for(Vec::new());
    let refused = world.identify_by(&nobody, &token).await.unwrap_err();
    assert_eq!(refused.reason().as_str(), "unknown_issuer");
    assert_eq!(world.outcome(&token).await, "ok");
    assert_eq!(counted(&world, "hit"), 1);
}

/// JT-19: bounded, whatever comes.
#[tokio::test]
async fn the_cache_keeps_its_capacity() {
    let (signer, keys) = es256();
    for capacity in [0, 1, 10] {
        let mut world = World::with_keys(&keys);
        world.verdicts = Arc::new(Verdicts::new(capacity, &world.metrics));
        let issuers = world.authenticator.issuers().to_vec();
        let world = world.with_issuers(issuers);
        for number in 0..40 {
            let token = signer.token(&world.claims_with(json!({"jti": number.to_string()})));
            assert_eq!(world.outcome(&token).await, "ok");
        }
        assert!(world.verdicts.len() <= capacity);
    }
}

/// CVE-2026-35039: two tokens are never taken for each other.
#[tokio::test]
async fn tokens_that_differ_in_one_character_are_different() {
    let (signer, keys) = es256();
    let world = World::with_keys(&keys);
    let token = signer.token(&world.claims());
    assert_eq!(world.outcome(&token).await, "ok");
    let (signed, _) = token.rsplit_once('.').unwrap();
    for index in (signed.len() + 1..token.len() - 1).step_by(7) {
        let mut changed = token.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(world.outcome(&changed).await, "bad_signature");
    }
    assert_eq!(world.verdicts.len(), 1);
}
