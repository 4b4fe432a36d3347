//! A client on a kept connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::backends::echo;
use crate::ledger::{Got, Ledger};
use crate::policy::{QUESTIONS, Question, Tokens};

type Sender = SendRequest<Full<Bytes>>;

/// Asks the questions over and over until the soak is over.
pub async fn run(address: SocketAddr, tokens: Tokens, ledger: Arc<Ledger>, pause: Duration) {
    let mut sender = None;
    while !ledger.is_stopped() {
        for question in QUESTIONS {
            let open = match sender.take() {
                Some(open) => open,
                None => connect(address).await,
            };
            sender = one(open, question, &tokens, &ledger).await;
            tokio::time::sleep(pause).await;
        }
    }
}

async fn connect(address: SocketAddr) -> Sender {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Asks one question and has the ledger judge the answer; the connection, if it can be used again.
async fn one(
    mut sender: Sender,
    question: &'static Question,
    tokens: &Tokens,
    ledger: &Ledger,
) -> Option<Sender> {
    let asked = ledger.ask(question);
    let target = format!("{}/{}", question.path, asked.id);
    let body = body(question, asked.id);
    let expected = echo(question.method, &target, &body);
    let mut request = Request::builder().method(question.method).uri(target).header("host", "a");
    if let Some(token) = tokens.of(question.caller) {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(body)).unwrap();
    let exchange = tokio::time::timeout(PATIENCE, exchange(&mut sender, request)).await;
    let (got, closes) = match exchange {
        Ok(Ok((status, text, closes))) => {
            (Got::Answer { status, own: text == expected, text }, closes)
        }
        Ok(Err(error)) => (Got::Nothing(error.to_string()), true),
        Err(_) => (Got::Nothing("no answer".to_owned()), true),
    };
    ledger.judge(&asked, got);
    (!closes && sender.ready().await.is_ok()).then_some(sender)
}

async fn exchange(
    sender: &mut Sender,
    request: Request<Full<Bytes>>,
) -> hyper::Result<(u16, String, bool)> {
    let (head, body) = sender.send_request(request).await?.into_parts();
    let closes = head.headers.get("connection").is_some_and(|value| value == "close");
    let text = body.collect().await?.to_bytes();
    Ok((head.status.as_u16(), String::from_utf8_lossy(&text).into_owned(), closes))
}

/// A body of its own for each POST, some of them in many pieces.
fn body(question: &Question, id: u64) -> Bytes {
    if question.method != "POST" {
        return Bytes::new();
    }
    let length = if id.is_multiple_of(50) { 200_000 } else { fastrand::usize(1..2000) };
    id.to_string().into_bytes().into_iter().cycle().take(length).collect()
}

/// How long an answer may take: longer than any timeout of the gateway.
const PATIENCE: Duration = Duration::from_secs(20);
