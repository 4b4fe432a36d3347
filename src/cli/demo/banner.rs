//! What the demo says when it is up: where things are, and what to type.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::Policy;
use crate::demo::issuer::Issuer;
use crate::demo::issuer::registry::{ALICE, NIGHTLY_UPLOADER, WEB_APP};

pub(super) struct Banner<'a> {
    pub(super) policy: &'a Policy,
    pub(super) issuer: &'a Issuer,
    pub(super) issuer_url: &'a str,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Banner<'_> {
    /// The text, with tokens made for it.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(super) fn text(&self) -> io::Result<String> {
        let mut text = self.places();
        let alice = self.issuer.mint(&WEB_APP, Some(ALICE), ALICE_SCOPES)?;
        let nightly = self.issuer.mint(&NIGHTLY_UPLOADER, None, "batch:upload")?;
        text += "\n  Paste two tokens into a shell first (they last 1 h):\n\n";
        text += &format!("export ALICE={alice}\nexport NIGHTLY={nightly}\n\n");
        match self.policy {
            Policy::BuiltIn | Policy::Here => text += &self.calls(),
            // Its paths are its author's; ours might not be there.
            Policy::Own(_) => {}
        }
        text += &self.more();
        Ok(text)
    }

    fn places(&self) -> String {
        format!(
            "  scopegate {} demo · keys made just now, loopback only, not for production\n  \
             API {}     admin http://{}     issuer {}     config {}\n",
            env!("CARGO_PKG_VERSION"),
            base(self.listen),
            self.admin,
            self.issuer_url,
            self.policy.name(),
        )
    }

    /// One line for each kind of answer.
    fn calls(&self) -> String {
        let base = base(self.listen);
        let sheet = format!("{base}/timesheets/42");
        let alice = "-H \"Authorization: Bearer $ALICE\"";
        let nightly = "-H \"Authorization: Bearer $NIGHTLY\"";
        let show = "-s -o /dev/null -w '%{http_code} '";
        let lines = [
            (format!("curl -k {sheet} {alice}"), "200"),
            (format!("curl -k {sheet}"), "401 no token"),
            (format!("curl -k -X DELETE {sheet} {alice}"), "403 needs delete:timesheets"),
            (
                format!("curl -k -X POST {sheet}/approval {nightly}"),
                "403 a machine, and approval is for people",
            ),
            (
                format!("for i in 1 2 3 4; do curl -k {show} -d '[]' {base}/batch {nightly}; done"),
                "200 200 200 429 too many",
            ),
        ];
        let mut text = "  Try:\n".to_owned();
        for (line, answer) in lines {
            text += &format!("    {line:<WIDTH$}  → {answer}\n");
        }
        text
    }

    fn more(&self) -> String {
        let issuer = match self.issuer_url {
            USUAL_ISSUER => String::new(),
            other => format!(" --issuer {other}"),
        };
        format!(
            "\n  Other scopes:\n    scopegate token mint --client web-app --user alice --scope delete:timesheets{issuer}\n\n  \
             Requests appear below; Ctrl-C stops.\n"
        )
    }
}

/// `https://localhost:8443`, or by the address where `localhost` would lead elsewhere.
fn base(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) if ip.octets() == [127, 0, 0, 1] => format!("https://localhost:{port}"),
        IpAddr::V4(_) | IpAddr::V6(_) => format!("https://{address}"),
    }
}

/// What the web application asks for: not `delete:timesheets`, so that there is something to
/// refuse.
const ALICE_SCOPES: &str = "read:timesheets create:timesheets approve:timesheets";
const USUAL_ISSUER: &str = "http://127.0.0.1:8082";
/// Lines up the answers of all but the longest call.
const WIDTH: usize = 92;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn said(policy: &Policy, listen: &str) -> String {
        let url = "http://127.0.0.1:4".to_owned();
        let issuer = Issuer::new(url.clone(), "api".into(), Clock::default()).unwrap();
        let (listen, admin) = (listen.parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        Banner { policy, issuer: &issuer, issuer_url: &url, listen, admin }.text().unwrap()
    }

    #[test]
    fn it_says_what_to_type_and_what_comes_of_it() {
        let text = said(&Policy::BuiltIn, "127.0.0.1:1");
        for word in [
            "→ 200",
            "→ 401",
            "→ 403",
            "429",
            "--issuer http://127.0.0.1:4",
            "gateway.yaml (built in)",
        ] {
            assert!(text.contains(word), "{word}");
        }
        assert_eq!(text.matches("https://localhost:1/").count(), 5);
        for name in ["ALICE", "NIGHTLY"] {
            let line = text.lines().find(|line| line.starts_with(&format!("export {name}=ey")));
            assert_eq!(line.unwrap().split('.').count(), 3);
        }
    }

    #[test]
    fn a_policy_of_ones_own_gets_tokens_alone() {
        let text = said(&Policy::Own("mine.yaml".into()), "[::1]:1");
        assert!(text.contains("export ALICE=") && !text.contains("/timesheets/"));
        assert!(text.contains("API https://[::1]:1") && text.contains("config mine.yaml"));
    }
}
