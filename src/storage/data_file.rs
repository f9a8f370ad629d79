//! The file behind a path, and whether it is still the one that was opened.
//!
//! SQLite goes on with a file that was removed or replaced: what is written to it is gone when the last connection closes, and nobody is
//! told. So each read and each group of writes asks first whether the file still lies under its name, and each commit asks last.
//!
//! Another file in its place is never opened: the log of the file before may still lie beside it, and SQLite would play that log into the
//! newcomer. Whoever put it there clears the log away and starts the server again.

use std::{
    fs,
    io::{Error as IoError, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{Error, error::Fault};

/// Which file: its device, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    opened: Option<Identity>,
}

impl DataFile {
    /// The file that lies at `path` now: the one that is going to be used.
    pub(super) fn new(path: PathBuf) -> Self {
        let opened = identity(&path);
        Self { path, opened }
    }

    /// Whether that file still lies at the path; one that was moved away may come back.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.opened.is_some() && identity(&self.path) == self.opened {
            return Ok(());
        }
        let path = self.path.display();
        let text = format!("{path} was removed or replaced: put it back, or remove {path}-wal and {path}-shm and start the server again");
        Err(Error::Unavailable(Fault::from(sqlx::Error::Io(IoError::new(ErrorKind::NotFound, text)))))
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|file| Identity(file.dev(), file.ino()))
}
