//! The head of an answer, and how the end of its body is told (RFC 9112 §4, §6).

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{StatusCode, Version, response};

use crate::digits;
use crate::http1::fields::line;

/// How the client finds the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, whatever the fields say of the one that there would be.
    Bodiless,
    /// `Content-Length`.
    Exact(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection ends with it: what HTTP/1.0 understands.
    UntilClose,
}

impl Framing {
    /// `length` is that of the body, if it is known.
    pub(super) fn of(
        status: StatusCode,
        asked_for_head: bool,
        version: Version,
        length: Option<u64>,
    ) -> Self {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        match length {
            _ if asked_for_head || bodiless.contains(&status) => Self::Bodiless,
            _ if status == StatusCode::SWITCHING_PROTOCOLS => Self::UntilClose,
            Some(length) => Self::Exact(length),
            None if version == Version::HTTP_10 => Self::UntilClose,
            None => Self::Chunked,
        }
    }
}

/// Writes the head. The framing is said once, from the body as it will be sent.
pub(super) fn write(
    out: &mut Vec<u8>,
    head: &response::Parts,
    framing: Framing,
    connection: Option<&str>,
) {
    status_line(out, head.status);
    for (name, value) in &head.headers {
        let stays = match framing {
            Framing::Bodiless => head.status != StatusCode::NO_CONTENT,
            Framing::Exact(_) | Framing::Chunked | Framing::UntilClose => false,
        };
        if (*name != CONTENT_LENGTH || stays) && *name != CONNECTION && *name != TRANSFER_ENCODING {
            line(out, name, value.as_bytes());
        }
    }
    match framing {
        Framing::Bodiless | Framing::UntilClose => {}
        Framing::Exact(length) => {
            out.extend_from_slice(b"content-length: ");
            digits::push(out, length, 1);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => line(out, &TRANSFER_ENCODING, b"chunked"),
    }
    if let Some(option) = connection {
        line(out, &CONNECTION, option.as_bytes());
    }
    if !head.headers.contains_key(DATE) {
        date(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the line in front of a chunk of so many bytes (RFC 9112 §7.1).
pub(super) fn chunk(out: &mut Vec<u8>, length: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let first = length.checked_ilog(16).unwrap_or(0);
    for place in (0..=first).rev() {
        out.push(DIGITS[(length >> (place * 4)) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// RFC 9110 §6.6.1: who has a clock says when an answer was made, if nobody else has.
fn date(out: &mut Vec<u8>) {
    WRITTEN.with_borrow_mut(|(second, text)| {
        let now = SystemTime::now();
        let since =
            now.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs);
        if *second != since || text.is_empty() {
            (*second, *text) = (since, httpdate::fmt_http_date(now));
        }
        line(out, &DATE, text.as_bytes());
    });
}

thread_local! {
    /// The last second in which the time was written, and how.
    static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_chunks_are_hexadecimal() {
        for length in [1, 9, 15, 16, 255, 256, 4096, 65_535, 1 << 20] {
            let mut out = Vec::new();
            chunk(&mut out, length);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{length:x}\r\n"));
        }
    }

    /// HP-21: what has no body says nothing of one, but for HEAD and 304.
    #[test]
    fn the_framing_is_said_once() {
        let head = |status: u16| {
            let mut parts = http::Response::new(()).into_parts().0;
            parts.status = StatusCode::from_u16(status).unwrap();
            for (name, value) in
                [(CONTENT_LENGTH, "7"), (TRANSFER_ENCODING, "chunked"), (DATE, "then")]
            {
                parts.headers.append(name, http::HeaderValue::from_static(value));
            }
            parts
        };
        for (status, framing, expected) in [
            (200, Framing::Exact(5), "HTTP/1.1 200 OK\r\ndate: then\r\ncontent-length: 5\r\n\r\n"),
            (
                404,
                Framing::Chunked,
                "HTTP/1.1 404 Not Found\r\ndate: then\r\ntransfer-encoding: chunked\r\n\r\n",
            ),
            (200, Framing::UntilClose, "HTTP/1.1 200 OK\r\ndate: then\r\n\r\n"),
            (200, Framing::Bodiless, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ndate: then\r\n\r\n"),
            (204, Framing::Bodiless, "HTTP/1.1 204 No Content\r\ndate: then\r\n\r\n"),
            (599, Framing::Exact(0), "HTTP/1.1 599 \r\ndate: then\r\ncontent-length: 0\r\n\r\n"),
        ] {
            let mut out = Vec::new();
            write(&mut out, &head(status), framing, None);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
