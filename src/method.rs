//! Which methods there are, and which a rule for every method stands for.

use http::Method;

/// The methods that `allow` stands for: those of RFC 9110 §9.3 and PATCH (RFC 5789), but for CONNECT
/// and TRACE, which are never forwarded. What else a backend takes for a method nobody thought of
/// who wrote `allow`, so others are written out.
pub(crate) static USUAL: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Registered methods beside the usual ones (IANA's registry of HTTP methods, without PRI), and two
/// that are known all the same: PURGE of caches and LIST of Vault.
pub(crate) const REGISTERED: [&str; 34] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LIST",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    "CONNECT",
    "TRACE",
];

/// Whether `allow` stands for the method.
pub(crate) fn is_usual(method: &Method) -> bool {
    USUAL.contains(method)
}

/// Whether no route may name the method: a tunnel behind the gateway's back, and an echo of what
/// it added.
pub(crate) fn is_never_forwarded(name: &str) -> bool {
    matches!(name, "CONNECT" | "TRACE")
}

/// Every method that has a name here.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    USUAL.iter().map(Method::as_str).chain(REGISTERED)
}

/// Whether `method` is one of `others` or a known one but for its case. Methods are case-sensitive
/// (RFC 9110 §9.1), and many backends bring them into capitals all the same: what was judged as
/// `delete` would run as DELETE.
pub(crate) fn is_misspelt<'m>(
    method: &Method,
    others: impl IntoIterator<Item = &'m Method>,
) -> bool {
    let name = method.as_str();
    let is_near = |other: &str| other != name && other.eq_ignore_ascii_case(name);
    known().any(is_near) || others.into_iter().map(Method::as_str).any(is_near)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(name: &str) -> Method {
        Method::from_bytes(name.as_bytes()).unwrap()
    }

    #[test]
    fn the_case_alone_makes_a_method_misspelt() {
        for name in ["delete", "Delete", "dELETE", "trace", "Connect", "propfind", "Purge", "brew"]
        {
            assert!(is_misspelt(&method(name), &[method("BREW")]), "{name}");
        }
        for name in ["DELETE", "TRACE", "PROPFIND", "BREW", "WHEN", "when", "DELETES"] {
            assert!(!is_misspelt(&method(name), &[method("BREW")]), "{name}");
        }
    }
}
