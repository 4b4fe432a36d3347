//! The TLS that clients get.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;

use super::Certificates;

/// TLS 1.3 and 1.2 with forward secrecy and AEAD alone (RFC 9325 §4.2), no renegotiation, no
/// compression, no early data (a replay of it would pass every check), HTTP/2 before HTTP/1.1.
///
/// # Errors
/// If the cryptography library refuses to work.
pub fn tls_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    // Stateless resumption: the default is a map of 256 sessions behind one lock.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tl_01_every_suite_has_forward_secrecy_and_aead() {
        for suite in aws_lc_rs::default_provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            let aead = name.contains("GCM") || name.contains("CHACHA20_POLY1305");
            assert!(aead, "{name}");
            assert!(name.starts_with("TLS13_") || name.contains("_ECDHE_"), "{name}");
        }
    }
}
