//! The two policies, who asks what, and what is right.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::keys::Key;
use crate::token::Token;

/// Two configurations that are put in force in turn.
pub struct Policies {
    base: String,
}

/// Who asks.
pub struct Credentials {
    reader: String,
    writer: String,
}

pub type Tokens = Arc<Credentials>;

/// Something to ask, and what is right: a status by the policy of even turns, and of odd ones.
#[derive(Clone, Copy)]
pub struct Question {
    pub method: &'static str,
    pub path: &'static str,
    pub caller: Caller,
    pub right: [u16; 2],
}

#[derive(Clone, Copy)]
pub enum Caller {
    Nobody,
    Reader,
    Writer,
}

/// Asked in turn by every client.
pub const QUESTIONS: &[Question] = &[
    ask("GET", "/open", Caller::Nobody, 200),
    ask("GET", "/orders", Caller::Reader, 200),
    ask("POST", "/orders", Caller::Writer, 200),
    ask("GET", "/orders", Caller::Nobody, 401),
    ask("POST", "/orders", Caller::Reader, 403),
    ask("POST", "/orders", Caller::Nobody, 401),
    ask("POST", "/open", Caller::Nobody, 405),
    ask("GET", "/nowhere", Caller::Writer, 404),
    flip("GET", Caller::Reader, [200, 403]),
    flip("GET", Caller::Writer, [403, 200]),
    flip("POST", Caller::Writer, [403, 200]),
    flip("GET", Caller::Nobody, [401, 401]),
];

const fn ask(method: &'static str, path: &'static str, caller: Caller, right: u16) -> Question {
    Question { method, path, caller, right: [right, right] }
}

const fn flip(method: &'static str, caller: Caller, right: [u16; 2]) -> Question {
    Question { method, path: "/flip", caller, right }
}

/// Writes the key set, and makes the tokens.
pub fn write(folder: &Path, urls: &[String]) -> (Policies, Tokens) {
    let key = Key::es256("key-1");
    std::fs::write(folder.join("keys.json"), json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    let token = |scope: &str| Token::new(&key, ISSUER).scope(scope).sign();
    let tokens = Credentials { reader: token("read"), writer: token("write") };
    let base = format!(
        "listen: 127.0.0.1:0
admin: 127.0.0.1:0
issuers: {{ main: {{ url: '{ISSUER}', audience: https://api.example.com, jwks: keys.json }} }}
upstreams:
  main:
    targets: [{}]
    timeout: {{ connect: 1s, response: 5s, idle: 10s }}
    health: {{ path: /healthz, every: 500ms }}
    retry: {{ times: 3, on: [connect, reset] }}
routes:
  /open/**: {{ public: true }}
  /orders/**: {{ GET: read, POST: write }}
",
        urls.join(", ")
    );
    (Policies { base }, Arc::new(tokens))
}

impl Policies {
    /// The configuration of a turn. Its parity decides who may use `/flip`; another route comes and
    /// goes.
    pub fn of(&self, turn: usize) -> String {
        let scope = ["read", "write"][turn % 2];
        let flip = format!("  /flip/**: {{ GET: {scope}, POST: {scope} }}\n");
        format!("{}{flip}  /turn-{turn}: {{ public: true }}\n", self.base)
    }
}

impl Credentials {
    pub fn of(&self, caller: Caller) -> Option<&str> {
        match caller {
            Caller::Nobody => None,
            Caller::Reader => Some(&self.reader),
            Caller::Writer => Some(&self.writer),
        }
    }
}

const ISSUER: &str = "https://id.example.com";
