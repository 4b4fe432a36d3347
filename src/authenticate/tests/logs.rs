//! What the log says, and what it must not say: JT-06, JT-11, OB-01, OB-02.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::server::{Answer, METADATA, Server};
use super::signer::{Signer, encode};
use super::{World, settings};

/// Log lines, kept.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn changes_of_state_are_logged_and_nothing_secret_is() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .finish();
    // With a single subscriber, tracing lets whichever thread reaches a line first decide for all
    // threads whether anybody listens; with a second one alive it asks both.
    let second = tracing::Dispatch::new(tracing_subscriber::registry());
    let guard = tracing::subscriber::set_default(subscriber);
    let signer = Signer::es256();
    let mut weak = Signer::rs256().jwk("weak");
    weak["n"] = json!(encode(&[0xff; 128]));
    let server = Server::issuer(&json!({"keys": [weak, signer.jwk("k1")]})).await;
    let world = World::empty();
    let issuer = world.issuer(&settings(&server.url()));
    issuer.start();
    issuer.first_attempt().await;
    let world = world.with_issuers(vec![issuer]);
    let claims = world.claims_with(json!({"iss": server.url()}));
    let good = signer.token(&claims);
    assert_eq!(world.outcome(&good).await, "ok");
    let hostile = signer.token_of("x\r\n\u{1b}[2Jlevel=info", &claims);
    server.set(METADATA, Answer::Text("secret-of-the-peer".into()));
    for _ in 0..3 {
        assert_eq!(world.outcome(&hostile).await, "unknown_key");
    }
    drop((guard, second));
    let text = lines.text();
    assert!(text.contains("keys obtained"), "{text}");
    assert!(text.contains("key 0 is RSA outside of 2048 to 8192 bits"), "{text}");
    assert!(text.contains("keys not refreshed: the metadata of"), "{text}");
    assert_eq!(text.matches("tokens name unknown keys").count(), 1, "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("secret-of-the-peer"), "{text}");
    for token in [good, hostile] {
        assert!(token.split('.').all(|segment| !text.contains(segment)), "{text}");
    }
}
