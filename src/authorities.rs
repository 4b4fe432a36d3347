//! The certificate authorities that this system trusts.

use std::sync::{Arc, LazyLock};

use rustls::RootCertStore;

/// The system's authorities, read once; none if the system has none.
pub(crate) fn of_system() -> &'static Arc<RootCertStore> {
    &SYSTEM
}

static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});
