//! The PIN keeper: a process of its own that knows a PIN which an operator entered, and does nothing but hand it to signer processes.
//!
//! The process that parses the internet's bytes keeps no PIN, and a signer process that dies must log in again without the operator. So the
//! server passes the PIN on once, wipes its copy, and from then on gives the keeper the write end of a pipe for each signer process that
//! starts; the signer gets the read end. What runs between them the server cannot read. The keeper loads no module, opens no file, and ends
//! with its socket, that is with the server however that ends.

use std::{
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{SignerCommand, descriptor, signer::harden};
use crate::domain::Pin;

/// The most bytes a PIN may have. CloudHSM's `user:password` is the longest known.
pub(super) const MAX_PIN: usize = 1024;

/// How long the keeper may take to leave after its socket was closed. It has nothing to finish.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// Serves a keeper's socket until it is closed: the PIN comes first, then a pipe for each time that it is wanted.
///
/// # Errors
/// A socket that breaks, or says something else.
pub fn keep_pin(mut socket: UnixStream) -> io::Result<()> {
    harden();
    let mut length = [0; 2];
    socket.read_exact(&mut length)?;
    let length = usize::from(u16::from_le_bytes(length));
    if length > MAX_PIN {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long for a PIN"));
    }
    let mut pin = Zeroizing::new(vec![0; length]);
    socket.read_exact(&mut pin)?;
    while let Some(pipe) = descriptor::receive(&socket)? {
        // It holds more than a PIN, so that nothing blocks. Whoever has gone meanwhile needs none.
        let _ = PipeWriter::from(pipe).write_all(&pin);
    }
    Ok(())
}

/// The keeper as the server sees it. Ends when this is dropped, and the PIN with it.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
    socket: UnixStream,
}

impl Keeper {
    /// Starts it, with one end of a socket pair as its standard input, and tells it the PIN.
    pub(super) fn start(command: &SignerCommand, pin: &Pin) -> io::Result<Self> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let child = Command::new(&command.program)
            .args(&command.args)
            .env_clear()
            .envs(command.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // A Ctrl-C at the terminal is for the server.
            .process_group(0)
            .spawn()?;
        let length = u16::try_from(pin.expose().len()).map_err(io::Error::other)?;
        ours.write_all(&length.to_le_bytes())?;
        ours.write_all(pin.expose().as_bytes())?;
        Ok(Self { child, socket: ours })
    }

    /// A pipe from which the PIN can be read once.
    pub(super) fn hand_over(&self) -> io::Result<PipeReader> {
        let (reader, writer) = io::pipe()?;
        descriptor::send(&self.socket, &writer)?;
        Ok(reader)
    }

    /// Its process id, while it runs.
    pub(super) fn pid(&mut self) -> Option<u32> {
        matches!(self.child.try_wait(), Ok(None)).then(|| self.child.id()).flatten()
    }

    /// Ends it, and sees that it has ended.
    pub(super) async fn forget(self) {
        let Self { mut child, socket } = self;
        drop(socket);
        if timeout(LEAVE_LIMIT, child.wait()).await.is_err() {
            let _ = child.start_kill();
            let _ = child.wait().await;
        }
    }
}
