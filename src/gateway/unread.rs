//! A request's body while no stage has asked for it.

use std::time::Duration;

use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::listen::Received;

/// A body that nobody has read. It is read when its request is forwarded, and never before:
/// reading it answers `Expect: 100-continue` (RFC 9110 §10.1.1), to a caller that is refused too.
#[derive(Debug)]
pub(super) struct Unread {
    body: Option<Received>,
}

impl Unread {
    pub(super) fn new(body: Received) -> Self {
        Self { body: Some(body) }
    }

    /// The body, for the backend.
    pub(super) fn read(mut self) -> Received {
        self.body.take().expect("it is there until it is read or dropped")
    }
}

/// Who drops an HTTP/2 body resets its stream behind the answer. RFC 9113 §8.1 allows that, but
/// curl 7 and others then lose the answer: a refused upload would look like a broken connection.
/// So what is under way is received and forgotten, within bounds.
impl Drop for Unread {
    fn drop(&mut self) {
        let unfinished =
            |body: &Received| matches!(body, Received::Http2(_)) && !body.is_end_stream();
        let body = self.body.take().filter(unfinished);
        if let (Some(body), Ok(runtime)) = (body, Handle::try_current()) {
            runtime.spawn(timeout(PATIENCE, forget(body)));
        }
    }
}

async fn forget(mut body: Received) {
    let mut left = MOST_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, bytes::Bytes::len);
        let Some(rest) = left.checked_sub(read) else { return };
        left = rest;
    }
}

/// How long a refused body is still received.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many bytes of it.
const MOST_BYTES: usize = 256 << 10;
