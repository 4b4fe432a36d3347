//! A backend that reads every byte by the letter, by rules of its own, and notes what is wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The reader. Whatever it can read in one way only is answered 200.
pub struct Strict {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// Heads, as far as they came.
    seen: Vec<String>,
    faults: Vec<String>,
}

/// How the end of a body is found.
enum Framing {
    Length(usize),
    Chunked,
}

impl Strict {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(fault) = serve(stream, &state).await {
                        state.lock().unwrap().faults.push(fault);
                    }
                });
            }
        });
        Self { address, state, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads since the last time, and what was wrong.
    pub fn take(&self) -> (Vec<String>, Vec<String>) {
        let state = std::mem::take(&mut *self.state.lock().unwrap());
        (state.seen, state.faults)
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(stream: TcpStream, state: &Mutex<State>) -> Result<(), String> {
    let mut stream = BufReader::new(stream);
    while let Some(head) = head(&mut stream).await? {
        let framing = framing(&head)?;
        state.lock().unwrap().seen.push(head);
        // A body that breaks off ends the connection, which is how that is told.
        let Some(()) = body(&mut stream, framing).await? else { return Ok(()) };
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if stream.write_all(answer).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Up to the blank line; `None` if nothing more comes.
async fn head(stream: &mut BufReader<TcpStream>) -> Result<Option<String>, String> {
    let mut head = String::new();
    loop {
        let Some(line) = line(stream).await? else {
            return if head.is_empty() { Ok(None) } else { Err(format!("half a head: {head:?}")) };
        };
        if line.is_empty() && !head.is_empty() {
            return Ok(Some(head));
        }
        let is_field = line.split_once(": ").is_some_and(|(name, _)| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-0123456789".contains(&byte))
        });
        let is_start =
            head.is_empty() && line.ends_with(" HTTP/1.1") && line.split(' ').count() == 3;
        if !is_field && !is_start {
            return Err(format!("no line of a head: {line:?}"));
        }
        head += &line;
        head.push('\n');
    }
}

/// One line, which must end with CR and LF and have neither within.
async fn line(stream: &mut BufReader<TcpStream>) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    if stream.read_until(b'\n', &mut bytes).await.is_err() || bytes.is_empty() {
        return Ok(None);
    }
    let text =
        bytes.strip_suffix(b"\r\n").filter(|text| !text.iter().any(|byte| b"\r\0".contains(byte)));
    match text {
        Some(text) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
        None if bytes.ends_with(b"\n") => {
            Err(format!("a line ends oddly: {}", bytes.escape_ascii()))
        }
        None => Ok(None),
    }
}

/// One way to find the end of the body, and one host.
fn framing(head: &str) -> Result<Framing, String> {
    let values = |wanted: &str| -> Vec<&str> {
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(name, _)| *name == wanted).map(|(_, value)| value).collect()
    };
    if values("host").len() != 1 {
        return Err(format!("not one host: {head:?}"));
    }
    match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Ok(Framing::Length(0)),
        ([length], []) => match length.parse() {
            Ok(number) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Framing::Length(number))
            }
            _ => Err(format!("no length: {length}")),
        },
        ([], ["chunked"]) => Ok(Framing::Chunked),
        _ => Err(format!("not one framing: {head:?}")),
    }
}

async fn body(stream: &mut BufReader<TcpStream>, framing: Framing) -> Result<Option<()>, String> {
    let mut exact = async |length: usize| stream.read_exact(&mut vec![0; length]).await.is_ok();
    match framing {
        Framing::Length(length) => Ok(exact(length).await.then_some(())),
        Framing::Chunked => loop {
            let Some(size) = line(stream).await? else { return Ok(None) };
            let plain = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(&size, 16).ok().filter(|_| plain).ok_or(size)?;
            let mut data = vec![0; size];
            if stream.read_exact(&mut data).await.is_err() {
                return Ok(None);
            }
            match line(stream).await? {
                None => return Ok(None),
                Some(end) if !end.is_empty() => return Err(format!("behind a chunk: {end:?}")),
                Some(_) if size == 0 => return Ok(Some(())),
                Some(_) => {}
            }
        },
    }
}
