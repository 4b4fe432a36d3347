//! A log collector that hangs takes the log with it, and nothing else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::command::BINARY;
use crate::harness::process::Running;
use crate::harness::{Backend, Call, until, within};

/// Standard error is a pipe that is full and that nobody empties.
#[tokio::test]
async fn whoever_logs_waits_for_no_reader() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, config(&backend.url(), "200")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    let child = Command::new(BINARY)
        .args(["serve", "--workers", "2", "-c"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn();
    let mut gateway = Running::new(child.unwrap());
    let mut reader = BufReader::with_capacity(1, reader);
    let (proxy, admin) = announced(&mut reader);

    let filled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&filled);
    std::thread::spawn(move || {
        while filler.write_all(&[b'x'; 4096]).is_ok() {
            count.fetch_add(4096, Ordering::Relaxed);
        }
    });
    until("a full pipe", async || filled.load(Ordering::Relaxed) >= 56 << 10).await;

    // Refused reloads are logged by what serves the administration.
    std::fs::write(&file, config(&backend.url(), "many")).unwrap();
    for _ in 0..60 {
        let answer =
            Call::new(admin, "POST", "/reload").header("x-scopegate-admin", "1").send().await;
        assert_eq!(answer.status(), 422, "{}", answer.text());
    }
    // Refused connections by the workers: one here and there, from both.
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(tokio::net::TcpStream::connect(proxy).await.unwrap());
    }
    drop(held);
    for _ in 0..20 {
        until("an answer", async || is_answered(proxy).await).await;
        assert_eq!(Call::new(admin, "GET", "/livez").send().await.status(), 200);
    }
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
    // Now that somebody reads, what was written before is there.
    drop(std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink())));
}

/// What is left at the end is written, in the order in which it was said.
#[tokio::test]
async fn the_last_lines_are_not_lost() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start().await);
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, config(&backend.url(), "200")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(BINARY);
    command.args(["serve", "-c"]).arg(&file).stdout(Stdio::null()).stderr(writer);
    let mut gateway = Running::new(command.spawn().unwrap());
    drop(command);
    let mut reader = BufReader::new(reader);
    announced(&mut reader);
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    let draining = rest.find("draining").unwrap_or_else(|| panic!("{rest}"));
    assert!(rest[draining..].contains("stopped"), "{rest}");
}

fn announced(reader: &mut impl BufRead) -> (SocketAddr, SocketAddr) {
    let mut line = String::new();
    while !line.contains("ready in") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "it ended");
    }
    let behind = |what: &str| {
        let text = line.split_once(what).unwrap().1;
        text.split([' ', '"']).next().unwrap().parse().unwrap()
    };
    (behind("proxy http://"), behind("admin http://"))
}

async fn is_answered(proxy: SocketAddr) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(proxy).await.unwrap();
    drop(stream.write_all(b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await);
    let mut answer = Vec::new();
    drop(within(stream.read_to_end(&mut answer)).await);
    answer.starts_with(b"HTTP/1.1 200")
}

fn config(backend: &str, connections: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstream: {backend}\n\
         issuers: {{ main: {{ url: https://id.example, audience: a, jwks: {}/examples/keys.json }} }}\n\
         limits: {{ connections: {connections}, connections_per_peer: 200, header_timeout: 1s }}\nroutes: {{ /**: {{ public: true }} }}\n",
        env!("CARGO_MANIFEST_DIR")
    )
}
