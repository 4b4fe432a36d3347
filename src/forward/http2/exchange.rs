//! One request and the head of its response, on a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::Response;

use super::download::Download;
use super::head;
use super::line::Lane;
use super::upload::Upload;
use crate::forward::alarm::Alarm;
use crate::forward::balance::Occupied;
use crate::forward::exchange::{self, Answer, Call, Fault, MOST_INTERIM, Miss};
use crate::forward::pool::Shard;
use crate::forward::request_body::{Framing, RequestBody};
use crate::forward::response_head::{Coding, Head};
use crate::forward::sending::Broken;

/// What is left of an exchange when the head has come.
pub(in crate::forward) struct Rest {
    received: RecvStream,
    upload: Upload,
    alarm: Alarm,
    lane: Lane,
}

/// A stream whose head has not come.
struct Waiting {
    response: ResponseFuture,
    upload: Upload,
    alarm: Alarm,
    interim: usize,
}

impl Call<'_> {
    /// Sends the request on a stream and waits for the head of the answer, as long as the one whose
    /// turn it is may take.
    pub(in crate::forward) async fn exchange_http2(
        &mut self,
        mut lane: Lane,
        used: bool,
        started: Duration,
    ) -> Result<Answer, Miss> {
        let heard = lane.heard();
        let mut waiting = self.begin(&mut lane, started)?;
        let response = poll_fn(|cx| self.poll_head(&mut waiting, &lane, used, started, cx)).await;
        if matches!(response, Err(Miss::Fault(Fault::Timeout))) && lane.heard() == heard {
            // Nothing at all came: others should not wait there too.
            lane.retire();
        }
        let (parts, received) = response?.into_parts();
        let head = Head::of_http2(parts.status, parts.headers).map_err(Miss::Fault)?;
        let Waiting { upload, alarm, .. } = waiting;
        let rest = Box::new(Rest { received, upload, alarm, lane });
        Ok(Answer { head, rest: exchange::Rest::Http2(rest), started })
    }

    fn begin(&self, lane: &mut Lane, started: Duration) -> Result<Waiting, Miss> {
        let head = self.sending.head();
        let request = head::request(&head, lane.is_secured(), self.takes_trailers);
        let request = request.map_err(Miss::Fault)?;
        let is_whole = self.sending.body.framing() == Framing::Empty;
        // Nothing begins on a connection that has ended or been told to go away.
        let Ok((response, stream)) = lane.sender.send_request(request, is_whole) else {
            lane.retire();
            return Err(Miss::Stale);
        };
        let mut alarm = Alarm::after(self.shard.backend.idle_timeout());
        let left = self.left(started, started)?;
        alarm.wake_after(self.shard.backend.clock(), started, left);
        Ok(Waiting { response, upload: Upload::new(stream, is_whole), alarm, interim: 0 })
    }

    fn poll_head(
        &mut self,
        waiting: &mut Waiting,
        lane: &Lane,
        used: bool,
        started: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, Miss>> {
        let sent = waiting.upload.poll(&mut self.sending.body, cx);
        if sent == Poll::Ready(Err(Broken::Body)) {
            return Poll::Ready(Err(self.broke_off()));
        }
        match waiting.poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
            Poll::Ready(Err(Some(error))) => Poll::Ready(Err(self.missed(&error, lane, used))),
            Poll::Ready(Err(None)) => Poll::Ready(Err(Miss::Fault(Fault::Protocol))),
            Poll::Pending => self.poll_late(&mut waiting.alarm, started, cx),
        }
    }

    /// What an error in place of a head means. A request that the backend says it has not looked at
    /// (RFC 9113 §6.8, §8.7) may go to another connection, if its body has not gone.
    fn missed(&self, error: &h2::Error, lane: &Lane, used: bool) -> Miss {
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let unseen = error.is_remote() && (refused || error.is_go_away());
        if error.is_go_away() || error.is_io() {
            lane.retire();
        }
        if unseen && self.sending.body.is_untouched() {
            return Miss::Unseen;
        }
        let known = lane.fault().filter(|_| error.is_io());
        match known {
            None | Some(Fault::Reset) if error.is_library() => Miss::Fault(Fault::Protocol),
            // Only the end of a connection can have come before the request did.
            None | Some(Fault::Reset) => Miss::Cut { used: used && error.is_io() },
            Some(fault) => Miss::Fault(fault),
        }
    }
}

impl Waiting {
    /// The final head; an error of the stream, or none if too many interim heads came before it.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, Option<h2::Error>>> {
        while let Some(interim) = ready!(self.response.poll_informational(cx)) {
            interim.map_err(Some)?;
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                return Poll::Ready(Err(None));
            }
        }
        Pin::new(&mut self.response).poll(cx).map_err(Some)
    }
}

impl Rest {
    /// The index of the target that answers.
    pub(in crate::forward) fn target(&self) -> usize {
        self.lane.target()
    }

    /// The body behind the head; `None` if there is none, whatever of the request is unsent.
    pub(in crate::forward) fn download(
        self,
        coding: Coding,
        body: RequestBody,
        shard: Arc<Shard>,
        moved: Duration,
        occupied: Occupied,
    ) -> Option<Box<Download>> {
        let left = match coding {
            Coding::Length(0) => return None,
            Coding::Length(left) => Some(left),
            Coding::Chunks(_) | Coding::UntilClose if self.received.is_end_stream() => return None,
            Coding::Chunks(_) | Coding::UntilClose => None,
        };
        let Self { received, upload, alarm, lane } = self;
        let download = Download {
            received,
            upload,
            body,
            alarm,
            left,
            shard,
            moved,
            empty: 0,
            _lane: lane,
            _occupied: occupied,
        };
        Some(Box::new(download.ready()))
    }
}
