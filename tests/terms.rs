//! HP-25: what goes on without an end of its own ends with the token that it was admitted with.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::chaos::Step::{Head, Hold, Say, Wait};
use crate::harness::chaos::{Chaos, Script};
use crate::harness::h2::{Http2, empty, request, secured};
use crate::harness::{Call, Harness, raw, until, within};

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

/// A close frame with the code 1008.
const CLOSED: &[u8] = &[0x88, 2, 0x03, 0xf0];

const SOCKET: &str = "routes: { /x: { upgrade: websocket, GET: chat } }";
const GET: &str = "routes: { /x: { GET: chat } }";

/// Longer than any token of these tests is valid.
const LATER: Duration = Duration::from_secs(24 * 3600);

/// A gateway in front of a backend, an answer of which the head and a part have come.
struct Open {
    t: Harness,
    backend: Chaos,
    client: TcpStream,
    id: String,
}

impl Open {
    async fn start(script: Script, yaml: &str) -> Self {
        let backend = Chaos::start(script).await;
        let t = Harness::start(&format!("upstreams: {{ main: {} }}\n{yaml}", backend.url())).await;
        let mut client = TcpStream::connect(t.address()).await.unwrap();
        let token = t.token().scope("chat").sign();
        let head = format!(
            "GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        let mut open = Self { t, backend, client, id: String::new() };
        open.id = raw::field(&open.until("\r\n\r\n").await, "x-request-id");
        open
    }

    async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            read.push(within(self.client.read_u8()).await.unwrap());
        }
        String::from_utf8_lossy(&read).into_owned()
    }

    /// What comes until the end; `None` for one that is no end.
    async fn rest(&mut self) -> Option<Vec<u8>> {
        let mut rest = Vec::new();
        within(self.client.read_to_end(&mut rest)).await.ok().map(|_| rest)
    }

    /// Nothing is left of it, and the log knows that it did not end by itself.
    async fn is_over(&self) {
        until("the backend's connection to end", async || self.backend.open() == 0).await;
        let line = self.t.logged(&self.id).await;
        assert_eq!((&line["decision"], &line["cut"]), (&"allow".into(), &true.into()));
    }
}

/// A WebSocket is closed with 1008 where a frame of the gateway's own can stand.
#[tokio::test]
async fn a_websocket_is_closed_when_its_token_expires() {
    for script in
        [&[Head, Say(ACCEPTED), Hold][..], &[Head, Say(ACCEPTED), Say("\x01\x05hello"), Hold]]
    {
        let mut open = Open::start(Box::leak(script.into()), SOCKET).await;
        if script.len() > 3 {
            open.until("hello").await;
        }
        open.t.clock.advance(LATER);
        assert_eq!(open.rest().await.as_deref(), Some(CLOSED));
        open.is_over().await;
    }
}

/// In the middle of a message nothing can be said: the connection breaks off.
#[tokio::test]
async fn a_websocket_within_a_frame_breaks_off() {
    let mut open = Open::start(&[Head, Say(ACCEPTED), Say("\x01\x7dhalf"), Hold], SOCKET).await;
    open.until("half").await;
    open.t.clock.advance(LATER);
    assert_eq!(open.rest().await, None);
    open.is_over().await;
}

/// A tunnel whose token was revoked ends within seconds, though the token is good for long.
#[tokio::test]
async fn a_websocket_is_closed_when_its_token_is_revoked() {
    let yaml = format!("{SOCKET}\nrevocation: {{}}");
    let mut open = Open::start(&[Head, Say(ACCEPTED), Hold], &yaml).await;
    open.t.clock.advance(Duration::from_secs(6));
    let order = json!({ "subject": "alice" }).to_string();
    let revoke = Call::new(open.t.admin(), "POST", "/revocations");
    let answer = revoke.header("x-scopegate-admin", "1").body(order).send().await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let mut byte = [0];
    assert!(open.client.try_read(&mut byte).is_err(), "it is still open");
    open.t.clock.advance(Duration::from_secs(6));
    assert_eq!(open.rest().await.as_deref(), Some(CLOSED));
    open.is_over().await;
}

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\ndata: 1\n\n";

/// Events break off, so that nobody takes them for complete, and the browser asks again.
#[tokio::test]
async fn events_break_off_when_the_token_expires() {
    let mut open = Open::start(&[Head, Say(EVENTS), Hold], GET).await;
    open.until("data: 1\n\n\r\n").await;
    open.t.clock.advance(LATER);
    assert_eq!(open.rest().await, None);
    open.is_over().await;
}

/// A call of gRPC hears why, in the trailers that it ends with.
#[tokio::test]
async fn a_grpc_stream_ends_unauthenticated() {
    let (_folder, pair, tls) = secured();
    const GRPC: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n\
                        transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n";
    let backend = Chaos::start(&[Head, Say(GRPC), Hold]).await;
    let t = Harness::start(&format!("{tls}upstreams: {{ main: {} }}\n{GET}", backend.url())).await;
    let bearer = format!("Bearer {}", t.token().scope("chat").sign());
    let mut client = Http2::connect(t.address(), &pair).await;
    let call = request("GET", "/x").header("authorization", bearer).header("te", "trailers");
    let mut answer = client.begin(call.body(empty()).unwrap()).await.unwrap().into_body();
    let first = within(answer.frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "hi");
    t.clock.advance(LATER);
    let rest = within(answer.collect()).await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "16");
    until("the backend's connection to end", async || backend.open() == 0).await;
}

/// What ends by itself was permitted as a whole, and a public or reporting route takes nothing back.
#[tokio::test]
async fn other_answers_go_on() {
    const FILE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf";
    const HALF: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 8\r\n\r\nhalf";
    let public = "routes: { /x: { public: true } }";
    let report = "routes: { /x: { mode: report, GET: chat } }";
    let file: Script = &[Head, Say(FILE), Wait, Say("half")];
    let events: Script = &[Head, Say(HALF), Wait, Say("half")];
    for (script, yaml) in [(file, GET), (events, public), (events, report)] {
        let mut open = Open::start(script, yaml).await;
        open.until("half").await;
        open.t.clock.advance(LATER);
        open.backend.go();
        assert_eq!(open.rest_of(4).await, b"half", "{yaml}");
        assert_eq!(open.t.logged(&open.id).await["cut"], json!(null), "{yaml}");
    }
}

impl Open {
    async fn rest_of(&mut self, length: usize) -> Vec<u8> {
        let mut rest = vec![0; length];
        within(self.client.read_exact(&mut rest)).await.unwrap();
        rest
    }
}
