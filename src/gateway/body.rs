//! The body of an answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::forward::{BodyError, UpstreamBody};
use crate::record::Record;

/// The body of an answer; its end ends the request's record.
#[derive(Debug)]
pub struct Body {
    source: Source,
    record: Option<Box<Record>>,
}

#[derive(Debug)]
enum Source {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
}

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { source: Source::Whole(bytes), record: None }
    }

    pub(super) fn upstream(body: UpstreamBody) -> Self {
        Self { source: Source::Upstream(body), record: None }
    }

    pub(super) fn record(&mut self, record: Box<Record>) {
        self.record = Some(record);
    }
}

impl Drop for Body {
    /// A backend's body that is given up before its end was cut: the client went away, or the
    /// gateway is stopping.
    fn drop(&mut self) {
        if let (Some(record), Source::Upstream(body)) = (&mut self.record, &self.source) {
            record.cut |= !body.is_end_stream();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.source {
            Source::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Source::Upstream(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        if let Some(record) = &mut self.record {
            match frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                Some(Ok(Some(data))) => record.bytes_out += data.len() as u64,
                Some(Err(_)) => record.cut = true,
                // Trailers are an end too: nobody asks again behind them.
                Some(Ok(None)) | None => self.record = None,
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Source::Upstream(body) => body.size_hint(),
        }
    }
}
