//! Backends and clients that do to their connections whatever they are told, however wrong.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::raw;

/// What is done to each connection, in order; behind the last step it is closed in good order.
pub type Script = &'static [Step];

/// One thing to do to a connection.
#[derive(Clone, Copy)]
pub enum Step {
    /// Reads until a request's head is complete, and remembers the head.
    Head,
    /// Reads until this text has come.
    Until(&'static str),
    /// Writes this.
    Say(&'static str),
    /// Writes this over and over until the peer goes away.
    SayForever(&'static str),
    /// Writes this over and over with pauses between, until the peer goes away.
    Drip(&'static str),
    /// Writes so many bytes of a body.
    Pour(u64),
    /// Does nothing until [`Chaos::go`].
    Wait,
    /// Does nothing until the peer goes away.
    Hold,
    /// Says that nothing more will come, and goes on.
    Finish,
    /// Does nothing, and reads nothing, until the peer resets the connection. For clients.
    Deaf,
    /// Waits until a backend has seen the request. For clients.
    Seen,
    /// Closes the connection with a reset.
    Reset,
    /// Answers each request as it should: 200 and `good`.
    Serve,
    /// Answers each request, once its announced body has come, with its own target.
    Echo,
}

/// The misbehaving backend.
pub struct Chaos {
    address: SocketAddr,
    state: Arc<State>,
    server: tokio::task::JoinHandle<()>,
}

struct State {
    script: Mutex<Script>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// Whether a [`Step::SayForever`] has waited for long for a peer that reads.
    stuck: AtomicBool,
    /// Connections on which something is still to be said.
    busy: AtomicUsize,
    heads: Mutex<Vec<String>>,
    go: Notify,
}

impl Chaos {
    pub async fn start(script: Script) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// Serves on a socket of [`down`], which is up from now on.
    pub fn listen_on(socket: Socket) -> Self {
        socket.listen(128).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self::serve(TcpListener::from_std(socket.into()).unwrap(), &[Step::Serve])
    }

    fn serve(listener: TcpListener, script: Script) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Mutex::new(script),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            stuck: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            heads: Mutex::default(),
            go: Notify::new(),
        });
        let server = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is done to connections from now on.
    pub fn plays(&self, script: Script) {
        *self.state.script.lock().unwrap() = script;
    }

    /// Ends one [`Step::Wait`].
    pub fn go(&self) {
        self.state.go.notify_one();
    }

    /// How many connections there were.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Whether a peer has not read for long: every buffer on the way is full.
    pub fn is_stuck(&self) -> bool {
        self.state.stuck.load(Ordering::SeqCst)
    }

    /// Whether all was said and done on every connection, but for waiting for its end.
    pub fn is_spent(&self) -> bool {
        self.state.busy.load(Ordering::SeqCst) == 0
    }

    /// The heads of the requests so far, as they came.
    pub fn heads(&self) -> Vec<String> {
        self.state.heads.lock().unwrap().clone()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An address that refuses connections, for as long as the socket lives.
pub fn down() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, format!("http://{address}"))
}

/// An address that neither accepts nor refuses connections, for as long as the sockets live: the
/// queue of those that nobody accepts is full.
pub async fn full() -> (Vec<Socket>, String) {
    let (socket, url) = down();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let mut sockets = vec![socket];
    loop {
        let one = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let waits = one.connect_timeout(&address, Duration::from_millis(100)).is_err();
        sockets.push(one);
        if waits {
            return (sockets, url);
        }
        assert!(sockets.len() < 100, "the queue has no end");
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.accepted.fetch_add(1, Ordering::SeqCst);
        state.open.fetch_add(1, Ordering::SeqCst);
        state.busy.fetch_add(1, Ordering::SeqCst);
        let (script, state) = (*state.script.lock().unwrap(), Arc::clone(&state));
        connections.spawn(async move {
            // An error means that the peer went away, which ends every script.
            let stream = played(stream, script, &state).await;
            state.busy.fetch_sub(1, Ordering::SeqCst);
            if let Ok(mut stream) = stream {
                drop(drain(&mut stream).await);
            }
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Plays the script. What is left of it is to wait for the end.
async fn played(
    mut stream: TcpStream,
    script: Script,
    state: &State,
) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    for step in script {
        match step {
            Step::Head => drop(head(&mut stream, state).await?),
            Step::Until(text) => drop(read_until(&mut stream, text).await?),
            Step::Say(text) => stream.write_all(text.as_bytes()).await?,
            Step::SayForever(text) => {
                let stuck = || state.stuck.store(true, Ordering::SeqCst);
                say_until_stuck(&mut stream, text, stuck).await?;
            }
            Step::Drip(text) => drip(&mut stream, text).await?,
            Step::Pour(count) => pour(&mut stream, *count).await?,
            Step::Finish => stream.shutdown().await?,
            Step::Deaf | Step::Seen => panic!("that is for clients"),
            Step::Wait => state.go.notified().await,
            Step::Hold => return Ok(stream),
            Step::Reset => {
                stream.set_zero_linger()?;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            Step::Serve => loop {
                head(&mut stream, state).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood").await?;
            },
            Step::Echo => loop {
                let head = head(&mut stream, state).await?;
                let length = raw::field(&head, "content-length").parse().unwrap_or(0);
                tokio::io::copy(&mut (&mut stream).take(length), &mut tokio::io::sink()).await?;
                let target = head.split(' ').nth(1).unwrap();
                let front = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", target.len());
                stream.write_all((front + target).as_bytes()).await?;
            },
        }
    }
    stream.shutdown().await?;
    Ok(stream)
}

async fn head(stream: &mut TcpStream, state: &State) -> std::io::Result<String> {
    let head = read_until(stream, "\r\n\r\n").await?;
    state.heads.lock().unwrap().push(head.clone());
    Ok(head)
}

/// Reads whatever comes, until the peer goes away.
async fn drain(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop)
}

/// Looking for an error takes nothing of what has come; a reset is one.
pub async fn deaf(stream: &TcpStream) {
    while socket2::SockRef::from(stream).take_error().unwrap().is_none() {
        tokio::time::sleep(PAUSE).await;
    }
}

pub async fn say_forever(
    stream: &mut (impl AsyncWrite + Unpin),
    text: &str,
) -> std::io::Result<()> {
    let much = text.repeat(1000);
    loop {
        stream.write_all(much.as_bytes()).await?;
    }
}

/// The same; says when a write has taken long.
async fn say_until_stuck(
    stream: &mut (impl AsyncWrite + Unpin),
    text: &str,
    stuck: impl Fn(),
) -> std::io::Result<()> {
    let much = text.repeat(1000);
    loop {
        let writing = stream.write_all(much.as_bytes());
        tokio::pin!(writing);
        match tokio::time::timeout(LONG, &mut writing).await {
            Ok(written) => written?,
            Err(_) => {
                stuck();
                writing.await?;
            }
        }
    }
}

pub async fn drip(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> std::io::Result<()> {
    loop {
        stream.write_all(text.as_bytes()).await?;
        tokio::time::sleep(PAUSE).await;
    }
}

pub async fn pour(stream: &mut (impl AsyncWrite + Unpin), mut count: u64) -> std::io::Result<()> {
    let piece = vec![b'x'; 256 << 10];
    while count > 0 {
        let some = count.min(piece.len() as u64);
        stream.write_all(&piece[..some as usize]).await?;
        count -= some;
    }
    Ok(())
}

/// Reads up to and including `text`, and not a byte more.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> std::io::Result<String> {
    let mut read = Vec::new();
    while !read.ends_with(text.as_bytes()) {
        read.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// Much longer than a peer on this machine takes that reads.
const LONG: Duration = Duration::from_millis(500);
/// Between two pieces of a [`Step::Drip`].
const PAUSE: Duration = Duration::from_millis(40);
