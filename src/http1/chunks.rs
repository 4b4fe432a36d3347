//! Reading a body in chunks (RFC 9112 §7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::{Invalid, fields};

/// A body in chunks, as far as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    at: At,
    /// Bytes of the chunks' lines beyond what chunks of a fair size need.
    excess: usize,
}

/// Where in it the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
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
    /// A body of which nothing was read.
    pub(crate) const NEW: Self = Self { at: At::Size, excess: 0 };

    /// Whether all of it was read, trailers included.
    pub(crate) fn is_done(self) -> bool {
        self.at == At::Done
    }

    /// Takes what comes next from the input.
    ///
    /// # Errors
    /// `Invalid`; the connection must not be used any further.
    pub(crate) fn read(&mut self, input: &mut BytesMut) -> Result<Read, Invalid> {
        loop {
            match self.at {
                At::Size => match line(input)? {
                    Some(line) => self.begin(&line)?,
                    None => return Ok(Read::More),
                },
                At::Data(_) if input.is_empty() => return Ok(Read::More),
                At::Data(left) => return Ok(Read::Data(self.take(input, left))),
                At::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.at = At::Size;
                    }
                    Some(_) => return Err(Invalid),
                    None => return Ok(Read::More),
                },
                At::Trailers => return self.trailers(input),
                At::Done => return Ok(Read::End),
            }
        }
    }

    /// Begins a chunk. Extensions mean nothing to anyone here and are counted by no limit for bodies:
    /// without a bound of their own, kilobytes of a body would cost megabytes of reading (RFC 9112
    /// §7.1.1).
    fn begin(&mut self, line: &[u8]) -> Result<(), Invalid> {
        let size = size(line)?;
        let fair = FAIR_LINE.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        self.excess = (self.excess + line.len()).saturating_sub(fair);
        if self.excess > MOST_EXCESS {
            return Err(Invalid);
        }
        self.at = if size == 0 { At::Trailers } else { At::Data(size) };
        Ok(())
    }

    fn take(&mut self, input: &mut BytesMut, left: u64) -> Bytes {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let rest = left - count as u64;
        self.at = if rest == 0 { At::DataEnd } else { At::Data(rest) };
        input.split_to(count).freeze()
    }

    fn trailers(&mut self, input: &mut BytesMut) -> Result<Read, Invalid> {
        if input.starts_with(b"\r\n") {
            input.advance(2);
            self.at = At::Done;
            return Ok(Read::End);
        }
        let Some(end) = fields::end_of(input)? else {
            let too_long = input.len() > MOST_TRAILERS;
            return if too_long { Err(Invalid) } else { Ok(Read::More) };
        };
        let trailers = fields::parse(&input.split_to(end).freeze())?;
        self.at = At::Done;
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

/// The size that the line of a chunk says.
fn size(line: &[u8]) -> Result<u64, Invalid> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extensions) = line.split_at(digits);
    let plain = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    let extended = extensions.trim_ascii_start().first().is_none_or(|first| *first == b';');
    if !(1..=MOST_DIGITS).contains(&digits.len()) || !extended || !extensions.iter().all(plain) {
        return Err(Invalid);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| Invalid)?;
    u64::from_str_radix(digits, 16).map_err(|_| Invalid)
}

/// Bytes: more than a size with its extensions needs.
const MOST_LINE: usize = 4 << 10;
/// Bytes.
const MOST_TRAILERS: usize = 16 << 10;
const MOST_DIGITS: usize = 15;
/// Bytes of a chunk's line that count against nothing, beside one for each byte of the chunk.
const FAIR_LINE: usize = 16;
/// Bytes of lines beyond that in a whole body.
const MOST_EXCESS: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a body that comes in the given pieces: its data, its trailers, and what lies behind.
    fn read(pieces: &[&[u8]]) -> Result<(String, Option<HeaderMap>, String), Invalid> {
        let (mut chunks, mut input) = (Chunks::NEW, BytesMut::new());
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

    /// Long extensions are read where they are few, or where there is much else.
    #[test]
    fn extensions_are_bounded_in_all() {
        let chunk = |data: usize, extension: usize| {
            format!("{data:x};{}\r\n{}\r\n", "e".repeat(extension), "d".repeat(data))
        };
        let body = |count: usize, chunk: String| chunk.repeat(count) + "0\r\n\r\n";
        for good in
            [body(4, chunk(1, 4_000)), body(2_000, chunk(1, 10)), body(50, chunk(4_000, 4_000))]
        {
            assert!(read(&[good.as_bytes()]).is_ok());
        }
        for bad in
            [body(5, chunk(1, 4_000)), body(2_000, chunk(1, 100)), body(50, chunk(2_000, 4_000))]
        {
            assert_eq!(read(&[bad.as_bytes()]).err(), Some(Invalid));
        }
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
