//! Bodies pass through in both directions without being collected, and whoever is slow holds back
//! whoever is fast.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::harness::process::Process;
use crate::harness::{Call, within};

/// The real binary in front of a backend that sends every body back as it comes.
async fn start() -> Process {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    let yaml = format!(
        "listen: 127.0.0.1:0
admin: 127.0.0.1:0
issuer: http://{backend}
audience: https://api.example.com
upstream: http://{backend}
limits: {{ body: 1GiB }}
routes: {{ /**: {{ POST: {{ public: true }} }} }}"
    );
    Process::start(&yaml).await
}

/// Answers with the request's own head and whatever comes behind it: the framing is the same.
async fn echo(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let framing = |line: &&str| line.starts_with("content-length") || line.starts_with("transfer");
    let Some(framing) = head.lines().find(framing) else { return };
    let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\nconnection: close\r\n\r\n");
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        let (mut from, mut to) = stream.split();
        drop(tokio::io::copy(&mut from, &mut to).await);
    }
}

async fn post(process: &Process, length: usize) -> TcpStream {
    let mut client = TcpStream::connect(process.proxy).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

/// HP-22: 64 MiB there and back leave less than 50 MiB behind, at no moment.
#[tokio::test]
async fn memory_stays_flat_while_a_large_body_passes() {
    let process = start().await;
    let small = Call::new(process.proxy, "POST", "/").body("warm").send().await;
    assert_eq!((small.status().as_u16(), &*small.text()), (200, "warm"));
    let before = process.memory("VmRSS");

    let (mut from, mut to) = post(&process, SIZE).await.into_split();
    let sent = tokio::spawn(async move {
        let piece = vec![b'x'; PIECE];
        for _ in 0..SIZE / PIECE {
            to.write_all(&piece).await.unwrap();
        }
        to
    });
    let received = within(read_answer(&mut from)).await;
    assert_eq!(received, SIZE);
    drop(sent.await.unwrap());
    let growth = process.memory("VmHWM").saturating_sub(before);
    assert!(growth < 50 << 20, "{growth} bytes");
}

/// The length of the body, which ends with the connection.
async fn read_answer(from: &mut (impl AsyncReadExt + Unpin)) -> usize {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "));
    let mut piece = vec![0; PIECE];
    let mut count = 0;
    while count < SIZE {
        count += from.read(&mut piece).await.unwrap();
    }
    count
}

/// HP-22: a client that does not read its answer cannot go on uploading.
#[tokio::test]
async fn a_slow_reader_stalls_the_upload() {
    let process = start().await;
    let before = process.memory("VmRSS");
    let mut client = post(&process, MUCH).await;
    let piece = vec![b'x'; PIECE];
    let mut sent = 0;
    // The kernel's buffers on the way fill up, and then nothing moves any more.
    while let Ok(written) = timeout(Duration::from_secs(2), client.write(&piece)).await {
        sent += written.unwrap();
        assert!(sent < MUCH, "all of it was taken");
    }
    let growth = process.memory("VmHWM").saturating_sub(before);
    assert!(growth < 50 << 20, "{growth} bytes");
    // The one who reads gets things going again.
    let mut read = 0;
    let mut answer = vec![0; PIECE];
    while read < sent {
        read += within(client.read(&mut answer)).await.unwrap();
    }
    within(client.write_all(&piece)).await.unwrap();
}

const PIECE: usize = 1 << 20;
const SIZE: usize = 64 << 20;
const MUCH: usize = 512 << 20;
