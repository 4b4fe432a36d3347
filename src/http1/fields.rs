//! Field lines, and where they end (RFC 9112 §2.1, §5).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{Header, Status};
use memchr::{memchr_iter, memmem};

use super::Invalid;

/// Where the blank line ends that ends a head; `None` before it has come.
pub(crate) fn end_of(input: &[u8]) -> Option<usize> {
    memmem::find(input, b"\r\n\r\n").map(|start| start + 4)
}

/// Field lines with the blank line behind them.
///
/// # Errors
/// `Invalid`.
pub(crate) fn parse(text: &Bytes) -> Result<HeaderMap, Invalid> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_FIELDS];
    match httparse::parse_headers(text, &mut lines) {
        Ok(Status::Complete((end, lines))) if end == text.len() && !has_bare_newline(text) => {
            collect(text, lines, 0)
        }
        Ok(_) | Err(_) => Err(Invalid),
    }
}

/// The lines as a map with room for `added` more. Values share the memory of `text`, which the
/// lines were parsed from.
///
/// # Errors
/// `Invalid`.
pub(crate) fn collect(
    text: &Bytes,
    lines: &[Header<'_>],
    added: usize,
) -> Result<HeaderMap, Invalid> {
    let mut headers = HeaderMap::with_capacity(lines.len() + added);
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Invalid)?;
        let value = HeaderValue::from_maybe_shared(text.slice_ref(line.value));
        headers.append(name, value.map_err(|_| Invalid)?);
    }
    Ok(headers)
}

/// A line feed ends a line for some recipients and not for others (RFC 9112 §2.2).
pub(crate) fn has_bare_newline(text: &[u8]) -> bool {
    memchr_iter(b'\n', text).any(|at| at == 0 || text[at - 1] != b'\r')
}

/// Whether one of the comma-separated members of the field's lines is `member`, in any case.
pub(crate) fn has_member(headers: &HeaderMap, name: &HeaderName, member: &[u8]) -> bool {
    let lines = headers.get_all(name).iter();
    let mut members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.any(|one| one.trim_ascii().eq_ignore_ascii_case(member))
}

const MOST_FIELDS: usize = 100;
