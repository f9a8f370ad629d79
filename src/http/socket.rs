//! The Unix socket by which commands on the server's own host reach it. Whoever may open it, and is of the server's user or root, may command
//! the server: so it is never there, not for an instant, with a mode that lets others in.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel's bound on a socket's name.
    #[error("{0} is longer than the 107 bytes that a socket's path may have: set admin.socket")]
    TooLong(PathBuf),
    /// A file that is not ours to replace.
    #[error("{0} is there, and is no socket")]
    NotASocket(PathBuf),
    /// Another server answers there.
    #[error("another server answers at {0}: give each its own admin.socket")]
    Taken(PathBuf),
    /// The file system refuses.
    #[error("cannot make the socket {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// The longest path of a socket on Linux, without the zero byte at its end (unix(7)).
const MAX_PATH: usize = 107;

/// A listening socket; its file is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, to know it again.
    identity: (u64, u64),
}

impl Socket {
    /// Takes the place of a file that a dead server left, and of nothing else.
    pub(super) async fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Io(path.to_owned(), error);
        // Made in a folder that nobody else can enter, given its mode there, and only then put where others can find it.
        let private = path.with_file_name(format!(".hsm-{}", std::process::id()));
        let hidden = private.join("s");
        if path.as_os_str().as_bytes().len().max(hidden.as_os_str().as_bytes().len()) > MAX_PATH {
            return Err(SocketError::TooLong(path.to_owned()));
        }
        vacant(path).await?;
        // Of a process that had this id before.
        clear(&private);
        DirBuilder::new().mode(0o700).create(&private).map_err(failed)?;
        let bound = (|| {
            let listener = UnixListener::bind(&hidden)?;
            fs::set_permissions(&hidden, Permissions::from_mode(0o600))?;
            let file = fs::symlink_metadata(&hidden)?;
            fs::rename(&hidden, path)?;
            Ok(Self { listener, path: path.to_owned(), identity: (file.dev(), file.ino()) })
        })();
        clear(&private);
        bound.map_err(failed)
    }

    /// The next caller, with its user's id; `None` for one of another user, who is told nothing.
    pub(super) async fn accept(&self) -> io::Result<Option<(UnixStream, u32)>> {
        let (stream, _) = self.listener.accept().await?;
        let Ok(caller) = stream.peer_cred() else { return Ok(None) };
        if caller.uid() == geteuid().as_raw() || caller.uid() == 0 {
            return Ok(Some((stream, caller.uid())));
        }
        tracing::warn!(uid = caller.uid(), "user {} called the admin socket, which is not for them", caller.uid());
        Ok(None)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Not that of a server that took our place.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether `path` can be taken: nothing is there, or a socket at which nobody answers.
async fn vacant(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SocketError::Io(path.to_owned(), error)),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(SocketError::Io(path.to_owned(), error)),
        Ok(_) => Err(SocketError::Taken(path.to_owned())),
    }
}

fn clear(private: &Path) {
    let _ = fs::remove_file(private.join("s"));
    let _ = fs::remove_dir(private);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_is_the_users_own_and_goes_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let socket = Socket::bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let (called, answered) = tokio::join!(UnixStream::connect(&path), socket.accept());
        assert_eq!((called.is_ok(), answered.unwrap().unwrap().1), (true, geteuid().as_raw()));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_servers_file_is_replaced_and_a_live_ones_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        // As a server leaves it that is killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = Socket::bind(&path).await.unwrap();
        assert!(matches!(Socket::bind(&path).await, Err(SocketError::Taken(_))));
        assert!(UnixStream::connect(&path).await.is_ok(), "the first is still there");
        fs::remove_file(&path).unwrap();
        let second = Socket::bind(&path).await.unwrap();
        drop(first);
        assert!(path.exists(), "it is the second's now");
        drop(second);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(Socket::bind(&path).await, Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let long = folder.path().join("x".repeat(100));
        assert!(matches!(Socket::bind(&long).await, Err(SocketError::TooLong(_))));
        let nowhere = folder.path().join("no/a.sock");
        assert!(matches!(Socket::bind(&nowhere).await, Err(SocketError::Io(..))));
    }
}
