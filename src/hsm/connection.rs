//! The wire to one signer process: many requests at once over one socket, each with its reply, and none left waiting when it breaks.

use std::{
    collections::HashMap,
    io,
    os::unix::net::UnixStream as StdUnixStream,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use rustix::net::Shutdown;
use tokio::{
    net::UnixStream,
    sync::{Notify, oneshot, watch},
};
use zeroize::Zeroize as _;

use super::protocol::{self, MAX_REPLY, MAX_REQUEST, Reply, ReplyFrame, Request, RequestFrame};

/// The connection broke before the reply came. Whether the request was done is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

/// Locks whatever became of the last holder: each critical section here leaves things whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection. Ends with the process at its other end.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    /// What the socket has not taken yet.
    outbox: Mutex<Vec<u8>>,
    outbox_filled: Notify,
    /// Who waits for which reply; `None` once the connection is closed.
    pending: Mutex<Option<HashMap<u64, oneshot::Sender<Reply>>>>,
    next_id: AtomicU64,
    suspect: AtomicBool,
    stopping: Mutex<Option<(u8, String)>>,
    closed: watch::Sender<bool>,
}

impl Connection {
    /// Takes over a connected socket and serves it in a task of its own.
    pub(super) fn open(socket: StdUnixStream) -> io::Result<Arc<Self>> {
        socket.set_nonblocking(true)?;
        let connection = Arc::new(Self {
            stream: UnixStream::from_std(socket)?,
            outbox: Mutex::default(),
            outbox_filled: Notify::new(),
            pending: Mutex::new(Some(HashMap::new())),
            next_id: AtomicU64::new(1),
            suspect: AtomicBool::new(false),
            stopping: Mutex::default(),
            closed: watch::Sender::new(false),
        });
        tokio::spawn(connection.clone().pump());
        Ok(connection)
    }

    /// Sends a request; its reply comes through the receiver, which fails when the connection breaks.
    pub(super) fn begin(&self, body: Request, remaining: Duration) -> Result<oneshot::Receiver<Reply>, Lost> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let remaining_ms = u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX);
        let (sender, receiver) = oneshot::channel();
        let frame = match protocol::encode(&RequestFrame { id, remaining_ms, body }, MAX_REQUEST) {
            Ok(frame) => frame,
            Err(error) => {
                let _ = sender.send(Reply::Failed(protocol::Failure::Refused(error.to_string())));
                return Ok(receiver);
            }
        };
        lock(&self.pending).as_mut().ok_or(Lost)?.insert(id, sender);
        self.write(&frame);
        Ok(receiver)
    }

    /// Sends a request and waits for its reply.
    pub(super) async fn call(&self, body: Request<'_>, remaining: Duration) -> Result<Reply, Lost> {
        self.begin(body, remaining)?.await.map_err(|_| Lost)
    }

    /// How many replies are owed, those included that nobody waits for any more: a process that was stopped must not look idle.
    pub(super) fn load(&self) -> usize {
        lock(&self.pending).as_ref().map_or(usize::MAX, HashMap::len)
    }

    /// Whether the process is late with something; until its next reply.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Marks the process as late.
    pub(super) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Why the process said it would end, with its exit code.
    pub(super) fn stopping(&self) -> Option<(u8, String)> {
        lock(&self.stopping).clone()
    }

    /// Waits for the end of the connection.
    pub(super) async fn closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Ends the connection: the process sees its end, and whoever waits for a reply is told at once.
    pub(super) fn close(&self) {
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Both);
        let waiting = lock(&self.pending).take();
        self.closed.send_replace(true);
        drop(waiting);
    }

    fn write(&self, frame: &[u8]) {
        let mut outbox = lock(&self.outbox);
        // The usual case: the socket takes it now, and no task has to be woken.
        let written = if outbox.is_empty() { self.stream.try_write(frame).unwrap_or(0) } else { 0 };
        if written < frame.len() {
            outbox.extend_from_slice(&frame[written..]);
            drop(outbox);
            self.outbox_filled.notify_one();
        }
    }

    async fn pump(self: Arc<Self>) {
        let outcome = tokio::select! {
            outcome = self.read_replies() => outcome,
            outcome = self.flush_outbox() => outcome,
        };
        if let Err(error) = outcome {
            tracing::debug!("the connection to a signer process broke: {error}");
        }
        self.close();
    }

    async fn read_replies(&self) -> io::Result<()> {
        let mut buffer = BytesMut::with_capacity(4096);
        loop {
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            while let Some(mut body) = protocol::split_frame(&mut buffer, MAX_REPLY)? {
                let frame = protocol::decode(&body);
                // What opens the root secret comes this way too.
                body.zeroize();
                self.deliver(frame?);
            }
        }
    }

    fn deliver(&self, frame: ReplyFrame) {
        self.suspect.store(false, Ordering::Relaxed);
        if let Reply::Stopping { code, text } = frame.body {
            *lock(&self.stopping) = Some((code, text));
            return;
        }
        let waiting = lock(&self.pending).as_mut().and_then(|pending| pending.remove(&frame.id));
        if let Some(sender) = waiting {
            // Nobody may wait any more: another process was faster, or the deadline passed.
            let _ = sender.send(frame.body);
        }
    }

    /// Never ends by itself: when nothing can be sent any more, what the process said before it went may still wait to be read, and the
    /// end is the reader's to find.
    async fn flush_outbox(&self) -> io::Result<()> {
        loop {
            self.outbox_filled.notified().await;
            while !lock(&self.outbox).is_empty() {
                self.stream.writable().await?;
                let mut outbox = lock(&self.outbox);
                match self.stream.try_write(&outbox) {
                    Ok(written) => drop(outbox.drain(..written)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => {
                        tracing::debug!("a signer process takes no more requests: {error}");
                        outbox.clear();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pair() -> (Arc<Connection>, StdUnixStream) {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        (Connection::open(ours).unwrap(), theirs)
    }

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn replies_find_their_requests_in_any_order() {
        let (connection, theirs) = pair();
        let first = connection.begin(Request::Ping, SOON).unwrap();
        let second = connection.begin(Request::Inventory, SOON).unwrap();
        assert_eq!(connection.load(), 2);
        connection.suspect();
        for (id, body) in [(2, Reply::Destroyed(true)), (1, Reply::Pong { call_ms: 7 })] {
            (&theirs).write_all(&protocol::encode(&ReplyFrame { id, body }, MAX_REPLY).unwrap()).unwrap();
        }
        assert!(matches!(first.await, Ok(Reply::Pong { call_ms: 7 })));
        assert!(matches!(second.await, Ok(Reply::Destroyed(true))));
        assert_eq!((connection.load(), connection.is_suspect()), (0, false));
    }

    #[tokio::test]
    async fn a_broken_connection_leaves_nobody_waiting() {
        let (connection, theirs) = pair();
        let waiting = connection.begin(Request::Ping, SOON).unwrap();
        drop(theirs);
        assert!(waiting.await.is_err());
        connection.closed().await;
        assert_eq!(connection.call(Request::Ping, SOON).await.unwrap_err(), Lost);
        assert_eq!(connection.load(), usize::MAX);
    }

    #[tokio::test]
    async fn garbage_ends_the_connection() {
        let (connection, theirs) = pair();
        let waiting = connection.begin(Request::Ping, SOON).unwrap();
        (&theirs).write_all(&[3, 0, 0, 0, 0xff, 0xff, 0xff]).unwrap();
        assert!(waiting.await.is_err());
    }

    #[tokio::test]
    async fn more_than_the_socket_takes_is_kept_and_sent_in_order() {
        let (connection, mut theirs) = pair();
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let mut buffer = Vec::new();
            (1..=4000).all(|id| {
                protocol::read_frame(&mut theirs, &mut buffer, MAX_REQUEST).unwrap();
                protocol::decode::<RequestFrame>(&buffer).unwrap().id == id
            })
        });
        let input = "x".repeat(500);
        for _ in 0..4000 {
            let request = Request::Sign(protocol::Sign {
                kid: super::super::HEALTH_KEY,
                cka_id: [].as_slice().into(),
                algorithm: crate::domain::SigningAlgorithm::Es256,
                public_key: [].as_slice().into(),
                signing_input: input.as_str().into(),
                fresh: false,
            });
            drop(connection.begin(request, SOON).unwrap());
        }
        assert!(tokio::task::spawn_blocking(move || reader.join().unwrap()).await.unwrap());
    }

    #[tokio::test]
    async fn last_words_are_heard_though_nothing_can_be_sent_any_more() {
        for _ in 0..100 {
            let (connection, theirs) = pair();
            let body = Reply::Stopping { code: 4, text: "no module".into() };
            (&theirs).write_all(&protocol::encode(&ReplyFrame { id: 0, body }, MAX_REPLY).unwrap()).unwrap();
            drop(theirs);
            let _ = connection.begin(Request::Ping, SOON);
            connection.closed().await;
            assert_eq!(connection.stopping(), Some((4, "no module".into())));
        }
    }
}
