//! Field lines, and where they end (RFC 9112 §2.1, §5).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{Header, Status};
use memchr::memchr_iter;

use super::Invalid;

/// Where the blank line ends that ends a head; `None` before it has come.
///
/// # Errors
/// `Invalid` if a line ends with a line feed alone, which ends a line for some recipients and not
/// for others (RFC 9112 §2.2).
pub(crate) fn end_of(input: &[u8]) -> Result<Option<usize>, Invalid> {
    let mut begin = 0;
    for at in memchr_iter(b'\n', input) {
        match at.checked_sub(1) {
            Some(before) if input[before] == b'\r' && before == begin => return Ok(Some(at + 1)),
            Some(before) if input[before] == b'\r' => begin = at + 1,
            Some(_) | None => return Err(Invalid),
        }
    }
    Ok(None)
}

/// Field lines with the blank line behind them.
///
/// # Errors
/// `Invalid`.
pub(crate) fn parse(text: &Bytes) -> Result<HeaderMap, Invalid> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_FIELDS];
    match httparse::parse_headers(text, &mut lines) {
        Ok(Status::Complete((end, lines))) if end == text.len() => collect(text, lines, 0),
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

/// Writes one field line.
pub(crate) fn line(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    begin(out, name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a field's name and what separates it from its value.
pub(crate) fn begin(out: &mut Vec<u8>, name: &HeaderName) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
}

/// How many comma-separated members a line has, empty ones too.
pub(crate) fn members(line: &[u8]) -> usize {
    memchr_iter(b',', line).count() + 1
}

/// Whether one of the line's comma-separated members is `member`, in any case.
pub(crate) fn has_member(line: &[u8], member: &[u8]) -> bool {
    let mut members = line.split(|byte| *byte == b',');
    members.any(|one| one.trim_ascii().eq_ignore_ascii_case(member))
}

/// The same of all lines of a field.
pub(crate) fn have_member(headers: &HeaderMap, name: &HeaderName, member: &[u8]) -> bool {
    headers.get_all(name).iter().any(|line| has_member(line.as_bytes(), member))
}

/// The most options that all lines of `Connection` may have: each is compared with every field.
pub(crate) const MOST_OPTIONS: usize = 64;

const MOST_FIELDS: usize = 100;
