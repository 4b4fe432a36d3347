//! What OPTIONS asks of the gateway itself and not of a backend (RFC 9110 §9.3.7, §7.6.2).

use bytes::Bytes;
use http::header::{ALLOW, MAX_FORWARDS};
use http::{Method, Response, StatusCode, request};

use crate::policy::Route;
use crate::rejection::Rejection;

/// How many more hops an OPTIONS may go; `None` where nothing bounds them. Other methods may ignore
/// the field; TRACE, which may not, is never forwarded.
///
/// # Errors
/// `MalformedRequest` for several lines and for what is no number.
pub(super) fn hops_left(head: &request::Parts) -> Result<Option<u64>, Rejection> {
    if head.method != Method::OPTIONS {
        return Ok(None);
    }
    let mut lines = head.headers.get_all(MAX_FORWARDS).iter();
    let Some(only) = lines.next() else { return Ok(None) };
    match number(only.as_bytes()).filter(|_| lines.next().is_none()) {
        Some(hops) => Ok(Some(hops)),
        None => Err(Rejection::MalformedRequest("the Max-Forwards is not a number")),
    }
}

/// The head for the next hop of a request that had so many left, of which this one is taken.
pub(super) fn one_hop_less(head: &request::Parts, hops: u64) -> request::Parts {
    let mut head = head.clone();
    head.headers.insert(MAX_FORWARDS, hops.saturating_sub(1).into());
    head
}

/// The answer for a resource, by whom the last hop has come: the methods that its route knows.
pub(super) fn of_route(route: &Route) -> Response<Bytes> {
    let mut answer = of_server();
    answer.headers_mut().insert(ALLOW, route.allow.clone());
    answer
}

/// The answer to `OPTIONS *`: that somebody is there. It tells of no resource.
pub(super) fn of_server() -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// More than fits is as good as no bound.
fn number(written: &[u8]) -> Option<u64> {
    let plain = !written.is_empty() && written.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(written).ok().filter(|_| plain)?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn left(method: Method, lines: &[&'static str]) -> Result<Option<u64>, Rejection> {
        let line = |line: &&'static str| (MAX_FORWARDS, HeaderValue::from_static(line));
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = method;
        head.headers = lines.iter().map(line).collect::<HeaderMap>();
        let left = hops_left(&head)?;
        let next = left.map(|hops| one_hop_less(&head, hops).headers);
        assert!(next.is_none_or(|headers| headers.get_all(MAX_FORWARDS).iter().count() == 1));
        Ok(left)
    }

    /// HP-05.
    #[test]
    fn only_options_counts_its_hops() {
        assert_eq!(left(Method::OPTIONS, &[]).unwrap(), None);
        assert_eq!(left(Method::OPTIONS, &["0"]).unwrap(), Some(0));
        assert_eq!(left(Method::OPTIONS, &["007"]).unwrap(), Some(7));
        assert_eq!(left(Method::OPTIONS, &["99999999999999999999"]).unwrap(), Some(u64::MAX));
        assert_eq!(left(Method::GET, &["x"]).unwrap(), None);
        for wrong in [&[""][..], &["-1"], &["+1"], &["1, 2"], &["x"], &["3", "3"]] {
            assert!(left(Method::OPTIONS, wrong).is_err(), "{wrong:?}");
        }
    }
}
