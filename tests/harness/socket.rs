//! The real binary as a service manager starts it: with sockets, and with somebody to tell.

use std::net::{SocketAddr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::command::BINARY;
use super::process::Running;
use super::until;

/// A running `scopegate serve`.
pub struct Service {
    running: Running,
    log: std::path::PathBuf,
}

/// What it is started with.
#[derive(Default)]
pub struct Start<'s> {
    pub words: &'s [&'s str],
    pub variables: &'s [(&'s str, &'s str)],
    /// The sockets that are passed from descriptor 3 on; two at most.
    pub sockets: Vec<OwnedFd>,
    pub names: &'s str,
    /// Commands of the shell before the program takes its place.
    pub before: &'s str,
}

impl Deref for Service {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Service {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl Service {
    /// Starts `serve` with this configuration.
    pub fn start(folder: &Path, yaml: &str, start: Start<'_>) -> Self {
        let file = folder.join("gateway.yaml");
        std::fs::write(&file, yaml).unwrap();
        let number = std::fs::read_dir(folder).unwrap().count();
        let log = folder.join(format!("log-{number}"));
        let count = start.sockets.len();
        let mut sockets = start.sockets.into_iter().map(Stdio::from);
        // Standard input and output carry the sockets to where they belong.
        let passing = match count {
            0 => "exec >/dev/null",
            1 => "exec 3<&0 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS=1",
            _ => "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2",
        };
        let script = format!("{passing}\n{}\nexec \"$@\"", start.before);
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", BINARY, "serve", "-c"]).arg(file).args(start.words);
        command.stdin(sockets.next().unwrap_or_else(Stdio::null));
        command.stdout(sockets.next().unwrap_or_else(Stdio::null));
        command.stderr(std::fs::File::create(&log).unwrap());
        command.env("LISTEN_FDNAMES", start.names).env_remove("NOTIFY_SOCKET");
        command.envs(start.variables.iter().copied());
        Self { running: Running::new(command.spawn().unwrap()), log }
    }

    /// Everything on standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it says this.
    pub async fn says(&mut self, what: &str) {
        until(what, async || {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let log = self.log();
            if let (Some(status), false) = (self.status(), log.contains(what)) {
                panic!("it ended with {status}: {log}");
            }
            log.contains(what)
        })
        .await;
    }

    /// The address behind `what` in the log.
    pub async fn address(&mut self, what: &str) -> SocketAddr {
        self.says("ready in").await;
        let log = self.log();
        let behind = log.split_once(what).unwrap_or_else(|| panic!("no {what}: {log}")).1;
        let text = behind.trim_start_matches('s').trim_start_matches("://");
        text.split([' ', '"']).next().unwrap().parse().unwrap()
    }
}

/// A listening socket as a service manager opens it.
pub fn listening() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// What a service manager is told.
pub struct Manager(UnixDatagram);

impl Manager {
    /// Listens at a path.
    pub fn at(path: &Path) -> Self {
        Self::of(UnixDatagram::bind(path).unwrap())
    }

    /// Listens at an abstract name.
    pub fn named(name: &str) -> Self {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        Self::of(UnixDatagram::bind_addr(&address).unwrap())
    }

    fn of(socket: UnixDatagram) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// The next message, if there is one already.
    pub fn heard(&self) -> Option<String> {
        let mut buffer = [0; 1024];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// Waits for a message with this in it; those before are passed over.
    pub async fn hears(&self, what: &str) -> String {
        let mut found = None;
        until(what, async || {
            tokio::time::sleep(Duration::from_millis(2)).await;
            found = self.heard().filter(|heard| heard.contains(what));
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}
