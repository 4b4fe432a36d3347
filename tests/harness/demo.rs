//! `scopegate demo` on free ports.

use std::path::Path;

use super::command::{Running, Scopegate};

/// A running demo. Dropping it kills it.
pub struct Demo {
    pub running: Running,
    /// `https://localhost:…`
    pub api: String,
    /// `http://127.0.0.1:…`
    pub issuer: String,
    /// `127.0.0.1:…`
    pub admin: String,
}

impl Demo {
    /// Starts a demo in `folder` and waits until it has said what to type.
    pub fn start(folder: &Path) -> Self {
        let any = "127.0.0.1:0";
        let words = ["demo", "--listen", any, "--admin", any, "--issuer", any, "--api", any];
        let mut running = Scopegate::within(folder, &words).start();
        running.line("Requests appear below");
        let places = running.line("  API ");
        let place = |name: &str| {
            let (_, rest) = places.split_once(name).expect("the place is said");
            rest.split_whitespace().next().expect("a URL").to_owned()
        };
        let admin = place("admin http://");
        Self { api: place("API "), issuer: place("issuer "), admin, running }
    }

    /// What it said before the first request.
    pub fn banner(&self) -> String {
        let mut lines = self.running.said.clone();
        let last = lines.iter().position(|line| line.contains("Requests appear below"));
        lines.truncate(last.expect("the banner is whole") + 1);
        lines.join("\n")
    }
}
