//! The certificates, by the name that a client asks for, read again when their files change.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use rustls::crypto::aws_lc_rs as provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{Problem, Problems, TlsPair};
use crate::record::metrics::Metrics;

/// The pairs of certificate and key in use. Handshakes read them without a lock.
#[derive(Debug)]
pub struct Certificates {
    table: ArcSwap<Table>,
    entries: Mutex<Vec<Entry>>,
}

/// What came of looking at the files again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The pair whose certificate has this name is new from now on.
    Swapped(String, Option<Validity>),
    /// The files of this certificate changed and cannot be used: the old pair stays.
    Kept {
        /// The certificate's file.
        file: String,
        /// Why, in words; nothing of the key.
        why: String,
    },
}

/// When a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    from: i64,
    until: i64,
}

impl Validity {
    /// That of the first certificate of a PEM chain, if it can be read.
    pub(crate) fn of(cert: &[u8]) -> Option<Self> {
        let leaf = CertificateDer::pem_slice_iter(cert).next()?.ok()?;
        read_leaf(&leaf).ok().map(|(_, validity)| validity)
    }

    /// Why nobody will believe the certificate at `now`, since 1970; `None` if it is valid.
    #[must_use]
    pub fn fault(self, now: Duration) -> Option<&'static str> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match self {
            Self { until, .. } if until < now => Some("it has expired"),
            Self { from, .. } if from > now => Some("it is not valid yet"),
            Self { .. } => None,
        }
    }
}

impl Certificates {
    /// Reads every pair.
    ///
    /// # Errors
    /// E080 for each file that cannot be used, at its place.
    pub fn from_files(pairs: &[TlsPair]) -> Result<Self, Problems> {
        Ok(Self::from_entries(read_all(pairs)?))
    }

    /// One pair, from memory.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn from_pem(cert: &str, key: &str) -> Result<Self, String> {
        let pair = Pair::parse(cert.as_bytes(), key.as_bytes()).map_err(|fault| fault.why)?;
        Ok(Self::from_entries(vec![Entry { files: None, seen: Vec::new(), pair }]))
    }

    /// Takes other pairs into use, and looks after their files from now on.
    pub fn replace(&self, others: Self) {
        let fresh = others.entries.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.entries();
        *entries = fresh;
        self.table.store(Arc::new(Table::of(&entries)));
    }

    /// Looks at the files again. A pair is taken into use when certificate and key fit each other,
    /// which they do not while only one of the two is written.
    pub fn refresh(&self) -> Vec<Refreshed> {
        let mut entries = self.entries();
        let events: Vec<Refreshed> = entries.iter_mut().filter_map(Entry::refresh).collect();
        if events.iter().any(|event| matches!(event, Refreshed::Swapped(..))) {
            self.table.store(Arc::new(Table::of(&entries)));
        }
        events
    }

    /// Says of each certificate that is not valid now that clients will not believe it.
    pub fn warn(&self, now: Duration) {
        for Entry { pair, .. } in self.entries().iter() {
            if let Some(why) = pair.validity.fault(now) {
                tracing::warn!(
                    name = pair.name(),
                    why,
                    "a certificate is in use that nobody believes"
                );
            }
        }
    }

    /// Shows when each certificate expires.
    pub fn export(&self, metrics: &Metrics) {
        metrics.tls_certificate_expiry.reset();
        for entry in self.entries().iter() {
            let gauge = metrics.tls_certificate_expiry.with_label_values(&[entry.pair.name()]);
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit 53 bits")]
            gauge.set(entry.pair.validity.until as f64);
        }
    }

    fn from_entries(entries: Vec<Entry>) -> Self {
        Self { table: ArcSwap::from_pointee(Table::of(&entries)), entries: Mutex::new(entries) }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.table.load().find(hello.server_name())
    }
}

/// The pairs by name (RFC 6066 §3).
#[derive(Debug)]
struct Table {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Table {
    fn of(entries: &[Entry]) -> Self {
        let mut exact = HashMap::new();
        let mut wildcard = HashMap::new();
        for pair in entries.iter().map(|entry| &entry.pair) {
            for name in &pair.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, name.as_str()),
                };
                // Of several pairs for one name, the first is meant.
                map.entry(name.to_owned()).or_insert_with(|| Arc::clone(&pair.key));
            }
        }
        let default = entries.first().map(|entry| Arc::clone(&entry.pair.key));
        Self { exact, wildcard, default }
    }

    /// rustls gives names in lower case. A wildcard stands for one label (RFC 9525 §6.3).
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let by_name = name.and_then(|name| {
            let parent = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(parent)
        });
        by_name.or(self.default.as_ref()).map(Arc::clone)
    }
}

/// One pair and where it came from.
#[derive(Debug)]
struct Entry {
    files: Option<TlsPair>,
    /// The hash of what was last read, good or bad: each state is judged once.
    seen: Vec<u8>,
    pair: Pair,
}

impl Entry {
    fn read(files: &TlsPair) -> Result<Self, Fault> {
        let text = Text::read(files)?;
        let pair = Pair::parse(&text.cert, &text.key)?;
        Ok(Self { files: Some(files.clone()), seen: text.hash(), pair })
    }

    fn refresh(&mut self) -> Option<Refreshed> {
        let files = self.files.as_ref()?;
        let (seen, pair) = match Text::read(files) {
            Ok(text) => {
                let seen = text.hash();
                if seen == self.seen {
                    return None;
                }
                (seen, Pair::parse(&text.cert, &text.key))
            }
            Err(fault) => (fault.why.clone().into_bytes(), Err(fault)),
        };
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        match pair {
            Ok(pair) => {
                self.pair = pair;
                let validity = self.pair.validity;
                Some(Refreshed::Swapped(self.pair.name().to_owned(), Some(validity)))
            }
            Err(fault) => {
                Some(Refreshed::Kept { file: files.cert.display().to_string(), why: fault.why })
            }
        }
    }
}

/// What stands in the two files.
pub(crate) struct Text {
    pub(crate) cert: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Text {
    pub(crate) fn read(files: &TlsPair) -> Result<Self, Fault> {
        let cert = fs::read(&*files.cert).map_err(|error| Fault::cert(error.to_string()))?;
        let key = fs::read(&*files.key).map_err(|error| Fault::key(error.to_string()))?;
        Ok(Self { cert, key })
    }

    pub(crate) fn hash(&self) -> Vec<u8> {
        digest_of(&[&self.cert, &self.key])
    }
}

/// A hash by which texts are known again.
pub(crate) fn digest_of(texts: &[&[u8]]) -> Vec<u8> {
    let mut hash = digest::Context::new(&digest::SHA256);
    for text in texts {
        hash.update(&text.len().to_be_bytes());
        hash.update(text);
    }
    hash.finish().as_ref().to_vec()
}

/// A certificate chain and its key, ready to be used.
#[derive(Debug)]
struct Pair {
    key: Arc<CertifiedKey>,
    /// The DNS names of the leaf, in lower case.
    names: Vec<String>,
    /// That of the leaf.
    validity: Validity,
}

impl Pair {
    fn parse(cert: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let key = certified(cert, key)?;
        let (names, validity) = read_leaf(&key.cert[0])?;
        Ok(Self { key: Arc::new(key), names, validity })
    }

    fn name(&self) -> &str {
        self.names.first().map_or("default", String::as_str)
    }
}

/// A PEM chain and its PEM key, which fit each other. The chain has a certificate.
pub(crate) fn certified(cert: &[u8], key: &[u8]) -> Result<CertifiedKey, Fault> {
    let chain = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Fault::cert(error.to_string()))?;
    if chain.is_empty() {
        return Err(Fault::cert("there is no certificate in it".to_owned()));
    }
    // The error of a key that does not parse may quote it.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| Fault::key("there is no private key in it".to_owned()))?;
    CertifiedKey::from_der(chain, key, &provider::default_provider())
        .map_err(|error| Fault::of_pair(&error))
}

fn read_leaf(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, Validity), Fault> {
    let (_, leaf) = X509Certificate::from_der(leaf)
        .map_err(|_| Fault::cert("its first certificate is malformed".to_owned()))?;
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| {
        if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
    });
    let (from, until) = (leaf.validity().not_before, leaf.validity().not_after);
    let validity = Validity { from: from.timestamp(), until: until.timestamp() };
    Ok((names.collect(), validity))
}

/// Why a pair cannot be used, and which of its files is to blame.
#[derive(Clone)]
pub(crate) struct Fault {
    blames_key: bool,
    pub(crate) why: String,
}

impl Fault {
    fn cert(why: String) -> Self {
        Self { blames_key: false, why }
    }

    fn key(why: String) -> Self {
        Self { blames_key: true, why }
    }

    fn of_pair(error: &rustls::Error) -> Self {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            return Self::key("it is not the key of the certificate".to_owned());
        }
        Self::key(format!("it cannot be used: {error}"))
    }

    pub(crate) fn problem(self, files: &TlsPair) -> Problem {
        let (file, what) = match self.blames_key {
            true => (&files.key, "key"),
            false => (&files.cert, "certificate"),
        };
        let message = format!("the {what} {} cannot be used", file.display());
        Problem::new("E080", file.at, message)
            .label(self.why)
            .help("`cert` is a PEM chain, the server's own first; `key` the PEM key of that one")
    }
}

fn read_all(pairs: &[TlsPair]) -> Result<Vec<Entry>, Problems> {
    let mut entries = Vec::with_capacity(pairs.len());
    let mut problems = Problems::default();
    for files in pairs {
        match Entry::read(files) {
            Ok(entry) => entries.push(entry),
            Err(fault) => problems.push(fault.problem(files)),
        }
    }
    if problems.has_errors() { Err(problems) } else { Ok(entries) }
}
