//! A certificate for this machine's own names, made in memory.

use crate::server::Pem;

/// Makes a self-signed certificate for `localhost`, `127.0.0.1` and `::1`.
///
/// It is never written to a file, and its key ends with the process: clients have to be told to
/// accept it (`curl -k`).
///
/// # Errors
/// If the system gives no random bytes.
pub fn self_signed() -> std::io::Result<Pem> {
    let names = NAMES.map(String::from).to_vec();
    let made = rcgen::generate_simple_self_signed(names).map_err(std::io::Error::other)?;
    Ok(Pem { cert: made.cert.pem(), key: made.signing_key.serialize_pem() })
}

/// rcgen turns what reads as an address into an address entry.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn it_names_this_machine_and_a_tls_server_takes_it() {
        let made = self_signed().unwrap();
        let cert = CertificateDer::from_pem_slice(made.cert.as_bytes()).unwrap();
        let (_, parsed) = X509Certificate::from_der(&cert).unwrap();
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
            .with_single_cert(
                vec![cert.clone()],
                PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap(),
            )
            .unwrap();
    }
}
