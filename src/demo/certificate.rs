//! A certificate for this machine's own names, made in memory.

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate chain and its private key, for a TLS server.
#[derive(Debug)]
pub struct Certificate {
    /// The chain: one self-signed certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// The ECDSA P-256 key, PKCS#8.
    pub key: PrivateKeyDer<'static>,
}

/// Makes a self-signed certificate for `localhost`, `127.0.0.1` and `::1`.
///
/// It is never written to a file, and its key ends with the process: clients have to be told to
/// accept it (`curl -k`).
///
/// # Errors
/// If the system gives no random bytes.
pub fn self_signed() -> std::io::Result<Certificate> {
    let names = NAMES.map(String::from).to_vec();
    let made = rcgen::generate_simple_self_signed(names).map_err(std::io::Error::other)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok(Certificate { chain: vec![made.cert.der().clone()], key: PrivateKeyDer::Pkcs8(key) })
}

/// rcgen turns what reads as an address into an address entry.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::{FromDer, X509Certificate};

    #[test]
    fn it_names_this_machine_and_a_tls_server_takes_it() {
        let made = self_signed().unwrap();
        let (_, parsed) = X509Certificate::from_der(&made.chain[0]).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(matches!(names.value.general_names[0], GeneralName::DNSName("localhost")));
        assert!(matches!(names.value.general_names[1], GeneralName::IPAddress([127, 0, 0, 1])));
        assert!(
            matches!(names.value.general_names[2], GeneralName::IPAddress(ip) if ip.len() == 16)
        );

        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(made.chain, made.key)
            .unwrap();
    }
}
