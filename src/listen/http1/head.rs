//! The head of a request, read so that nobody behind could read it in another way
//! (RFC 9112 §3, §5, §6).

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Uri, Version, request};
use httparse::{Header, ParserConfig, Status};

use super::body::Left;
use crate::config::Limits;
use crate::http1::Invalid;
use crate::http1::chunks::Chunks;
use crate::http1::fields::{self, MOST_OPTIONS, has_member, members};
use crate::rejection::{Rejection, TooLarge};

/// A head and what it says about the connection.
#[derive(Debug)]
pub(super) struct Head {
    /// Boxed, so that it goes from hand to hand without being copied.
    pub(super) parts: Box<request::Parts>,
    pub(super) body: Left,
    /// Whether another request may follow (RFC 9112 §9.3).
    pub(super) keeps_alive: bool,
    /// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1).
    pub(super) expects: bool,
    /// Whether it would turn to another protocol (RFC 9110 §7.8).
    pub(super) upgrades: bool,
    /// Whether it takes trailers behind the answer's body (RFC 9110 §10.1.4).
    pub(super) takes_trailers: bool,
}

impl Head {
    /// Takes a head from the input; `None` before all of it has come.
    ///
    /// # Errors
    /// `MalformedRequest` for what is not HTTP/1.1 by the letter, and `RequestTooLarge`. What is
    /// left of the input means nothing then.
    pub(super) fn take(input: &mut BytesMut, limits: &Limits) -> Result<Option<Self>, Rejection> {
        // RFC 9112 §2.2: some clients end a body with a line end that is not part of it.
        // Many are a flood that no limit would count.
        let mut empty = 0;
        while input.starts_with(b"\r\n") {
            empty += 1;
            if empty > MOST_EMPTY {
                return Err(Rejection::MalformedRequest("the request begins with empty lines"));
            }
            input.advance(2);
        }
        if input.is_empty() {
            return Ok(None);
        }
        let Some(end) = fields::end_of(input).map_err(|Invalid| LINE_ENDS)? else {
            return check_beginning(input, limits).map(|()| None);
        };
        if end > limits.header_bytes {
            return Err(too_large(input, limits));
        }
        Self::parse(&input.split_to(end).freeze(), limits.headers).map(Some)
    }

    fn parse(text: &Bytes, most: usize) -> Result<Self, Rejection> {
        if let Some(lines) = [const { MaybeUninit::uninit() }; USUAL_FIELDS].get_mut(..most) {
            return Self::parse_into(text, lines);
        }
        Self::parse_into(text, &mut vec![MaybeUninit::uninit(); most])
    }

    fn parse_into<'t>(
        text: &'t Bytes,
        lines: &mut [MaybeUninit<Header<'t>>],
    ) -> Result<Self, Rejection> {
        let mut head = httparse::Request::new(&mut []);
        let parsed =
            ParserConfig::default().parse_request_with_uninit_headers(&mut head, text, lines);
        match parsed {
            Err(error) => return Err(malformed(error)),
            Ok(status) if status != Status::Complete(text.len()) => return Err(LINE_ENDS),
            Ok(_) => {}
        }
        let headers = fields::collect(text, head.headers, 0).map_err(|_| FIELD)?;
        let version = if head.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        let said = Said::by(&headers)?;
        let body = said.framing(version)?;
        let is_new = version == Version::HTTP_11;
        let (expects, takes_trailers) = (is_new && said.continues, is_new && said.trailers);
        let keeps_alive = if is_new { !said.close } else { said.keep_alive };
        let upgrades = is_new && body == Left::NOTHING && said.upgrade && said.names_upgrade;
        let mut parts = Box::new(Request::new(()).into_parts().0);
        parts.method = Method::from_bytes(head.method.unwrap_or_default().as_bytes())
            .map_err(|_| Rejection::MalformedRequest("the method is not valid"))?;
        parts.uri = target(text, head.path.unwrap_or_default())?;
        parts.version = version;
        parts.headers = headers;
        Ok(Self { parts, body, keeps_alive, expects, upgrades, takes_trailers })
    }
}

/// What the fields say about the message and its connection, found in one pass over them.
#[derive(Default)]
struct Said<'h> {
    /// `Transfer-Encoding`.
    coding: Option<&'h [u8]>,
    /// `Content-Length`.
    length: Option<&'h [u8]>,
    /// How many options the lines of `Connection` have.
    options: usize,
    /// `Connection: close`.
    close: bool,
    /// `Connection: keep-alive`.
    keep_alive: bool,
    /// `Connection: upgrade`.
    names_upgrade: bool,
    /// `Upgrade`, whatever it says.
    upgrade: bool,
    /// `Expect: 100-continue`.
    continues: bool,
    /// `TE: trailers`.
    trailers: bool,
}

impl<'h> Said<'h> {
    fn by(headers: &'h HeaderMap) -> Result<Self, Rejection> {
        let mut said = Self::default();
        for (name, value) in headers {
            let value = value.as_bytes();
            match name.as_str() {
                "connection" => said.options(value)?,
                "content-length" => only(&mut said.length, value, TWO_LENGTHS)?,
                "expect" => said.continues |= has_member(value, b"100-continue"),
                "te" => said.trailers |= has_member(value, b"trailers"),
                "transfer-encoding" => only(&mut said.coding, value, TWO_CODINGS)?,
                "upgrade" => said.upgrade = true,
                _ => {}
            }
        }
        Ok(said)
    }

    /// One line of `Connection`.
    fn options(&mut self, line: &[u8]) -> Result<(), Rejection> {
        self.options += members(line);
        if self.options > MOST_OPTIONS {
            return Err(Rejection::MalformedRequest("the Connection has too many options"));
        }
        self.close |= has_member(line, b"close");
        self.keep_alive |= has_member(line, b"keep-alive");
        self.names_upgrade |= has_member(line, b"upgrade");
        Ok(())
    }

    /// How the end of the body is found, if there is only one way to find it (RFC 9112 §6.3). Both
    /// framing fields at once, a list of either, or a coding that is not `chunked` alone is how
    /// requests are smuggled.
    fn framing(&self, version: Version) -> Result<Left, Rejection> {
        match (self.coding, self.length) {
            (None, None) => Ok(Left::NOTHING),
            (None, Some(length)) => content_length(length),
            (Some(_), Some(_)) => Err(Rejection::MalformedRequest(
                "the request has both Content-Length and Transfer-Encoding",
            )),
            (Some(_), None) if version == Version::HTTP_10 => {
                Err(Rejection::MalformedRequest("HTTP/1.0 has no Transfer-Encoding"))
            }
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Left::Chunks(Chunks::NEW))
            }
            (Some(_), None) => {
                Err(Rejection::MalformedRequest("the Transfer-Encoding is not `chunked`"))
            }
        }
    }
}

/// Notes a field that may come once.
fn only<'h>(
    noted: &mut Option<&'h [u8]>,
    value: &'h [u8],
    twice: &'static str,
) -> Result<(), Rejection> {
    match noted.replace(value) {
        None => Ok(()),
        Some(_) => Err(Rejection::MalformedRequest(twice)),
    }
}

/// The target as it was written. A fragment is no part of one (RFC 9110 §4.2.5): whoever drops it
/// sees another target than whoever does not.
fn target(text: &Bytes, written: &str) -> Result<Uri, Rejection> {
    if written.contains('#') {
        return Err(Rejection::MalformedRequest("the target has a fragment"));
    }
    Uri::from_maybe_shared(text.slice_ref(written.as_bytes())).map_err(|_| {
        match written.len() > LONGEST_URI {
            true => Rejection::RequestTooLarge(TooLarge::Target),
            false => Rejection::MalformedRequest("the target is not a URI"),
        }
    })
}

/// Digits and nothing else (RFC 9110 §8.6).
fn content_length(written: &[u8]) -> Result<Left, Rejection> {
    let plain = !written.is_empty() && written.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(written).ok().filter(|_| plain);
    let length = digits.and_then(|digits| digits.parse().ok());
    length
        .map(Left::Length)
        .ok_or(Rejection::MalformedRequest("the Content-Length is not a number of bytes"))
}

/// Refuses early what will never be a head, so that nobody waits for its end. The beginning of a
/// long one says enough: looking at all of it whenever a byte comes would take the square of time.
fn check_beginning(input: &[u8], limits: &Limits) -> Result<(), Rejection> {
    if input.len() > limits.header_bytes {
        return Err(too_large(input, limits));
    }
    let beginning = &input[..input.len().min(BEGINNING)];
    let mut lines = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    let mut head = httparse::Request::new(&mut []);
    let parsed =
        ParserConfig::default().parse_request_with_uninit_headers(&mut head, beginning, &mut lines);
    match parsed {
        Ok(Status::Partial) => Ok(()),
        // Many short fields; the limit is looked at when all of them are there.
        Err(httparse::Error::TooManyHeaders) if limits.headers > USUAL_FIELDS => Ok(()),
        Err(error) => Err(malformed(error)),
        Ok(_) => Err(LINE_ENDS),
    }
}

fn too_large(input: &[u8], limits: &Limits) -> Rejection {
    let most = input.len().min(limits.header_bytes).min(LONGEST_LINE);
    let in_first_line = memchr::memchr(b'\n', &input[..most]).is_none();
    Rejection::RequestTooLarge(if in_first_line { TooLarge::Target } else { TooLarge::Fields })
}

fn malformed(error: httparse::Error) -> Rejection {
    match error {
        httparse::Error::TooManyHeaders => Rejection::RequestTooLarge(TooLarge::Fields),
        httparse::Error::HeaderName | httparse::Error::HeaderValue => FIELD,
        httparse::Error::NewLine => LINE_ENDS,
        httparse::Error::Version => {
            Rejection::MalformedRequest("the version is not HTTP/1.0 or HTTP/1.1")
        }
        httparse::Error::Token | httparse::Error::Status => {
            Rejection::MalformedRequest("the request line is not valid")
        }
    }
}

const TWO_CODINGS: &str = "the request has more than one Transfer-Encoding";
const TWO_LENGTHS: &str = "the request has more than one Content-Length";
const FIELD: Rejection = Rejection::MalformedRequest("a field line is not valid");
/// A line feed without a carriage return ends a line for some recipients and not for others.
const LINE_ENDS: Rejection = Rejection::MalformedRequest("a line does not end with CR and LF");
/// Empty lines that may come in front of a request.
const MOST_EMPTY: usize = 4;
/// Field lines that are parsed without an allocation.
const USUAL_FIELDS: usize = 100;
/// Bytes: what the type for targets can hold.
const LONGEST_URI: usize = 65_534;
/// Bytes: a request line that is longer is too long, whatever the limit for heads.
const LONGEST_LINE: usize = 17 << 10;
/// Bytes.
const BEGINNING: usize = 2 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(text: &str) -> Result<Option<Head>, Rejection> {
        Head::take(&mut BytesMut::from(text), &Limits::default())
    }

    fn with(fields: &str) -> Result<Option<Head>, Rejection> {
        take(&format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n"))
    }

    #[test]
    fn a_head_is_taken_when_it_is_complete_and_the_rest_stays() {
        let text = "\r\nGET /a?b HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-A: \t2 \r\n\r\nrest";
        let mut input = BytesMut::from(text);
        let head = Head::take(&mut input, &Limits::default()).unwrap().unwrap();
        assert_eq!((&head.parts.method, head.parts.uri.to_string()), (&Method::GET, "/a?b".into()));
        assert_eq!((head.parts.version, &input[..]), (Version::HTTP_11, &b"rest"[..]));
        let lines = head.parts.headers.get_all("x-a").iter();
        assert_eq!(lines.collect::<Vec<_>>(), ["1", "2"]);
        for end in 0..text.len() - "rest".len() {
            assert!(take(&text[..end]).unwrap().is_none(), "{end}");
        }
    }

    /// SM-01 to SM-04: one way to find the end of the body, or none.
    #[test]
    fn framing_that_can_be_read_in_two_ways_is_refused() {
        let body = |fields| with(fields).unwrap().unwrap().body;
        assert_eq!(body("x: y"), Left::NOTHING);
        assert_eq!(body("content-length: 5"), Left::Length(5));
        assert_eq!(body("Transfer-Encoding: Chunked"), Left::Chunks(Chunks::NEW));
        for fields in [
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 5",
            "content-length: 5\r\ncontent-length: 5",
            "content-length: 5, 5",
            "content-length: 5, 6",
            "content-length: +5",
            "content-length: -5",
            "content-length: 0x5",
            "content-length: 5 5",
            "content-length:",
            "content-length: 99999999999999999999",
            "content-length: \u{665}",
            "transfer-encoding: gzip",
            "transfer-encoding: chunked, identity",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: xchunked",
            "transfer-encoding: \"chunked\"",
            "transfer-encoding: chunked;a=b",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding:",
            "transfer-encoding: \u{b}chunked",
        ] {
            assert!(with(fields).is_err(), "{fields:?}");
        }
        let old = "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(take(old).is_err());
    }

    /// SM-05, SM-06, SM-08, PA-09: refused as soon as it can be told.
    #[test]
    fn what_is_no_head_by_the_letter_is_refused() {
        for text in [
            "GET / HTTP/1.1\nhost: a\n\n",
            "GET / HTTP/1.1\nhost: a",
            "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n",
            "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
            "GET / HTTP/1.1\r\n host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\0\r\n\r\n",
            "GET / HTTP/1.1\r\nho st: a\r\n\r\n",
            "GET / HTTP/1.1\r\n: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /  HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / http/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
            "GET / HTTP/9.9\r\nhost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        ] {
            assert!(take(text).is_err(), "{text:?}");
        }
    }

    /// HP-23.
    #[test]
    fn heads_are_bounded_in_bytes_and_in_lines() {
        let limits = Limits { header_bytes: 8192, headers: 150, ..Limits::default() };
        let why = |text: String| match Head::take(&mut BytesMut::from(&*text), &limits) {
            Err(Rejection::RequestTooLarge(what)) => Some(what),
            Err(_) | Ok(_) => None,
        };
        let long = "y".repeat(8192);
        let fields = |count| "x: y\r\n".repeat(count);
        assert_eq!(why(format!("GET /{long} HTTP/1.1\r\n\r\n")), Some(TooLarge::Target));
        assert_eq!(why(format!("GET /{long}")), Some(TooLarge::Target));
        assert_eq!(why(format!("GET / HTTP/1.1\r\nx: {long}")), Some(TooLarge::Fields));
        assert_eq!(why(format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n")), Some(TooLarge::Fields));
        assert_eq!(why(format!("GET / HTTP/1.1\r\n{}\r\n", fields(151))), Some(TooLarge::Fields));
        assert_eq!(why(format!("GET / HTTP/1.1\r\n{}\r\n", fields(150))), None);
        assert_eq!(why(format!("GET / HTTP/1.1\r\n{}", fields(120))), None);
    }

    #[test]
    fn connections_that_close_are_known() {
        let keeps = |version: &str, fields: &str| {
            let text = format!("GET / HTTP/{version}\r\nhost: a\r\n{fields}\r\n\r\n");
            take(&text).unwrap().unwrap().keeps_alive
        };
        assert!(keeps("1.1", "connection: x-a"));
        assert!(!keeps("1.1", "connection: x-a\r\nconnection: x-b, Close"));
        assert!(!keeps("1.0", "x: y"));
        assert!(keeps("1.0", "connection: Keep-Alive"));
    }

    /// Field lines that frame a body, or look as if, and some that do not.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let names = prop::sample::select(vec![
            "Content-Length",
            "content-length",
            "Transfer-Encoding",
            "TRANSFER-ENCODING",
            "X",
            "Content_Length",
            "Transfer-Encoding ",
            " Content-Length",
            "Content-Length\0",
            "",
        ]);
        let values = prop::sample::select(vec![
            "5",
            "0",
            "05",
            "+5",
            "5, 5",
            "0x5",
            "5 5",
            "",
            "18446744073709551616",
            "chunked",
            "Chunked",
            "chunked, chunked",
            "gzip, chunked",
            "chunked;q=1",
            "\"chunked\"",
            "identity",
        ]);
        let ends =
            prop_oneof![30 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\n ")];
        let between =
            prop_oneof![20 => Just(": "), 2 => Just(":"), 2 => Just(":\t"), 1 => Just(" : ")];
        let line = (names, between, values, ends).prop_map(|(name, between, value, end)| {
            [name, between, value, end].concat().into_bytes()
        });
        let junk = prop::collection::vec(any::<u8>(), 0..6);
        let lines = prop::collection::vec(prop_oneof![12 => line, 1 => junk], 0..4);
        lines.prop_map(|lines| lines.concat())
    }

    /// The framing of a head, if there is no doubt about it.
    fn undoubted(head: &[u8]) -> Option<Left> {
        let text = head.strip_suffix(b"\r\n\r\n")?;
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let (mut coding, mut length) = (Vec::new(), Vec::new());
        for (index, line) in lines.iter().enumerate().skip(1) {
            let is_last = index + 1 == lines.len();
            let line = if is_last { line } else { line.strip_suffix(b"\r")? };
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = line[..colon].to_ascii_lowercase();
            let value = line[colon + 1..].trim_ascii().to_ascii_lowercase();
            match &*name {
                b"content-length" => length.push(value),
                b"transfer-encoding" => coding.push(value),
                _ => {}
            }
        }
        match (&coding[..], &length[..]) {
            ([], []) => Some(Left::NOTHING),
            ([], [one]) if one.iter().all(u8::is_ascii_digit) => {
                Some(Left::Length(std::str::from_utf8(one).ok()?.parse().ok()?))
            }
            ([one], []) if one == b"chunked" => Some(Left::Chunks(Chunks::NEW)),
            _ => None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// SM-01 to SM-06: a head that is taken has one framing, and it is the one that is seen by
        /// whoever splits it into lines.
        #[test]
        fn a_head_that_is_taken_has_exactly_one_framing(fields in lines()) {
            let text = [b"POST / HTTP/1.1\r\nhost: a\r\n".as_slice(), &fields, b"\r\n"].concat();
            let mut input = BytesMut::from(&*text);
            if let Ok(Some(head)) = Head::take(&mut input, &Limits::default()) {
                let taken = &text[..text.len() - input.len()];
                prop_assert_eq!(Some(head.body), undoubted(taken), "{}", taken.escape_ascii());
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in prop::collection::vec(any::<u8>(), 0..120)) {
            let mut input = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
            input.extend_from_slice(&text);
            drop(Head::take(&mut input, &Limits::default()));
        }
    }
}
