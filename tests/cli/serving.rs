//! `serve`, `health` and `reload`: a gateway as a process.

use serde_json::{Value, json};

use super::{folder, run};
use crate::harness::command::{Running, Scopegate};
use crate::harness::{Backend, Call, Issuer};

/// A gateway in a process of its own, with the log for people.
struct Served {
    running: Running,
    folder: tempfile::TempDir,
    proxy: std::net::SocketAddr,
    admin: String,
    yaml: String,
}

impl Served {
    async fn start(issuer: &Issuer, backend: &Backend) -> Self {
        let yaml = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nlogs: {{ format: human }}\n\
             issuer: {}\naudience: https://api.example.com\nupstream: {}\n\
             routes:\n  /orders/**: {{ GET: orders:read }}\n  /status: {{ public: true }}\n",
            issuer.url(),
            backend.url()
        );
        let folder = folder(&yaml);
        let mut running = Scopegate::within(folder.path(), &["serve"]).start();
        let (running, last) = tokio::task::spawn_blocking(move || {
            let last = running.line("  proxy http://");
            (running, last)
        })
        .await
        .unwrap();
        let address = |word: &str| {
            let (_, rest) = last.split_once(word).unwrap();
            rest.split(' ').next().unwrap().to_owned()
        };
        let proxy = address("proxy http://").parse().unwrap();
        Self { running, folder, proxy, admin: address("admin http://"), yaml }
    }

    fn ask(&self, words: &[&str]) -> crate::harness::command::Ran {
        run(self.folder.path(), &[words, &["--admin", &self.admin]].concat())
    }

    fn rewrite(&self, yaml: &str) {
        std::fs::write(self.folder.path().join("gateway.yaml"), yaml).unwrap();
    }
}

/// From the first line to the last: what starts, what is asked, what is reloaded, how it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_says_what_it_does() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let mut served = Served::start(&issuer, &backend).await;
    let version = env!("CARGO_PKG_VERSION");
    let said = served.running.said.join("\n");
    for line in [
        format!("  scopegate {version} · gateway.yaml · 2 routes: 1 public"),
        "  ok    issuer main       1 key, ES256".to_owned(),
        format!("  ok    upstream main     {}, ", backend.url()),
    ] {
        assert!(said.contains(&line), "{line:?} is not in\n{said}");
    }
    assert!(said.ends_with("SIGHUP reloads, Ctrl-C drains"), "{said}");

    let token = issuer.token().scope("orders:read").sign();
    let answer = Call::new(served.proxy, "GET", "/orders/1").bearer(&token).send().await;
    assert_eq!(answer.status(), 200);
    let line = served.running.line("200 GET    /orders/1 ");
    assert!(line.contains("alice via web-app"), "{line}");

    let health = served.ask(&["health"]);
    assert_eq!((health.code, health.stdout.as_str()), (0, "ready\n"));
    assert_eq!(served.ask(&["health", "-q"]).stdout, "");
    assert!(served.ask(&["health", "-v"]).stdout.contains("[+] issuer main ok: 1 key, ES256"));

    served.rewrite(&served.yaml.replace("/status:", "/health: { public: true }\n  /status:"));
    let reload = served.ask(&["reload"]);
    assert_eq!((reload.code, reload.stderr.as_str()), (0, ""));
    assert!(reload.stdout.ends_with(" ms: 1 route added, 0 removed, 0 changed\n"));
    served.rewrite(&served.yaml.replace("GET: orders:read", "GET: [a, b]"));
    let reload = served.ask(&["reload"]);
    assert_eq!(reload.code, 1);
    assert!(reload.stderr.starts_with("error[E012]"), "{}", reload.stderr);
    let rejected = "rejected: E012 a list of scopes must say whether all or any are needed; \
                    still running the config of ";
    assert!(reload.stdout.starts_with(rejected), "{}", reload.stdout);
    let reload = served.ask(&["reload", "--format", "json"]);
    let json: Value = serde_json::from_str(&reload.stdout).unwrap();
    assert_eq!((reload.code, &json["status"]), (1, &json!(422)));
    // What runs is still the configuration before.
    let answer = Call::new(served.proxy, "GET", "/health").send().await;
    assert_eq!(answer.status(), 200);

    served.running.signal("TERM");
    assert_eq!(served.running.end(), 0);
    let gone = served.ask(&["health"]);
    assert_eq!(gone.code, 4);
    assert!(gone.stderr.contains("no gateway answers at"), "{}", gone.stderr);
    assert!(gone.stderr.contains("help: `scopegate serve` runs one"), "{}", gone.stderr);
    assert_eq!(served.ask(&["reload"]).code, 4);
}

/// Typical mistake 7: the issuer calls itself something else. Serving begins, for the issuer may
/// be mended, but it says so, with the value to copy, and is not ready.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_with_another_name_is_told_with_its_name() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    let theirs = format!("{}/realms/prod", issuer.url());
    let jwks = format!("{}/jwks", issuer.url());
    issuer.set_metadata(json!({ "issuer": theirs, "jwks_uri": jwks }));
    let mut served = Served::start(&issuer, &backend).await;
    let line = served.running.line("  warn  issuer main");
    assert!(line.contains(&format!("\"{theirs}\"")), "{line}");
    assert!(line.contains("(scopegate help E041)"), "{line}");
    assert!(line.contains("its tokens are answered 503"), "{line}");
    let health = served.ask(&["health"]);
    assert_eq!(health.code, 1);
    assert!(health.stdout.contains(&theirs) && health.stdout.ends_with("not ready\n"));
    served.running.signal("INT");
    assert_eq!(served.running.end(), 0);
}

/// A backend that is down, and an issuer that is, are warnings: others may be up.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_down_at_start_is_named() {
    let (issuer, backend) = (Issuer::start().await, Backend::start().await);
    issuer.behave(crate::harness::issuer::Behaviour::Broken(500, "".into()));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let served = Served::start(&issuer, &backend).await;
    let yaml = served.yaml.replace(&backend.url(), &url);
    drop(served);
    let folder = folder(&yaml);
    let mut running = Scopegate::within(folder.path(), &["serve"]).start();
    let said = tokio::task::spawn_blocking(move || {
        running.line("  proxy http://");
        running.said.join("\n")
    });
    let said = said.await.unwrap();
    assert!(said.contains("  warn  issuer main "), "{said}");
    let refused = "connection refused: its routes answer 502 until it is up";
    assert!(said.contains("  warn  upstream main ") && said.contains(refused), "{said}");
}

/// What cannot be used is exit code 2, a port that is taken 3; both say where and what to do.
#[test]
fn what_cannot_start_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let good = format!("listen: {address}\nadmin: 127.0.0.1:0\n{}", super::GOOD);
    let ran = run(folder(&good).path(), &["serve"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    assert!(ran.stderr.contains(&format!("error: cannot listen on {address}: ")), "{}", ran.stderr);
    assert!(ran.stderr.contains("help: --listen "), "{}", ran.stderr);

    let ran = run(folder(&good.replace("GET", "get")).path(), &["serve"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("error[E011]"), "{}", ran.stderr);

    let tls = good.replace(&address, "127.0.0.1:0") + "tls: { cert: a.crt, key: a.key }\n";
    let ran = run(folder(&tls).path(), &["serve"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("a.crt"), "{}", ran.stderr);
}
