//! Which fields of a request never reach a backend.

use http::HeaderName;

/// Which fields of a request never reach a backend; compiled once per policy.
///
/// Stripped are all `X-Auth-*`, the configured identity headers and what says that one of them was
/// truncated, everything by which proxies tell of clients, certificates, targets and methods, and
/// every name that a backend could take for one of these. Backends fold names: CGI, WSGI and PHP
/// read `X_Auth_User` and `X.Auth.User` as `X-Auth-User`, so names are compared with every
/// character but letters and digits taken as `-`. A name with `_` in it is dropped whatever it
/// says, as nginx does by default.
#[derive(Debug)]
pub struct Scrub {
    names: Box<[Box<[u8]>]>,
    /// By first byte: whether a name that begins so can be ours.
    first: [bool; 256],
}

impl Scrub {
    /// Strips `X-Auth-*`, these names, and all that fold to them.
    #[must_use]
    pub fn new(identity_headers: &[HeaderName]) -> Self {
        let fixed = NAMES.iter().map(|name| fold(name.as_bytes()));
        let configured = identity_headers.iter().flat_map(|name| {
            let truncated = format!("{name}-truncated");
            [fold(name.as_str().as_bytes()), fold(truncated.as_bytes())]
        });
        let names: Box<[Box<[u8]>]> = fixed.chain(configured).collect();
        let starts = || names.iter().map(|name| &**name).chain(PREFIXES.map(str::as_bytes));
        let mut first = [false; 256];
        for byte in 0..=u8::MAX {
            let begins = |name: &[u8]| name.first() == Some(&fold_byte(byte));
            first[usize::from(byte)] = starts().any(begins);
        }
        Self { names, first }
    }

    /// Whether the field is ours to set, or could be taken for one that is.
    pub(super) fn drops(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        name.contains(&b'_') || self.is_ours(name)
    }

    fn is_ours(&self, name: &[u8]) -> bool {
        let Some(first) = name.first() else { return false };
        if !self.first[usize::from(*first)] {
            return false;
        }
        let equals = |ours: &[u8]| ours.len() == name.len() && begins(name, ours);
        PREFIXES.iter().any(|prefix| begins(name, prefix.as_bytes()))
            || self.names.iter().any(|ours| equals(ours))
    }
}

fn begins(name: &[u8], folded: &[u8]) -> bool {
    name.len() >= folded.len()
        && name.iter().zip(folded).all(|(byte, ours)| fold_byte(*byte) == *ours)
}

fn fold(name: &[u8]) -> Box<[u8]> {
    name.iter().map(|byte| fold_byte(*byte)).collect()
}

fn fold_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Identity, forwarding, TLS facts, and `Proxy-*`, which is for the next proxy and not a backend.
const PREFIXES: [&str; 4] = ["x-auth-", "x-forwarded-", "x-ssl-", "proxy-"];

const NAMES: [&str; 18] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-request-id",
    // Some frameworks route by these instead of the request line.
    "x-original-url",
    "x-original-uri",
    "x-original-method",
    "x-rewrite-url",
    // RFC 9440 and its forerunners: who terminated TLS says who the client is.
    "client-cert",
    "client-cert-chain",
    "x-client-cert",
    "x-ssl",
    // CGI makes HTTP_PROXY of it, and many HTTP clients then use that as their proxy.
    "proxy",
    // They would turn an authorised POST into a DELETE.
    "x-http-method-override",
    "x-method-override",
    "x-http-method",
    "x-http-method-name",
    "x-auth",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scrub() -> Scrub {
        Scrub::new(&[HeaderName::from_static("x-user"), HeaderName::from_static("remote-user")])
    }

    fn survives(name: &str) -> bool {
        !scrub().drops(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    /// FW-01, FW-02, FW-03, AZ-05, BR-15, bypasses 15 to 19.
    #[test]
    fn names_of_ours_and_what_folds_to_them_are_dropped() {
        let names = "X-Auth-Subject X_Auth_Subject x-auth_subject X.Auth.Subject X-AUTH-Whatever \
            X~Auth~Subject X-User X_USER x.user X-User-Truncated Remote-User Remote_User \
            Forwarded X-Forwarded-For X-Forwarded-Uri X-Forwarded-Method X-Forwarded-Prefix \
            X-Forwarded-Path X.Forwarded.For X-Real-IP X-Request-Id X-Original-URL X-Rewrite-URL \
            X-Original-URI Client-Cert Client-Cert-Chain X-Forwarded-Client-Cert X-SSL-Client-CN \
            Proxy Proxy-Authorization Proxy.Authorization Proxy-Connection X-HTTP-Method-Override \
            X-Method-Override X-HTTP-Method X.HTTP.Method Anything_With_It";
        for name in names.split_ascii_whitespace() {
            assert!(!survives(name), "{name}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        let names = "Accept Authorization Content-Type Cookie Host Origin X-Requested-With X-Users \
            X-Trace-Id traceparent User-Agent X-Csrf-Token Remote-Users X-Authority x-http";
        for name in names.split_ascii_whitespace() {
            assert!(survives(name), "{name}");
        }
    }

    proptest! {
        /// FW-01, FW-02: nothing that a backend could fold to one of ours is left.
        #[test]
        fn nothing_that_folds_to_ours_survives(
            names in prop::collection::vec("[xXpPfFrR][-_.a-zA-Z~0-9]{0,24}|(x[-_.])?(auth|user|forwarded|real|remote)[-_.](user|for|ip|x)", 0..20),
        ) {
            let names = names.iter().filter(|name| survives(name));
            for name in names.map(|name| name.to_lowercase()) {
                let folded = name.replace(['_', '.'], "-");
                prop_assert!(!PREFIXES.iter().any(|prefix| folded.starts_with(prefix)), "{name}");
                prop_assert!(!NAMES.contains(&folded.as_str()), "{name}");
                prop_assert!(folded != "x-user" && folded != "remote-user", "{name}");
                prop_assert!(!name.contains('_'), "{name}");
            }
        }
    }
}
