//! A backend that does to its connections whatever it is told, however wrong.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

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
    /// Does nothing until [`Chaos::go`].
    Wait,
    /// Does nothing until the peer goes away.
    Hold,
    /// Closes the connection with a reset.
    Reset,
    /// Answers each request as it should: 200 and `good`.
    Serve,
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

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.accepted.fetch_add(1, Ordering::SeqCst);
        state.open.fetch_add(1, Ordering::SeqCst);
        let (script, state) = (*state.script.lock().unwrap(), Arc::clone(&state));
        connections.spawn(async move {
            // An error means that the peer went away, which ends every script.
            drop(play(stream, script, &state).await);
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn play(mut stream: TcpStream, script: Script, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    for step in script {
        match step {
            Step::Head => head(&mut stream, state).await?,
            Step::Until(text) => drop(read_until(&mut stream, text).await?),
            Step::Say(text) => stream.write_all(text.as_bytes()).await?,
            Step::SayForever(text) => {
                let much = text.repeat(1000);
                loop {
                    stream.write_all(much.as_bytes()).await?;
                }
            }
            Step::Wait => state.go.notified().await,
            Step::Hold => drop(read_until(&mut stream, "\0never\0").await?),
            Step::Reset => return stream.set_zero_linger(),
            Step::Serve => loop {
                head(&mut stream, state).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood").await?;
            },
        }
    }
    stream.shutdown().await?;
    read_until(&mut stream, "\0never\0").await.map(drop)
}

async fn head(stream: &mut TcpStream, state: &State) -> std::io::Result<()> {
    let head = read_until(stream, "\r\n\r\n").await?;
    state.heads.lock().unwrap().push(head);
    Ok(())
}

/// Reads up to and including `text`, and not a byte more.
async fn read_until(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    let mut read = Vec::new();
    while !read.ends_with(text.as_bytes()) {
        read.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}
