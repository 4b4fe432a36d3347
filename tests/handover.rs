//! A restart that nobody who calls notices: by sockets that outlive the process, and beside it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::socket::{Service, Start, listening};
use crate::harness::{Backend, Call, until, within};

fn config(listen: &str, admin: &str, backend: &str) -> String {
    format!(
        "listen: {listen}\nadmin: {admin}\nupstream: {backend}\n\
         issuers: {{ main: {{ url: https://id.example, audience: a, jwks: {}/examples/keys.json }} }}\n\
         routes: {{ /open: {{ public: true }}, /closed: {{ GET: read }} }}\n\
         drain: {{ timeout: 10s }}\n",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// Requests over new and kept connections, until told to stop.
struct Load {
    answered: Arc<AtomicUsize>,
    wrong: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    loops: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let mut load = Self {
            answered: Arc::default(),
            wrong: Arc::default(),
            stop: Arc::default(),
            loops: Vec::new(),
        };
        for number in 0..6 {
            let (answered, wrong) = (Arc::clone(&load.answered), Arc::clone(&load.wrong));
            let stop = Arc::clone(&load.stop);
            load.loops.push(tokio::spawn(async move {
                for turn in 0..MOST {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // Half of them send some requests over each connection.
                    let requests = if number % 2 == 0 { 1 } else { 1 + turn % 5 };
                    match within(exchange(address, requests)).await {
                        Ok(()) => drop(answered.fetch_add(requests, Ordering::Relaxed)),
                        Err(what) => wrong.lock().unwrap().push(what),
                    }
                }
            }));
        }
        load
    }

    async fn some_more(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        until("some load", async || {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            self.answered.load(Ordering::Relaxed) > before + 60
        })
        .await;
    }

    /// How many requests were answered, all of them rightly.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for one in self.loops {
            within(one).await.unwrap();
        }
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{} of {:?}: {wrong:?}", wrong.len(), self.answered);
        self.answered.load(Ordering::Relaxed)
    }
}

const MOST: usize = 50_000;

/// Some requests over one connection. Between two of them the gateway may end it: that is HTTP's
/// way to go, and no request is lost by it.
async fn exchange(address: SocketAddr, requests: usize) -> Result<(), String> {
    let mut stream =
        TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
    for number in 0..requests {
        let (path, expected) = [("/open", "200"), ("/closed", "401")][number % 2];
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let sent = stream.write_all(request.as_bytes()).await;
        let answer = match sent {
            Ok(()) => answer(&mut stream).await,
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(answer) if answer.get(9..12) == Some(expected) => {
                if answer.contains("connection: close") {
                    return Ok(());
                }
            }
            Err(_) if number > 0 => return Ok(()),
            other => return Err(format!("{path} as number {number}: {other:?}")),
        }
    }
    Ok(())
}

/// One answer, whole: its head and as much body as it announces.
async fn answer(stream: &mut TcpStream) -> Result<String, String> {
    let mut received = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&received).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Ok(text);
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) => return Err(format!("ended after {} bytes", received.len())),
            Ok(read) => received.extend_from_slice(&buffer[..read]),
            Err(error) => return Err(format!("{error} after {} bytes", received.len())),
        }
    }
}

/// Socket activation: the socket stays open while one process ends and the next begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_by_socket_activation_refuses_nobody() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let (socket, address) = listening();
    let yaml = config("systemd:web", "127.0.0.1:0", &backend.url());
    let start = || {
        let sockets = vec![OwnedFd::from(socket.try_clone().unwrap())];
        let start = Start { sockets, names: "web", ..Start::default() };
        Service::start(folder.path(), &yaml, start)
    };
    let mut service = start();
    service.says("ready in").await;
    let load = Load::start(address);
    for _ in 0..3 {
        load.some_more().await;
        service.signal("TERM");
        assert_eq!(service.ended().await.code(), Some(0), "{}", service.log());
        // Nobody accepts now, and nobody is refused.
        drop(TcpStream::connect(address).await.unwrap());
        service = start();
        service.says("ready in").await;
    }
    load.some_more().await;
    assert!(load.end().await > 240);
}

/// Hand-over: the next process listens beside the old one, which then is told to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_refuses_nobody() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let mut service = Service::start(
        folder.path(),
        &config("127.0.0.1:0", "127.0.0.1:0", &backend.url()),
        Start::default(),
    );
    let address = service.address("proxy http").await;
    let admin = service.address("admin http").await;
    let yaml = config(&address.to_string(), &admin.to_string(), &backend.url());
    let load = Load::start(address);
    for _ in 0..3 {
        load.some_more().await;
        let start = Start { words: &["--takeover"], ..Start::default() };
        let mut next = Service::start(folder.path(), &yaml, start);
        next.says("ready in").await;
        load.some_more().await;
        service.signal("TERM");
        service.says("draining").await;
        // Who asks for the health of what serves hears of the new one alone.
        until("the old administration to end", async || {
            let answers = (0..8).map(|_| Call::new(admin, "GET", "/readyz").send());
            let mut well = true;
            for answer in answers {
                well &= answer.await.status() == 200;
            }
            well
        })
        .await;
        assert_eq!(service.ended().await.code(), Some(0), "{}", service.log());
        service = next;
    }
    load.some_more().await;
    assert!(load.end().await > 360);
}

/// A second copy by accident does not get half of the connections.
#[tokio::test]
async fn a_second_copy_is_refused_unless_it_takes_over() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let mut first = Service::start(
        folder.path(),
        &config("127.0.0.1:0", "127.0.0.1:0", &backend.url()),
        Start::default(),
    );
    let address = first.address("proxy http").await;
    let yaml = config(&address.to_string(), "127.0.0.1:0", &backend.url());
    let mut second = Service::start(folder.path(), &yaml, Start::default());
    assert_eq!(second.ended().await.code(), Some(3));
    let expected =
        format!("cannot listen on {address}: in use by process {} (scopegate)", first.id());
    assert!(second.log().contains(&expected), "{}", second.log());

    // A foreign process does not share, whatever is asked for.
    let (_foreign, taken) = listening();
    let yaml = config(&taken.to_string(), "127.0.0.1:0", &backend.url());
    let start = Start { words: &["--takeover"], ..Start::default() };
    let mut third = Service::start(folder.path(), &yaml, start);
    assert_eq!(third.ended().await.code(), Some(3));
    let expected = format!("in use by process {} (", std::process::id());
    assert!(third.log().contains(&expected), "{}", third.log());
}

/// A successor that cannot start takes nothing from the gateway that it was to replace: not a
/// connection, and not its unix socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_that_fails_is_not_noticed() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let path = folder.path().join("gw.sock");
    let listen = |tcp: &str| format!("[{tcp}, 'unix:{}']", path.display());
    let old = config(&listen("127.0.0.1:0"), "127.0.0.1:0", &backend.url());
    let mut old = Service::start(folder.path(), &old, Start::default());
    let address = old.address("proxy http").await;
    let inode = inode(&path);
    // The administration's address is another program's.
    let (_foreign, taken) = listening();
    let yaml = config(&listen(&address.to_string()), &taken.to_string(), &backend.url());
    let load = Load::start(address);
    for _ in 0..4 {
        load.some_more().await;
        let start = Start { words: &["--takeover"], ..Start::default() };
        let mut next = Service::start(folder.path(), &yaml, start);
        assert_eq!(next.ended().await.code(), Some(3), "{}", next.log());
    }
    load.some_more().await;
    load.end().await;
    assert_eq!(self::inode(&path), inode);
    let mut answer = String::new();
    let mut client = connect(&path).await;
    client.write_all(b"GET /open HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let left = std::fs::read_dir(folder.path()).unwrap().flatten();
    let sockets = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("gw.sock"));
    assert_eq!(sockets.count(), 1);
}

/// The unix socket of a process that is no gateway stays its own.
#[tokio::test]
async fn a_strangers_unix_socket_is_left_alone() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let path = folder.path().join("other.sock");
    let _stranger = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let before = inode(&path);
    let yaml = config(&format!("unix:{}", path.display()), "127.0.0.1:0", &backend.url());
    let start = Start { words: &["--takeover"], ..Start::default() };
    let mut gateway = Service::start(folder.path(), &yaml, start);
    assert_eq!(gateway.ended().await.code(), Some(3), "{}", gateway.log());
    let expected = format!("in use by process {} (", std::process::id());
    assert!(gateway.log().contains(&expected), "{}", gateway.log());
    assert_eq!(inode(&path), before);
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
}

/// A unix socket changes hands in one step, and whoever is queued with the old process is answered.
#[tokio::test]
async fn a_unix_socket_changes_hands() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let path = folder.path().join("gw.sock");
    let yaml = config(&format!("unix:{}", path.display()), "127.0.0.1:0", &backend.url());
    let mut old = Service::start(folder.path(), &yaml, Start::default());
    old.says("ready in").await;
    let mut kept = connect(&path).await;
    let start = Start { words: &["--takeover"], ..Start::default() };
    let mut new = Service::start(folder.path(), &yaml, start);
    new.says("ready in").await;
    kept.write_all(b"GET /open HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    old.signal("TERM");
    let mut answer = String::new();
    within(kept.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(old.ended().await.code(), Some(0));
    let mut next = connect(&path).await;
    next.write_all(b"GET /open HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(next.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

async fn connect(path: &Path) -> tokio::net::UnixStream {
    within(tokio::net::UnixStream::connect(path)).await.unwrap()
}
