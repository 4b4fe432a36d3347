//! Text of clients in logs: it neither breaks a line nor paints a terminal (CWE-117).

use std::{fmt, io};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Text without characters that are not seen but do something.
pub(super) struct Printable<'t>(pub(super) &'t str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String =
            self.0.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect();
        f.pad(&text)
    }
}

/// A value as JSON on one line. Beyond what JSON asks for, the other control characters are
/// escaped: U+009B alone begins a command to a terminal.
pub(super) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    // Writing to a Vec cannot fail, and keys are text.
    drop(value.serialize(&mut Serializer::with_formatter(&mut text, Escaping)));
    text
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if fragment.bytes().all(|byte| byte < DELETE) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            match character {
                hidden if is_hidden(hidden) => write!(writer, "\\u{:04x}", u32::from(hidden))?,
                plain => write!(writer, "{plain}")?,
            }
        }
        Ok(())
    }
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
        let text = "a\"\\\r\n\u{1b}\u{7f}\u{9b}31m\u{202e}\u{2066}\u{feff} \u{fc}\u{1f600}";
        let written = String::from_utf8(to_json(&text)).unwrap();
        assert!(!written.chars().any(is_hidden), "{written}");
        assert!(written.contains("\\u009b31m") && written.contains("\u{fc}\u{1f600}"));
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}
