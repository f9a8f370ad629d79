//! Where the PIN comes from. It is read when it is needed, by the signer process alone, and wiped after the login.

use std::{
    env, fs, io,
    io::{PipeReader, Read as _},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{domain::Pin, hsm::keeper::MAX_PIN};

/// What is read of a PIN at the most: one byte more than it may have.
const LIMIT: u64 = 1025;

/// Where the PIN is. Never an argument of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// A file that nobody but its owner can read. It holds the PIN and nothing else; one line end after it is not part of it.
    File(PathBuf),
    /// A file of that name in `$CREDENTIALS_DIRECTORY`, as systemd's `LoadCredential=` makes it.
    Credential(String),
    /// An environment variable. Other processes of the same user can read it: for development only.
    Env(String),
    /// The token's own keypad.
    Keypad,
    /// An operator, who enters it at a running server: it comes from the server's PIN keeper, through a pipe that is the first thing on the
    /// socket.
    Operator,
}

/// Why there is no PIN. Says nothing of what was found in its place.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file is not there, or not for us.
    #[error("cannot read the PIN file {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// Others can read the file.
    #[error("others can read the PIN file {0} (mode {1:03o}): chmod 600 it, and change the PIN")]
    Exposed(PathBuf, u32),
    /// Not started by systemd with that credential.
    #[error("CREDENTIALS_DIRECTORY is not set, or {0:?} is no name for a credential")]
    Credential(String),
    /// The variable is not there.
    #[error("the environment variable {0} with the PIN is not set")]
    Env(String),
    /// No source is configured, and the token has no keypad.
    #[error("the token has no keypad, and a signer process no terminal to ask for the PIN at")]
    NoKeypad,
    /// It is an operator's, and was not handed over.
    #[error("the PIN is an operator's, and its keeper has not handed it over: passkey-hsm hsm activate")]
    Operator,
    /// Empty, too long, or not text.
    #[error("the PIN is empty, longer than 1024 bytes, or not UTF-8")]
    Shape,
}

impl PinSource {
    /// Reads the PIN, which is nowhere to be read where it is entered at a keypad.
    pub fn read(&self) -> Result<Pin, PinError> {
        match self {
            Self::File(path) => read_file(path, true),
            Self::Credential(name) => read_credential(name),
            Self::Env(name) => {
                tracing::warn!("the PIN comes from the environment variable {name}: for development only");
                checked(&Zeroizing::new(env::var(name).map_err(|_| PinError::Env(name.clone()))?))
            }
            Self::Keypad => Err(PinError::NoKeypad),
            Self::Operator => Err(PinError::Operator),
        }
    }
}

/// What the keeper writes into the pipe, which it closes then.
pub(super) fn read_handed(pipe: OwnedFd) -> Result<Pin, PinError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PIN + 1));
    PipeReader::from(pipe).take(LIMIT).read_to_end(&mut bytes).map_err(|_| PinError::Operator)?;
    if bytes.is_empty() { Err(PinError::Operator) } else { text(&bytes) }
}

fn read_credential(name: &str) -> Result<Pin, PinError> {
    let wrong = || PinError::Credential(name.to_owned());
    let directory = env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(wrong)?;
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(wrong());
    }
    // The directory is the service's own; the mode of a file in it shows the mask of an ACL, not who can read it.
    read_file(&Path::new(&directory).join(name), false)
}

fn read_file(path: &Path, private: bool) -> Result<Pin, PinError> {
    let failed = |error| PinError::Read(path.to_owned(), error);
    // A pipe would be waited for, for ever.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
    }
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if private && mode & 0o077 != 0 {
        return Err(PinError::Exposed(path.to_owned(), mode));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PIN + 1));
    file.take(LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    text(&bytes)
}

fn text(bytes: &[u8]) -> Result<Pin, PinError> {
    checked(&Zeroizing::new(std::str::from_utf8(bytes).map_err(|_| PinError::Shape)?.to_owned()))
}

fn checked(text: &Zeroizing<String>) -> Result<Pin, PinError> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.len() > MAX_PIN || line.contains(['\n', '\0']) {
        return Err(PinError::Shape);
    }
    Ok(Pin::new(Zeroizing::new(line.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_private_file_is_read_without_its_line_end() {
        for content in [b"123456".as_slice(), b"123456\n", b"123456\r\n"] {
            let (_dir, path) = file(content, 0o600);
            assert_eq!(PinSource::File(path).read().unwrap().expose(), "123456");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        for mode in [0o640, 0o604, 0o660, 0o644] {
            let (_dir, path) = file(b"123456", mode);
            let error = PinSource::File(path).read().unwrap_err();
            assert!(matches!(error, PinError::Exposed(_, m) if m == mode));
            assert!(!error.to_string().contains("123456"));
        }
    }

    #[test]
    fn what_is_no_pin_is_refused() {
        for content in [b"".as_slice(), b"\n", b"12\n34\n", &[0xff, 0xfe], &[b'1'; 2000]] {
            let (_dir, path) = file(content, 0o600);
            assert!(matches!(PinSource::File(path).read(), Err(PinError::Shape)));
        }
        for path in ["/nowhere/pin", "/", "/dev/zero"] {
            assert!(matches!(PinSource::File(path.into()).read(), Err(PinError::Read(..))));
        }
        assert!(matches!(PinSource::Env("PASSKEY_HSM_NO_SUCH_VARIABLE".into()).read(), Err(PinError::Env(_))));
        for name in ["", "../pin", ".pin", "a/b"] {
            assert!(matches!(PinSource::Credential(name.into()).read(), Err(PinError::Credential(_))));
        }
    }
}
