//! The grammar of HTTP/1.1 messages (RFC 9112), as far as it is the same towards clients and
//! towards backends: field lines and bodies in chunks, read by the letter, and the buffer they are
//! read from. What two parsers could
//! read in two ways is refused on either side.

pub(crate) mod buffer;
pub(crate) mod chunks;
pub(crate) mod fields;

/// The input is not what it should be; the connection must not be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;
