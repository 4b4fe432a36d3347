//! TLS as clients see it, and certificates in files.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::within;

pub use tokio_rustls::client::TlsStream;

/// A self-signed certificate and its key, in files.
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub der: CertificateDer<'static>,
}

impl Pair {
    /// Makes a pair for these names and writes it, over whatever was there.
    pub fn write(folder: &Path, file: &str, names: &[&str]) -> Self {
        Self::write_valid(folder, file, names, 1975..4096)
    }

    /// The same, valid in these years.
    pub fn write_valid(folder: &Path, file: &str, names: &[&str], years: Range<i32>) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let path = |extension: &str| folder.join(format!("{file}.{extension}"));
        std::fs::write(path("crt"), cert.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        Self { cert: path("crt"), key: path("key"), der: cert.der().clone() }
    }

    /// The pair as `gateway.yaml` names it.
    pub fn yaml(&self) -> String {
        format!("{{ cert: {}, key: {} }}", self.cert.display(), self.key.display())
    }
}

/// A client that trusts some certificates.
pub struct Client {
    roots: RootCertStore,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Client {
    pub fn trusting(pairs: &[&Pair]) -> Self {
        let mut roots = RootCertStore::empty();
        for pair in pairs {
            roots.add(pair.der.clone()).unwrap();
        }
        Self { roots, alpn: Vec::new(), versions: rustls::ALL_VERSIONS.to_vec() }
    }

    /// Offers these protocols.
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Speaks this version alone.
    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Connects, asking for `name`; an address asks for none (RFC 6066 §3).
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = self.alpn.clone();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect(address).await?;
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

/// The certificate that the server showed.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// The protocol that was agreed on.
pub fn agreed(stream: &TlsStream<TcpStream>) -> Option<String> {
    let protocol = stream.get_ref().1.alpn_protocol()?;
    Some(String::from_utf8(protocol.to_vec()).unwrap())
}
