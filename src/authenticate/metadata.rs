//! Where an issuer has its keys and its endpoints: metadata (OpenID Connect Discovery §4, RFC 8414
//! §3).

use http::Uri;
use serde_json::Value;

use super::fetch::{Fault, is_loopback};

/// The URLs where the metadata of `issuer` may be, in the order in which to try them: OpenID
/// Connect appends its well-known path, RFC 8414 §3.1 inserts its own between host and path.
pub(super) fn well_known(issuer: &str) -> [String; 2] {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    let host = base.find("://").map_or(0, |scheme| scheme + "://".len());
    let path = base[host..].find('/').map_or(base.len(), |slash| host + slash);
    let (origin, path) = base.split_at(path);
    [
        format!("{base}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

/// The URL of the key set that the metadata from `url` names.
///
/// The document must say that it is `issuer`'s, byte for byte (RFC 8414 §3.3), or an attacker who
/// can make the gateway read another document would choose the keys. What it lists as
/// `id_token_signing_alg_values_supported` is about other tokens and is not looked at.
pub(super) fn jwks_uri(document: &[u8], issuer: &str, url: &str) -> Result<String, Fault> {
    let document = checked(document, issuer)?;
    let jwks_uri = document["jwks_uri"].as_str().ok_or(Fault::Invalid("it names no key set"))?;
    if is_plain_loopback(jwks_uri) && !is_plain_loopback(url) {
        return Err(Fault::Invalid("its key set is on the gateway's own machine"));
    }
    Ok(jwks_uri.to_owned())
}

/// The URL of the introspection endpoint (RFC 8414 §2) that the metadata from `url` names.
pub(super) fn introspection_endpoint(
    document: &[u8],
    issuer: &str,
    url: &str,
) -> Result<String, Fault> {
    let document = checked(document, issuer)?;
    let endpoint = document["introspection_endpoint"]
        .as_str()
        .ok_or(Fault::Invalid("it names no introspection endpoint"))?;
    if is_plain_loopback(endpoint) && !is_plain_loopback(url) {
        return Err(Fault::Invalid("its introspection endpoint is on the gateway's own machine"));
    }
    Ok(endpoint.to_owned())
}

/// The scopes that the metadata lists (RFC 8414 §2); `None` if it lists none, is not `issuer`'s, or
/// cannot be read.
pub(super) fn scopes_supported(document: &[u8], issuer: &str) -> Option<Vec<String>> {
    let document = checked(document, issuer).ok()?;
    let listed = document["scopes_supported"].as_array()?;
    Some(listed.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The document, if it is `issuer`'s.
fn checked(document: &[u8], issuer: &str) -> Result<Value, Fault> {
    let document: Value =
        serde_json::from_slice(document).map_err(|_| Fault::Invalid("it is not JSON"))?;
    let named = document["issuer"].as_str().ok_or(Fault::Invalid("it names no issuer"))?;
    if named != issuer {
        return Err(Fault::OtherIssuer(escaped(named)));
    }
    Ok(document)
}

/// Whether `url` is plain http on this machine: trusted only if the metadata came the same way.
fn is_plain_loopback(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    url.scheme_str() == Some("http") && url.host().is_some_and(is_loopback)
}

/// A server's text, made safe for logs and short.
fn escaped(text: &str) -> String {
    text.chars().take(MAX_NAME).flat_map(char::escape_default).collect()
}

/// In characters.
const MAX_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    /// KS-01
    #[test]
    fn openid_connect_appends_and_rfc_8414_inserts() {
        for (issuer, append, insert) in [
            (
                "https://as/t",
                "https://as/t/.well-known/openid-configuration",
                "https://as/.well-known/oauth-authorization-server/t",
            ),
            (
                "https://as/t/",
                "https://as/t/.well-known/openid-configuration",
                "https://as/.well-known/oauth-authorization-server/t",
            ),
            (
                "https://as:8443",
                "https://as:8443/.well-known/openid-configuration",
                "https://as:8443/.well-known/oauth-authorization-server",
            ),
        ] {
            assert_eq!(well_known(issuer), [append, insert]);
        }
    }

    /// KS-02
    #[test]
    fn the_documents_issuer_must_be_ours_byte_for_byte() {
        let document = br#"{"issuer":"https://honest/","jwks_uri":"https://honest/keys"}"#;
        let url = "https://honest/.well-known/openid-configuration";
        assert_eq!(jwks_uri(document, "https://honest/", url).unwrap(), "https://honest/keys");
        for issuer in ["https://honest", "https://HONEST/", "https://honest:443/"] {
            let fault = jwks_uri(document, issuer, url).unwrap_err();
            assert_eq!(fault, Fault::OtherIssuer("https://honest/".into()));
            assert!(
                fault.to_string().contains(r#"server says "https://honest/" (scopegate help E041"#)
            );
        }
    }

    #[test]
    fn a_hostile_name_is_escaped_and_cut() {
        let name = format!("x\\n\\u001b[2J\\\"{}", "y".repeat(5000));
        let document = format!(r#"{{"issuer":"{name}","jwks_uri":"https://a/k"}}"#);
        let fault =
            jwks_uri(document.as_bytes(), "https://a", "https://a").unwrap_err().to_string();
        assert!(fault.len() < 400 && fault.chars().all(|c| c.is_ascii_graphic() || c == ' '));
    }

    #[test]
    fn metadata_from_afar_cannot_send_the_gateway_to_its_own_machine() {
        let document = br#"{"issuer":"https://a","jwks_uri":"http://127.0.0.1:9/keys"}"#;
        assert!(jwks_uri(document, "https://a", "https://a/m").is_err());
        assert!(jwks_uri(document, "https://a", "http://localhost:1/m").is_ok());
    }

    #[test]
    fn what_is_not_metadata_is_refused() {
        for document in ["", "[]", "{}", r#"{"issuer":"https://a"}"#, r#"{"jwks_uri":"https://a"}"#]
        {
            assert!(jwks_uri(document.as_bytes(), "https://a", "https://a").is_err());
        }
    }
}
