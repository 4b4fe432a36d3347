//! Where requests go, and the certificate for it.

use std::io::Result;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::HOST;
use crate::http1::Socket;

/// A server's address, over TLS 1.3 or not.
#[derive(Clone)]
pub struct Destination {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

/// The options that name a destination.
#[derive(clap::Args)]
pub struct To {
    /// The proxy
    #[arg(long)]
    to: SocketAddr,
    /// Speak TLS 1.3, trusting this certificate
    #[arg(long)]
    tls: Option<PathBuf>,
}

impl To {
    pub fn destination(&self, protocol: &[u8]) -> Destination {
        let tls = self.tls.as_deref().map(|certificate| connector(certificate, protocol));
        Destination { address: self.to, tls }
    }
}

impl Destination {
    pub async fn connect(&self) -> Result<Box<dyn Socket>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let stream = tls.connect(ServerName::try_from(HOST).unwrap(), stream).await?;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            tls.config().alpn_protocols.first().map(Vec::as_slice)
        );
        Ok(Box::new(stream))
    }
}

fn connector(certificate: &Path, protocol: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    // Every connection is a new client's: a full handshake.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Writes `cert.pem`, `key.pem` and, for HAProxy, both in `both.pem`.
pub fn write_certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("cert.pem"), &certificate).unwrap();
    std::fs::write(folder.join("key.pem"), &key).unwrap();
    std::fs::write(folder.join("both.pem"), certificate + &key).unwrap();
}
