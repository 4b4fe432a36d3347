//! Reading a body in chunks (RFC 9112 §7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::{Invalid, fields};

/// Where in a body with chunks the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// Before the line of a chunk.
    Size,
    /// Within a chunk, so many bytes before its end.
    Data(u64),
    /// Behind a chunk's bytes, before the end of the line.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
    /// Behind the blank line.
    Done,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Read {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// Nothing, before more of the input has come.
    More,
}

impl Chunks {
    /// Takes what comes next from the input.
    ///
    /// # Errors
    /// `Invalid`; the connection must not be used any further.
    pub(crate) fn read(&mut self, input: &mut BytesMut) -> Result<Read, Invalid> {
        loop {
            match *self {
                Self::Size => match line(input)? {
                    Some(line) => *self = size(&line)?,
                    None => return Ok(Read::More),
                },
                Self::Data(_) if input.is_empty() => return Ok(Read::More),
                Self::Data(left) => return Ok(Read::Data(self.take(input, left))),
                Self::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err(Invalid),
                    None => return Ok(Read::More),
                },
                Self::Trailers => return self.trailers(input),
                Self::Done => return Ok(Read::End),
            }
        }
    }

    fn take(&mut self, input: &mut BytesMut, left: u64) -> Bytes {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let rest = left - count as u64;
        *self = if rest == 0 { Self::DataEnd } else { Self::Data(rest) };
        input.split_to(count).freeze()
    }

    fn trailers(&mut self, input: &mut BytesMut) -> Result<Read, Invalid> {
        if input.starts_with(b"\r\n") {
            input.advance(2);
            *self = Self::Done;
            return Ok(Read::End);
        }
        let Some(end) = fields::end_of(input)? else {
            let too_long = input.len() > MOST_TRAILERS;
            return if too_long { Err(Invalid) } else { Ok(Read::More) };
        };
        let trailers = fields::parse(&input.split_to(end).freeze())?;
        *self = Self::Done;
        Ok(Read::Trailers(trailers))
    }
}

/// A line without its end; `None` before that has come.
fn line(input: &mut BytesMut) -> Result<Option<Bytes>, Invalid> {
    let Some(end) = input.iter().take(MOST_LINE).position(|byte| *byte == b'\n') else {
        return if input.len() < MOST_LINE { Ok(None) } else { Err(Invalid) };
    };
    let line = input.split_to(end + 1).freeze();
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.contains(&b'\r') => Ok(Some(line.slice(..end - 1))),
        Some(_) | None => Err(Invalid),
    }
}

/// What follows the line of a chunk. Its extensions mean nothing to anyone here.
fn size(line: &[u8]) -> Result<Chunks, Invalid> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extensions) = line.split_at(digits);
    let plain = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    let extended = extensions.trim_ascii_start().first().is_none_or(|first| *first == b';');
    if !(1..=MOST_DIGITS).contains(&digits.len()) || !extended || !extensions.iter().all(plain) {
        return Err(Invalid);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| Invalid)?;
    match u64::from_str_radix(digits, 16).map_err(|_| Invalid)? {
        0 => Ok(Chunks::Trailers),
        size => Ok(Chunks::Data(size)),
    }
}

/// Bytes: more than a size with its extensions needs.
const MOST_LINE: usize = 4 << 10;
/// Bytes.
const MOST_TRAILERS: usize = 16 << 10;
const MOST_DIGITS: usize = 15;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a body that comes in the given pieces: its data, its trailers, and what lies behind.
    fn read(pieces: &[&[u8]]) -> Result<(String, Option<HeaderMap>, String), Invalid> {
        let (mut chunks, mut input) = (Chunks::Size, BytesMut::new());
        let (mut data, mut trailers, mut pieces) = (Vec::new(), None, pieces.iter());
        loop {
            match chunks.read(&mut input)? {
                Read::Data(piece) => data.extend_from_slice(&piece),
                Read::Trailers(fields) => trailers = Some(fields),
                Read::More => input.extend_from_slice(pieces.next().ok_or(Invalid)?),
                Read::End => break,
            }
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&data), trailers, text(&input)))
    }

    #[test]
    fn data_and_trailers_are_read() {
        let (data, trailers, rest) =
            read(&[b"3\r\nabc\r\n00A ; x=\"1\"\r\n0123456789\r\n0\r\n\r\nx"]).unwrap();
        assert_eq!((&*data, trailers, &*rest), ("abc0123456789", None, "x"));
        let (data, trailers, _) = read(&[b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"]).unwrap();
        assert_eq!((&*data, &trailers.unwrap()["x-sum"]), ("a", &"1".parse().unwrap()));
    }

    /// SM-04, SM-11: sizes and lines that parsers disagree about.
    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for body in [
            "\r\n",
            "g\r\n",
            "0x1\r\na\r\n",
            "+1\r\na\r\n",
            "-1\r\na\r\n",
            " 1\r\na\r\n",
            "1\na\r\n0\r\n\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\nab\r\n0\r\n\r\n",
            "1 x\r\na\r\n",
            "1\r;\r\na\r\n",
            "1;\0\r\na\r\n",
            "1;a\rb\r\na\r\n",
            "fffffffffffffffff\r\na",
            "0\r\nX: 1\n\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\n X: 1\r\n\r\n",
        ] {
            assert_eq!(read(&[body.as_bytes()]).err(), Some(Invalid), "{body:?}");
        }
        let long = format!("1;{}", "x".repeat(MOST_LINE));
        assert_eq!(read(&[long.as_bytes()]).err(), Some(Invalid));
        let long = format!("0\r\nX: {}", "x".repeat(MOST_TRAILERS));
        assert_eq!(read(&[long.as_bytes()]).err(), Some(Invalid));
    }

    proptest! {
        /// However the network cuts a body, what is read is the same.
        #[test]
        fn pieces_do_not_matter(data in prop::collection::vec("[a-z\r\n]{1,40}", 0..6), cut in 1_usize..20) {
            let mut body: String =
                data.iter().map(|chunk| format!("{:X};x\r\n{chunk}\r\n", chunk.len())).collect();
            body.push_str("0\r\nX: 1\r\n\r\n");
            let pieces: Vec<&[u8]> = body.as_bytes().chunks(cut).collect();
            let (read, trailers, rest) = read(&pieces).unwrap();
            prop_assert_eq!((read, trailers.map(|fields| fields.len()), &*rest), (data.concat(), Some(1), ""));
        }

        #[test]
        fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(read(&[b"1\r\na\r\n", &body]));
        }
    }
}
