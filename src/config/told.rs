//! Fields in which a gateway, proxy or platform tells a backend who calls, from where and for what.
//!
//! A backend that believes such a field believes whoever wrote it. Names are compared as backends
//! fold them: without case, and with every character but letters and digits taken as `-`.

/// Never passed on, whoever sends them, and why.
pub(crate) const NEVER: &[(&str, &str)] = &[
    ("forwarded", WRITTEN),
    ("x-forwarded", WRITTEN),
    ("x-real-ip", WRITTEN),
    ("x-request-id", WRITTEN),
    ("x-auth", WRITTEN),
    // Some frameworks route by these instead of the request line.
    ("x-original-url", OVERRIDES),
    ("x-original-uri", OVERRIDES),
    ("x-original-method", OVERRIDES),
    ("x-rewrite-url", OVERRIDES),
    ("x-rewrite-uri", OVERRIDES),
    // They would turn an authorised POST into a DELETE.
    ("x-http-method-override", OVERRIDES),
    ("x-method-override", OVERRIDES),
    ("x-http-method", OVERRIDES),
    ("x-http-method-name", OVERRIDES),
    ("x-http-verb", OVERRIDES),
    // RFC 9440 and its forerunners: who terminated TLS says who the client is.
    ("client-cert", TERMINATED),
    ("client-cert-chain", TERMINATED),
    ("x-client-cert", TERMINATED),
    ("x-ssl", TERMINATED),
    // CGI makes HTTP_PROXY of it, and many HTTP clients then use that as their proxy.
    ("proxy", "programs behind CGI would use it as their proxy"),
];

/// The same for all names that begin so: identity, forwarding, TLS facts, and `Proxy-*`, which is
/// for the next proxy and not a backend.
pub(crate) const NEVER_BEGIN: &[(&str, &str)] = &[
    ("x-auth-", WRITTEN),
    ("x-forwarded-", WRITTEN),
    ("x-ssl-", TERMINATED),
    ("proxy-", "it is for the next proxy, not for a backend"),
];

/// Passed on from trusted proxies alone.
pub(crate) const TOLD: &[&str] = &[
    // The client's address: load balancers, CDNs and clouds.
    "ali-cdn-real-ip",
    "cdn-src-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "client-ip",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded-for",
    "incap-client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-nf-client-connection-ip",
    "x-original-forwarded-for",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-sucuri-clientip",
    "x-true-client-ip",
    "x-vercel-forwarded-for",
    // Where that address is, by which some backends refuse.
    "cf-ipcountry",
    // Whether the call comes from inside a mesh or network.
    "fastly-ff",
    "x-envoy-internal",
    // The host and scheme that were asked for.
    "cf-visitor",
    "cloudfront-forwarded-proto",
    "fastly-ssl",
    "front-end-https",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-host",
    "x-original-host",
    "x-scheme",
    "x-url-scheme",
    // Who calls: portals, identity-aware proxies and API gateways.
    "iv-creds",
    "iv-groups",
    "iv-user",
    "oam-remote-user",
    "oidc-access-token",
    "oidc-id-token",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "sm-universalid",
    "sm-user",
    "sm-userdn",
    "tailscale-app-capabilities",
    "x-anonymous-consumer",
    "x-apigateway-api-userinfo",
    "x-endpoint-api-userinfo",
    "x-jwt-assertion",
    "x-userinfo",
];

/// The same for all names that begin so.
pub(crate) const TOLD_BEGIN: &[&str] = &[
    // Addresses and countries: CloudFront, Azure Front Door, App Engine (also who calls).
    "cloudfront-viewer-",
    "x-appengine-",
    "x-azure-",
    // Client certificates and TLS: nginx, IIS, WebLogic, Cloudflare, AWS.
    "cf-client-cert-",
    "ssl-client-",
    "wl-proxy-",
    "x-amzn-mtls-",
    "x-arr-",
    // Who calls: Cloudflare Access, AWS, Azure, Google, Kubernetes, Kong, Grafana's proxies,
    // authentik, Pomerium, Tailscale, Vouch, Shibboleth, mod_auth_openidc.
    "cf-access-",
    "oidc-claim-",
    "shib-",
    "tailscale-user-",
    "x-amzn-oidc-",
    "x-authenticated-",
    "x-authentik-",
    "x-consumer-",
    "x-credential-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-pomerium-",
    "x-remote-",
    "x-vouch-",
    "x-webauth-",
];

/// Why a field never passes, if it never does.
pub(super) fn never(folded: &str) -> Option<&'static str> {
    let named = NEVER.iter().find(|(name, _)| *name == folded);
    let begun = || NEVER_BEGIN.iter().find(|(begin, _)| folded.starts_with(begin));
    named.or_else(begun).map(|(_, why)| *why)
}

/// Whether a field passes from trusted proxies alone.
pub(super) fn is_told(folded: &str) -> bool {
    TOLD.contains(&folded) || TOLD_BEGIN.iter().any(|begin| folded.starts_with(begin))
}

/// A name as backends fold it.
pub(crate) fn fold(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold_byte(byte))).collect()
}

/// One byte of a name as backends fold it.
pub(crate) fn fold_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

pub(super) const WRITTEN: &str = "the gateway writes it itself";
const OVERRIDES: &str = "it would change what was authorised: the method or the target";
const TERMINATED: &str = "it tells who terminated TLS for whom, and here that is the gateway";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_folded_and_say_nothing_twice() {
        let never = NEVER.iter().chain(NEVER_BEGIN).map(|(name, _)| *name);
        let mut told = TOLD.iter().chain(TOLD_BEGIN).copied();
        for name in never.chain(told.clone()) {
            assert_eq!(fold(name), name);
        }
        assert!(told.all(|name| super::never(name).is_none()));
        assert!(TOLD.iter().all(|name| !TOLD_BEGIN.iter().any(|begin| name.starts_with(begin))));
    }

    #[test]
    fn the_documentation_lists_every_name() {
        let text = include_str!("../../docs/configuration.md").to_ascii_lowercase();
        let never = NEVER.iter().map(|(name, _)| *name).filter(|name| text.contains(name));
        assert_eq!(never.count(), NEVER.len());
        for name in TOLD {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
        for begin in TOLD_BEGIN {
            assert!(text.contains(&format!("`{begin}*`")), "{begin}");
        }
    }
}
