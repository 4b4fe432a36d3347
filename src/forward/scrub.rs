//! Which fields of a request never reach a backend.

use http::HeaderName;

use crate::config::told::{self, fold_byte};

/// Which fields of a request never reach a backend; compiled once per policy.
///
/// Stripped are all `X-Auth-*`, the configured identity headers and what says that one of them was
/// truncated, everything by which proxies tell of clients, certificates, targets and methods, and
/// every name that a backend could take for one of these. Backends fold names: CGI, WSGI and PHP
/// read `X_Auth_User` and `X.Auth.User` as `X-Auth-User`, so names are compared with every
/// character but letters and digits taken as `-`. A name with `_` in it is dropped whatever it
/// says, as nginx does by default.
///
/// Some of what proxies tell passes from those that are trusted, or because the file keeps it: only
/// as it is spelled, since a proxy that writes `True-Client-IP` lets a stranger's `True.Client.IP`
/// through.
#[derive(Debug)]
pub struct Scrub {
    always: Names,
    told: Names,
    kept: Box<[HeaderName]>,
}

impl Scrub {
    /// Strips `X-Auth-*`, these names, and all that fold to them.
    #[must_use]
    pub fn new(identity_headers: &[HeaderName]) -> Self {
        let configured = identity_headers.iter().flat_map(|name| {
            let truncated = format!("{name}-truncated");
            [told::fold(name.as_str()), told::fold(&truncated)]
        });
        let fixed = told::NEVER.iter().map(|(name, _)| (*name).to_owned());
        let begin = told::NEVER_BEGIN.iter().map(|(begin, _)| *begin);
        Self {
            always: Names::new(fixed.chain(configured), begin),
            told: Names::new(
                told::TOLD.iter().map(|name| (*name).to_owned()),
                told::TOLD_BEGIN.iter().copied(),
            ),
            kept: Box::default(),
        }
    }

    /// Lets these pass, of those that pass from trusted proxies, from everybody.
    #[must_use]
    pub fn keeping(mut self, names: Vec<HeaderName>) -> Self {
        self.kept = names.into();
        self
    }

    /// Whether the field is ours to set, could be taken for one that is, or tells what only a
    /// trusted proxy may tell.
    pub(super) fn drops(&self, name: &HeaderName, from_trusted: bool) -> bool {
        let bytes = name.as_str().as_bytes();
        bytes.contains(&b'_')
            || self.always.has(bytes)
            || (self.told.has(bytes) && !self.passes(name, from_trusted))
    }

    fn passes(&self, name: &HeaderName, from_trusted: bool) -> bool {
        let is_spelled_so = name.as_str().bytes().all(|byte| fold_byte(byte) == byte);
        is_spelled_so && (from_trusted || self.kept.contains(name))
    }
}

/// A set of folded names. Most fields of a request are not in it, and are told by their first byte
/// and length.
#[derive(Debug)]
struct Names {
    whole: Box<[Box<[u8]>]>,
    begin: Box<[&'static [u8]]>,
    /// By first byte: the lengths of the names that begin so, as bits; the last stands for all that
    /// are longer.
    lengths: [u64; 256],
    /// By first byte: whether one of `begin` does.
    begins: [bool; 256],
}

impl Names {
    fn new(whole: impl Iterator<Item = String>, begin: impl Iterator<Item = &'static str>) -> Self {
        let whole: Box<[Box<[u8]>]> = whole.map(|name| name.into_bytes().into()).collect();
        let begin: Box<[&[u8]]> = begin.map(str::as_bytes).collect();
        let (mut lengths, mut begins) = ([0; 256], [false; 256]);
        for byte in 0..=u8::MAX {
            let is_first = |name: &[u8]| name.first() == Some(&fold_byte(byte));
            let named = whole.iter().filter(|name| is_first(name));
            lengths[usize::from(byte)] = named.fold(0, |bits, name| bits | bit(name.len()));
            begins[usize::from(byte)] = begin.iter().any(|begin| is_first(begin));
        }
        Self { whole, begin, lengths, begins }
    }

    fn has(&self, name: &[u8]) -> bool {
        let Some(first) = name.first().map(|first| usize::from(*first)) else { return false };
        let is_named =
            || self.whole.iter().any(|ours| ours.len() == name.len() && begins(name, ours));
        (self.begins[first] && self.begin.iter().any(|begin| begins(name, begin)))
            || (self.lengths[first] & bit(name.len()) != 0 && is_named())
    }
}

fn bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn begins(name: &[u8], folded: &[u8]) -> bool {
    name.len() >= folded.len()
        && name.iter().zip(folded).all(|(byte, ours)| fold_byte(*byte) == *ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scrub() -> Scrub {
        Scrub::new(&[HeaderName::from_static("x-user"), HeaderName::from_static("remote-user")])
    }

    fn passes(scrub: &Scrub, name: &str, from_trusted: bool) -> bool {
        !scrub.drops(&HeaderName::from_bytes(name.as_bytes()).unwrap(), from_trusted)
    }

    fn survives(name: &str) -> bool {
        passes(&scrub(), name, false)
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
            assert!(!survives(name) && !passes(&scrub(), name, true), "{name}");
        }
    }

    #[test]
    fn what_proxies_tell_passes_from_those_that_are_trusted_as_they_spell_it() {
        for name in told::TOLD.iter().chain(told::TOLD_BEGIN) {
            let name = if name.ends_with('-') { format!("{name}x") } else { (*name).to_owned() };
            let own = name == "remote-user";
            assert!(!survives(&name) && passes(&scrub(), &name, true) != own, "{name}");
            for spelling in [name.replace('-', "."), name.replacen('-', "~", 1)] {
                let kept = scrub().keeping(vec![HeaderName::from_bytes(name.as_bytes()).unwrap()]);
                assert!(!survives(&spelling) && !passes(&scrub(), &spelling, true), "{spelling}");
                assert!(!passes(&kept, &spelling, false), "{spelling}");
            }
        }
    }

    #[test]
    fn what_is_kept_passes_from_everybody() {
        let kept = scrub().keeping(vec![HeaderName::from_static("true-client-ip")]);
        assert!(passes(&kept, "True-Client-IP", false) && passes(&kept, "true-client-ip", true));
        assert!(!passes(&kept, "x-client-ip", false) && !passes(&kept, "True_Client_IP", false));
    }

    #[test]
    fn ordinary_names_pass() {
        let names = "Accept Authorization Content-Type Cookie Host Origin X-Requested-With X-Users \
            X-Trace-Id traceparent User-Agent X-Csrf-Token Remote-Users X-Authority x-http X-User-Id \
            X-Access-Token X-Api-Key X-Client-Id X-Client-Version X-Amz-Date CF-Ray X-Hosts X-Arr";
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
                let begins = told::NEVER_BEGIN.iter().map(|(begin, _)| begin).chain(told::TOLD_BEGIN);
                prop_assert!(!begins.into_iter().any(|begin| folded.starts_with(begin)), "{name}");
                let whole = told::NEVER.iter().map(|(name, _)| name).chain(told::TOLD);
                prop_assert!(!whole.into_iter().any(|whole| folded == *whole), "{name}");
                prop_assert!(folded != "x-user" && folded != "remote-user", "{name}");
                prop_assert!(!name.contains('_'), "{name}");
            }
        }
    }
}
