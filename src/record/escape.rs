//! Text of clients in logs: it neither breaks a line nor paints a terminal (CWE-117).

use std::fmt;
use std::io::Write as _;

/// Text without characters that are not seen but do something.
pub(super) struct Printable<'t>(pub(super) &'t str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String =
            self.0.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect();
        f.pad(&text)
    }
}

/// Appends what stands between the quotes of a JSON text. Beyond what JSON asks for, the other
/// control characters are escaped: U+009B alone begins a command to a terminal.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    // Without an early exit, the compiler looks at many bytes at once.
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        return out.extend_from_slice(text.as_bytes());
    }
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            hidden if is_hidden(hidden) => push_code(out, hidden),
            plain => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn is_plain(byte: u8) -> bool {
    (b' '..DELETE).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

fn push_code(out: &mut Vec<u8>, character: char) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "\\u{:04x}", u32::from(character));
}

/// Control characters, characters without width, separators of lines, and those that turn the
/// direction of reading. All are of the first plane.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

const DELETE: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;

    /// OB-02.
    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(Printable("a\u{1b}[31m\r\nb").to_string(), "a\u{fffd}[31m\u{fffd}\u{fffd}b");
        assert_eq!(Printable("J\u{fc}rgen O\u{2019}Neil").to_string(), "J\u{fc}rgen O\u{2019}Neil");
    }

    #[test]
    fn json_reads_back_as_it_was() {
        let text =
            "a\"\\\r\n\t\u{0}\u{8}\u{1b}\u{7f}\u{9b}31m\u{202e}\u{2066}\u{feff} \u{fc}\u{1f600}";
        let mut written = vec![b'"'];
        push_escaped(&mut written, text);
        written.push(b'"');
        let written = String::from_utf8(written).unwrap();
        assert!(!written.chars().any(is_hidden), "{written}");
        assert!(written.contains("\\u009b31m") && written.contains("\u{fc}\u{1f600}"));
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}
