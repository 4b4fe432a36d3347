//! The head of an answer: read as strictly as its client might, and how its body is framed.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use httparse::{ParserConfig, Status};

use super::exchange::Fault;
use crate::http1::chunks::Chunks;
use crate::http1::{Invalid, fields};

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whether another request may follow on the connection (RFC 9112 §9.3). HTTP/1.0 could not
    /// carry a chunked one.
    pub(super) keeps_alive: bool,
    is_old: bool,
}

/// How the end of an answer's body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// After so many more bytes.
    Length(u64),
    Chunks(Chunks),
    /// With the end of the connection.
    UntilClose,
}

impl Head {
    /// Takes a head from the input; `None` before all of it has come.
    ///
    /// # Errors
    /// `Protocol` for what is not HTTP/1, or too long.
    pub(super) fn take(input: &mut BytesMut) -> Result<Option<Self>, Fault> {
        let Some(end) = fields::end_of(input).map_err(|Invalid| Fault::Protocol)? else {
            return check_beginning(input).map(|()| None);
        };
        Self::parse(&input.split_to(end).freeze()).map(Some)
    }

    /// The head of an answer by HTTP/2.
    ///
    /// # Errors
    /// `Protocol` if it has more fields than any answer needs.
    pub(super) fn of_http2(status: StatusCode, headers: HeaderMap) -> Result<Self, Fault> {
        if headers.len() > MOST_FIELDS {
            return Err(Fault::Protocol);
        }
        Ok(Self { status, headers, keeps_alive: true, is_old: false })
    }

    /// Whether another answer follows (RFC 9110 §15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    fn parse(text: &Bytes) -> Result<Self, Fault> {
        let mut lines = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        let parsed =
            ParserConfig::default().parse_response_with_uninit_headers(&mut head, text, &mut lines);
        if parsed != Ok(Status::Complete(text.len())) {
            return Err(Fault::Protocol);
        }
        let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
        let headers =
            fields::collect(text, head.headers, ADDED).map_err(|Invalid| Fault::Protocol)?;
        let options = headers.get_all(CONNECTION).iter();
        if options.map(|line| fields::members(line.as_bytes())).sum::<usize>()
            > fields::MOST_OPTIONS
        {
            return Err(Fault::Protocol);
        }
        let is_old = head.version == Some(0);
        Ok(Self {
            status: status.ok_or(Fault::Protocol)?,
            keeps_alive: !is_old && !fields::have_member(&headers, &CONNECTION, b"close"),
            headers,
            is_old,
        })
    }

    /// Says how the body is framed, and refuses what the client could read in another way: a change
    /// of protocol that was not asked for, and 407, which only a proxy may say (RFC 9110 §15.5.8),
    /// too. What is left in the fields says the body's length once or not at all.
    pub(super) fn coding(&mut self, asked_for_head: bool) -> Result<Coding, Fault> {
        let unexpected =
            [StatusCode::SWITCHING_PROTOCOLS, StatusCode::PROXY_AUTHENTICATION_REQUIRED];
        if unexpected.contains(&self.status) {
            return Err(Fault::Protocol);
        }
        let chunked = is_chunked(&self.headers)?;
        if chunked && (self.is_old || self.headers.contains_key(CONTENT_LENGTH)) {
            return Err(Fault::Protocol);
        }
        let length = one_length(self.status, &mut self.headers)?;
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        Ok(match length {
            _ if asked_for_head || bodiless.contains(&self.status) => Coding::Length(0),
            Some(length) => Coding::Length(length),
            None if chunked => Coding::Chunks(Chunks::NEW),
            None => Coding::UntilClose,
        })
    }
}

/// Refuses early what will never be a head, so that nobody waits for its end. The beginning of a
/// long one says enough: looking at all of it whenever a byte comes would take the square of time.
fn check_beginning(input: &[u8]) -> Result<(), Fault> {
    let mut lines = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let config = ParserConfig::default();
    let beginning = &input[..input.len().min(BEGINNING)];
    let parsed = config.parse_response_with_uninit_headers(&mut head, beginning, &mut lines);
    if input.len() > MOST_BYTES || parsed != Ok(Status::Partial) {
        return Err(Fault::Protocol);
    }
    Ok(())
}

/// Whether `chunked` is the one transfer coding; any other is refused.
fn is_chunked(headers: &HeaderMap) -> Result<bool, Fault> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    let alone = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    alone.then_some(true).ok_or(Fault::Protocol)
}

/// RFC 9110 §8.6: equal lengths are one, unequal ones are none, and 204 has none.
fn one_length(status: StatusCode, headers: &mut HeaderMap) -> Result<Option<u64>, Fault> {
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
        return Ok(None);
    }
    let lines = headers.get_all(CONTENT_LENGTH).iter();
    let mut members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let Some(first) = members.next().map(<[u8]>::trim_ascii) else { return Ok(None) };
    let digits = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    let mut count = 1;
    let equal = members.all(|member| {
        count += 1;
        member.trim_ascii() == first
    });
    let length = std::str::from_utf8(first).ok().and_then(|digits| digits.parse().ok());
    if !digits || !equal || length.is_none() {
        return Err(Fault::Protocol);
    }
    if count > 1 {
        let one = HeaderValue::from_bytes(first).map_err(|_| Fault::Protocol)?;
        headers.insert(CONTENT_LENGTH, one);
    }
    Ok(length)
}

/// The most bytes that a head may have.
pub(super) const MOST_BYTES: usize = 64 << 10;
const MOST_FIELDS: usize = 100;
/// The fields that an answer gets on its way through.
const ADDED: usize = 6;
/// Bytes.
const BEGINNING: usize = 2 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(text: &str) -> Result<Option<Head>, Fault> {
        Head::take(&mut BytesMut::from(text))
    }

    #[test]
    fn a_head_is_taken_when_it_is_complete_and_the_rest_stays() {
        let mut input = BytesMut::from("HTTP/1.1 404 Not Found\r\nX-A: 1\r\nX-A: \t2 \r\n\r\nrest");
        let head = Head::take(&mut input).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), head.keeps_alive, &input[..]), (404, true, &b"rest"[..]));
        assert_eq!(head.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(take("HTTP/1.1 404 Not Found\r\nX-A: 1\r\n").unwrap().is_none());
        assert!(take("").unwrap().is_none());
    }

    /// SM-06: a bare line feed, in the head or in front of it.
    #[test]
    fn what_is_no_head_is_refused_as_soon_as_it_can_be_told() {
        for text in [
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 200 OK\nX-A: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A: 1\nX-B: 2\r\n\r\n",
            "HTTP/1.1 200 OK\n\nX-A: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
        ] {
            assert_eq!(take(text).err(), Some(Fault::Protocol), "{text:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nX-A: {}", "a".repeat(MOST_BYTES));
        assert_eq!(take(&long).err(), Some(Fault::Protocol));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: 1\r\n".repeat(MOST_FIELDS + 1));
        assert_eq!(take(&many).err(), Some(Fault::Protocol));
    }

    #[test]
    fn connections_that_close_are_known() {
        let keeps = |text: &str| take(text).unwrap().unwrap().keeps_alive;
        assert!(keeps("HTTP/1.1 200 OK\r\nConnection: x-a\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: x-a\r\nConnection: x-b, Close\r\n\r\n"));
        assert!(!keeps("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in prop::collection::vec(any::<u8>(), 0..120)) {
            let mut input = BytesMut::from(&b"HTTP/1.1 200 OK\r\n"[..]);
            input.extend_from_slice(&text);
            drop(Head::take(&mut input));
        }
    }
}
