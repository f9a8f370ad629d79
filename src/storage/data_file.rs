//! The file behind a path, and whether it is still the one that was opened.
//!
//! SQLite goes on with a file that was removed or replaced: what is written to it is gone when the last connection closes, and nobody is
//! told. So each use of a connection asks first whether its file still lies under its name, and each commit asks last.

use std::{
    fs,
    io::{Error as IoError, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Error, error::Fault};

/// Which file: its device, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    /// What was found at the path last, and since when that is known.
    seen: Mutex<(Option<Identity>, Instant)>,
}

impl DataFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let seen = Mutex::new((identity(&path), Instant::now()));
        Self { path, seen }
    }

    /// The file that lies at the path now, for a connection that is about to be opened.
    pub(super) fn now(&self) -> Option<Identity> {
        identity(&self.path)
    }

    /// Whether a connection that was opened `age` ago has the file that lies at the path now.
    pub(super) fn is_of(&self, age: Duration) -> bool {
        let now = self.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != now {
            *seen = (now, Instant::now());
        }
        now.is_some() && age < seen.1.elapsed()
    }

    /// Whether `file`, which a connection has, still lies at the path.
    pub(super) fn still(&self, file: Option<Identity>) -> Result<(), Error> {
        if file.is_some() && file == self.now() {
            return Ok(());
        }
        let text = format!("{} was removed or replaced", self.path.display());
        Err(Error::Unavailable(Fault::from(sqlx::Error::Io(IoError::new(ErrorKind::NotFound, text)))))
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|file| Identity(file.dev(), file.ino()))
}
