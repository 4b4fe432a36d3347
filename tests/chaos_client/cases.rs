//! What a client can do wrong, and what is to come of it.

use crate::harness::chaos::{Script, Step::*};

/// One of them.
pub struct Case {
    pub name: &'static str,
    pub door: Door,
    pub script: Script,
    /// What the backend of `/odd/**` does.
    pub backend: Script,
    /// Requests that reach a backend.
    pub reaches: usize,
    pub records: &'static [Record],
}

/// A line of the access log: status (0: none was sent), reason, whether the answer was cut. A client
/// that listens hears the statuses.
pub type Record = (u16, &'static str, bool);

/// How the client comes in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Plain,
    /// In plaintext where TLS is spoken.
    Handshake,
    Tls,
}

impl Case {
    /// Requests that reach a backend, and what it does if it is the odd one.
    const fn reaching(mut self, reaches: usize, backend: Script) -> Self {
        (self.reaches, self.backend) = (reaches, backend);
        self
    }

    const fn through(mut self, door: Door) -> Self {
        self.door = door;
        self
    }
}

const fn case(name: &'static str, script: Script, records: &'static [Record]) -> Case {
    Case { name, door: Door::Plain, script, backend: &[Hold], reaches: 0, records }
}

const NOTHING: &[Record] = &[];
const LATE: &[Record] = &[(408, "request_timeout", false)];
const WRONG: &[Record] = &[(400, "malformed_request", false)];
const LARGE: &[Record] = &[(413, "body_too_large", false)];
const LONG: &[Record] = &[(431, "request_too_large", false)];
const SERVED: &[Record] = &[(200, "", false)];
const TWICE: &[Record] = &[(200, "", false), (200, "", false)];
const THEN_WRONG: &[Record] = &[(200, "", false), (400, "malformed_request", false)];
const THEN_LATE: &[Record] = &[(200, "", false), (408, "request_timeout", false)];
const CUT: &[Record] = &[(200, "", true)];
const BROKE: &[Record] = WRONG;
const GONE: &[Record] = &[(0, "", false)];

const FIELDS: &str = "POST /odd/x HTTP/1.1\r\nhost: a\r\nconte";
const LENGTH: &str = "POST /odd/x HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n";
const HALF: &str = "POST /odd/x HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nfirst";
const SIZE: &str =
    "POST /odd/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n1";
const CHUNK: &str =
    "POST /odd/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n9\r\nfirst";
const NO_LAST: &str =
    "POST /odd/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
const TRAILERS: &str = "POST /odd/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\nx-a: b";
const CHUNKS: &str = "POST /odd/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
const GIB_HEAD: &str = "POST /odd/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1073741824\r\n\r\n";
const A_CHUNK: &str = "40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
const GET: &str = "GET /good/x HTTP/1.1\r\nhost: a\r\n\r\n";
const ASKS: &str = "GET /odd/x HTTP/1.1\r\nhost: a\r\n\r\n";
const GIB: u64 = 1 << 30;
const MUCH: Script =
    &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n"), Pour(GIB)];
const PART: Script = &[Head, Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfirst"), Hold];
const HELLO: &str = "\u{16}\u{3}\u{1}\0\u{7a}\u{1}\0\0\u{76}\u{3}\u{3}0123456789";

pub const CASES: &[Case] = &[
    // Hangs.
    case("says nothing", &[Hold], NOTHING),
    case("hangs in the request line", &[Say("POST /odd"), Hold], LATE),
    case("hangs in the fields", &[Say(FIELDS), Hold], LATE),
    case("says a head drop by drop", &[Say("GET / HTTP/1.1\r\n"), Drip("a: b\r\n")], LATE),
    case("says empty lines drop by drop", &[Drip("\r\n")], NOTHING),
    case("hangs before a body of a length", &[Say(LENGTH), Hold], WRONG).reaching(1, &[Head, Hold]),
    case("hangs in a body of a length", &[Say(HALF), Hold], WRONG).reaching(1, &[Head, Hold]),
    case("hangs in the size of a chunk", &[Say(SIZE), Hold], WRONG).reaching(1, &[Head, Hold]),
    case("hangs in a chunk", &[Say(CHUNK), Hold], WRONG).reaching(1, &[Head, Hold]),
    case("hangs before the last chunk", &[Say(NO_LAST), Hold], WRONG).reaching(1, &[Head, Hold]),
    case("hangs in the trailers", &[Say(TRAILERS), Hold], WRONG).reaching(1, &[Head, Hold]),
    case(
        "never sends what it asks leave for",
        &[
            Say("POST /odd/x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"),
            Hold,
        ],
        WRONG,
    )
    .reaching(1, &[Head, Hold]),
    case("says nothing behind an answer", &[Say(GET), Hold], SERVED).reaching(1, &[]),
    // Resets.
    case("resets at once", &[Reset], NOTHING),
    case("resets in the request line", &[Say("POST /odd"), Reset], NOTHING),
    case("resets in the fields", &[Say(FIELDS), Reset], NOTHING),
    case("resets before a body of a length", &[Say(LENGTH), Seen, Reset], BROKE).reaching(1, &[Head, Hold]),
    case("resets in a body of a length", &[Say(HALF), Seen, Reset], BROKE).reaching(1, &[Head, Hold]),
    case("resets in the size of a chunk", &[Say(SIZE), Seen, Reset], BROKE).reaching(1, &[Head, Hold]),
    case("resets in a chunk", &[Say(CHUNK), Seen, Reset], BROKE).reaching(1, &[Head, Hold]),
    case("resets before the last chunk", &[Say(NO_LAST), Seen, Reset], BROKE).reaching(1, &[Head, Hold]),
    case("resets in the trailers", &[Say(TRAILERS), Seen, Reset], BROKE).reaching(1, &[Head, Hold]),
    case("resets in the middle of an answer", &[Say(ASKS), Until("first"), Reset], CUT)
        .reaching(1, PART),
    // Half a request.
    case("closes at once", &[], NOTHING),
    case("closes in the request line", &[Say("POST /odd")], NOTHING),
    case("closes in the fields", &[Say(FIELDS)], NOTHING),
    case("closes before a body of a length", &[Say(LENGTH), Seen], BROKE).reaching(1, &[Head, Hold]),
    case("closes in a body of a length", &[Say(HALF), Seen], BROKE).reaching(1, &[Head, Hold]),
    case("closes in the size of a chunk", &[Say(SIZE), Seen], BROKE).reaching(1, &[Head, Hold]),
    case("closes in a chunk", &[Say(CHUNK), Seen], BROKE).reaching(1, &[Head, Hold]),
    case("closes before the last chunk", &[Say(NO_LAST), Seen], BROKE).reaching(1, &[Head, Hold]),
    case("closes in the trailers", &[Say(TRAILERS), Seen], BROKE).reaching(1, &[Head, Hold]),
    case("closes in the middle of an answer", &[Say(ASKS), Until("first")], CUT).reaching(1, PART),
    case("finishes in the request line, and listens", &[Say("POST /odd"), Finish, Hold], NOTHING),
    case("finishes in a body, and listens", &[Say(HALF), Finish, Hold], WRONG)
        .reaching(1, &[Head, Hold]),
    // Lies about lengths.
    case("a length larger than the body", &[Say(HALF), Finish, Hold], WRONG)
        .reaching(1, &[Head, Hold]),
    case(
        "a length smaller than the body",
        &[Say("POST /good/x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nfirst\r\n\r\n"), Hold],
        THEN_WRONG,
    )
    .reaching(1, &[]),
    case("a negative length", &[Say("POST /good/x HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"), Hold], WRONG),
    case(
        "a length beyond all numbers",
        &[Say("POST /good/x HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n"), Hold],
        WRONG,
    ),
    case(
        "two lengths",
        &[Say("POST /good/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"), Hold],
        WRONG,
    ),
    case(
        "a length and chunks",
        &[
            Say("POST /good/x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            Hold,
        ],
        WRONG,
    ),
    case("a chunk larger than its size", &[Say(CHUNKS), Say("5\r\nfirst!!\r\n0\r\n\r\n"), Hold], WRONG)
        .reaching(1, &[Head, Hold]),
    case("a chunk smaller than its size", &[Say(CHUNKS), Say("9\r\nfirst\r\n0\r\n\r\n"), Hold], WRONG)
        .reaching(1, &[Head, Hold]),
    case("a chunk without a size", &[Say(CHUNKS), Say("x\r\n"), Hold], WRONG).reaching(1, &[Head, Hold]),
    case("a chunk beyond all numbers", &[Say(CHUNKS), Say("fffffffffffffffff\r\n"), Hold], WRONG)
        .reaching(1, &[Head, Hold]),
    // Too much.
    case("announces 1 GiB where 1 MiB is allowed", &[Say(GIB_HEAD), Pour(GIB), Hold], LARGE),
    case("sends 1 GiB in chunks where 1 MiB is allowed", &[Say(CHUNKS), SayForever(A_CHUNK)], LARGE)
        .reaching(1, &[Head, Hold]),
    case("a request line without end", &[Say("GET /good/"), SayForever("x")], &[(414, "request_too_large", false)]),
    case("fields without end", &[Say("GET /good/x HTTP/1.1\r\n"), SayForever("a: b\r\n")], LONG),
    case("a field without end", &[Say("GET /good/x HTTP/1.1\r\na: "), SayForever("b")], LONG),
    case("trailers without end", &[Say(CHUNKS), Say("0\r\n"), SayForever("a: b\r\n")], WRONG)
        .reaching(1, &[Head, Hold]),
    case("an extension of a chunk without end", &[Say(CHUNKS), Say("5;"), SayForever("a")], WRONG)
        .reaching(1, &[Head, Hold]),
    case("empty lines without end", &[SayForever("\r\n")], WRONG),
    case("reads nothing of 1 GiB", &[Say(ASKS), Deaf], CUT).reaching(1, MUCH),
    case("leaves in the middle of 1 GiB", &[Say(ASKS), Until("xxxx")], CUT).reaching(1, MUCH),
    case("resets in the middle of 1 GiB", &[Say(ASKS), Until("xxxx"), Reset], CUT).reaching(1, MUCH),
    // At the wrong time.
    case("leaves before the answer", &[Say(ASKS), Seen], GONE).reaching(1, &[Head, Hold]),
    case("resets before the answer", &[Say(ASKS), Seen, Reset], GONE).reaching(1, &[Head, Hold]),
    case("finishes before the answer", &[Say(ASKS), Seen, Finish, Hold], GONE).reaching(1, &[Head, Hold]),
    case("garbage behind a request", &[Say(GET), Say("\u{1}\0\r\n\r\n"), Hold], THEN_WRONG).reaching(1, &[]),
    case("half a request behind a request", &[Say(GET), Say("GET /go"), Hold], THEN_LATE)
        .reaching(1, &[]),
    case("two requests at once", &[Say(GET), Say(GET), Hold], TWICE).reaching(2, &[]),
    case(
        "goes on behind what it said was its last",
        &[Say("GET /good/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), Say(GET), Hold],
        SERVED,
    )
    .reaching(1, &[]),
    case(
        "a request in the body of a refused one",
        &[Say("POST /none HTTP/1.1\r\nhost: a\r\ncontent-length: 38\r\n\r\n"), Say(GET), Say("12345"), Hold],
        &[(404, "no_route", false)],
    ),
    // Something else.
    case("garbage", &[Say("\u{1}\u{2}\0\u{7f}\r\n\r\n"), Hold], WRONG),
    case("a TLS handshake in plaintext", &[Say(HELLO), Hold], WRONG),
    case("HTTP/2 in plaintext", &[Say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Hold], WRONG),
    case("HTTP/0.9", &[Say("GET /good/x\r\n\r\n"), Hold], WRONG),
    case("bare line feeds", &[Say("GET /good/x HTTP/1.1\nhost: a\n\n"), Hold], WRONG),
    // TLS.
    case("TLS: says nothing", &[Hold], NOTHING).through(Door::Handshake),
    case("TLS: closes at once", &[], NOTHING).through(Door::Handshake),
    case("TLS: resets at once", &[Reset], NOTHING).through(Door::Handshake),
    case("TLS: hangs in the handshake", &[Say(HELLO), Hold], NOTHING).through(Door::Handshake),
    case("TLS: closes in the handshake", &[Say(HELLO)], NOTHING).through(Door::Handshake),
    case("TLS: resets in the handshake", &[Say(HELLO), Reset], NOTHING).through(Door::Handshake),
    case("TLS: a handshake drop by drop", &[Say(HELLO), Drip("x")], NOTHING).through(Door::Handshake),
    case("TLS: plaintext", &[Say(GET), Hold], NOTHING).through(Door::Handshake),
    case("TLS: garbage", &[SayForever("\u{1}"), Hold], NOTHING).through(Door::Handshake),
    case("TLS: says nothing behind the handshake", &[Hold], NOTHING).through(Door::Tls),
    case("TLS: resets behind an answer", &[Say(GET), Until("/good/x"), Reset], SERVED)
        .reaching(1, &[])
        .through(Door::Tls),
    case("TLS: hangs in the fields", &[Say(FIELDS), Hold], LATE).through(Door::Tls),
    case("TLS: resets in the fields of the next",
        &[Say(GET), Until("/good/x"), Say(FIELDS), Reset],
        SERVED,
    )
    .reaching(1, &[])
    .through(Door::Tls),
    case("TLS: hangs in a body", &[Say(HALF), Hold], WRONG).reaching(1, &[Head, Hold]).through(Door::Tls),
    case("TLS: resets in a body", &[Say(HALF), Seen, Reset], BROKE).reaching(1, &[Head, Hold]).through(Door::Tls),
    case("TLS: closes in a body without a word", &[Say(HALF), Seen], BROKE).reaching(1, &[Head, Hold]).through(Door::Tls),
    case("TLS: reads nothing of 1 GiB", &[Say(ASKS), Deaf], CUT).reaching(1, MUCH).through(Door::Tls),
    case("TLS: resets in the middle of 1 GiB", &[Say(ASKS), Until("xxxx"), Reset], CUT)
        .reaching(1, MUCH)
        .through(Door::Tls),
];
