//! The canonical form of a path, or why there is none.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;

/// A path in its one canonical form.
#[derive(Debug)]
pub(super) struct Canonical {
    pub(super) path_and_query: PathAndQuery,
    pub(super) encoded_slash: bool,
    /// The path as a backend reads it that decodes what may stand for itself; `None` if that is the
    /// same.
    pub(super) decoded: Option<Arc<str>>,
}

/// Brings a path into canonical form: encoded unreserved characters decoded, hex digits in upper
/// case (RFC 3986 §6.2.2), all else as written.
///
/// # Errors
/// What makes the path ambiguous.
pub(super) fn canonical(written: &PathAndQuery) -> Result<Canonical, &'static str> {
    let path = written.path();
    if !path.contains('%') {
        check_characters(path)?;
        check_segments(path)?;
        let path_and_query = written.clone();
        return Ok(Canonical { path_and_query, encoded_slash: false, decoded: None });
    }
    let Decoded { path, encoded_slash, reserved } = decode(path)?;
    check_double_encoding(&path)?;
    check_segments(&path)?;
    if encoded_slash {
        check_segments(&path.replace("%2F", "/"))?;
    }
    let decoded = reserved.then(|| without_reserved(&path).into());
    let whole = match written.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    PathAndQuery::from_maybe_shared(Bytes::from(whole))
        .map(|path_and_query| Canonical { path_and_query, encoded_slash, decoded })
        .map_err(|_| "it holds characters that a path cannot have")
}

struct Decoded {
    path: String,
    encoded_slash: bool,
    /// Whether an escape stands for a character that may stand for itself, such as `%3A` for `:`.
    reserved: bool,
}

fn decode(path: &str) -> Result<Decoded, &'static str> {
    let mut out = String::with_capacity(path.len());
    let (mut encoded_slash, mut reserved) = (false, false);
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (plain, escapes) = rest.split_at(at);
        check_characters(plain)?;
        out.push_str(plain);
        let (bytes, behind) = escaped_run(escapes)?;
        encoded_slash |= bytes.contains(&b'/');
        check_decoded(&bytes)?;
        for byte in bytes {
            reserved |= is_reserved(byte);
            append(&mut out, byte);
        }
        rest = behind;
    }
    check_characters(rest)?;
    out.push_str(rest);
    Ok(Decoded { path: out, encoded_slash, reserved })
}

/// The bytes of the `%XX` triplets that `text` begins with, and what follows them.
fn escaped_run(text: &str) -> Result<(Vec<u8>, &str), &'static str> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(escape) = rest.strip_prefix('%') {
        let digits = escape.get(..2).filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()));
        let digits = digits.ok_or("it has a % that is not followed by two hex digits")?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| "it has a broken escape")?);
        rest = &escape[2..];
    }
    Ok((bytes, rest))
}

/// Refuses escapes that stand for what some backend would act upon.
fn check_decoded(bytes: &[u8]) -> Result<(), &'static str> {
    for byte in bytes {
        match byte {
            b'\\' => return Err("it has an encoded backslash"),
            b';' => return Err("it has an encoded semicolon"),
            b'?' | b'#' => return Err("it has an encoded ? or #"),
            _ => {}
        }
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "its escapes are not UTF-8")?;
    if text.chars().any(char::is_control) {
        return Err("it has an encoded control character");
    }
    Ok(())
}

/// `%25` followed by two hex digits would become an escape for whoever decodes twice. It is looked
/// for in the canonical form: there hex digits stand for themselves, however they were written.
fn check_double_encoding(canonical: &str) -> Result<(), &'static str> {
    let mut behind = canonical.split("%25").skip(1);
    let begins_escape = |text: &str| {
        let digits = text.bytes().take(2).take_while(u8::is_ascii_hexdigit);
        digits.count() == 2
    };
    if behind.any(begins_escape) { Err("it is encoded twice") } else { Ok(()) }
}

/// The path with escapes for `:`, `@` and the like decoded. They mean the same to most backends and
/// not to all (RFC 3986 §2.2), so that the backend gets them as they are.
fn without_reserved(canonical: &str) -> String {
    let mut out = String::with_capacity(canonical.len());
    let mut parts = canonical.split('%');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| is_reserved(*byte)) {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&part[2..]);
            }
            None => {
                out.push('%');
                out.push_str(part);
            }
        }
    }
    out
}

fn append(out: &mut String, byte: u8) {
    if is_unreserved(byte) {
        out.push(char::from(byte));
    } else {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        out.push('%');
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

fn check_characters(text: &str) -> Result<(), &'static str> {
    match text.bytes().find(|byte| !PLAIN[usize::from(*byte)]) {
        None => Ok(()),
        Some(b'\\') => Err("it has a backslash"),
        Some(b';') => Err("it has a semicolon"),
        Some(_) => Err("it holds characters that a path cannot have"),
    }
}

/// Refuses `.`, `..` and empty segments; the last segment may be empty.
fn check_segments(path: &str) -> Result<(), &'static str> {
    let bytes = path.as_bytes();
    if !bytes.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.')) {
        return Ok(());
    }
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err("it has a dot segment"),
            "" if segments.peek().is_some() => return Err("it has an empty segment"),
            _ => {}
        }
    }
    Ok(())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What may stand for itself in a segment, and does not mean the same as its escape.
fn is_reserved(byte: u8) -> bool {
    PLAIN[usize::from(byte)] && !is_unreserved(byte) && byte != b'/'
}

/// The characters of a path that stand for themselves: `pchar` and `/` (RFC 3986 §3.3), without
/// `;`, which some backends take for the start of parameters.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let allowed =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@/";
    let mut index = 0;
    while index < allowed.len() {
        plain[allowed[index] as usize] = true;
        index += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(path: &'static str) -> Result<String, &'static str> {
        let written = PathAndQuery::from_static(path);
        canonical(&written).map(|canonical| canonical.path_and_query.to_string())
    }

    /// PA-02 to PA-05, PA-07 to PA-09; bypasses 1, 2, 4, 5, 8, 11.
    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        let corpus = [
            "/a/../admin",
            "/a/./b",
            "/%2e%2e/admin",
            "/.%2E/x",
            "/a/..",
            "/..",
            "/.",
            "/a%5cb",
            "/a\\..\\admin",
            "/%252e%252e/admin",
            "/%252fadmin",
            "/%25%32%65",
            "/%252%65%252%65/admin",
            "/%25%32e",
            "/%25%3%31",
            "/%252%46",
            "/%zz",
            "/%4",
            "/%",
            "/a%00",
            "/%0d%0a",
            "/%7f",
            "/%c0%ae",
            "/%ff",
            "/%C2%85",
            "//admin",
            "/a//b",
            "//evil.com/x",
            "/admin;x=1",
            "/public/..;/admin",
            "/admin%3b",
            "/a%3fb",
            "/a%23b",
            "/public%2f..%2fadmin",
            "/a%2f",
            "/%2f%2fadmin",
            "/a\"b",
            "/{a}",
            "/a|b",
        ];
        for path in corpus {
            let read = read(path);
            // A lone trailing %2F is an empty last segment, and stays opaque.
            if path == "/a%2f" {
                assert_eq!(read.as_deref(), Ok("/a%2F"));
            } else {
                assert!(read.is_err(), "{path} was read as {read:?}");
            }
        }
    }

    /// PA-06.
    #[test]
    fn unreserved_characters_are_decoded_and_hex_is_upper_case() {
        assert_eq!(read("/%61dmin").as_deref(), Ok("/admin"));
        assert_eq!(read("/%c3%a9?q=%c3").as_deref(), Ok("/%C3%A9?q=%c3"));
        assert_eq!(read("/100%25").as_deref(), Ok("/100%25"));
        assert_eq!(read("/a.b/...").as_deref(), Ok("/a.b/..."));
        assert_eq!(read("/").as_deref(), Ok("/"));
        assert_eq!(read("/a/").as_deref(), Ok("/a/"));
    }

    /// PA-03.
    #[test]
    fn encoded_slashes_stay_opaque_and_are_reported() {
        let written = PathAndQuery::from_static("/f/a%2fb");
        let read = canonical(&written).unwrap();
        assert!(read.encoded_slash);
        assert_eq!(read.path_and_query.path(), "/f/a%2Fb");
    }

    /// PA-01: another spelling of what may stand for itself is not another path to every backend.
    #[test]
    fn escapes_that_backends_may_decode_are_known() {
        let decoded = |path| {
            let written = PathAndQuery::from_static(path);
            canonical(&written).unwrap().decoded
        };
        assert_eq!(decoded("/me%3Adelete/%40%2bx").as_deref(), Some("/me:delete/@+x"));
        assert_eq!(decoded("/%C3%a9%3d/%25%20").as_deref(), Some("/%C3%A9=/%25%20"));
        for same in ["/me:delete", "/caf%C3%A9", "/%61", "/100%25", "/a%2fb", "/%20"] {
            assert_eq!(decoded(same), None, "{same}");
        }
        assert_eq!(read("/me%3adelete").as_deref(), Ok("/me%3Adelete"));
    }

    proptest! {
        /// PA-01: reading what was forwarded gives what was authorised.
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(path in "/([ -~]|%[2-7][0-9a-fA-F]|%25|%|2|e){0,24}") {
            let Ok(written) = PathAndQuery::try_from(path) else { return Ok(()) };
            if let Ok(first) = canonical(&written) {
                let second = canonical(&first.path_and_query).expect("it was canonical");
                prop_assert_eq!(first.path_and_query, second.path_and_query);
            }
        }
    }
}
