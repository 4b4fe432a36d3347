//! Who a backend is is proven before anything is said to it, and a unix socket is as good as TCP.

use crate::harness::authority::{Authority, Signed};
use crate::harness::origin::Origin;
use crate::harness::{Answer, Harness, Traces, until};

const ROUTES: &str = "routes: { /**: { GET: { public: true }, POST: { public: true } } }";

/// A gateway in front of `https://localhost` with these lines in its upstream.
async fn gateway(origin: &Origin, lines: &str) -> Harness {
    let target = format!("https://localhost:{}", origin.address.port());
    Harness::start(&format!(
        "upstreams: {{ main: {{ targets: ['{target}'], \
         timeout: {{ connect: 2s, response: 2s, idle: 2s }}, {lines} }} }}\n{ROUTES}"
    ))
    .await
}

fn trusting(authority: &Authority, more: &str) -> String {
    format!("tls: {{ ca: '{}', {more} }}", authority.file().display())
}

/// 502 without a word to the backend, counted as TLS.
async fn refused(t: &Harness, origin: &Origin) {
    let answer = t.get("/a").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
    assert!(origin.seen().is_empty());
    let labels = [("upstream", "main"), ("reason", "tls")];
    assert_eq!(t.metric("scopegate_upstream_errors_total", &labels).await, 1.0);
    assert_eq!(t.denials("/**", "upstream_unreachable").await, 0.0);
}

fn served(answer: &Answer) {
    assert_eq!((answer.status().as_u16(), &*answer.text()), (200, "hello"));
}

/// TL-04: chain and name are right; `Host` stays the client's, and the connection is kept.
#[tokio::test]
async fn a_backend_whose_certificate_fits_is_served_over_tls() {
    let authority = Authority::new();
    let origin = Origin::start(Some(authority.signs(&["localhost"]).server(&["http/1.1"]))).await;
    let t = gateway(&origin, &trusting(&authority, "")).await;
    served(&t.get("/a").host("api.example.com").send().await);
    served(&t.get("/b").send().await);
    assert_eq!(origin.seen()[0].headers()["host"], "api.example.com");
    assert_eq!(origin.connections(), 1);
    let idle = [("upstream", "main"), ("state", "idle")];
    until("rest", async || t.metric("scopegate_upstream_connections", &idle).await == 1.0).await;
}

/// TL-04, FW-09: another name, another authority, a certificate that has ended, plaintext.
#[tokio::test]
async fn a_backend_that_proves_nothing_hears_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let cases: [(&str, Option<Signed>); 4] = [
        ("another name", Some(authority.signs(&["other.example", "127.0.0.1"]))),
        ("an unknown authority", Some(other.signs(&["localhost"]))),
        ("a certificate that has ended", Some(authority.signed_once(&["localhost"]))),
        ("no TLS", None),
    ];
    for (case, signed) in cases {
        println!("{case}");
        let origin = Origin::start(signed.map(|signed| signed.server(&["http/1.1"]))).await;
        let t = gateway(&origin, &trusting(&authority, "")).await;
        refused(&t, &origin).await;
        assert_eq!(origin.handshakes(), 0);
    }
}

/// TL-04: without `ca` the system's authorities count, and a private one is none of them.
#[tokio::test]
async fn the_systems_authorities_are_the_default() {
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        return;
    }
    let origin = Origin::start(Some(Authority::new().signs(&["localhost"]).server(&[]))).await;
    let t = gateway(&origin, "protocol: http1").await;
    refused(&t, &origin).await;
}

/// TL-04: `server_name` is asked for and checked in place of the target's host.
#[tokio::test]
async fn another_name_can_be_expected() {
    let authority = Authority::new();
    let origin = Origin::start(Some(authority.signs(&["orders.internal"]).server(&[]))).await;
    let t = gateway(&origin, &trusting(&authority, "server_name: orders.internal")).await;
    served(&t.get("/a").send().await);
    let t = gateway(&origin, &trusting(&authority, "server_name: billing.internal")).await;
    assert_eq!(t.get("/a").send().await.status(), 502);
    assert_eq!(origin.seen().len(), 1);
}

/// TL-04: checks are skipped only by the key that says so.
#[tokio::test]
async fn an_operator_can_insist_on_no_checks() {
    let origin = Origin::start(Some(Authority::new().signed_once(&["x"]).server(&[]))).await;
    let t = gateway(&origin, "tls: { insecure_skip_verify: true }").await;
    served(&t.get("/a").send().await);
}

/// FW-09: a backend that asks for a client certificate gets ours, and refuses to serve without.
#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_asked_for() {
    let authority = Authority::new();
    let tls = authority.asks(&authority.signs(&["localhost"]), &[]);
    let origin = Origin::start(Some(tls)).await;
    let t = gateway(&origin, &trusting(&authority, "")).await;
    refused(&t, &origin).await;
    let own = authority.signs(&["gateway.internal"]);
    let pair = format!("cert: '{}', key: '{}'", own.cert.display(), own.key.display());
    let t = gateway(&origin, &trusting(&authority, &pair)).await;
    served(&t.get("/a").send().await);
    let other = Authority::new();
    let stranger = other.signs(&["gateway.internal"]);
    let pair = format!("cert: '{}', key: '{}'", stranger.cert.display(), stranger.key.display());
    let t = gateway(&origin, &trusting(&authority, &pair)).await;
    let answer = t.get("/a").send().await;
    assert_eq!(answer.status(), 502);
    assert_eq!(origin.seen().len(), 1);
}

/// TL-04: what the files say from now on counts for new connections; what cannot be used does not.
#[tokio::test]
async fn files_are_read_again_when_they_change() {
    let traces = Traces::start();
    let (old, new) = (Authority::new(), Authority::new());
    let origin = Origin::start(Some(old.signs(&["localhost"]).server(&[]))).await;
    let t = gateway(&origin, &trusting(&old, "")).await;
    served(&t.get("/ends").send().await);
    // Half a file: the old authority stays.
    std::fs::write(old.file(), &old.pem()[..100]).unwrap();
    let warned = || traces.text().contains("the old one stays");
    until("the warning", async || warned()).await;
    served(&t.get("/ends").send().await);
    std::fs::write(old.file(), new.pem()).unwrap();
    until("the old authority's end", async || t.get("/ends").send().await.status() == 502).await;
    origin.shows(new.signs(&["localhost"]).server(&[]));
    served(&t.get("/ends").send().await);
}

/// FW-09: the gateway's own certificate is replaced on disk, and the next connection shows it.
#[tokio::test]
async fn the_gateways_certificate_is_read_again_when_it_changes() {
    let authority = Authority::new();
    let origin = Origin::start(Some(authority.asks(&authority.signs(&["localhost"]), &[]))).await;
    let stranger = Authority::new();
    let shown = stranger.signs(&["gateway.internal"]);
    let pair = format!("cert: '{}', key: '{}'", shown.cert.display(), shown.key.display());
    let t = gateway(&origin, &trusting(&authority, &pair)).await;
    assert_eq!(t.get("/ends").send().await.status(), 502);
    authority.signs(&["gateway.internal"]).replaces(&shown);
    until("the new certificate", async || t.get("/ends").send().await.status() == 200).await;
}

/// HP-19, bypass of truncation: a body that ends with the connection is whole only if TLS says so.
#[tokio::test]
async fn a_body_that_tls_did_not_end_is_cut() {
    let authority = Authority::new();
    let origin = Origin::start(Some(authority.signs(&["localhost"]).server(&[]))).await;
    let t = gateway(&origin, &trusting(&authority, "")).await;
    let read = async |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        crate::harness::raw::exchange(t.address(), head.as_bytes()).await
    };
    let whole = read("/ends").await;
    assert!(whole.contains("hello") && whole.ends_with("0\r\n\r\n"), "{whole}");
    let cut = read("/cut").await;
    assert!(cut.contains("hello") && !cut.contains("\r\n0\r\n"), "{cut}");
    let labels = [("upstream", "main"), ("reason", "reset")];
    until("the fault", async || t.metric("scopegate_upstream_errors_total", &labels).await == 1.0)
        .await;
}

/// A file that cannot be used stops the start at its place.
#[tokio::test]
async fn a_start_with_bad_files_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let pair = authority.signs(&["a"]);
    let other = authority.signs(&["a"]);
    let (cert, key) = (pair.cert.display(), other.key.display());
    for (tls, code, word) in [
        ("{ ca: missing.pem }".to_owned(), "E088", "No such file"),
        (format!("{{ ca: '{key}' }}"), "E088", "there is no certificate in it"),
        (format!("{{ cert: '{cert}', key: '{key}' }}"), "E080", "not the key of the certificate"),
    ] {
        let file = folder.path().join("gateway.yaml");
        let yaml = format!(
            "issuer: http://127.0.0.1:1\naudience: a\n\
             upstreams: {{ main: {{ targets: ['https://localhost:1'], tls: {tls} }} }}\n{ROUTES}"
        );
        std::fs::write(&file, yaml).unwrap();
        let options = scopegate::server::Options::new(file);
        let Err(error) = scopegate::server::Prepared::read(options) else { panic!("{tls}") };
        let error = error.to_string();
        assert!(error.contains(code) && error.contains(word), "{error}");
        assert!(error.contains("gateway.yaml:3:"), "{error}");
    }
}

/// Unix sockets: `Host` is the client's, as for others; absent and dead ones are 502.
#[tokio::test]
async fn unix_sockets_are_backends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let yaml = format!("upstreams: {{ main: 'unix:{}' }}\n{ROUTES}", path.display());
    let t = Harness::start(&yaml).await;
    let refused = async || {
        let answer = t.get("/a").send().await;
        assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
    };
    refused().await;
    let origin = Origin::on(&path, false);
    served(&t.get("/a").host("api.example.com").send().await);
    served(&t.get("/b").send().await);
    assert_eq!(origin.seen()[0].headers()["host"], "api.example.com");
    assert_eq!(origin.connections(), 1);
    drop(origin);
    // The file is still there, and nobody listens; the connection that rests serves on.
    served(&t.get("/ends").send().await);
    until("the end of the old connection", async || t.get("/a").send().await.status() == 502).await;
    let labels = [("upstream", "main"), ("reason", "refused")];
    assert!(t.metric("scopegate_upstream_errors_total", &labels).await >= 2.0);
}
