//! The process itself: what it keeps others from seeing, how it speaks, and how it ends.

use std::{
    io::Write as _,
    net::Shutdown,
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use zeroize::Zeroizing;

use super::queue::lock;
use crate::hsm::protocol::{self, MAX_REPLY, Reply, ReplyFrame};

/// No core dumps, and no ptrace or `/proc/PID/mem` by other processes of the same user: the PIN passes through this memory.
pub fn harden() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!("cannot forbid others to look into this process: {error}");
    }
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!("cannot forbid core dumps: {error}");
    }
}

/// Ends the process here and now, without exit handlers and destructors: those of SoftHSM and OpenSSL crash while other threads are
/// inside the module, and a thread that hangs in it would never let them run. SIGKILL is the one way to do so without unsafe code; the
/// reason was sent before, as `Reply::Stopping`.
pub fn die() -> ! {
    loop {
        let _ = kill_process(getpid(), Signal::KILL);
        thread::sleep(Duration::from_millis(10));
    }
}

/// The way back to `serve`, shared by all threads.
#[derive(Clone)]
pub(super) struct Replies(Arc<Mutex<UnixStream>>);

impl Replies {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(socket)))
    }

    /// Sends one reply. When nobody is there to read it there is nothing left to do for this process: its reader sees the same end, and
    /// waits for what must not be cut short.
    pub(super) fn send(&self, id: u64, body: Reply) {
        let frame = protocol::encode(&ReplyFrame { id, body }, MAX_REPLY).or_else(|error| {
            let body = Reply::Failed(protocol::Failure::Device(format!("the reply cannot be sent: {error}")));
            protocol::encode(&ReplyFrame { id, body }, MAX_REPLY)
        });
        // What opens the root secret goes this way too.
        if frame.map(Zeroizing::new).and_then(|frame| lock(&self.0).write_all(&frame)).is_err() {
            let _ = lock(&self.0).shutdown(Shutdown::Both);
        }
    }

    /// Says why, and ends the process.
    pub(super) fn die(&self, code: u8, text: String) -> ! {
        tracing::error!("the signer process ends: {text}");
        self.send(0, Reply::Stopping { code, text });
        die()
    }
}

/// Starts a thread. If it panics the process ends: half a process answers pings and signs nothing.
pub(super) fn spawn(name: &str, replies: &Replies, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let replies = replies.clone();
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            replies.die(1, "a thread of the signer process panicked".to_owned());
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(guarded).map(drop)
}
