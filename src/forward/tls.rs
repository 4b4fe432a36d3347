//! TLS to backends: who they are is checked before anything is said (RFC 9110 §4.3.4).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::socket::Socket;
use super::unchecked::Unchecked;
use crate::authorities;
use crate::config::{self, Located, Place, Problem, Problems, Protocol, TlsPair, UpstreamTls};
use crate::listen::{PairFault, PairText, Refreshed, Validity, certified, digest_of};

/// Makes TLS connections to the servers of one upstream, with its files as they are now.
#[derive(Debug)]
pub(super) struct Handshakes {
    upstream: String,
    settings: UpstreamTls,
    protocol: Protocol,
    config: ArcSwap<ClientConfig>,
    /// The hash of what was last read, good or bad: each state is judged once.
    seen: Mutex<Vec<u8>>,
}

/// Why a server is not spoken to over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFault {
    /// Its certificate is malformed, revoked or not meant for servers.
    Certificate,
    /// Its certificate has ended, or has not begun.
    Expired,
    /// What it says is not TLS as it should be.
    Handshake,
    /// It does not agree on HTTP/2, which alone it is to be spoken to.
    NoHttp2,
    /// It sent an alert: it may want a client certificate, or another.
    Refused,
    /// No trusted authority vouches for it.
    Untrusted,
    /// Its certificate is for others.
    WrongName,
}

impl TlsFault {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Certificate => "its certificate cannot be used",
            Self::Expired => "its certificate is not valid now",
            Self::Handshake => "the TLS handshake failed",
            Self::NoHttp2 => "it does not speak HTTP/2 over TLS",
            Self::Refused => "it refused the TLS connection",
            Self::Untrusted => "its certificate is from an unknown authority",
            Self::WrongName => "its certificate is for another name",
        }
    }

    /// What is wrong with TLS, if TLS is what broke the connection.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        let found = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        if let rustls::Error::InvalidCertificate(fault) = found {
            return Some(Self::of_certificate(fault));
        }
        let refused = matches!(found, rustls::Error::AlertReceived(_));
        Some(if refused { Self::Refused } else { Self::Handshake })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is not exhaustive")]
    fn of_certificate(fault: &CertificateError) -> Self {
        match fault {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Untrusted,
            _ => Self::Certificate,
        }
    }
}

impl Handshakes {
    /// Reads the files of an upstream with `https` targets; `None` if it has none.
    ///
    /// # Errors
    /// E080 or E088 for a file that cannot be used, at its place.
    pub(super) fn of(upstream: &config::Upstream) -> Result<Option<Self>, Problems> {
        if !upstream.targets.iter().any(|target| target.address.is_secured()) {
            return Ok(None);
        }
        let problem = |fault: Unusable| Problems(vec![fault.problem(upstream.name.at)]);
        let files = Files::read(&upstream.tls).map_err(problem)?;
        let config = files.config(&upstream.tls, upstream.protocol).map_err(problem)?;
        Ok(Some(Self {
            upstream: upstream.name.value.clone(),
            settings: upstream.tls.clone(),
            protocol: upstream.protocol,
            config: ArcSwap::from_pointee(config),
            seen: Mutex::new(files.hash()),
        }))
    }

    /// Looks at the files again. Connections from now on use what is new; certificate and key must
    /// fit each other, which they do not while only one of the two is written.
    pub(super) fn refresh(&self) -> Option<Refreshed> {
        let read = Files::read(&self.settings);
        let hash = match &read {
            Ok(files) => files.hash(),
            Err(fault) => fault.why.clone().into_bytes(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == hash {
            return None;
        }
        *seen = hash;
        let validity =
            read.as_ref().ok().and_then(|files| Validity::of(&files.pair.as_ref()?.cert));
        match read.and_then(|files| files.config(&self.settings, self.protocol)) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                Some(Refreshed::Swapped(format!("upstream {}", self.upstream), validity))
            }
            Err(Unusable { file, why, .. }) => Some(Refreshed::Kept { file, why }),
        }
    }

    /// Does the handshake with the server called `host`.
    pub(super) async fn with(&self, host: &str, stream: TcpStream) -> Result<Socket, TlsFault> {
        let name = match &self.settings.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| TlsFault::WrongName)?,
        };
        let connector = TlsConnector::from(self.config.load_full());
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| match TlsFault::of(&error) {
            // A server with no protocol in common says so (RFC 7301 §3.2).
            Some(TlsFault::Refused) if is_no_protocol(&error) => TlsFault::NoHttp2,
            Some(fault) => fault,
            None => TlsFault::Handshake,
        })?;
        let socket = Socket::Tls(Box::new(stream));
        if self.protocol == Protocol::Http2 && !socket.agreed_on_http2() {
            return Err(TlsFault::NoHttp2);
        }
        Ok(socket)
    }
}

fn is_no_protocol(error: &io::Error) -> bool {
    let found = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    found == Some(&rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol))
}

/// What stands in the files.
struct Files {
    ca: Option<Vec<u8>>,
    pair: Option<PairText>,
}

impl Files {
    fn read(settings: &UpstreamTls) -> Result<Self, Unusable> {
        let ca = match &settings.ca {
            Some(file) => {
                let read = std::fs::read(&**file);
                Some(read.map_err(|error| Unusable::ca(file, error.to_string()))?)
            }
            None => None,
        };
        let pair = match &settings.pair {
            Some(files) => {
                let read = PairText::read(files);
                Some(read.map_err(|fault| Unusable::pair(files, fault))?)
            }
            None => None,
        };
        Ok(Self { ca, pair })
    }

    fn hash(&self) -> Vec<u8> {
        let pair = self.pair.as_ref().map(PairText::hash);
        digest_of(&[self.ca.as_deref().unwrap_or_default(), pair.as_deref().unwrap_or_default()])
    }

    fn config(&self, settings: &UpstreamTls, protocol: Protocol) -> Result<ClientConfig, Unusable> {
        let builder = self.trust(settings)?;
        let mut config = match (&self.pair, &settings.pair) {
            (Some(text), Some(files)) => {
                let key = certified(&text.cert, &text.key);
                let key = key.map_err(|fault| Unusable::pair(files, fault))?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
            (Some(_) | None, _) => builder.with_no_client_auth(),
        };
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
            Protocol::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(config)
    }

    /// Whom the settings trust: their own authorities, the system's, or anyone.
    fn trust(
        &self,
        settings: &UpstreamTls,
    ) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Unusable> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = &[&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| Unusable::system(error.to_string()))?;
        if settings.insecure_skip_verify {
            let unchecked = Arc::new(Unchecked::new(&provider));
            return Ok(builder.dangerous().with_custom_certificate_verifier(unchecked));
        }
        let roots = match (&self.ca, &settings.ca) {
            (Some(pem), Some(file)) => Arc::new(roots(pem).map_err(|why| Unusable::ca(file, why))?),
            (Some(_) | None, _) => Arc::clone(authorities::of_system()),
        };
        if roots.is_empty() {
            return Err(Unusable::system("this system has no certificate authorities".to_owned()));
        }
        Ok(builder.with_root_certificates(roots))
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(roots)
}

/// Why the settings cannot be used.
struct Unusable {
    file: String,
    why: String,
    problem: Option<Box<Problem>>,
}

impl Unusable {
    fn ca(file: &Located<std::path::PathBuf>, why: String) -> Self {
        let message = format!("the authorities {} cannot be used", file.display());
        let problem = Problem::new("E088", file.at, message)
            .label(why.clone())
            .help("`ca` is a PEM file with the certificates of those who sign the backend's");
        Self { file: file.display().to_string(), why, problem: Some(Box::new(problem)) }
    }

    fn pair(files: &TlsPair, fault: PairFault) -> Self {
        let why = fault.why.clone();
        let problem = Some(Box::new(fault.problem(files)));
        Self { file: files.cert.display().to_string(), why, problem }
    }

    fn system(why: String) -> Self {
        Self { file: "the system's authorities".to_owned(), why, problem: None }
    }

    /// `at` is where the upstream is named.
    fn problem(self, at: Place) -> Problem {
        if let Some(problem) = self.problem {
            return *problem;
        }
        Problem::new("E088", at, "the backend's certificate cannot be checked")
            .label(self.why)
            .help("write `tls: { ca: FILE }` with the authorities that sign it")
    }
}
