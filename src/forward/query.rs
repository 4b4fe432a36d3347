//! What of the query a backend sees.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

/// The target of the request line: the path and query without an `access_token` parameter, which
/// would put a token into the backend's logs (RFC 6750 §5.3). The name is recognised in any case,
/// with escapes, in what backends fold to it, and behind `;` too, where some backends begin a parameter.
pub(super) fn without_token(path_and_query: &PathAndQuery) -> Cow<'_, str> {
    let Some(query) = path_and_query.query().filter(|query| has_token(query)) else {
        return path_and_query.as_str().into();
    };
    let kept = kept(query);
    let mark = if kept.is_empty() { "" } else { "?" };
    format!("{}{mark}{kept}", path_and_query.path()).into()
}

fn has_token(query: &str) -> bool {
    query.split(SEPARATORS).any(is_token)
}

/// Keeps the other parameters with the separators in front of them.
fn kept(query: &str) -> String {
    let mut kept = String::with_capacity(query.len());
    let mut rest = query;
    while !rest.is_empty() {
        // Not by bytes: a query may hold characters of several.
        let next = rest.char_indices().skip(1).find(|(_, letter)| SEPARATORS.contains(letter));
        let end = next.map_or(rest.len(), |(at, _)| at);
        let (piece, behind) = rest.split_at(end);
        let parameter = piece.strip_prefix(SEPARATORS).unwrap_or(piece);
        if !is_token(parameter) {
            kept.push_str(if kept.is_empty() { parameter } else { piece });
        }
        rest = behind;
    }
    kept
}

fn is_token(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or(parameter);
    if name.len() < NAME.len() {
        return false;
    }
    // PHP reads `access.token`, `access+token` and `access_token[]` as `access_token`.
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'+');
    let bytes = percent_decode_str(name).skip_while(is_blank);
    let folded = bytes.take_while(|byte| !matches!(byte, b'[' | 0)).map(|byte| match byte {
        b' ' | b'+' | b'.' => b'_',
        byte => byte.to_ascii_lowercase(),
    });
    folded.eq(NAME.bytes())
}

const NAME: &str = "access_token";
const SEPARATORS: [char; 2] = ['&', ';'];

#[cfg(test)]
mod tests {
    use super::*;

    /// BR-13.
    #[test]
    fn the_token_leaves_the_query_and_nothing_else_does() {
        let cases = [
            ("/p?access_token=T&x=1", "/p?x=1"),
            ("/p?x=1&access_token=T", "/p?x=1"),
            ("/p?x=1&access_token=T&y=2", "/p?x=1&y=2"),
            ("/p?access_token=T", "/p"),
            ("/p?access_token", "/p"),
            ("/p?access%5Ftoken=T&access%5ftoken=U&x", "/p?x"),
            ("/p?%61ccess_token=T", "/p"),
            ("/p?a=1;Access_Token=T;b=2", "/p?a=1;b=2"),
            ("/p?access_token[]=T&access_token%5Bx%5D=T&access_token%00=T&x", "/p?x"),
            ("/p?access.token=T&access+token=T&access%20token=T&+access_token=T&x", "/p?x"),
            ("/p?access-token=T&xaccess_token=T", "/p?access-token=T&xaccess_token=T"),
            ("/p?x=access_token=T", "/p?x=access_token=T"),
            ("/p?access_tokens=1&my_access_token=2", "/p?access_tokens=1&my_access_token=2"),
            ("/p?a=%20&&b", "/p?a=%20&&b"),
            ("/p?\u{e9}=\u{e9}&access_token=T&\u{20ac}", "/p?\u{e9}=\u{e9}&\u{20ac}"),
            ("/p?", "/p?"),
            ("/p", "/p"),
        ];
        for (from, to) in cases {
            assert_eq!(without_token(&from.parse().unwrap()), to, "{from}");
        }
    }
}
