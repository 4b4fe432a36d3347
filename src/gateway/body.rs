//! The body of an answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::term::Term;
use crate::forward::{BodyError, UpstreamBody};
use crate::record::Record;

/// What comes of asking for a frame.
pub(super) type Polled = Option<Result<Frame<Bytes>, BodyError>>;

/// The body of an answer; the end of a backend's ends the request's record.
#[derive(Debug)]
pub struct Body {
    source: Source,
    record: Option<Box<Record>>,
}

#[derive(Debug)]
enum Source {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
    /// For as long as the caller's token holds.
    Watched(Box<Term>),
}

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { source: Source::Whole(bytes), record: None }
    }

    pub(super) fn upstream(body: Result<Term, UpstreamBody>) -> Self {
        let source = match body {
            Ok(term) => Source::Watched(Box::new(term)),
            Err(body) => Source::Upstream(body),
        };
        Self { source, record: None }
    }

    /// Has the record end with the body. An answer that is whole needs nothing more of the gateway:
    /// its record ends here. A client that never reads could else keep any number of refusals
    /// under way, and all that is known of them in memory.
    pub(super) fn record(&mut self, mut record: Box<Record>) {
        match &self.source {
            Source::Whole(bytes) => {
                record.bytes_out = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            }
            Source::Upstream(_) | Source::Watched(_) => self.record = Some(record),
        }
    }

    /// The next frame of the backend's, or the last of the gateway's: the term is over, and what
    /// is left of the answer is nobody's.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        let last_words = match &mut self.source {
            Source::Whole(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Source::Upstream(body) => return Pin::new(body).poll_frame(cx),
            Source::Watched(term) => match ready!(term.poll_frame(cx)) {
                Ok(frame) => return Poll::Ready(frame),
                Err(last_words) => last_words,
            },
        };
        self.cut();
        self.source = Source::Whole(None);
        Poll::Ready(Some(last_words.ok_or(BodyError::Cut)))
    }

    fn cut(&mut self) {
        if let Some(record) = &mut self.record {
            record.cut = true;
        }
    }
}

impl Drop for Body {
    /// A backend's body that is given up before its end was cut: the client went away, or the
    /// gateway is stopping.
    fn drop(&mut self) {
        let has_ended = match &self.source {
            Source::Whole(_) => true,
            Source::Upstream(body) => body.is_end_stream(),
            Source::Watched(term) => term.is_end_stream(),
        };
        if !has_ended {
            self.cut();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled> {
        let frame = ready!(self.poll_source(cx));
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
            Source::Watched(term) => term.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Source::Upstream(body) => body.size_hint(),
            Source::Watched(term) => term.size_hint(),
        }
    }
}
