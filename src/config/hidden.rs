//! What no message shows of a configuration: passwords and queries in URLs, and the values of keys
//! that hold secrets.
//!
//! A message quotes what is wrong and the line that it is on, and both end in terminals, logs of
//! pipelines and reports of defects. So it is not left to each message: [`conceal`] does it for the
//! lines of files, before anything is known of what they mean, since a file that is no YAML is shown
//! too; [`value`] for what is quoted of a value; [`prose`] for every sentence. They hide too much
//! rather than too little: the place of a problem is shown beside it.

use std::ops::Range;

use super::language::SECTIONS;
use super::suggest::nearest;

/// Makes all secrets in a file unreadable. Every byte keeps its place.
pub(super) fn conceal(text: &mut String) {
    let mut spans = Vec::new();
    urls(text, Text::File, &mut spans);
    accounts(text, &mut spans);
    keyed(text, &mut spans);
    private_keys(text, &mut spans);
    for span in spans {
        star(text, span);
    }
}

/// Makes a span of a file unreadable; lines stay lines.
pub(super) fn star(text: &mut String, span: Range<usize>) {
    let Some(within) = text.get(span.clone()) else { return };
    let stars: String = within
        .bytes()
        .map(|byte| if matches!(byte, b'\n' | b'\r') { char::from(byte) } else { '*' })
        .collect();
    text.replace_range(span, &stars);
}

/// A value as messages may quote it.
pub(super) fn value(text: &str) -> String {
    let mut spans = Vec::new();
    urls(text, Text::Value, &mut spans);
    accounts(text, &mut spans);
    keyed(text, &mut spans);
    private_keys(text, &mut spans);
    elide(text, spans)
}

/// A sentence without the secrets of the URLs in it.
pub(crate) fn prose(text: &str) -> String {
    let mut spans = Vec::new();
    urls(text, Text::Prose, &mut spans);
    accounts(text, &mut spans);
    private_keys(text, &mut spans);
    elide(text, spans)
}

fn elide(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_by_key(|span| (span.start, span.end));
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for span in spans.into_iter().filter(|span| !span.is_empty()) {
        if span.start >= done {
            out.push_str(text.get(done..span.start).unwrap_or_default());
            out.push_str(HIDDEN);
        }
        done = done.max(span.end);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// What a URL stands in, and so where it may end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    /// Lines of YAML. A password may hold blanks.
    File,
    /// Nothing else.
    Value,
    /// Words.
    Prose,
}

impl Text {
    fn end_of_url(self, rest: &str) -> usize {
        let end = match self {
            Self::Value => None,
            Self::Prose => rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`')),
            Self::File => {
                let line = rest.find(['\n', '\r', '"', '\'']);
                let before = &rest[..line.unwrap_or(rest.len())];
                [" #", ", ", " }", " ]"]
                    .into_iter()
                    .filter_map(|end| before.find(end))
                    .min()
                    .or(line)
            }
        };
        end.unwrap_or(rest.len())
    }
}

/// The user, query and fragment of each URL. A password may hold any character, so that it ends at
/// the last `@`, wherever a parser would end it.
fn urls(text: &str, kind: Text, spans: &mut Vec<Range<usize>>) {
    for (at, scheme) in text.match_indices("://") {
        let start = at + scheme.len();
        let rest = &text[start..];
        let url = &rest[..kind.end_of_url(rest)];
        let user = url.rfind('@').unwrap_or_default();
        spans.push(start..start + user);
        if let Some(query) = url[user..].find(['?', '#']) {
            spans.push(start + user + query + 1..start + url.trim_end().len());
        }
    }
}

/// `user:password@` without a scheme before it.
fn accounts(text: &str, spans: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices('@') {
        let begins = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '{' | '[');
        let start = text[..at].rfind(begins).map_or(0, |found| found + 1);
        if text.get(start..at).is_some_and(|account| account.contains(':')) {
            let scheme = text[start..at].find("://").map_or(0, |found| found + "://".len());
            spans.push(start + scheme..at);
        }
    }
}

/// What stands between the marks of a private key, as it is or on one line.
fn private_keys(text: &str, spans: &mut Vec<Range<usize>>) {
    for (at, mark) in text.match_indices("PRIVATE KEY-----") {
        let start = at + mark.len();
        let end = text[start..].find("-----END").unwrap_or(text.len() - start);
        spans.push(start..start + end);
    }
}

/// The values of keys that hold secrets, line by line: what is shown need not be YAML.
fn keyed(text: &str, spans: &mut Vec<Range<usize>>) {
    let mut held: Option<Held> = None;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let (start, bare) = (offset, line.trim_end());
        offset += line.len();
        if bare.trim_start().is_empty() {
            continue;
        }
        let indent = bare.len() - bare.trim_start().len();
        let goes_on = held.take().filter(|held| indent > held.column && held.holds(bare));
        if let Some(goes_on) = goes_on {
            spans.push(start + indent..start + bare.len());
            held = Some(Held { is_begun: true, ..goes_on });
            continue;
        }
        for key in keys(bare) {
            let (value, more) = key.value(bare);
            spans.push(start + value.start..start + value.end);
            held = more.then_some(Held { column: key.column, is_begun: !value.is_empty() });
        }
    }
}

/// A value that may go on in the lines below, if they are indented by more than its key.
struct Held {
    column: usize,
    is_begun: bool,
}

impl Held {
    /// A mapping below is no value of its own: its keys are looked at one by one.
    fn holds(&self, line: &str) -> bool {
        self.is_begun || !(line.contains(": ") || line.ends_with(':'))
    }
}

/// A key that holds a secret.
struct Key {
    column: usize,
    /// Where the separator ends.
    end: usize,
    is_in_flow: bool,
    is_comment: bool,
    /// Whether it is one of the language, or nearly: then a list or mapping is hidden too.
    is_known: bool,
}

fn keys(line: &str) -> Vec<Key> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut keys = Vec::new();
    let mut from = 0;
    while let Some(start) = line[from..].find(is_word).map(|found| from + found) {
        let length = line[start..].find(|c| !is_word(c)).unwrap_or(line.len() - start);
        from = start + length;
        keys.extend(key(line, start..from));
    }
    keys
}

/// The key whose name stands at `word`, if it is one of a secret.
fn key(line: &str, word: Range<usize>) -> Option<Key> {
    let before = line[..word.start].trim_end_matches(['"', '\'']).trim_end();
    let is_first = before.chars().all(|c| matches!(c, ' ' | '\t' | '-' | '#' | '?'));
    let is_in_flow = before.ends_with(['{', ',', '[', '(']);
    let name = &line[word.clone()];
    if !(is_first || is_in_flow) || !is_secret(name) {
        return None;
    }
    let is_known = is_known(name);
    let behind = line[word.end..].trim_start_matches(['"', '\'']);
    let end = line.len() - behind.trim_start().len();
    // A scope may be called `secret:read`; nothing is called `client_secret:...`.
    let is_close = is_first || (is_known && name != "secret");
    let end = match line[end..].chars().next()? {
        ':' | '=' if is_close || line[end + 1..].starts_with([' ', '\t']) => end + 1,
        ':' | '=' if end + 1 == line.len() => end + 1,
        _ if is_first && is_known && behind.starts_with([' ', '\t']) => end,
        _ => return None,
    };
    let is_comment = before.contains('#');
    Some(Key { column: word.start, end, is_in_flow, is_comment, is_known })
}

impl Key {
    /// Where its value is on the line, and whether it may go on below.
    fn value(&self, line: &str) -> (Range<usize>, bool) {
        let rest = &line[self.end..];
        let start = self.end + (rest.len() - rest.trim_start().len());
        let written = &line[start..];
        let more = !self.is_comment && !self.is_in_flow;
        let length = match written.chars().next() {
            None | Some('#') => return (start..start, more),
            Some('{' | '[') if !self.is_known => return (start..start, false),
            Some('{' | '[') => written.len(),
            Some(quote @ ('"' | '\'')) => closed(written, quote).unwrap_or(written.len()),
            Some(_) => variable(written),
        };
        let behind = &written[length..];
        let end = if self.is_in_flow { behind.find([',', '}', ']']) } else { behind.find(" #") };
        let hidden = written[..length + end.unwrap_or(behind.len())].trim_end();
        (shown(hidden, start), more)
    }
}

/// The length of a quoted text with its quotes, if it ends here.
fn closed(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            '\'' if quote == '\'' && text[at + 1..].starts_with('\'') => drop(chars.next()),
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// What of a value is hidden: not a variable that says where the secret is, but
/// its default.
fn shown(written: &str, start: usize) -> Range<usize> {
    let bare = written.trim_matches(['"', '\'']);
    let is_one = !bare.is_empty() && variable(bare) == bare.len();
    match written.find(":-").filter(|_| is_one) {
        Some(default) => start + default + 2..start + written.rfind('}').unwrap_or(written.len()),
        None if is_one => start..start,
        None => start..start + written.len(),
    }
}

/// The length of the variable that a text begins with.
fn variable(text: &str) -> usize {
    let Some(inner) = text.strip_prefix("${") else { return 0 };
    let Some(end) = inner.find('}') else { return 0 };
    let name = inner[..end].split(":-").next().unwrap_or_default();
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_place = name.starts_with("file:/") || name.starts_with("cred:");
    if is_place || is_name(name) { "${".len() + end + 1 } else { 0 }
}

/// Whether messages hide what is written under a key.
pub(super) fn is_secret(key: &str) -> bool {
    is_known(key) || sounds_secret(key)
}

/// A key that holds a secret, or one that was to be it.
fn is_known(name: &str) -> bool {
    KEYS.contains(&name) || (!is_of_the_language(name) && nearest(name, KEYS).is_some())
}

/// A key of something else, which the language does not know, or a name that people chose.
fn sounds_secret(name: &str) -> bool {
    let folded: String = name.to_ascii_lowercase().replace(['-', '.'], "_");
    let ends = ["_token", "api_key", "apikey", "private_key"];
    !is_of_the_language(name)
        && (["secret", "passw", "passphrase", "credential"].iter().any(|w| folded.contains(w))
            || ends.iter().any(|word| folded.ends_with(word)))
}

fn is_of_the_language(name: &str) -> bool {
    SECTIONS.iter().any(|section| section.key(name).is_some())
}

/// The keys whose values are secrets, and what people write for them.
const KEYS: [&str; 4] = ["client_secret", "secret", "client_key", "password"];

/// What stands in their place.
pub(super) const HIDDEN: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn concealed(text: &str) -> String {
        let mut text = text.to_owned();
        conceal(&mut text);
        text
    }

    #[test]
    fn urls_lose_their_users_and_queries() {
        for (text, expected) in [
            ("`http://u:s3cret@h` has a user", "`http://***@h` has a user"),
            ("https://s3cret@h/x", "https://***@h/x"),
            ("http://u:s3/c@ret@h:80/x?a=s3cret is", "http://***@h:80/x?*** is"),
            ("`u:s3cret@h:80`", "`***@h:80`"),
            ("`https://h/#s3cret`", "`https://h/#***`"),
            ("`https://h/x` and `http://host:port`", "`https://h/x` and `http://host:port`"),
            (
                "the key -----BEGIN PRIVATE KEY-----\ns3cret\n",
                "the key -----BEGIN PRIVATE KEY-----***",
            ),
            ("a@b.example and `a: b`", "a@b.example and `a: b`"),
        ] {
            assert_eq!(prose(text), expected);
        }
        assert_eq!(value("http://u:s3 cr\"et@h/?a b"), "http://***@h/?***");
    }

    #[test]
    fn lines_of_files_lose_their_secrets_and_nothing_else() {
        for shown in [
            "client_secret: ${file:/run/secrets/x}",
            "{ client_secret: ${X}, client_id: a }",
            "client_secret_encoding: raw",
            "cors: { credentials: true }",
            "GET: { any: [secret:read, token:write] }",
            "limits: { token: 16KiB }",
            "/secret/**: { GET: a }",
            "client_id: gateway",
            "url: https://id.example.com/realms/a # ask ops@example.com",
            "secret-keepers: { targets: [http://a] }",
            "secret-keepers:\n  targets: [http://a]",
        ] {
            assert_eq!(concealed(shown), shown);
        }
        for text in [
            "client_secret: s3cret",
            "  - client_secret: s3cret",
            "client_secret: 's3cret'",
            "client_secret: 'x' s3cret",
            "client_secret: 'x # s3cret' # x",
            "{ client_secret: 'x' s3cret, a: b }",
            "client_secret: \"s3cret",
            "client_secret: |\n  x\n\n  s3cret\n  s3cret: s3cret",
            "client_secret: x\n  s3cret",
            "client_secret:\n  s3cret",
            "{ client_secret: s3cret, client_id: a }",
            "{ \"client_secret\": \"a, s3cret\" }",
            "{ client_secret:s3cret }",
            "client_secret:s3cret",
            "client_secret s3cret",
            "client_secret = s3cret",
            "client_secret: [s3cret]",
            "{ secret: { a: x, b: s3cret }, c: d }",
            "client_secrt: s3cret",
            "clientSecret: s3cret",
            "db-password: s3cret",
            "access_token: s3cret",
            "# client_secret: s3cret",
            "client_secret: ${X:-s3cret}",
            "client_secret: \"${X:-s3cret}\"",
            "client_secret: a${X}s3cret",
            "client_secret: ${s3cret!}",
            "upstream: http://u:s3cret@h:80 # x",
            "upstream: http://u:x s3cret@h:80",
            "targets: [http://a:1,http://u:s3cret@b]",
            "x: \"${X:-http://u:s3cret@h}\"",
            "x: https://h/?a=s3cret",
            "x: https://h/?a b=s3cret",
            "key: \"-----BEGIN EC PRIVATE KEY-----\\ns3cret\\n-----END\"",
        ] {
            let found = concealed(text);
            assert!(!found.contains("s3cret"), "{found}");
            assert_eq!(found.len(), text.len());
            assert_eq!(found.lines().count(), text.lines().count());
        }
        assert_eq!(
            concealed("secret: x # scopegate: allow A102"),
            "secret: * # scopegate: allow A102"
        );
        assert_eq!(concealed("{ secret: x, client_id: a }"), "{ secret: *, client_id: a }");
    }

    proptest! {
        /// Whatever a file holds, its lines and bytes keep their places.
        #[test]
        fn nothing_moves(text in "([a-z:@?#/ \"'{},$\u{e9}\n-]|client_secret: |https://){0,40}") {
            let found = concealed(&text);
            prop_assert_eq!(found.len(), text.len());
            prop_assert_eq!(found.lines().count(), text.lines().count());
            value(&text);
            prose(&text);
        }
    }
}
