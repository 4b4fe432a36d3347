//! A certificate authority, and servers that show what it signed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// An authority, with its certificate in a file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
    der: CertificateDer<'static>,
}

/// A certificate and its key, in files.
pub struct Signed {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), own.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder, der: own.der().clone() }
    }

    /// The file with its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Its certificate as text.
    pub fn pem(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// A certificate for these names.
    pub fn signs(&self, names: &[&str]) -> Signed {
        self.signs_with(names, |_| {})
    }

    /// A certificate that ended long ago.
    pub fn signed_once(&self, names: &[&str]) -> Signed {
        self.signs_with(names, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    fn signs_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let count = std::fs::read_dir(self.folder.path()).unwrap().count();
        let file = |kind: &str| self.folder.path().join(format!("{count}.{kind}"));
        let signed = Signed { cert: file("crt"), key: file("key") };
        std::fs::write(&signed.cert, cert.pem()).unwrap();
        std::fs::write(&signed.key, key.serialize_pem()).unwrap();
        signed
    }

    /// A server's settings that ask clients for a certificate of this authority.
    pub fn asks(&self, signed: &Signed, alpn: &[&str]) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        server(signed, alpn, Some(verifier.build().unwrap()))
    }
}

impl Signed {
    /// A server's settings.
    pub fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        server(self, alpn, None)
    }

    /// Takes the place of another in its files.
    pub fn replaces(&self, other: &Self) {
        copy(&self.cert, &other.cert);
        copy(&self.key, &other.key);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::write(to, std::fs::read(from).unwrap()).unwrap();
}

fn server(
    signed: &Signed,
    alpn: &[&str],
    asks: Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_file_iter(&signed.cert).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&signed.key).unwrap();
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match asks {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}
