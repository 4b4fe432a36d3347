//! A client for HTTP/1.1 with keep-alive that does no more than needed to count answers.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::HOST;
use crate::requests::Request;
use crate::tls::Destination;

/// What bytes go through: TCP, or TLS over it.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// One connection.
pub struct Http1 {
    to: Destination,
    socket: Option<Box<dyn Socket>>,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl Http1 {
    pub async fn connect(to: Destination) -> Result<Self> {
        let socket = Some(to.connect().await?);
        Ok(Self { to, socket, out: Vec::new(), input: vec![0; 16 << 10] })
    }

    /// Sends a request, reads the answer to its end, and returns its status. A server may close
    /// the connection with an answer: then the next request opens one.
    pub async fn send(&mut self, request: &Request<'_>) -> Result<u16> {
        if self.socket.is_none() {
            self.socket = Some(self.to.connect().await?);
        }
        self.write(request);
        let socket = self.socket.as_mut().unwrap();
        socket.write_all(&self.out).await?;
        socket.flush().await?;
        let (status, close) = read_answer(socket, &mut self.input).await?;
        if close {
            self.socket = None;
        }
        Ok(status)
    }

    fn write(&mut self, request: &Request<'_>) {
        self.out.clear();
        let parts = [b"GET ", request.path.as_bytes(), b" HTTP/1.1\r\nHost: ", HOST.as_bytes()];
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
        self.out.extend_from_slice(b"\r\nAccept: */*\r\nUser-Agent: load\r\n");
        if let Some(token) = request.token {
            self.out.extend_from_slice(b"Authorization: Bearer ");
            self.out.extend_from_slice(token.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Reads one answer with a Content-Length; returns its status and whether the server closes.
async fn read_answer(socket: &mut Box<dyn Socket>, buffer: &mut [u8]) -> Result<(u16, bool)> {
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let Some(head) = head_end(&buffer[..filled]) else { continue };
        let length = content_length(&buffer[..head]).ok_or(invalid("no Content-Length"))?;
        if filled == head + length {
            return Ok((status(&buffer[..head])?, closes(&buffer[..head])));
        }
        if filled > head + length {
            return Err(invalid("more than one answer"));
        }
    }
}

/// The status of an answer's head.
pub fn status(head: &[u8]) -> Result<u16> {
    let digits = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or(invalid("no status"))
}

/// Where the head ends and the body begins.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|found| found + 4)
}

/// The length that a head announces.
pub fn content_length(head: &[u8]) -> Option<usize> {
    std::str::from_utf8(field(head, b"content-length")?).ok()?.trim().parse().ok()
}

fn closes(head: &[u8]) -> bool {
    field(head, b"connection")
        .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"close"))
}

fn field<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
