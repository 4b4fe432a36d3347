//! What a backend can do wrong, and what is to come of it.

use std::time::Duration;

use crate::harness::chaos::{Script, Step::*};

/// One of them.
pub struct Case {
    pub name: &'static str,
    pub script: Script,
    pub client: Client,
    pub end: End,
}

/// Who asks.
pub enum Client {
    Gets,
    Heads,
    /// Gets so many bytes, and goes away.
    Leaves(u64),
    /// Posts so many bytes.
    Uploads(usize),
}

/// What the client is to see, and how the upstream's error is counted.
pub enum End {
    /// The gateway's own answer: status, reason, error.
    Refused(u16, &'static str, &'static str),
    /// The backend's answer.
    Whole(u16, &'static str),
    /// The backend's answer, so long.
    Large(u64),
    /// A body that begins so and breaks off, and the error.
    Cut(&'static str, &'static str),
    /// What the client had enough of.
    Left,
}

impl Case {
    /// How long it may take. The timeouts are a second each; the rest is for slow machines.
    pub fn at_most(&self) -> Duration {
        Duration::from_secs(if self.is_large() { 120 } else { 10 })
    }

    /// Whether its body is much.
    pub fn is_large(&self) -> bool {
        matches!(self.end, End::Large(_) | End::Left)
    }

    /// Whether there never was a connection.
    pub fn is_unreachable(&self) -> bool {
        self.script.is_empty()
    }

    const fn by(mut self, client: Client) -> Self {
        self.client = client;
        self
    }
}

impl End {
    /// The `reason` of `scopegate_upstream_errors_total`.
    pub fn error(&self) -> Option<&'static str> {
        match self {
            Self::Refused(_, _, error) | Self::Cut(_, error) => Some(error),
            Self::Whole(..) | Self::Large(_) | Self::Left => None,
        }
    }
}

const fn case(name: &'static str, script: Script, end: End) -> Case {
    Case { name, script, client: Client::Gets, end }
}

const CLOSES: End = End::Refused(502, "upstream_unreachable", "reset");
const DOWN: End = End::Refused(502, "upstream_unreachable", "refused");
const LATE: End = End::Refused(504, "upstream_timeout", "timeout");
const NOT_HTTP: End = End::Refused(502, "upstream_protocol", "reset");
const STALLS: End = End::Cut("first", "timeout");
const BREAKS: End = End::Cut("first", "reset");

const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfirst";
const CHUNKS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const IN_SIZE: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n1";
const IN_CHUNK: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nfirst";
const NO_LAST: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
const IN_TRAILERS: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\nx-a: b\r\n";
const NO_END: &str = "HTTP/1.1 200 OK\r\n\r\nfirst";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
const EARLY: &str = "HTTP/1.1 409 Conflict\r\ncontent-length: 5\r\n\r\nearly";
const GIB: u64 = 1 << 30;
const GIB_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";

pub const CASES: &[Case] = &[
    // No exchange.
    case("refuses connections", &[], DOWN),
    case("never accepts, its queue full", &[], LATE),
    case("accepts and says nothing", &[Hold], LATE),
    case("closes at once", &[Until("")], CLOSES),
    case("resets at once", &[Reset], CLOSES),
    // Hangs.
    case("hangs before its head", &[Head, Hold], LATE),
    case("hangs in the status line", &[Head, Say("HTTP/1.1 20"), Hold], LATE),
    case("hangs in the fields", &[Head, Say("HTTP/1.1 200 OK\r\nconte"), Hold], LATE),
    case("hangs behind an interim answer", &[Head, Say("HTTP/1.1 103 H\r\n\r\n"), Hold], LATE),
    case(
        "hangs behind the head, a length announced",
        &[Head, Say(LENGTH), Hold],
        End::Cut("", "timeout"),
    ),
    case(
        "hangs behind the head, chunks announced",
        &[Head, Say(CHUNKS), Hold],
        End::Cut("", "timeout"),
    ),
    case("hangs in a body of a length", &[Head, Say(HALF), Hold], STALLS),
    case("hangs in the size of a chunk", &[Head, Say(IN_SIZE), Hold], STALLS),
    case("hangs in a chunk", &[Head, Say(IN_CHUNK), Hold], STALLS),
    case("hangs before the last chunk", &[Head, Say(NO_LAST), Hold], STALLS),
    case("hangs in the trailers", &[Head, Say(IN_TRAILERS), Hold], STALLS),
    case("hangs in a body that its close would end", &[Head, Say(NO_END), Hold], STALLS),
    // Resets.
    case("resets before its head", &[Head, Reset], CLOSES),
    case("resets in the status line", &[Head, Say("HTTP/1.1 20"), Reset], CLOSES),
    case("resets in the fields", &[Head, Say("HTTP/1.1 200 OK\r\nconte"), Reset], CLOSES),
    case("resets behind an interim answer", &[Head, Say("HTTP/1.1 103 H\r\n\r\n"), Reset], CLOSES),
    case(
        "resets behind the head, a length announced",
        &[Head, Say(LENGTH), Wait, Reset],
        End::Cut("", "reset"),
    ),
    case(
        "resets behind the head, chunks announced",
        &[Head, Say(CHUNKS), Wait, Reset],
        End::Cut("", "reset"),
    ),
    case("resets in a body of a length", &[Head, Say(HALF), Wait, Reset], BREAKS),
    case("resets in the size of a chunk", &[Head, Say(IN_SIZE), Wait, Reset], BREAKS),
    case("resets in a chunk", &[Head, Say(IN_CHUNK), Wait, Reset], BREAKS),
    case("resets before the last chunk", &[Head, Say(NO_LAST), Wait, Reset], BREAKS),
    case("resets in the trailers", &[Head, Say(IN_TRAILERS), Wait, Reset], BREAKS),
    case("resets a body that its close would end", &[Head, Say(NO_END), Wait, Reset], BREAKS),
    // Half an answer.
    case("closes before its head", &[Head], CLOSES),
    case("closes in the status line", &[Head, Say("HTTP/1.1 20")], CLOSES),
    case("closes in the fields", &[Head, Say("HTTP/1.1 200 OK\r\nconte")], CLOSES),
    case("closes behind an interim answer", &[Head, Say("HTTP/1.1 103 H\r\n\r\n")], CLOSES),
    case("closes behind the head, a length announced", &[Head, Say(LENGTH)], End::Cut("", "reset")),
    case("closes behind the head, chunks announced", &[Head, Say(CHUNKS)], End::Cut("", "reset")),
    case("closes in a body of a length", &[Head, Say(HALF)], BREAKS),
    case("closes in the size of a chunk", &[Head, Say(IN_SIZE)], BREAKS),
    case("closes in a chunk", &[Head, Say(IN_CHUNK)], BREAKS),
    case("closes before the last chunk", &[Head, Say(NO_LAST)], BREAKS),
    case("closes in the trailers", &[Head, Say(IN_TRAILERS)], BREAKS),
    case("closes where that is the end", &[Head, Say(NO_END)], End::Whole(200, "first")),
    // Lies about lengths.
    case("says less than announced", &[Head, Say(HALF)], BREAKS),
    case("says more than announced", &[Head, Say(OK), Say("more"), Hold], End::Whole(200, "ok")),
    case(
        "a negative length",
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), Hold],
        NOT_HTTP,
    ),
    case(
        "a signed length",
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok"), Hold],
        NOT_HTTP,
    ),
    case(
        "a length that is none",
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), Hold],
        NOT_HTTP,
    ),
    case(
        "a length beyond all numbers",
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nx"), Hold],
        NOT_HTTP,
    ),
    case(
        "two lengths",
        &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"), Hold],
        NOT_HTTP,
    ),
    case(
        "a length and chunks",
        &[
            Head,
            Say(
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            Hold,
        ],
        NOT_HTTP,
    ),
    case(
        "a coding that nobody asked for",
        &[Head, Say("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), Hold],
        NOT_HTTP,
    ),
    case(
        "a chunk larger than its size",
        &[Head, Say(CHUNKS), Say("5\r\nfirst!!\r\n0\r\n\r\n"), Hold],
        BREAKS,
    ),
    case("a chunk smaller than its size", &[Head, Say(CHUNKS), Say("6\r\nfirst")], BREAKS),
    case("a chunk without a size", &[Head, Say(NO_LAST), Say("x\r\n"), Hold], BREAKS),
    case(
        "a chunk beyond all numbers",
        &[Head, Say(NO_LAST), Say("fffffffffffffffff\r\n"), Hold],
        BREAKS,
    ),
    case(
        "a body behind 204",
        &[Head, Say("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nevil"), Hold],
        End::Whole(204, ""),
    ),
    case(
        "a body behind 304",
        &[Head, Say("HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nevil"), Hold],
        End::Whole(304, ""),
    ),
    case("a body behind HEAD", &[Head, Say(EVIL), Hold], End::Whole(200, "")).by(Client::Heads),
    // Too much.
    case("1 GiB, all of it read", &[Head, Say(GIB_HEAD), Pour(GIB)], End::Large(GIB)),
    case("1 GiB, and the client leaves halfway", &[Head, Say(GIB_HEAD), Pour(GIB)], End::Left)
        .by(Client::Leaves(GIB / 2)),
    case("a body without end", &[Head, Say("HTTP/1.1 200 OK\r\n\r\n"), SayForever("x")], End::Left)
        .by(Client::Leaves(32 << 20)),
    case(
        "a head without end",
        &[Head, Say("HTTP/1.1 200 OK\r\n"), SayForever("a: b\r\n")],
        NOT_HTTP,
    ),
    case("a field without end", &[Head, Say("HTTP/1.1 200 OK\r\na: "), SayForever("b")], NOT_HTTP),
    case(
        "a head without end, drop by drop",
        &[Head, Say("HTTP/1.1 200 OK\r\n"), Drip("a: b\r\n")],
        LATE,
    ),
    case("interim answers for ever", &[Head, SayForever("HTTP/1.1 103 H\r\n\r\n")], NOT_HTTP),
    case("interim answers for ever, drop by drop", &[Head, Drip("HTTP/1.1 103 H\r\n\r\n")], LATE),
    case(
        "trailers without end",
        &[Head, Say(NO_LAST), Say("0\r\n"), SayForever("a: b\r\n")],
        BREAKS,
    ),
    case(
        "an extension of a chunk without end",
        &[Head, Say(NO_LAST), Say("5;"), SayForever("a")],
        BREAKS,
    ),
    // At the wrong time.
    case("answers when nobody waits any more", &[Head, Wait, Say(EVIL), Hold], LATE),
    case("answers twice at once", &[Head, Say(OK), Say(EVIL), Hold], End::Whole(200, "ok")),
    case("answers twice, later", &[Head, Say(OK), Wait, Say(EVIL), Hold], End::Whole(200, "ok")),
    case("hangs up while its connection rests", &[Head, Say(OK)], End::Whole(200, "ok")),
    case("resets while its connection rests", &[Head, Say(OK), Wait, Reset], End::Whole(200, "ok")),
    case(
        "answers in the middle of an upload",
        &[Head, Until("x"), Say(EARLY), Hold],
        End::Whole(409, "early"),
    )
    .by(Client::Uploads(UPLOAD)),
    case("answers before an upload, and closes", &[Head, Say(EARLY)], End::Whole(409, "early"))
        .by(Client::Uploads(UPLOAD)),
    case("reads nothing of an upload", &[Head, Wait, Hold], LATE).by(Client::Uploads(UPLOAD)),
    case("reads an upload and says nothing", &[Head, Hold], LATE).by(Client::Uploads(UPLOAD)),
    case("resets in the middle of an upload", &[Head, Until("xxxx"), Reset], CLOSES)
        .by(Client::Uploads(UPLOAD)),
    case("resets behind an upload", &[Head, Until("xxxx"), Reset], CLOSES).by(Client::Uploads(4)),
    case("closes behind an upload", &[Head, Until("xxxx")], CLOSES).by(Client::Uploads(4)),
    // Something else.
    case("garbage", &[Head, Say("\u{1}\u{2}\0\u{7f}\r\n\r\n"), Hold], NOT_HTTP),
    case("a body without a head", &[Head, Say("hello\r\n\r\n"), Hold], NOT_HTTP),
    case("a TLS alert", &[Head, Say("\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}"), Hold], NOT_HTTP),
    case(
        "a TLS handshake",
        &[Head, Say("\u{16}\u{3}\u{3}\0\u{7a}\u{2}\0\0\u{76}\u{3}\u{3}"), Hold],
        NOT_HTTP,
    ),
    case("HTTP/2", &[Head, Say("\0\0\u{12}\u{4}\0\0\0\0\0\0\u{3}\0\0\0\u{64}"), Hold], NOT_HTTP),
    case("another protocol", &[Head, Say("SSH-2.0-OpenSSH_9.2\r\n"), Hold], NOT_HTTP),
    case("no status", &[Head, Say("HTTP/1.1 \r\n\r\n"), Hold], NOT_HTTP),
    case("status 000", &[Head, Say("HTTP/1.1 000 Zero\r\n\r\n"), Hold], NOT_HTTP),
    case("a folded line", &[Head, Say("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n"), Hold], NOT_HTTP),
    case("a blank in a name", &[Head, Say("HTTP/1.1 200 OK\r\na : b\r\n\r\n"), Hold], NOT_HTTP),
    case(
        "a zero byte in a field",
        &[Head, Say("HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n"), Hold],
        NOT_HTTP,
    ),
    case("bare line feeds", &[Head, Say("HTTP/1.1 200 OK\na: b\n\n"), Hold], NOT_HTTP),
    case(
        "a change of protocol that nobody asked for",
        &[Head, Say("HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"), Hold],
        NOT_HTTP,
    ),
    case(
        "what only a proxy may say",
        &[
            Head,
            Say("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"),
            Hold,
        ],
        NOT_HTTP,
    ),
];

/// Bytes: more than the sockets on the way hold.
const UPLOAD: usize = 16 << 20;
