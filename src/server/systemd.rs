//! Telling the service manager how the gateway is (sd_notify(3)): ready, reloading, stopping, alive.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::listen::Pulse;

/// What the service manager is told by. Without one, nothing is.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    socket: Option<OsString>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The one that `NOTIFY_SOCKET` names: a path, or behind `@` an abstract name. `WATCHDOG_USEC`
    /// counts if `WATCHDOG_PID` is this process or not set.
    #[must_use]
    pub fn from_env() -> Self {
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_ours = |pid| pid == u64::from(std::process::id());
        let watched = number("WATCHDOG_PID").is_none_or(is_ours);
        let watchdog = number("WATCHDOG_USEC").filter(|micros| watched && *micros > 0);
        Self {
            socket: env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()),
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// Requests are served, by what the status says.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}\n", line(status)));
    }

    /// The configuration is read again. What follows is [`ready`](Self::ready), however that ends.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading\n"));
    }

    /// The gateway stops, and may take so long.
    pub(super) fn stopping(&self, within: Duration) {
        let micros = (within + SPARE).as_micros();
        self.send(&format!("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={micros}\n"));
    }

    /// What threads beat with for [`watch`](Self::watch); `None` if nobody watches.
    pub(super) fn pulse(&self) -> Option<Arc<Pulse>> {
        let limit = self.watchdog.filter(|_| self.socket.is_some())?;
        Some(Arc::new(Pulse::new(limit / 8)))
    }

    /// Pings the watchdog for as long as every thread turns, this one included.
    pub(super) async fn watch(self, pulse: Arc<Pulse>) {
        let Some(limit) = self.watchdog else { return };
        loop {
            let silence = pulse.silence();
            if silence <= limit / 2 {
                self.send("WATCHDOG=1\n");
            } else {
                tracing::error!(
                    ?silence,
                    "a thread hangs: the watchdog is not told that all is well"
                );
            }
            tokio::time::sleep(limit / 4).await;
        }
    }

    /// A manager that is gone is no reason to serve worse.
    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket, message) {
            tracing::debug!(%error, "the service manager cannot be told");
        }
    }
}

fn send(socket: &OsStr, message: &str) -> io::Result<()> {
    let from = UnixDatagram::unbound()?;
    from.set_write_timeout(Some(PATIENCE))?;
    match socket.as_bytes().strip_prefix(b"@") {
        None => from.send_to(message.as_bytes(), socket)?,
        Some(name) => send_abstract(&from, name, message)?,
    };
    Ok(())
}

#[cfg(target_os = "linux")]
fn send_abstract(from: &UnixDatagram, name: &[u8], message: &str) -> io::Result<usize> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    from.send_to_addr(message.as_bytes(), &address)
}

#[cfg(not(target_os = "linux"))]
fn send_abstract(_: &UnixDatagram, _: &[u8], _: &str) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Text on one line: what stands behind a line end would be another assignment.
fn line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// What a drain may take in addition to its own limits.
const SPARE: Duration = Duration::from_secs(5);

/// How long a manager may be busy before it is not told.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn told(notify: impl FnOnce(&Notifier)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        notify(&Notifier { socket: Some(path.into()), watchdog: None });
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_are_what_the_manual_says() {
        assert_eq!(
            told(|it| it.ready("9 routes\nMAINPID=1")),
            "READY=1\nSTATUS=9 routes MAINPID=1\n"
        );
        let stopping = told(|it| it.stopping(Duration::from_secs(30)));
        assert_eq!(stopping, "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=35000000\n");
        let reloading = told(Notifier::reloading);
        let micros = reloading.split("MONOTONIC_USEC=").nth(1).unwrap().split('\n').next().unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
    }

    #[test]
    fn nobody_listening_is_no_harm() {
        Notifier::default().ready("x");
        Notifier { socket: Some("/nowhere/notify".into()), watchdog: None }.ready("x");
    }
}
