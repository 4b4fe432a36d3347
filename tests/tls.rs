//! TLS ends here: the right certificate for each name, nothing older than 1.2, and new
//! certificates without a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use scopegate::server::{Options, Prepared};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::tls::{self, Client, Pair, TlsStream};
use crate::harness::{Harness, Reply, Traces, raw, until, within};

const ROUTES: &str = "routes: { /open: { public: true }, /r: { GET: read } }";

/// A gateway with these pairs.
async fn start(pairs: &[&Pair]) -> Harness {
    let pairs: Vec<_> = pairs.iter().map(|pair| pair.yaml()).collect();
    Harness::start(&format!("tls: [{}]\n{ROUTES}", pairs.join(", "))).await
}

async fn http1(stream: TlsStream<TcpStream>) -> SendRequest<Empty<Bytes>> {
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn get(sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> (u16, String) {
    let head = head(sender, path).await;
    let id = head.headers["x-request-id"].to_str().unwrap().to_owned();
    (head.status.as_u16(), id)
}

async fn head(sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> http::response::Parts {
    let request = http::Request::get(path).header("host", "a.example");
    let response = sender.send_request(request.body(Empty::new()).unwrap());
    let (head, body) = within(response).await.unwrap().into_parts();
    body.collect().await.unwrap();
    head
}

/// TL-02: browsers are told once over TLS, also with a refusal; in plaintext anybody could say it.
#[tokio::test]
async fn browsers_are_told_to_use_tls_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let t = Harness::start(&format!("hsts: 365d\ntls: {}\n{ROUTES}", pair.yaml())).await;
    let theirs = vec![("strict-transport-security", "max-age=1".to_owned())];
    t.backend.reply(Reply { headers: theirs, ..Reply::default() });
    let client = Client::trusting(&[&pair]);
    let mut sender = http1(client.connect(t.address(), "a.example").await.unwrap()).await;
    for path in ["/open", "/r", "/none"] {
        let headers = head(&mut sender, path).await.headers;
        let said: Vec<_> = headers.get_all("strict-transport-security").iter().collect();
        assert_eq!(said, ["max-age=31536000"], "{path}");
    }
    let t = Harness::start(&format!("hsts: 365d\n{ROUTES}")).await;
    assert_eq!(t.get("/open").send().await.header("strict-transport-security"), "");
}

/// TL-01: the backend and the log learn that, and how, the client's connection is secured.
#[tokio::test]
async fn requests_over_tls_are_served_as_https() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let t = start(&[&pair]).await;
    for (version, name) in [(&rustls::version::TLS13, "1.3"), (&rustls::version::TLS12, "1.2")] {
        t.backend.forget();
        let client = Client::trusting(&[&pair]).version(version);
        let mut sender = http1(client.connect(t.address(), "a.example").await.unwrap()).await;
        let (status, id) = get(&mut sender, "/open").await;
        assert_eq!(status, 200);
        let seen = t.backend.saw_one();
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        assert_eq!(seen.header("x-forwarded-port"), Some("443"));
        assert_eq!(seen.header("forwarded"), Some("for=127.0.0.1;host=\"a.example\";proto=https"));
        assert_eq!(t.logged(&id).await["tls"], name);
        assert_eq!(get(&mut sender, "/r").await.0, 401);
    }
}

/// TL-03: each name has its certificate; whoever asks for another name, or none, gets the first.
#[tokio::test]
async fn the_name_asked_for_picks_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let first = Pair::write(folder.path(), "first", &["a.example", "127.0.0.1", "other.example"]);
    let second = Pair::write(folder.path(), "second", &["*.b.example", "c.example"]);
    let t = start(&[&first, &second]).await;
    let client = Client::trusting(&[&first, &second]);
    let names = [
        ("a.example", &first),
        ("x.b.example", &second),
        ("X.B.EXAMPLE", &second),
        ("c.example", &second),
        ("127.0.0.1", &first),
        ("other.example", &first),
    ];
    for (name, pair) in names {
        let stream = client.connect(t.address(), name).await.unwrap();
        assert_eq!(tls::shown(&stream), pair.der, "{name}");
    }
    // A wildcard stands for one label, and the first pair is not for these.
    for name in ["x.y.b.example", "b.example", "d.example"] {
        assert!(client.connect(t.address(), name).await.is_err(), "{name}");
    }
}

/// TL-03: HTTP/2 where the client offers it, else HTTP/1.1; a client with neither is told so.
#[tokio::test]
async fn alpn_picks_the_version_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let t = start(&[&pair]).await;
    let cases: [(&[&str], Option<&str>); 4] = [
        (&["h2", "http/1.1"], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ];
    for (offered, agreed) in cases {
        let client = Client::trusting(&[&pair]).alpn(offered);
        let stream = client.connect(t.address(), "a.example").await.unwrap();
        assert_eq!(tls::agreed(&stream).as_deref(), agreed);
        if agreed != Some("h2") {
            assert_eq!(get(&mut http1(stream).await, "/open").await.0, 200);
        }
    }
    let strange = Client::trusting(&[&pair]).alpn(&["h3", "ftp"]);
    assert!(strange.connect(t.address(), "a.example").await.is_err());
    // Without having agreed on it, nobody speaks HTTP/2 here.
    let mut stream = Client::trusting(&[&pair]).connect(t.address(), "a.example").await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    drop(within(stream.read_to_end(&mut answer)).await);
    assert!(!answer.contains(&b'\x04'), "{answer:?}");
}

/// TL-01, RFC 8996: the first flight of a TLS 1.1, 1.0 or SSL 3 client ends in an alert.
#[tokio::test]
async fn old_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let t = start(&[&pair]).await;
    for minor in [2, 1, 0] {
        let answer = answer_to(&t, &client_hello(minor)).await;
        assert_eq!(answer.first(), Some(&ALERT), "3.{minor}: {answer:?}");
        assert_eq!(answer.len(), 7, "3.{minor}: {answer:?}");
    }
    t.backend.saw_nothing();
    assert_eq!(refused_handshakes(&t).await, 3.0);
}

/// A ClientHello of version 3.`minor` without extensions.
fn client_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]); // random
    body.extend([0]); // no session
    body.extend([0, 6, 0xc0, 0x13, 0xc0, 0x09, 0, 0x2f]); // suites with AES-128-CBC
    body.extend([1, 0]); // no compression
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![0x16, 3, minor.min(1), 0, length + 4, 1, 0, 0, length];
    record.append(&mut body);
    record
}

const ALERT: u8 = 0x15;

/// TL-01, RFC 9325 §4.2: whoever speaks TLS 1.2 without forward secrecy or authenticated encryption is
/// refused; the same hello with a good suite is answered.
#[tokio::test]
async fn weak_suites_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let t = start(&[&pair]).await;
    const GOOD: u16 = 0xc02b; // ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    for weak in [0xc009, 0xc00a, 0xc007, 0xc023, 0x009c, 0x002f, 0x000a, 0x0005, 0x0001] {
        let answer = answer_to(&t, &client_hello_12(weak)).await;
        assert_eq!(
            (answer.first(), answer.last()),
            (Some(&ALERT), Some(&HANDSHAKE_FAILURE)),
            "{weak:x}"
        );
    }
    let mut stream = TcpStream::connect(t.address()).await.unwrap();
    stream.write_all(&client_hello_12(GOOD)).await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), 0x16);
    t.backend.saw_nothing();
}

/// A ClientHello of TLS 1.2 that offers one suite, P-256, ECDSA with SHA-256 and `null` compression.
fn client_hello_12(suite: u16) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]); // random
    body.extend([0]); // no session
    body.extend([0, 2]);
    body.extend(suite.to_be_bytes());
    body.extend([1, 0]); // no compression
    body.extend([0, 22]);
    body.extend([0, 10, 0, 4, 0, 2, 0, 23]); // supported_groups
    body.extend([0, 13, 0, 4, 0, 2, 4, 3]); // signature_algorithms
    body.extend([0, 11, 0, 2, 1, 0]); // ec_point_formats
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.append(&mut body);
    record
}

const HANDSHAKE_FAILURE: u8 = 40;

/// TL-01, RFC 8470: a session is taken up again, and never with early data: whoever recorded that
/// could send it a second time.
#[tokio::test]
async fn no_session_takes_early_data() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let t = start(&[&pair]).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pair.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.enable_early_data = true;
    let config = Arc::new(config);
    let name = || rustls_pki_types::ServerName::try_from("a.example").unwrap();
    for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        let stream = TcpStream::connect(t.address()).await.unwrap();
        let mut stream = within(connector.connect(name(), stream)).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
        // The tickets come with the answer.
        stream.write_all(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(within(stream.read_u8()).await.unwrap(), b'H');
    }
    let mut next = rustls::ClientConnection::new(config, name()).unwrap();
    assert!(next.early_data().is_none());
}

async fn answer_to(t: &Harness, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(t.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    drop(within(stream.read_to_end(&mut answer)).await);
    answer
}

async fn refused_handshakes(t: &Harness) -> f64 {
    t.metric("scopegate_connections_refused_total", &[("reason", "handshake")]).await
}

/// TL-02: whoever speaks plaintext to the TLS port learns nothing, and its request goes nowhere.
#[tokio::test]
async fn plaintext_to_the_tls_port_gets_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let t = start(&[&pair]).await;
    for text in
        ["GET /open HTTP/1.1\r\nHost: a.example\r\n\r\n", "\r\n\r\n\r\n\r\n", "PRI * HTTP/2.0"]
    {
        let answer = answer_to(&t, text.as_bytes()).await;
        assert!(answer.is_empty() || answer[0] == ALERT && answer.len() == 7, "{answer:?}");
    }
    t.backend.saw_nothing();
    assert_eq!(refused_handshakes(&t).await, 3.0);
    assert_eq!(t.metric("scopegate_http_requests_total", &[]).await, 0.0);
    assert_eq!(t.log(), "");
}

/// TL-03: a client that does not finish its handshake is not waited for.
#[tokio::test]
async fn a_handshake_has_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::write(folder.path(), "a", &["a.example"]);
    let limits = "limits: { header_timeout: 200ms }";
    let t = Harness::start(&format!("tls: {}\n{limits}\n{ROUTES}", pair.yaml())).await;
    let began = Instant::now();
    assert_eq!(raw::exchange(t.address(), &client_hello(3)[..20]).await, "");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(refused_handshakes(&t).await, 1.0);
}

/// TL-03: new files are in use a moment later; what is half written is not; open connections live on.
#[tokio::test]
async fn new_certificates_are_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let old = Pair::write(folder.path(), "a", &["a.example"]);
    let t = start(&[&old]).await;
    let expiry = [("name", "a.example")];
    assert!(t.metric("scopegate_tls_certificate_expiry_timestamp_seconds", &expiry).await > 0.0);
    let stream = Client::trusting(&[&old]).connect(t.address(), "a.example").await.unwrap();
    let mut sender = http1(stream).await;
    assert_eq!(get(&mut sender, "/open").await.0, 200);

    let new = Pair::write(folder.path(), "a", &["a.example", "new.example"]);
    let either = Client::trusting(&[&old, &new]);
    until("the new certificate", async || {
        tls::shown(&either.connect(t.address(), "a.example").await.unwrap()) == new.der
    })
    .await;
    assert_eq!(get(&mut sender, "/open").await.0, 200);

    // Another certificate whose key is not there yet: nobody is shown it, also not by a reload.
    let elsewhere = tempfile::tempdir().unwrap();
    let next = Pair::write(elsewhere.path(), "a", &["a.example"]);
    std::fs::copy(&next.cert, &new.cert).unwrap();
    let refused = t.server.reload().await.expect_err("the key is not the certificate's");
    assert!(refused.problems.contains("E080"), "{}", refused.problems);
    assert!(!refused.problems.contains("PRIVATE KEY"));
    let stream = either.connect(t.address(), "a.example").await.unwrap();
    assert_eq!(tls::shown(&stream), new.der);
    std::fs::copy(&next.key, &new.key).unwrap();
    t.server.reload().await.expect("the pair is complete");
    let stream = Client::trusting(&[&next]).connect(t.address(), "a.example").await.unwrap();
    assert_eq!(tls::shown(&stream), next.der);
    assert_eq!(get(&mut sender, "/open").await.0, 200);
}

/// TL-03: certificates are exchanged under load, by files that change and by reloads, and no
/// handshake fails.
#[tokio::test]
async fn no_handshake_fails_while_certificates_change() {
    let folder = tempfile::tempdir().unwrap();
    let first = Pair::write(folder.path(), "a", &["a.example"]);
    let t = start(&[&first]).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let second = Pair::write(elsewhere.path(), "b", &["a.example"]);
    let third = Pair::write(elsewhere.path(), "c", &["a.example"]);
    let either = Client::trusting(&[&first, &second, &third]);
    let mut seen = std::collections::HashSet::new();
    for turn in 0..12 {
        let next = [&second, &third][turn % 2];
        std::fs::copy(&next.cert, &first.cert).unwrap();
        std::fs::copy(&next.key, &first.key).unwrap();
        let reload = async {
            if turn % 3 == 0 {
                t.server.reload().await.expect("the pair is good");
            }
        };
        let handshakes = async {
            for _ in 0..10 {
                let stream = either.connect(t.address(), "a.example").await.unwrap();
                seen.insert(tls::shown(&stream));
                assert_eq!(get(&mut http1(stream).await, "/open").await.0, 200);
            }
        };
        tokio::join!(reload, handshakes);
    }
    assert!(seen.contains(&second.der) || seen.contains(&third.der));
    assert_eq!(refused_handshakes(&t).await, 0.0);
}

/// A reload can name other pairs.
#[tokio::test]
async fn a_reload_takes_other_pairs_into_use() {
    let folder = tempfile::tempdir().unwrap();
    let first = Pair::write(folder.path(), "first", &["a.example"]);
    let second = Pair::write(folder.path(), "second", &["b.example"]);
    let t = start(&[&first]).await;
    t.rewrite(&format!("tls: {}\n{ROUTES}", second.yaml()));
    let reloaded = t.server.reload().await.expect("the file is good");
    assert!(reloaded.notes.is_empty(), "{:?}", reloaded.notes);
    let stream = Client::trusting(&[&second]).connect(t.address(), "b.example").await.unwrap();
    assert_eq!(tls::shown(&stream), second.der);
    let shown = t.series("scopegate_tls_certificate_expiry_timestamp_seconds").await;
    assert!(shown.len() == 1 && shown[0].contains("b.example"), "{shown:?}");
}

/// Of a reload that is refused for another reason, nothing counts: the pairs that it names are
/// neither shown nor looked after.
#[tokio::test]
async fn a_refused_reload_takes_no_pair_into_use() {
    let folder = tempfile::tempdir().unwrap();
    let first = Pair::write(folder.path(), "first", &["a.example"]);
    let second = Pair::write(folder.path(), "second", &["b.example"]);
    let list = folder.path().join("revoked.yaml");
    let t = start(&[&first]).await;
    std::fs::write(&list, "this is: no list\n").unwrap();
    let refused = format!(
        "tls: {}\nrevocation: {{ file: {} }}\n{}",
        second.yaml(),
        list.display(),
        ROUTES.replace("/r:", "/new:")
    );
    t.rewrite(&refused);
    let refused = t.server.reload().await.expect_err("the list is none");
    assert!(refused.summary.starts_with("E086"), "{refused:?}");
    let shown = async |name: &str, pair: &Pair| {
        let client = Client::trusting(&[&first, pair]);
        tls::shown(&client.connect(t.address(), name).await.unwrap())
    };
    assert_eq!(shown("a.example", &first).await, first.der);
    let expiry = t.series("scopegate_tls_certificate_expiry_timestamp_seconds").await;
    assert!(expiry.len() == 1 && expiry[0].contains("a.example"), "{expiry:?}");
    let routes = t.series("scopegate_http_requests_total").await;
    assert!(!routes.iter().any(|line| line.contains("/new")), "{routes:?}");
    // What is looked after are the files before.
    Pair::write(folder.path(), "second", &["a.example"]);
    let renewed = Pair::write(folder.path(), "first", &["a.example"]);
    until("the renewal", async || shown("a.example", &renewed).await == renewed.der).await;
}

/// A certificate that no client believes is taken into use, since it may be this machine's clock
/// that is wrong, but not without a warning: at the start, at a reload, and when its files change.
#[tokio::test]
async fn certificates_out_of_their_time_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let traces = Traces::start();
    let told = |why: &str, times: usize| {
        let text = traces.text();
        let lines = text.lines().filter(|line| line.contains("that nobody believes"));
        lines.filter(|line| line.contains("WARN") && line.contains(why)).count() == times
    };
    let pair = Pair::write_valid(folder.path(), "a", &["a.example"], 2001..2002);
    let t = start(&[&pair]).await;
    assert!(told("it has expired", 1), "{}", traces.text());
    Pair::write(folder.path(), "a", &["a.example"]);
    until("a good one", async || traces.text().contains("a new certificate is in use")).await;
    Pair::write_valid(folder.path(), "a", &["a.example"], 2900..2901);
    until("the warning", async || told("it is not valid yet", 1)).await;
    t.server.reload().await.expect("the pair can be used");
    assert!(told("it is not valid yet", 2), "{}", traces.text());
}

/// Plaintext off loopback has to be asked for.
#[tokio::test]
async fn plaintext_for_others_must_be_written_out() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("127.0.0.1:0", "", true),
        ("'[::1]:0'", "", true),
        ("0.0.0.0:0", "", false),
        ("'[::]:0'", "", false),
        ("[127.0.0.1:0, 192.0.2.1:0]", "", false),
        ("0.0.0.0:0", "tls: off", true),
    ];
    for (listen, tls, good) in cases {
        let text = format!("listen: {listen}\n{tls}\n{REST}");
        let outcome = read(folder.path(), &text, |_| {});
        assert_eq!(outcome.is_ok(), good, "{listen} {tls}: {outcome:?}");
        assert!(good || outcome.is_err_and(|why| why.contains("tls")), "{listen}");
    }
    let text = format!("listen: 127.0.0.1:0\n{REST}");
    let elsewhere = |options: &mut Options| options.listen = vec!["0.0.0.0:0".parse().unwrap()];
    let outcome = read(folder.path(), &text, elsewhere);
    assert!(outcome.is_err_and(|why| why.contains("plain text")));
}

const REST: &str = "issuer: https://id.example.com
audience: https://api.example.com
upstream: http://127.0.0.1:9
routes: { /open: { public: true } }";

fn read(folder: &Path, text: &str, change: impl FnOnce(&mut Options)) -> Result<(), String> {
    let file = folder.join("gateway.yaml");
    std::fs::write(&file, text).unwrap();
    let mut options = Options::new(file);
    change(&mut options);
    Prepared::read(options).map(drop).map_err(|error| error.to_string())
}
