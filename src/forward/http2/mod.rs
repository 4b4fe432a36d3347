//! HTTP/2 to backends (RFC 9113): many requests at a time on each connection.
//!
//! A [`Line`](line::Line) is a connection and the task that drives it. A request takes a [`Lane`]
//! on one, writes and reads its stream from its own task (`exchange`, `upload`, `download`), and
//! gives the lane back. The head is written once, as for HTTP/1.1, and read back here (`head`): what
//! is stripped and what the gateway says is decided in one place for both.
//!
//! The library checks frames, flow control and that DATA fits `content-length` (RFC 9113 §8.1.1).
//! What is bounded here: streams on a connection, the size of heads, interim answers, empty frames
//! and the time that a connection may be silent.

mod download;
mod exchange;
mod head;
mod line;
mod lines;
pub(super) mod question;
mod upload;

pub(super) use download::Download;
pub(super) use exchange::Rest;
pub(super) use line::Lane;
pub(super) use lines::Lines;

use super::connection::Connection;

/// A connection on which a request can be sent.
pub(super) enum Way {
    /// One of its own.
    Http1(Box<Connection>),
    /// A place on one that is shared.
    Http2(Lane),
}
