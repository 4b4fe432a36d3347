//! Started by a service manager: with its sockets, telling it how things are.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::command::Scopegate;
use crate::harness::socket::{Manager, Service, Start, listening};
use crate::harness::{Backend, Call, Harness, until, within};

/// A public route in front of `backend`; the issuer is never asked.
fn config(listen: &str, admin: &str, backend: &str) -> String {
    format!(
        "listen: {listen}\nadmin: {admin}\nupstream: {backend}\nissuers: {{ main: {{ url: https://id.example, audience: a, jwks: {} }} }}\n\
         routes: {{ /**: {{ public: true }} }}\n",
        concat!(env!("CARGO_MANIFEST_DIR"), "/examples/keys.json")
    )
}

/// The answer to `GET path` over a unix socket, as it came.
async fn get(path: &Path, target: &str, fields: &str) -> String {
    let mut stream = within(tokio::net::UnixStream::connect(path)).await.unwrap();
    let request =
        format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// Sockets of either family are found by their names, for clients and for the administration.
#[tokio::test]
async fn sockets_that_were_passed_are_served() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let (web, address) = listening();
    let path = folder.path().join("admin.sock");
    let admin = UnixListener::bind(&path).unwrap();
    let sockets = vec![OwnedFd::from(web), OwnedFd::from(admin)];
    let yaml = config("systemd:web", "systemd:admin", &backend.url());
    let start = Start { sockets, names: "web:admin", ..Start::default() };
    let mut service = Service::start(folder.path(), &yaml, start);
    service.says("ready in").await;
    assert_eq!(Call::new(address, "GET", "/x").send().await.status(), 200);
    assert!(get(&path, "/readyz", "").await.starts_with("HTTP/1.1 200 "));
    assert!(get(&path, "/metrics", "").await.contains("listener=\"systemd:web\""));
    assert!(path.exists(), "the file is the service manager's");
    service.signal("TERM");
    assert_eq!(service.ended().await.code(), Some(0));
    assert!(path.exists());
    assert_eq!(backend.seen().len(), 1);
}

/// A name that was not passed stops the start, and those that were are listed.
#[tokio::test]
async fn a_name_that_was_not_passed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = config("systemd:web", "127.0.0.1:0", "http://127.0.0.1:1");
    let (socket, _) = listening();
    let start = Start { sockets: vec![socket.into()], names: "api", ..Start::default() };
    let mut service = Service::start(folder.path(), &yaml, start);
    assert_eq!(service.ended().await.code(), Some(3));
    let log = service.log();
    assert!(
        log.contains("systemd:web: the service manager passed no socket of this name"),
        "{log}"
    );
    assert!(log.contains("it passed api"), "{log}");

    // Sockets for another process are none for this one.
    let (socket, _) = listening();
    let start = Start {
        sockets: vec![socket.into()],
        names: "web",
        before: "export LISTEN_PID=1",
        ..Start::default()
    };
    let mut service = Service::start(folder.path(), &yaml, start);
    assert_eq!(service.ended().await.code(), Some(3));
    assert!(service.log().contains("it passed none"), "{}", service.log());
}

/// What is passed must be a listening socket.
#[tokio::test]
async fn a_socket_that_does_not_listen_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = config("systemd:web", "127.0.0.1:0", "http://127.0.0.1:1");
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let start = Start { sockets: vec![udp.into()], names: "web", ..Start::default() };
    let mut service = Service::start(folder.path(), &yaml, start);
    assert_eq!(service.ended().await.code(), Some(3));
    assert!(service.log().contains("not a listening stream socket"), "{}", service.log());
}

/// Type=notify-reload: ready, reloading with the time, ready again, stopping with the time it takes.
#[tokio::test]
async fn the_manager_is_told_how_things_are() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let manager = Manager::at(&folder.path().join("notify"));
    let socket = folder.path().join("notify").display().to_string();
    let yaml = config("127.0.0.1:0", "127.0.0.1:0", &backend.url());
    let yaml = format!("{yaml}drain: {{ timeout: 7s }}\n");
    let variables = [("NOTIFY_SOCKET", socket.as_str())];
    let start = Start { variables: &variables, ..Start::default() };
    let mut service = Service::start(folder.path(), &yaml, start);
    assert_eq!(within(manager.hears("READY=1")).await, "READY=1\nSTATUS=serving, 1 routes\n");
    let address = service.address("proxy http").await;
    assert_eq!(Call::new(address, "GET", "/x").send().await.status(), 200);

    service.signal("HUP");
    let reloading = within(manager.hears("RELOADING=1")).await;
    let micros = reloading.split_once("MONOTONIC_USEC=").unwrap().1;
    assert!(micros.split('\n').next().unwrap().parse::<u64>().unwrap() > 0);
    within(manager.hears("READY=1")).await;

    std::fs::write(folder.path().join("gateway.yaml"), "routes: {").unwrap();
    service.signal("HUP");
    within(manager.hears("RELOADING=1")).await;
    assert!(within(manager.hears("READY=1")).await.contains("rejected"));

    service.signal("TERM");
    let stopping = within(manager.hears("STOPPING=1")).await;
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=12000000"), "{stopping}");
    assert_eq!(service.ended().await.code(), Some(0));
    assert!(manager.heard().is_none(), "nothing is said of being ready afterwards");
}

/// The watchdog is told that all is well, at an abstract name too, until the process stands still.
#[tokio::test]
async fn the_watchdog_is_pinged_while_threads_turn() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("scopegate-{}-{:?}", std::process::id(), folder.path());
    let manager = Manager::named(&name);
    let yaml = config("127.0.0.1:0", "127.0.0.1:0", "http://127.0.0.1:1");
    let socket = format!("@{name}");
    let variables = [("NOTIFY_SOCKET", socket.as_str()), ("WATCHDOG_USEC", "400000")];
    let start = Start { variables: &variables, ..Start::default() };
    let mut service = Service::start(folder.path(), &yaml, start);
    service.says("ready in").await;
    let began = Instant::now();
    for _ in 0..5 {
        within(manager.hears("WATCHDOG=1")).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    service.signal("STOP");
    until("silence", async || {
        while manager.heard().is_some() {}
        tokio::time::sleep(Duration::from_millis(500)).await;
        manager.heard().is_none()
    })
    .await;
    service.signal("CONT");
    within(manager.hears("WATCHDOG=1")).await;
}

/// A unix socket of the gateway's own: its mode, its peers, a stale file, and its end.
#[tokio::test]
async fn a_unix_socket_is_served_and_removed() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let path = folder.path().join("gw.sock");
    drop(UnixListener::bind(&path).unwrap());
    let listen = format!("['unix:{}|0600', '127.0.0.1:0']", path.display());
    let admin = folder.path().join("admin.sock");
    let yaml = config(&listen, &format!("unix:{}", admin.display()), &backend.url());
    let yaml = format!("{yaml}limits: {{ connections_per_peer: 1 }}\nflood: 4/h\n");
    let mut service = Service::start(folder.path(), &yaml, Start::default());
    service.says("ready in").await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // A peer has no address: nobody's word about it is believed, and it is counted with its like.
    let _idle = UnixStream::connect(&path).unwrap();
    let answer = get(&path, "/x", "x-forwarded-for: 192.0.2.1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = backend.saw_one();
    assert_eq!(seen.header("x-forwarded-for"), Some("unknown"));
    assert_eq!(seen.header("x-real-ip"), Some("unknown"));
    assert!(seen.header("forwarded").unwrap().starts_with("for=unknown;"), "{seen:?}");
    for _ in 0..3 {
        get(&path, "/x", "").await;
    }
    let flood = get(&path, "/x", "x-forwarded-for: 192.0.2.2\r\n").await;
    assert!(flood.starts_with("HTTP/1.1 429 "), "{flood}");

    let words = ["reload", "--admin", &format!("unix:{}", admin.display())];
    let reloaded = crate::harness::process::run(&words).await;
    assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}");

    // An accidental second copy does not take the socket away.
    let mut second = Service::start(folder.path(), &yaml, Start::default());
    assert_eq!(second.ended().await.code(), Some(3));
    let by = format!("in use by process {} (", service.id());
    assert!(second.log().contains(&by), "{}", second.log());
    assert!(get(&path, "/x", "").await.starts_with("HTTP/1.1 "));

    service.signal("TERM");
    assert_eq!(service.ended().await.code(), Some(0));
    assert!(!path.exists() && !admin.exists());
}

/// `trusted_proxies: [unix]`: the proxy at the other end says who the clients are.
#[tokio::test]
async fn a_trusted_proxy_over_a_unix_socket_names_its_clients() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gw.sock");
    let yaml = format!(
        "listen: unix:{}\ntrusted_proxies: [unix]\nflood: 1/h\nroutes: {{ /**: {{ public: true }} }}",
        path.display()
    );
    let t = Harness::start(&yaml).await;
    let answer = get(&path, "/x", "x-forwarded-for: 192.0.2.1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = t.backend.saw_one();
    assert_eq!(seen.header("x-forwarded-for"), Some("192.0.2.1, unknown"));
    assert_eq!(seen.header("x-real-ip"), Some("192.0.2.1"));
    let again = get(&path, "/x", "x-forwarded-for: 192.0.2.1\r\n").await;
    assert!(again.starts_with("HTTP/1.1 429 "), "{again}");
    // The address that stands for such peers is nobody's in a field.
    let spoofed = get(&path, "/x", "x-forwarded-for: 192.0.2.9, 0.0.0.0\r\n").await;
    assert!(spoofed.starts_with("HTTP/1.1 200 "), "{spoofed}");
    assert_eq!(t.backend.seen()[1].header("x-real-ip"), Some("unknown"));
}

/// The units that are shipped mean something to systemd, and harden what they say they harden.
#[test]
fn the_units_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (service, socket) = (read("scopegate.service"), read("scopegate.socket"));
    for line in [
        "Type=notify-reload",
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "MemoryDenyWriteExecute=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "WatchdogSec=30s",
        "LimitNOFILE=65536",
        "CapabilityBoundingSet=",
        "PrivateTmp=yes",
        "Sockets=scopegate.socket scopegate-admin.socket",
        "Restart=on-failure",
    ] {
        assert!(service.lines().any(|known| known == line), "{line}");
    }
    assert!(service.contains("LoadCredential=tls.key:"));
    assert!(socket.lines().any(|line| line == "FileDescriptorName=web"));
    assert!(read("scopegate-admin.socket").lines().any(|line| line == "FileDescriptorName=admin"));
    let example = folder.join("gateway.yaml").display().to_string();
    let checked = Scopegate::within(&folder, &["check", "-c", &example]).run();
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{}", checked.stdout);
    assert!(read("gateway.yaml").contains("systemd:web"));

    let names = ["scopegate.service", "scopegate.socket", "scopegate-admin.socket"];
    let copy = tempfile::tempdir().unwrap();
    for name in names {
        // The program of a test is elsewhere.
        let text = read(name).replace("/usr/bin/scopegate", crate::harness::command::BINARY);
        std::fs::write(copy.path().join(name), text).unwrap();
    }
    let mut verify = std::process::Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(names.map(|name| copy.path().join(name)));
    let Ok(said) = verify.output() else { return };
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    // Before version 253 there was no notify-reload; other lines are about other units.
    let about_ours = |line: &&str| line.contains("scopegate") && !line.contains("notify-reload");
    let complaints: Vec<&str> = said.lines().filter(about_ours).collect();
    assert!(complaints.is_empty(), "{said}");
}
