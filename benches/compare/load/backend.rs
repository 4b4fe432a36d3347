//! A backend that costs next to nothing: every request gets the same short answer, `/stream/N`
//! gets N bytes, and bodies are read and thrown away.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::http1::{content_length, head_end};

/// Listens and answers from now on.
pub async fn start(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            // A proxy that goes away in the middle is no concern of the backend.
            tokio::spawn(async { drop(answer_all(stream).await) });
        }
    });
}

async fn answer_all(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let Some(head) = head_end(&buffer[..filled]) else {
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                read => filled += read,
            }
            continue;
        };
        let body = content_length(&buffer[..head]).unwrap_or(0);
        let large = stream_size(&buffer[..head]);
        let here = (filled - head).min(body);
        skip(&mut stream, body - here).await?;
        buffer.copy_within(head + here..filled, 0);
        filled -= head + here;
        match large {
            Some(size) => send_large(&mut stream, size).await?,
            None => stream.write_all(ANSWER).await?,
        }
    }
}

/// N of a request for `/stream/N`.
fn stream_size(head: &[u8]) -> Option<usize> {
    let path = head.split(|byte| *byte == b' ').nth(1)?;
    std::str::from_utf8(path).ok()?.strip_prefix("/stream/")?.parse().ok()
}

async fn skip(stream: &mut TcpStream, mut bytes: usize) -> std::io::Result<()> {
    let mut buffer = if bytes > 0 { vec![0; LARGE] } else { Vec::new() };
    while bytes > 0 {
        let most = bytes.min(LARGE);
        match stream.read(&mut buffer[..most]).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => bytes -= read,
        }
    }
    Ok(())
}

async fn send_large(stream: &mut TcpStream, mut bytes: usize) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let block = vec![b'x'; LARGE];
    while bytes > 0 {
        let some = bytes.min(LARGE);
        stream.write_all(&block[..some]).await?;
        bytes -= some;
    }
    Ok(())
}

const BUFFER: usize = 16 << 10;
const LARGE: usize = 256 << 10;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Content-Length: 13\r\n\r\n{\"ok\":\"true\"}";
