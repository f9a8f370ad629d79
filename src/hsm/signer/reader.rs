//! The thread that reads the socket: sorts requests, answers pings, and ends the process with the connection.

use std::{
    borrow::Cow,
    io::BufReader,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, MutexGuard, TryLockError},
    thread,
    time::{Duration, Instant},
};

use super::{
    lane::Calls,
    manager::{Chore, Management},
    process::{Replies, die},
    queue::Queue,
    worker::{Job, MAX_WAIT, Task},
};
use crate::hsm::protocol::{self, Failure, MAX_REQUEST, Reply, Request, RequestFrame};

/// The most jobs that wait. The client's own bound is far below; this one only keeps a mad client from filling the memory.
const MAX_QUEUED: usize = 4096;

/// What waits to be done, and how it goes.
pub(super) struct Work {
    /// Held while the module does what must not be cut short. At a login SoftHSM rewrites the token's file, and a process that dies at that
    /// moment leaves an empty one, with which all keys are lost; when keys are made, half a pair.
    pub(super) uncut: Mutex<()>,
    pub(super) jobs: Queue<Job>,
    pub(super) chores: Queue<Management>,
    pub(super) calls: Arc<Calls>,
}

impl Work {
    pub(super) fn new(workers: usize) -> Self {
        Self { uncut: Mutex::default(), jobs: Queue::new(MAX_QUEUED), chores: Queue::new(MAX_QUEUED), calls: Arc::new(Calls::new(workers)) }
    }
}

/// How long a login, or the making of a key, may take once nobody waits for it any more.
const UNCUT_LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Reads for ever.
pub(super) fn run(socket: UnixStream, work: &Work, replies: &Replies) {
    let mut from = BufReader::new(socket);
    let mut buffer = Vec::new();
    loop {
        match protocol::read_frame(&mut from, &mut buffer, MAX_REQUEST) {
            Ok(true) => {}
            // The server is gone, or wants this process to go. Whatever is under way is nobody's any more.
            Ok(false) => {
                let _held = after_the_uncut(work);
                die()
            }
            Err(error) => {
                let _held = after_the_uncut(work);
                replies.die(1, format!("cannot read requests: {error}"))
            }
        }
        match protocol::decode::<RequestFrame<'static>>(&buffer) {
            Ok(frame) => sort(frame, work, replies),
            Err(error) => {
                let _held = after_the_uncut(work);
                replies.die(1, format!("a request cannot be decoded: {error}"))
            }
        }
    }
}

/// Waits for the end of what must not be cut short, and keeps more from beginning; goes on without after a while, because a module can hang.
fn after_the_uncut(work: &Work) -> Option<MutexGuard<'_, ()>> {
    for _ in 0..UNCUT_LIMIT.as_millis() / PAUSE.as_millis() {
        match work.uncut.try_lock() {
            Ok(held) => return Some(held),
            Err(TryLockError::Poisoned(held)) => return Some(held.into_inner()),
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
        }
    }
    None
}

fn sort(frame: RequestFrame<'static>, work: &Work, replies: &Replies) {
    let RequestFrame { id, remaining_ms, body } = frame;
    let expires = Instant::now() + Duration::from_millis(remaining_ms.into()).min(MAX_WAIT);
    let chore = |chore| work.chores.push(Management { id, expires, chore }).is_ok();
    let accepted = match body {
        Request::Ping => {
            let call_ms = u32::try_from(work.calls.longest().as_millis()).unwrap_or(u32::MAX);
            replies.send(id, Reply::Pong { call_ms });
            true
        }
        Request::Sign(request) => work.jobs.push(Job { id, expires, task: Task::Sign(request) }).is_ok(),
        Request::Prove(request) => work.jobs.push(Job { id, expires, task: Task::Prove(request) }).is_ok(),
        Request::Health { nonce, urgent: true } => {
            work.jobs.push_front(Job { id, expires, task: Task::Health { nonce } });
            true
        }
        Request::Health { nonce, urgent: false } => work.jobs.push(Job { id, expires, task: Task::Health { nonce } }).is_ok(),
        Request::Hello { version } if version != protocol::VERSION => {
            let text =
                format!("this signer speaks version {} and the server {version}: was the program replaced under it?", protocol::VERSION);
            replies.die(super::EXIT_CONFIGURATION, text)
        }
        Request::Hello { .. } => chore(Chore::Hello),
        Request::Generate(request) => chore(Chore::Generate(request)),
        Request::Adopt(request) => chore(Chore::Adopt(request)),
        Request::Destroy { kid, cka_id } => chore(Chore::Destroy { kid, cka_id: cka_id.map(Cow::into_owned) }),
        Request::Describe { cka_ids } => chore(Chore::Describe { cka_ids }),
        Request::Inventory => chore(Chore::Inventory),
        Request::Unlock { public_key } => chore(Chore::Unlock { public_key: public_key.map(Cow::into_owned) }),
    };
    if !accepted {
        replies.send(id, Reply::Failed(Failure::Busy));
    }
}
