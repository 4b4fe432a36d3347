//! Path patterns and templates: parsed here, matched and filled elsewhere.

use super::reading::Fault;
use super::{Pattern, Segment, Template, TemplatePart};

/// Reads `/orders/{id}`, `/orders/**` or `api.example.com/v1/**`.
///
/// A pattern is canonical itself: what the gateway refuses in a request's path cannot be written
/// in a pattern, so no pattern can look as if it covered more than it does.
///
/// # Errors
/// What is wrong with it, as a sentence without its subject.
pub(super) fn parse_pattern(text: &str) -> Result<Pattern, Fault> {
    let Some(slash) = text.find('/') else {
        return Err(bad("is no pattern", "a pattern begins with `/`, or with a host and `/`"));
    };
    let (host, path) = text.split_at(slash);
    let host = if host.is_empty() { None } else { Some(parse_host(host)?) };
    let segments = parse_segments(path)?;
    Ok(Pattern { text: text.to_owned(), host, segments })
}

fn parse_host(host: &str) -> Result<String, Fault> {
    if host.contains('*') {
        return Err(bad("has a wildcard host", "write the host out"));
    }
    if host.contains(':') {
        return Err(bad("has a port or scheme", "a host alone, such as `api.example.com/v1`"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let labels_ok = host.split('.').all(|label| !label.is_empty());
    if !host.chars().all(plain) || !labels_ok || host.len() > 253 {
        return Err(bad("has no valid host", "a path begins with `/`"));
    }
    Ok(host.to_ascii_lowercase())
}

fn parse_segments(path: &str) -> Result<Vec<Segment>, Fault> {
    let parts: Vec<&str> = path[1..].split('/').collect();
    if parts.len() > MAX_SEGMENTS {
        return Err(bad("has too many segments", "at most 128"));
    }
    let mut segments = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        if part.is_empty() && !last {
            return Err(bad("has an empty segment", "requests with `//` are refused"));
        }
        let segment = parse_segment(part)?;
        if segment == Segment::Rest && !last {
            return Err(bad("goes on behind `**`", "`**` is always the last segment"));
        }
        if matches!(segment, Segment::Param(_)) && segments.contains(&segment) {
            return Err(bad("has two parameters of one name", "each name stands for one segment"));
        }
        segments.push(segment);
    }
    if segments.iter().filter(|s| matches!(s, Segment::Param(_))).count() > MAX_PARAMS {
        return Err(bad("has too many parameters", "at most 8"));
    }
    Ok(segments)
}

fn parse_segment(part: &str) -> Result<Segment, Fault> {
    if part == "**" {
        return Ok(Segment::Rest);
    }
    if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        return parameter(name);
    }
    if part.contains('*') {
        return Err(bad("has a `*` in a segment", "write `{name}` for one segment, `**` for all"));
    }
    if part.contains(['{', '}']) {
        return Err(bad("has braces in a segment", "a parameter is a whole segment"));
    }
    parse_literal(part).map(Segment::Literal)
}

fn parameter(name: &str) -> Result<Segment, Fault> {
    if !is_identifier(name) {
        return Err(bad("has a parameter without a good name", "letters, digits and `_`"));
    }
    Ok(Segment::Param(name.to_owned()))
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A literal in the form that requests are brought into: what is not ASCII is percent-encoded
/// (RFC 3987 §3.1).
fn parse_literal(part: &str) -> Result<String, Fault> {
    if part == "." || part == ".." {
        return Err(bad("has a dot segment", "requests with `.` and `..` are refused"));
    }
    let mut literal = String::with_capacity(part.len());
    for c in part.chars() {
        match c {
            '%' => return Err(bad("has an encoded character", "write the character itself")),
            ';' | '\\' => return Err(bad("has `;` or `\\`", "requests with them are refused")),
            '?' | '#' => return Err(bad("has a query or fragment", "a pattern is a path alone")),
            c if c.is_control() => {
                return Err(bad("has a control character", "requests with them are refused"));
            }
            ' ' => literal.push_str("%20"),
            c if !c.is_ascii() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    literal.push_str(&format!("%{byte:02X}"));
                }
            }
            c if c.is_ascii_alphanumeric() || PATH_CHARACTERS.contains(c) => literal.push(c),
            _ => return Err(bad("has a character that no path has", "see RFC 3986 section 3.3")),
        }
    }
    Ok(literal)
}

fn bad(what: &'static str, label: &'static str) -> Fault {
    Fault::new("E010", what, label)
}

/// Reads a template such as `{sub} of {issuer}`; `{{` and `}}` stand for braces.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_template(text: &str) -> Result<Template, Fault> {
    let fault = |what: &'static str| Fault::new("E072", what, "expected `{sub}`, or text");
    let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            plain.push_str(&rest[..1]);
            rest = tail;
            continue;
        }
        let name = rest.strip_prefix('{').ok_or_else(|| fault("has a `}` without `{`"))?;
        let (name, tail) = name.split_once('}').ok_or_else(|| fault("has a `{` without `}`"))?;
        if name.is_empty() || name.contains('{') || name.trim() != name {
            return Err(fault("has braces without a claim's name"));
        }
        if !plain.is_empty() {
            parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
        }
        parts.push(TemplatePart::Claim(name.to_owned()));
        rest = tail;
    }
    plain.push_str(rest);
    if plain.bytes().chain(text.bytes()).any(|byte| !(b' '..=b'~').contains(&byte)) {
        return Err(fault("has characters that no header has"));
    }
    if !plain.is_empty() {
        parts.push(TemplatePart::Text(plain));
    }
    Ok(Template(parts))
}

/// The punctuation of a path segment (RFC 3986 §3.3), without `;`.
const PATH_CHARACTERS: &str = "-._~!$&'()+,=:@";

/// The most segments of a pattern: the router goes as deep.
const MAX_SEGMENTS: usize = 128;

/// The most parameters of a pattern.
const MAX_PARAMS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(text: &str) -> Vec<Segment> {
        parse_pattern(text).unwrap().segments
    }

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    #[test]
    fn patterns_are_segments() {
        assert_eq!(segments("/"), [literal("")]);
        assert_eq!(segments("/x/"), [literal("x"), literal("")]);
        let param = Segment::Param("id".into());
        assert_eq!(segments("/a/{id}/**"), [literal("a"), param, Segment::Rest]);
        assert_eq!(segments("/**"), [Segment::Rest]);
        assert_eq!(segments("/\u{e9} b"), [literal("%C3%A9%20b")]);
        assert_eq!(parse_pattern("API.example.com/v1").unwrap().host.unwrap(), "api.example.com");
    }

    /// PA-14.
    #[test]
    fn what_requests_may_not_have_patterns_may_not_have() {
        for text in [
            "",
            "orders",
            "/a/../b",
            "/a/./b",
            "/a//b",
            "//a",
            "/a;b",
            "/a\\b",
            "/a%2fb",
            "/%61",
            "/a\u{7}b",
            "/a?b",
            "/a#b",
            "/a|b",
            "/a*",
            "/*",
            "/**/a",
            "/x{id}",
            "/{}",
            "/{a b}",
            "/{*rest}",
            "/{a}/{a}",
            "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}",
            "*.example.com/a",
            "example.com:8443/a",
            "https://example.com/a",
            "a..b/c",
            "/{a:[0-9]+}",
        ] {
            let fault = parse_pattern(text).unwrap_err();
            assert_eq!(fault.code, "E010", "{text}");
        }
        assert!(parse_pattern(&"/a".repeat(MAX_SEGMENTS)).is_ok());
        assert!(parse_pattern(&"/a".repeat(MAX_SEGMENTS + 1)).is_err());
    }

    #[test]
    fn templates_are_parts() {
        let template = parse_template("a {sub}{{x}}").unwrap();
        let parts = [
            TemplatePart::Text("a ".into()),
            TemplatePart::Claim("sub".into()),
            TemplatePart::Text("{x}".into()),
        ];
        assert_eq!(template.0, parts);
        for text in ["{", "}", "{}", "{a", "a}", "{a{b}", "\u{e9}", "a\nb"] {
            assert!(parse_template(text).is_err(), "{text}");
        }
    }
}
