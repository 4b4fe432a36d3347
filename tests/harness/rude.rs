//! A client that does to its connection whatever it is told, however wrong.

use std::sync::Mutex;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;

use super::chaos::{self, Script, Step};
use super::tls::TlsStream;
use super::until;

/// What the client heard before its connection ended.
#[derive(Debug)]
pub struct Heard {
    /// The first of it.
    pub text: String,
    /// Who ended the connection.
    pub end: Ended,
}

/// Who ended a connection, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The gateway, in good order.
    Closed,
    /// The gateway, or its kernel, with a reset.
    Reset,
    /// The client, as it was told.
    Left,
}

/// A connection in plaintext or over TLS.
pub trait Wire: AsyncRead + AsyncWrite + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Plays the script, and listens meanwhile, until either side ends the connection. `seen` says whether
/// a backend has seen the request.
pub async fn play(wire: impl Wire, script: Script, seen: impl Fn() -> bool) -> Heard {
    if matches!(script.last(), Some(Step::Deaf)) {
        return keep_from_reading(wire, script).await;
    }
    let heard = Mutex::default();
    let (mut from, mut to) = split(wire);
    let (end, resets) = tokio::select! {
        end = listen(&mut from, &heard) => (end, false),
        resets = speak(&mut to, script, &heard, seen) => (Ended::Left, resets),
    };
    let wire = from.unsplit(to);
    if resets {
        wire.socket().set_zero_linger().unwrap();
    }
    let text = String::from_utf8_lossy(&heard.into_inner().unwrap()).into_owned();
    Heard { text, end }
}

async fn keep_from_reading(mut wire: impl Wire, script: Script) -> Heard {
    for step in script {
        if let Step::Say(text) = step {
            wire.write_all(text.as_bytes()).await.unwrap();
        }
    }
    chaos::deaf(wire.socket()).await;
    Heard { text: String::new(), end: Ended::Reset }
}

async fn listen(from: &mut (impl AsyncRead + Unpin), heard: &Mutex<Vec<u8>>) -> Ended {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => return Ended::Closed,
            Err(_) => return Ended::Reset,
            Ok(count) => {
                let mut heard = heard.lock().unwrap();
                let room = MOST.saturating_sub(heard.len());
                heard.extend_from_slice(&buffer[..count.min(room)]);
            }
        }
    }
}

/// Whether the connection is to be reset at the end. What cannot be written any more was not wanted:
/// listening tells how that ended.
async fn speak(
    to: &mut (impl AsyncWrite + Unpin),
    script: Script,
    heard: &Mutex<Vec<u8>>,
    seen: impl Fn() -> bool,
) -> bool {
    for step in script {
        let said = match step {
            Step::Say(text) => to.write_all(text.as_bytes()).await,
            Step::SayForever(text) => chaos::say_forever(to, text).await,
            Step::Drip(text) => chaos::drip(to, text).await,
            Step::Pour(count) => chaos::pour(to, *count).await,
            Step::Finish => to.shutdown().await,
            Step::Until(text) => {
                let has = || String::from_utf8_lossy(&heard.lock().unwrap()).contains(text);
                until(text, async || has()).await;
                Ok(())
            }
            Step::Seen => {
                until("the backend to see it", async || seen()).await;
                Ok(())
            }
            Step::Reset => return true,
            Step::Hold => Err(std::io::ErrorKind::WouldBlock.into()),
            Step::Head | Step::Wait | Step::Serve | Step::Echo | Step::Deaf => {
                panic!("that is for backends")
            }
        };
        if said.is_err() {
            return std::future::pending().await;
        }
    }
    false
}

/// Bytes that are remembered.
const MOST: usize = 64 << 10;
