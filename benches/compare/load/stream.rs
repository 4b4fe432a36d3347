//! One large body, down or up.

use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::HOST;
use crate::backend;
use crate::http1::{Socket, content_length, head_end, status};
use crate::process::Watched;
use crate::requests::{Asked, Request, Requests};
use crate::tls::To;

/// What is moved.
#[derive(clap::Args)]
pub struct Stream {
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    watched: Watched,
    /// Answer here as the backend
    #[arg(long)]
    backend: SocketAddr,
    /// The body's size
    #[arg(long)]
    bytes: usize,
    /// Send it rather than receive it
    #[arg(long)]
    upload: bool,
}

impl Stream {
    pub async fn measure(self) -> Value {
        backend::start(self.backend).await;
        let requests = Requests::new(&self.asked);
        let request = requests.next().unwrap();
        let mut socket = self.to.destination(b"http/1.1").connect().await.unwrap();
        let peak = Arc::new(AtomicU64::new(0));
        let sampling = tokio::spawn(sample(self.watched.clone(), Arc::clone(&peak)));
        let (before, started) = (self.watched.cpu_micros(), Instant::now());
        let moved = if self.upload {
            self.send(&mut *socket, &request).await
        } else {
            self.receive(&mut *socket, &request).await
        };
        let (took, after) = (started.elapsed(), self.watched.cpu_micros());
        sampling.abort();
        let moved = moved.unwrap();
        json!({
            "bytes": moved, "errors": u8::from(moved != self.bytes), "seconds": took.as_secs_f64(),
            "mib_per_second": moved as f64 / f64::from(1 << 20) / took.as_secs_f64(),
            "cpu_s_per_gib": (after - before) as f64 / 1e6 * f64::from(1 << 30) / moved as f64,
            "peak_rss_kib": peak.load(Ordering::Relaxed),
        })
    }

    async fn receive(&self, socket: &mut dyn Socket, request: &Request<'_>) -> Result<usize> {
        let path = format!("/stream/{}", self.bytes);
        socket.write_all(head("GET", &path, request, 0).as_bytes()).await?;
        let mut buffer = vec![0; 256 << 10];
        let (length, mut body) = read_head(socket, &mut buffer).await?;
        while body < length {
            match socket.read(&mut buffer).await? {
                0 => break,
                read => body += read,
            }
        }
        Ok(body)
    }

    async fn send(&self, socket: &mut dyn Socket, request: &Request<'_>) -> Result<usize> {
        socket.write_all(head("POST", request.path, request, self.bytes).as_bytes()).await?;
        let mut buffer = vec![b'x'; 256 << 10];
        let mut sent = 0;
        while sent < self.bytes {
            let some = buffer.len().min(self.bytes - sent);
            socket.write_all(&buffer[..some]).await?;
            sent += some;
        }
        read_head(socket, &mut buffer).await?;
        Ok(sent)
    }
}

fn head(method: &str, path: &str, request: &Request<'_>, length: usize) -> String {
    let token = request.token.unwrap_or_default();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// Reads to the end of a head with status 200; returns the body's length and what came of it.
async fn read_head(socket: &mut dyn Socket, buffer: &mut [u8]) -> Result<(usize, usize)> {
    let mut filled = 0;
    loop {
        match socket.read(&mut buffer[filled..]).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
        let Some(end) = head_end(&buffer[..filled]) else { continue };
        assert_eq!(status(&buffer[..end])?, 200);
        return Ok((content_length(&buffer[..end]).unwrap(), filled - end));
    }
}

async fn sample(watched: Watched, peak: Arc<AtomicU64>) {
    loop {
        peak.fetch_max(watched.rss_kib(), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
