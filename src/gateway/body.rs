//! The body of an answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::term::Term;
use crate::forward::{BodyError, UpstreamBody};
use crate::record::Record;

/// What comes of asking for a frame.
type Polled = Option<Result<Frame<Bytes>, BodyError>>;

/// The body of an answer; its end ends the request's record.
#[derive(Debug)]
pub struct Body {
    source: Source,
    record: Option<Box<Record>>,
    /// Of a stream that a token admitted.
    term: Option<Box<Term>>,
}

#[derive(Debug)]
enum Source {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
}

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { source: Source::Whole(bytes), record: None, term: None }
    }

    pub(super) fn upstream(body: UpstreamBody, term: Option<Box<Term>>) -> Self {
        Self { source: Source::Upstream(body), record: None, term }
    }

    pub(super) fn record(&mut self, record: Box<Record>) {
        self.record = Some(record);
    }

    /// The next frame of the backend's, or the last of the gateway's: the term is over, and what
    /// is left of the answer is nobody's.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        let over = self.term.take_if(|term| term.poll_over(cx).is_ready());
        if let Some(term) = over {
            self.cut();
            self.source = Source::Whole(None);
            return Poll::Ready(Some(term.last_words().ok_or(BodyError::Cut)));
        }
        match &mut self.source {
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Upstream(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let (Some(term), Some(Ok(frame))) = (&mut self.term, &frame) {
                    term.passed(frame.data_ref().map_or(&[], |data| data));
                }
                Poll::Ready(frame)
            }
        }
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
        if let (Some(record), Source::Upstream(body)) = (&mut self.record, &self.source) {
            record.cut |= !body.is_end_stream();
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
