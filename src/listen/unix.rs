//! Unix sockets of the gateway's own: their files are made, replaced and removed with care.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::owner::described;
use crate::config::UnixSocket;

/// The file of a socket that this process made. Dropping it removes the file, unless another
/// process has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    /// Where it is: at first beside the path, under a name that nobody connects to.
    at: PathBuf,
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Where clients look for it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the place of the old file, in one step: who connects finds one of the two.
    pub(super) fn place(&mut self) -> io::Result<()> {
        fs::rename(&self.at, &self.path)?;
        self.at.clone_from(&self.path);
        Ok(())
    }
}

/// Why there is no socket.
#[derive(Debug)]
pub(super) enum Fault {
    /// A process answers there; its description, if it can be had.
    InUse(Option<String>),
    /// Something is there that is not a socket.
    NotASocket,
    /// What the system said.
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Makes a unix socket whose file is yet to be placed. The file that a dead process left may be
/// replaced; that of a living one only if `takeover` asks for it, and it is a gateway's.
///
/// The socket is made under another name, so that nobody finds one whose mode is not set yet, and
/// the old file stays if anything else that the gateway needs cannot be had.
pub(super) fn listen(
    socket: &UnixSocket,
    takeover: bool,
) -> Result<(UnixListener, SocketFile), Fault> {
    look_at(&socket.path, takeover)?;
    let fresh = beside(&socket.path);
    drop(fs::remove_file(&fresh));
    let listener = UnixListener::bind(&fresh)?;
    let identity = identity(&fresh)?;
    let file = SocketFile { at: fresh, path: socket.path.clone(), identity };
    fs::set_permissions(&file.at, Permissions::from_mode(socket.mode))?;
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}

/// What is at the path now: nothing, a socket that nobody listens on, or one to be taken over.
fn look_at(path: &Path, takeover: bool) -> Result<(), Fault> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !found.file_type().is_socket() {
        return Err(Fault::NotASocket);
    }
    match UnixStream::connect(path) {
        Ok(stream) if takeover && is_a_gateways(&stream) => Ok(()),
        Ok(stream) => Err(Fault::InUse(owner(&stream))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // A full queue or missing rights: somebody may well be there.
        Err(error) => Err(error.into()),
    }
}

/// Whether the process at the other end is what SO_REUSEPORT asks for of TCP, one of the same user,
/// and a gateway too: the same program by its name, where the system tells it.
fn is_a_gateways(stream: &UnixStream) -> bool {
    #[cfg(target_os = "linux")]
    {
        let Ok(other) = rustix::net::sockopt::socket_peercred(stream) else { return false };
        let own_user = other.uid == rustix::process::geteuid();
        own_user && program(&other.pid.as_raw_nonzero().to_string()) == program("self")
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stream;
        true
    }
}

#[cfg(target_os = "linux")]
fn program(process: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/comm")).ok()
}

/// The process that listens at the other end.
fn owner(stream: &UnixStream) -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        let owner = rustix::net::sockopt::socket_peercred(stream).ok()?;
        Some(described(u32::try_from(owner.pid.as_raw_nonzero().get()).ok()?))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (stream, described);
        None
    }
}

/// A name in the same directory that no other process uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.at).is_ok_and(|found| found == self.identity) {
            drop(fs::remove_file(&self.at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(folder: &tempfile::TempDir) -> UnixSocket {
        UnixSocket { path: folder.path().join("gw.sock"), mode: 0o600 }
    }

    /// Makes it and puts it in its place.
    fn open(socket: &UnixSocket, takeover: bool) -> Result<(UnixListener, SocketFile), Fault> {
        let (listener, mut file) = listen(socket, takeover)?;
        file.place()?;
        Ok((listener, file))
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_stale_socket_is_replaced_and_the_own_one_removed() {
        let folder = tempfile::tempdir().unwrap();
        let socket = socket(&folder);
        drop(UnixListener::bind(&socket.path).unwrap());
        let (_listener, file) = open(&socket, false).unwrap();
        assert_eq!(fs::metadata(&socket.path).unwrap().mode() & 0o7777, 0o600);
        assert!(UnixStream::connect(&socket.path).is_ok());
        assert_eq!(names(&folder), ["gw.sock"]);
        drop(file);
        assert!(names(&folder).is_empty());
    }

    #[test]
    fn a_living_socket_is_replaced_when_asked_and_its_owner_named_else() {
        let folder = tempfile::tempdir().unwrap();
        let socket = socket(&folder);
        let (_old, old_file) = open(&socket, false).unwrap();
        let own = format!("process {} (", std::process::id());
        match listen(&socket, false).unwrap_err() {
            Fault::InUse(Some(by)) => assert!(by.starts_with(&own), "{by}"),
            other @ (Fault::InUse(None) | Fault::NotASocket | Fault::Io(_)) => panic!("{other:?}"),
        }
        drop(listen(&socket, true).unwrap());
        assert_eq!(names(&folder), ["gw.sock"], "what is not placed changes nothing");
        let (_new, _new_file) = open(&socket, true).unwrap();
        drop(old_file);
        assert!(UnixStream::connect(&socket.path).is_ok(), "the successor's file stays");
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = socket(&folder);
        fs::write(&socket.path, "precious").unwrap();
        assert!(matches!(listen(&socket, true), Err(Fault::NotASocket)));
        assert_eq!(fs::read(&socket.path).unwrap(), b"precious");
    }
}
