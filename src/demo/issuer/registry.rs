//! Who the development issuer knows: two clients and one person.

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// An OAuth client (RFC 6749 §2).
#[derive(Debug, PartialEq, Eq)]
pub struct Client {
    /// The client id.
    pub id: &'static str,
    /// The secret of a confidential client; `None` for a public one.
    pub secret: Option<&'static str>,
    /// Where authorization codes may be sent, as origin and path; any port (RFC 8252 §7.3).
    pub redirects: &'static [(&'static str, &'static str)],
    /// The scopes that it may ask for.
    pub scopes: &'static [&'static str],
}

/// A web application through which people sign in: a public client with PKCE.
pub const WEB_APP: Client = Client {
    id: "web-app",
    secret: None,
    redirects: &[
        ("http://127.0.0.1", "/callback"),
        ("http://[::1]", "/callback"),
        ("http://localhost", "/callback"),
    ],
    scopes: &["read:timesheets", "create:timesheets", "delete:timesheets", "approve:timesheets"],
};

/// A machine that uploads timesheets at night, on its own behalf. The secret is no secret: the
/// issuer runs on the developer's machine alone.
pub const NIGHTLY_UPLOADER: Client = Client {
    id: "nightly-uploader",
    secret: Some("nightly-uploader-demo-secret"),
    redirects: &[],
    scopes: &["batch:upload", "read:timesheets"],
};

/// The only person.
pub const ALICE: &str = "alice";

/// The client called `id`.
#[must_use]
pub fn client(id: &str) -> Option<&'static Client> {
    [&WEB_APP, &NIGHTLY_UPLOADER].into_iter().find(|client| client.id == id)
}

/// The person called `name`.
pub(super) fn person(name: &str) -> Option<&'static str> {
    (name == ALICE).then_some(ALICE)
}

/// All scopes that some client may ask for.
pub(super) fn scopes() -> Vec<&'static str> {
    let mut all: Vec<_> = [WEB_APP.scopes, NIGHTLY_UPLOADER.scopes].concat();
    all.sort_unstable();
    all.dedup();
    all
}

impl Client {
    /// Whether `secret` is this client's. A public client has none, and must send none.
    pub(super) fn accepts(&self, secret: Option<&str>) -> bool {
        match (self.secret, secret) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => {
                verify_slices_are_equal(ours.as_bytes(), theirs.as_bytes()).is_ok()
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// Whether a code may be sent to `uri`: a registered one, character for character but for the
    /// port (RFC 9700 §2.1).
    pub(super) fn redirects_to(&self, uri: &str) -> bool {
        self.redirects.iter().any(|(origin, path)| {
            uri.strip_prefix(origin).map(without_port).is_some_and(|rest| rest == *path)
        })
    }

    /// The scopes in `asked`, or all of this client's if none is asked for; `None` if one is not
    /// this client's.
    pub(super) fn grant(&self, asked: Option<&str>) -> Option<Vec<String>> {
        let Some(asked) = asked else {
            return Some(self.scopes.iter().map(ToString::to_string).collect());
        };
        let mut granted: Vec<String> = Vec::new();
        for scope in asked.split(' ') {
            if !self.scopes.contains(&scope) {
                return None;
            }
            if !granted.iter().any(|known| known == scope) {
                granted.push(scope.to_owned());
            }
        }
        Some(granted)
    }
}

/// What follows a port of one to five digits, or `rest` itself if there is none.
fn without_port(rest: &str) -> &str {
    let Some(behind) = rest.strip_prefix(':') else { return rest };
    let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
    match digits {
        1..=5 => &behind[digits..],
        0 | 6.. => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_exact_but_for_the_port() {
        for good in [
            "http://127.0.0.1/callback",
            "http://127.0.0.1:8090/callback",
            "http://[::1]:1/callback",
            "http://localhost:65535/callback",
        ] {
            assert!(WEB_APP.redirects_to(good), "{good}");
        }
        for bad in [
            "",
            "https://127.0.0.1/callback",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:123456/callback",
            "http://127.0.0.1:80@evil.example/callback",
            "http://127.0.0.1.evil.example/callback",
            "http://127.0.0.1/callback/",
            "http://127.0.0.1/callback?next=1",
            "http://127.0.0.1/callback#x",
            "http://127.0.0.1/Callback",
            "http://127.0.0.1:80/x/../callback",
            "http://localhost:80%2f@evil.example/callback",
        ] {
            assert!(!WEB_APP.redirects_to(bad), "{bad}");
        }
        assert!(!NIGHTLY_UPLOADER.redirects_to("http://127.0.0.1/callback"));
    }

    #[test]
    fn secrets_belong_to_confidential_clients() {
        assert!(WEB_APP.accepts(None));
        assert!(!WEB_APP.accepts(Some("")));
        assert!(NIGHTLY_UPLOADER.accepts(NIGHTLY_UPLOADER.secret));
        assert!(!NIGHTLY_UPLOADER.accepts(None));
        assert!(!NIGHTLY_UPLOADER.accepts(Some("nightly")));
    }

    #[test]
    fn scopes_are_those_of_the_client() {
        assert_eq!(NIGHTLY_UPLOADER.grant(Some("batch:upload batch:upload")).unwrap().len(), 1);
        assert_eq!(WEB_APP.grant(None).unwrap().len(), 4);
        assert!(WEB_APP.grant(Some("batch:upload")).is_none());
        assert!(WEB_APP.grant(Some("read:timesheets  create:timesheets")).is_none());
    }
}
