//! One start, or one change of keys, at a time on this host.

use std::{fs::File, path::Path, thread::sleep, time::Duration};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// How long to wait for the turn: as long as the module of whoever has it may take to log in.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// The right to load the module and log in, or to make and destroy keys; given back when dropped.
///
/// SoftHSM 2.6.1 rewrites the token's file at each login, and a process that reads it at that moment finds no token, or one without a PIN
/// (seen in one of eight starts side by side).
pub(super) struct Turn {
    /// The module's own file, locked: whoever loads it can open it, and nothing has to be made.
    _locked: Option<File>,
}

impl Turn {
    /// Waits for the turn, and goes on without it after a while: a start that hangs must not keep others from trying.
    pub(super) fn wait(module: &Path) -> Self {
        let Ok(file) = File::open(module) else { return Self { _locked: None } };
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Self { _locked: Some(file) },
                Err(Errno::WOULDBLOCK | Errno::INTR) => sleep(PAUSE),
                // A file system without locks.
                Err(_) => break,
            }
        }
        Self { _locked: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_for_the_first() {
        let module = tempfile::NamedTempFile::new().unwrap();
        let turn = Turn::wait(module.path());
        let free = || flock(File::open(module.path()).unwrap(), FlockOperation::NonBlockingLockExclusive).is_ok();
        assert!(!free());
        drop(turn);
        assert!(free());
        // Nothing to lock is nothing to wait for.
        drop(Turn::wait(Path::new("/nowhere")));
    }
}
