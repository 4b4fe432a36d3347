//! The head of a request, from how it is written for HTTP/1.1.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, COOKIE, HOST, HeaderName, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version};
use memchr::memmem;

use crate::forward::exchange::Fault;
use crate::forward::request_head::DPOP;

/// Reads the head back that `request_head` wrote. `:authority` is the host that was validated,
/// and fields of HTTP/1.1's connections have no place here (RFC 9113 §8.2.2).
///
/// # Errors
/// `Protocol` if it cannot be said by HTTP/2.
pub(super) fn request(
    written: &Bytes,
    secured: bool,
    takes_trailers: bool,
) -> Result<Request<()>, Fault> {
    let mut lines = Lines(written.clone());
    let (method, target) = request_line(&lines.next().ok_or(Fault::Protocol)?)?;
    let mut request = Request::new(());
    let mut authority = None;
    for line in lines {
        let (name, value) = field(&line)?;
        match name {
            HOST => authority = Some(value),
            CONNECTION | TRANSFER_ENCODING => {}
            name => drop(request.headers_mut().append(name, value)),
        }
    }
    if takes_trailers {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri(secured, authority, target)?;
    Ok(request)
}

fn uri(secured: bool, authority: Option<HeaderValue>, target: PathAndQuery) -> Result<Uri, Fault> {
    let authority = authority.ok_or(Fault::Protocol)?;
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if secured { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(authority.as_bytes()).map_err(|_| Fault::Protocol)?);
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).map_err(|_| Fault::Protocol)
}

fn request_line(line: &Bytes) -> Result<(Method, PathAndQuery), Fault> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(Fault::Protocol);
    };
    let method = Method::from_bytes(method).map_err(|_| Fault::Protocol)?;
    let target = PathAndQuery::from_maybe_shared(line.slice_ref(target));
    Ok((method, target.map_err(|_| Fault::Protocol)?))
}

fn field(line: &Bytes) -> Result<(HeaderName, HeaderValue), Fault> {
    let colon = memmem::find(line, b": ").ok_or(Fault::Protocol)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Fault::Protocol)?;
    let value = HeaderValue::from_maybe_shared(line.slice(colon + 2..));
    let mut value = value.map_err(|_| Fault::Protocol)?;
    // Callers share the connection's compression, so its table must not tell of one to another
    // (RFC 7541 §7.1.3).
    value.set_sensitive([AUTHORIZATION, COOKIE, DPOP].contains(&name));
    Ok((name, value))
}

/// The lines in front of the blank one, without their ends.
struct Lines(Bytes);

impl Iterator for Lines {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let end = memmem::find(&self.0, b"\r\n").filter(|end| *end > 0)?;
        let line = self.0.split_to(end);
        drop(self.0.split_to(2));
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<Request<()>, Fault> {
        request(&Bytes::from_static(text.as_bytes()), true, true)
    }

    #[test]
    fn a_head_is_read_back() {
        let request = read(
            "POST /a?x=1 HTTP/1.1\r\nhost: api.example.com:8443\r\ntransfer-encoding: chunked\r\n\
             cookie: a=1; b=2\r\nx-a: 1: 2\r\nx-a: \r\n\r\n",
        )
        .unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "https://api.example.com:8443/a?x=1");
        let headers = request.headers();
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1: 2", ""]);
        assert_eq!(headers[TE], "trailers");
        assert!(headers[COOKIE].is_sensitive() && !headers["x-a"].is_sensitive());
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn options_for_all_keeps_its_star() {
        let request = read("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!(request.uri().path(), "*");
    }

    #[test]
    fn a_head_without_a_host_is_none() {
        assert_eq!(read("GET / HTTP/1.1\r\nx-a: 1\r\n\r\n").err(), Some(Fault::Protocol));
        assert_eq!(read("").err(), Some(Fault::Protocol));
    }
}
