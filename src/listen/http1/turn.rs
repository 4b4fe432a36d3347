//! One request and its answer.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Response, StatusCode, Version};
use http_body::{Body as _, Frame};

use super::super::received::Received;
use super::super::{Phase, Service};
use super::answer::{self, Framing};
use super::body::{Body, Left};
use super::head::Head;
use super::wire::{Output, Wire};
use super::{Connection, End};
use crate::http1::chunks::Read;
use crate::http1::fields::line;

/// What of a request matters for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    for_head: bool,
    version: Version,
    keeps_alive: bool,
    upgrades: bool,
    takes_trailers: bool,
}

impl Asked {
    /// What could not be understood asked for nothing but a word.
    pub(super) const NOTHING: Self = Self {
        for_head: false,
        version: Version::HTTP_11,
        keeps_alive: false,
        upgrades: false,
        takes_trailers: false,
    };
}

/// Which way an answer's body goes on, or that it does not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A piece is in the output.
    More,
    Waiting,
    Ended,
    Failed,
}

impl<S: Service> Connection<'_, S> {
    /// Has the request answered and sends the answer. An error ends the connection.
    pub(super) async fn turn(&mut self, head: Head) -> Result<(), End> {
        let asked = Asked {
            for_head: head.parts.method == Method::HEAD,
            version: head.parts.version,
            keeps_alive: head.keeps_alive,
            upgrades: head.upgrades,
            takes_trailers: head.takes_trailers,
        };
        let response = self.answer(head).await?;
        self.send(response, asked).await
    }

    /// Waits for the answer, for as long as the client does.
    async fn answer(&mut self, head: Head) -> Result<Response<S::Body>, End> {
        self.wire.lock().expect_body(head.body, head.expects);
        let body = match head.body {
            Left::NOTHING if !head.upgrades => Received::Empty,
            Left::Length(_) | Left::Chunks(_) | Left::Raw | Left::Broken => {
                Received::Http1(Body::new(&self.wire))
            }
        };
        let mut answer = pin!(self.service.answer(self.peer, head.parts, body));
        poll_fn(|cx| {
            if let Poll::Ready(response) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(response));
            }
            if self.wire.lock().is_deserted(cx) {
                return Poll::Ready(Err(End::Gone));
            }
            match self.watch.phase(cx) {
                Phase::Closed => {
                    self.service.close();
                    Poll::Ready(match answer.as_mut().poll(cx) {
                        Poll::Ready(response) => Ok(response),
                        Poll::Pending => Err(End::Cut),
                    })
                }
                Phase::Serving | Phase::Draining => Poll::Pending,
            }
        })
        .await
    }

    pub(super) async fn send(
        &mut self,
        response: Response<S::Body>,
        asked: Asked,
    ) -> Result<(), End> {
        let (head, body) = response.into_parts();
        let length = body.size_hint().exact();
        let framing = Framing::of(head.status, asked.for_head, asked.version, length);
        let turns = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if turns && !asked.upgrades {
            return Err(End::Cut);
        }
        let stays = asked.keeps_alive
            && framing != Framing::UntilClose
            && self.watch.is_serving()
            && self.wire.lock().can_go_on();
        let option = match stays {
            _ if turns => Some("upgrade"),
            false => Some("close"),
            true => (asked.version == Version::HTTP_10).then_some("keep-alive"),
        };
        answer::write(&mut self.wire.lock().output.front, &head, framing, option);
        if turns {
            self.wire.lock().left = Left::Raw;
        }
        let left = if let Framing::Exact(length) = framing { Some(length) } else { None };
        let mut sending = Sending { framing, left, takes_trailers: asked.takes_trailers };
        let mut body = pin!((framing != Framing::Bodiless).then_some(body));
        let mut moved = (0, None);
        poll_fn(|cx| self.poll_send(&mut sending, body.as_mut(), &mut moved, cx)).await?;
        // Whoever holds the body still, as for an upload that was answered early, loses it.
        self.wire.lock().turn += 1;
        let complete = stays && self.forget_body().await;
        if complete { Ok(()) } else { Err(End::Said) }
    }

    /// Sends on what the body gives. `moved` is how many bytes had been taken at the last look, and
    /// when the client was first seen to take none.
    fn poll_send(
        &mut self,
        sending: &mut Sending,
        mut body: Pin<&mut Option<S::Body>>,
        moved: &mut (u64, Option<Instant>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), End>> {
        loop {
            let step = sending.poll_body(&self.wire, body.as_mut(), cx);
            if matches!(step, Step::Ended | Step::Failed) {
                // The end of the body ends the request's record: before the client has its end.
                body.set(None);
            }
            let flushed = self.wire.lock().poll_flush(cx);
            match flushed {
                Poll::Ready(Ok(())) => *moved = (0, None),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Gone)),
                Poll::Pending => {
                    ready!(self.poll_stalled(moved, cx));
                    return Poll::Ready(Err(End::Cut));
                }
            }
            match step {
                Step::More => {}
                Step::Ended => return Poll::Ready(Ok(())),
                Step::Failed => return Poll::Ready(Err(End::Cut)),
                Step::Waiting if self.wire.lock().is_deserted(cx) => {
                    return Poll::Ready(Err(End::Gone));
                }
                Step::Waiting => {
                    return match self.watch.phase(cx) {
                        Phase::Closed => Poll::Ready(Err(End::Cut)),
                        Phase::Serving | Phase::Draining => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Ready when the client has taken nothing for the idle timeout, or all is to end.
    fn poll_stalled(
        &mut self,
        (total, since): &mut (u64, Option<Instant>),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let now_total = self.wire.lock().output.total;
        if since.is_none() || *total != now_total {
            (*total, *since) = (now_total, Some(Instant::now()));
        }
        let due = since.unwrap_or_else(Instant::now) + self.limits.idle_timeout;
        if self.watch.phase(cx) == Phase::Closed {
            return Poll::Ready(());
        }
        self.watch.poll_due(due, cx)
    }

    /// Reads the little that is left of the request's body, so that the connection can be used for
    /// the next; false if there is more than a little, or it does not come.
    async fn forget_body(&mut self) -> bool {
        if self.wire.lock().left.is_nothing() {
            return true;
        }
        let due = Instant::now() + self.limits.header_timeout;
        poll_fn(|cx| {
            let mut wire = self.wire.lock();
            loop {
                match wire.take_body() {
                    Ok(Read::End) => return Poll::Ready(true),
                    Ok(Read::Data(_) | Read::Trailers(_)) => {}
                    Err(_) => return Poll::Ready(false),
                    Ok(Read::More) if !wire.can_go_on() => return Poll::Ready(false),
                    Ok(Read::More) => match wire.poll_fill(cx) {
                        Poll::Ready(Ok(1..)) => {}
                        Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                        Poll::Pending => break,
                    },
                }
            }
            drop(wire);
            self.watch.poll_due(due, cx).map(|()| false)
        })
        .await
    }
}

impl Wire {
    fn expect_body(&mut self, left: Left, expects: bool) {
        (self.left, self.expects) = (left, expects);
    }

    /// Whether what is left of a request's body when it is answered is so little that it is read
    /// and forgotten. A client that waits for `100 Continue` may send it or not: what it sends next
    /// cannot be told (RFC 9110 §10.1.1).
    fn can_go_on(&self) -> bool {
        match self.left {
            Left::NOTHING => true,
            Left::Length(left) => left <= FORGOTTEN && !self.expects,
            Left::Chunks(_) => self.left.is_nothing(),
            Left::Raw | Left::Broken => false,
        }
    }
}

/// An answer's body on its way out.
struct Sending {
    framing: Framing,
    /// How many bytes are still to come, if that was announced: it is kept.
    left: Option<u64>,
    takes_trailers: bool,
}

impl Sending {
    /// Puts the next piece into the output, if it has room and there is one.
    fn poll_body<B>(
        &mut self,
        wire: &super::wire::Shared,
        mut body: Pin<&mut Option<B>>,
        cx: &mut Context<'_>,
    ) -> Step
    where
        B: http_body::Body<Data = Bytes>,
    {
        loop {
            if !wire.lock().output.has_room() {
                return Step::More;
            }
            let Some(source) = body.as_mut().as_pin_mut() else { return Step::Ended };
            if source.is_end_stream() {
                return self.end(&mut wire.lock().output);
            }
            let Some(source) = body.as_mut().as_pin_mut() else { return Step::Ended };
            let Poll::Ready(frame) = source.poll_frame(cx) else { return Step::Waiting };
            let output = &mut wire.lock().output;
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    if !self.piece(output, data) {
                        return Step::Failed;
                    }
                }
                Some(Ok(Err(frame))) => return self.trailers(output, frame),
                Some(Err(_)) => return Step::Failed,
                None => return self.end(output),
            }
        }
    }

    /// False if there is more than was announced.
    fn piece(&mut self, output: &mut Output, data: Bytes) -> bool {
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(data.len() as u64) else { return false };
            *left = rest;
        }
        // An empty chunk would be the last one.
        if data.is_empty() {
            return true;
        }
        if self.framing == Framing::Chunked {
            answer::chunk(&mut output.front, data.len());
            output.data(data, b"\r\n");
        } else {
            output.data(data, b"");
        }
        true
    }

    fn trailers(&self, output: &mut Output, frame: Frame<Bytes>) -> Step {
        if self.framing != Framing::Chunked || !self.takes_trailers {
            return self.end(output);
        }
        output.front.extend_from_slice(b"0\r\n");
        let fields = frame.into_trailers().unwrap_or_default();
        for (name, value) in &fields {
            line(&mut output.front, name, value.as_bytes());
        }
        output.front.extend_from_slice(b"\r\n");
        Step::Ended
    }

    fn end(&self, output: &mut Output) -> Step {
        match self.framing {
            Framing::Exact(_) if self.left != Some(0) => return Step::Failed,
            Framing::Chunked => output.front.extend_from_slice(b"0\r\n\r\n"),
            Framing::Bodiless | Framing::Exact(_) | Framing::UntilClose => {}
        }
        Step::Ended
    }
}

/// Bytes of a refused body that are waited for rather than the connection ended.
const FORGOTTEN: u64 = 64 << 10;
