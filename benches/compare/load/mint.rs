//! Tokens by the thousand.

use std::fmt::Write as _;
use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::keys::{Key, encode};
use crate::token::{Token, unix_now};

/// Writes `keys.json`, `tokens.txt`, `forged.txt` and `unscoped.txt`.
#[derive(clap::Args)]
pub struct Mint {
    /// RS256, ES256 or EdDSA
    #[arg(long, default_value = "RS256")]
    alg: String,
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// How many clients they are issued to
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Only the claims that are needed
    #[arg(long)]
    small: bool,
    /// How many with a made-up signature
    #[arg(long, default_value_t = 0)]
    forged: usize,
    folder: PathBuf,
}

impl Mint {
    pub fn write(&self) {
        let key = self.key();
        std::fs::create_dir_all(&self.folder).unwrap();
        let write = |name: &str, text: String| {
            std::fs::write(self.folder.join(name), text).unwrap();
        };
        write("keys.json", json!({ "keys": [key.jwk()] }).to_string());
        write("unscoped.txt", self.token(&key, 0).scope("openid").sign());
        write("tokens.txt", in_parallel(self.count, |number| self.token(&key, number).sign()));
        write("forged.txt", in_parallel(self.forged, |number| self.forge(&key, number)));
    }

    fn key(&self) -> Key {
        match self.alg.as_str() {
            "RS256" => Key::rsa("key-1", Algorithm::RS256),
            "ES256" => Key::es256("key-1"),
            "EdDSA" => Key::ed25519("key-1"),
            other => panic!("{other} is not RS256, ES256 or EdDSA"),
        }
    }

    fn token(&self, key: &Key, number: usize) -> Token {
        let token = Token::new(key, ISSUER)
            .scope("openid profile orders:read orders:write")
            .claim("sub", format!("user-{number}"))
            .claim("client_id", format!("client-{}", number % self.clients))
            .claim("exp", unix_now() + 24 * 3600);
        if self.small {
            return token.without("jti").without("auth_time").scope("orders:read");
        }
        let roles: Vec<_> = (0..20).map(|role| format!("role-number-{role}")).collect();
        let id = format!("{number:08}-5c1d-4f4e-9a0b-3f2c7d9e1a55");
        token
            .claim("jti", id.clone())
            .claim("sid", id)
            .claim("realm_access", json!({ "roles": roles }))
    }

    /// As good as its signature is not: as long as a real one, and drawn at random.
    fn forge(&self, key: &Key, number: usize) -> String {
        let length = if self.alg == "RS256" { 256 } else { 64 };
        let mut signature: Vec<_> = (0..length).map(|_| fastrand::u8(..)).collect();
        // Below the modulus (or the order), or else it would be refused without any arithmetic.
        signature[0] &= 0x3f;
        format!("{}.{}", self.token(key, number).input(), encode(&signature))
    }
}

/// One line each, made by two threads.
fn in_parallel(count: usize, line: impl Fn(usize) -> String + Sync) -> String {
    let lines = |range: std::ops::Range<usize>| {
        range.fold(String::new(), |mut text, number| {
            writeln!(text, "{}", line(number)).unwrap();
            text
        })
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| lines(count / 2..count));
        lines(0..count / 2) + &second.join().unwrap()
    })
}

const ISSUER: &str = "https://id.example.com";
