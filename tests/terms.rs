//! HP-25: what goes on without an end of its own ends with the token that it was admitted with.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::harness::chaos::Step::{Head, Hold, Say, SayForever, Until, Wait};
use crate::harness::chaos::{Chaos, Script};
use crate::harness::h2::{Http2, empty, fed, request, secured};
use crate::harness::origin::Origin;
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

const REVOCABLE: &str = "routes: { /x: { GET: chat, POST: chat } }\nrevocation: {}";

impl Harness {
    /// Revokes the subject of every token here, and waits until a stream has to know it.
    async fn revoke_alice(&self) {
        let order = json!({ "subject": "alice" }).to_string();
        let revoke = Call::new(self.admin(), "POST", "/revocations");
        let answer = revoke.header("x-scopegate-admin", "1").body(order).send().await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        self.clock.advance(Duration::from_secs(6));
    }

    /// Asserts what is left of a request that was ended before its answer.
    async fn has_refused(&self, id: &str, reason: &str) {
        let line = self.logged(id).await;
        let told = (&line["decision"], &line["reason"], &line["status"]);
        assert_eq!(told, (&"deny".into(), &reason.into(), &401.into()));
        assert_eq!(self.denials("/x", reason).await, 1.0);
    }
}

/// A stream of messages to a server that says nothing until their end: the client hears
/// UNAUTHENTICATED, and no message that it sends afterwards arrives.
#[tokio::test]
async fn messages_to_a_silent_server_end_with_the_token() {
    for revoked in [true, false] {
        let origin = Origin::start(None).await;
        let (_folder, pair, tls) = secured();
        let upstream = format!("{{ targets: ['http://{}'], protocol: h2 }}", origin.address);
        let routes = "routes: { /sink: { POST: chat } }\nrevocation: {}";
        let t = Harness::start(&format!("{tls}upstreams: {{ main: {upstream} }}\n{routes}")).await;
        let mut client = Http2::connect(t.address(), &pair).await;
        let (sender, receiver) = mpsc::unbounded_channel();
        let call = request("POST", "/sink")
            .header("authorization", format!("Bearer {}", t.token().scope("chat").sign()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let call = call.body(fed(receiver)).unwrap();
        let answer = tokio::spawn(async move { client.begin(call).await });
        sender.send("first".into()).unwrap();
        until("the first message", async || origin.bytes() == 5).await;
        match revoked {
            true => t.revoke_alice().await,
            false => t.clock.advance(LATER),
        }
        drop(sender.send("second".into()));
        let answer = within(answer).await.unwrap().unwrap();
        assert_eq!(answer.headers()["grpc-status"], "16");
        let reason = if revoked { "token_revoked" } else { "token_expired" };
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(t.logged(&id).await["reason"], reason);
        assert_eq!(t.denials("/sink", reason).await, 1.0);
        assert_eq!(origin.bytes(), 5);
    }
}

/// An upload that has begun: so many bytes of its body were sent.
async fn uploading(t: &Harness, framing: &str, body: &str) -> TcpStream {
    let mut client = TcpStream::connect(t.address()).await.unwrap();
    let token = t.token().scope("chat").sign();
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: a\r\n{framing}\r\nAuthorization: Bearer {token}\r\n\r\n{body}"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

/// An upload in chunks has no end of its own. The backend's connection is closed, and what the
/// client sends afterwards goes nowhere.
#[tokio::test]
async fn an_upload_in_chunks_ends_with_the_token() {
    for revoked in [true, false] {
        let backend = Chaos::start(&[Head, Until("first"), Until("second")]).await;
        let yaml = format!("upstreams: {{ main: {} }}\n{REVOCABLE}", backend.url());
        let t = Harness::start(&yaml).await;
        let mut client = uploading(&t, "Transfer-Encoding: chunked", "5\r\nfirst\r\n").await;
        until("the upload", async || backend.heads().len() == 1).await;
        match revoked {
            true => t.revoke_alice().await,
            false => t.clock.advance(LATER),
        }
        client.write_all(b"6\r\nsecond\r\n").await.unwrap();
        let answer = within(raw::read_all(&mut client)).await;
        assert_eq!(raw::statuses(&answer), [401], "{answer}");
        assert!(raw::field(&answer, "www-authenticate").contains("invalid_token"), "{answer}");
        let reason = if revoked { "token_revoked" } else { "token_expired" };
        t.has_refused(&raw::field(&answer, "x-request-id"), reason).await;
        until("the backend's connection to end", async || backend.open() == 0).await;
        assert!(backend.is_spent(), "the second chunk never came");
    }
}

/// One of a length was permitted as a whole, and goes on beyond the token's `exp`; not beyond its
/// revocation.
#[tokio::test]
async fn an_upload_of_a_length_ends_when_its_token_is_revoked() {
    const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
    let script: Script = &[Head, Until("first"), Until("second"), Say(DONE)];
    let backend = Chaos::start(script).await;
    let t = Harness::start(&format!("upstreams: {{ main: {} }}\n{REVOCABLE}", backend.url())).await;
    let mut client = uploading(&t, "Content-Length: 11\r\nConnection: close", "first").await;
    until("the upload", async || backend.heads().len() == 1).await;
    t.clock.advance(LATER);
    client.write_all(b"second").await.unwrap();
    let answer = within(raw::read_all(&mut client)).await;
    assert_eq!(raw::statuses(&answer), [200], "{answer}");
    let t = Harness::start(&format!("upstreams: {{ main: {} }}\n{REVOCABLE}", backend.url())).await;
    let mut client = uploading(&t, "Content-Length: 11", "first").await;
    until("the upload", async || backend.heads().len() == 2).await;
    t.revoke_alice().await;
    client.write_all(b"second").await.unwrap();
    let answer = within(raw::read_all(&mut client)).await;
    assert_eq!(raw::statuses(&answer), [401], "{answer}");
    t.has_refused(&raw::field(&answer, "x-request-id"), "token_revoked").await;
}

/// An answer that is complete in its head says nothing of the upload that goes on behind it.
#[tokio::test]
async fn an_upload_behind_an_early_answer_ends_with_the_token() {
    const EARLY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf";
    let backend = Chaos::start(&[Head, Until("first"), Say(EARLY), Hold]).await;
    let t = Harness::start(&format!("upstreams: {{ main: {} }}\n{REVOCABLE}", backend.url())).await;
    let mut client = uploading(&t, "Transfer-Encoding: chunked", "5\r\nfirst\r\n").await;
    let mut head = Vec::new();
    while !head.ends_with(b"half") {
        head.push(within(client.read_u8()).await.unwrap());
    }
    assert_eq!(backend.open(), 1);
    t.revoke_alice().await;
    until("the backend's connection to end", async || backend.open() == 0).await;
    let line = t.logged(&raw::field(&String::from_utf8(head).unwrap(), "x-request-id")).await;
    assert_eq!((&line["status"], &line["cut"]), (&200.into(), &true.into()));
}

/// Nothing has to come from either side for a request to end that waits for an answer.
#[tokio::test]
async fn an_answer_that_never_begins_is_not_waited_for() {
    let backend = Chaos::start(&[Head, Hold]).await;
    let t = Harness::start(&format!("upstreams: {{ main: {} }}\n{REVOCABLE}", backend.url())).await;
    let call = t.get("/x").bearer(&t.token().scope("chat").sign());
    let answer = tokio::spawn(call.send());
    until("the request", async || backend.heads().len() == 1).await;
    t.revoke_alice().await;
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 401);
    t.has_refused(answer.header("x-request-id"), "token_revoked").await;
    until("the backend's connection to end", async || backend.open() == 0).await;
}

/// A client that reads nothing holds no tunnel, nor a stream of events, open.
#[tokio::test]
async fn a_client_that_reads_nothing_keeps_nothing_open() {
    let tunnel: Script = &[Head, Say(ACCEPTED), SayForever("\x01\x05hello")];
    let events: Script = &[Head, Say(EVENTS), SayForever("data: 2\n\n")];
    for (script, yaml) in [(tunnel, SOCKET), (events, GET)] {
        let open = Open::start(script, yaml).await;
        until("every buffer to be full", async || open.backend.is_stuck()).await;
        assert_eq!(open.backend.open(), 1);
        open.t.clock.advance(LATER);
        until("the backend's connection to end", async || open.backend.open() == 0).await;
    }
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
