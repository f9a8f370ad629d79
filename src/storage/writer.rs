//! SQLite's one writer, which commits in groups.
//!
//! SQLite has one writer at a time whatever we do, and a durable commit costs an fsync. So every unit of work goes through one task: it
//! begins a transaction, runs each unit that is waiting inside a savepoint of its own, commits once and answers all of them. While it
//! waits for the disk the next group gathers; nothing waits for company. A unit that fails is rolled back to its savepoint, alone.
//!
//! A unit that was handed over is run whether or not its caller still waits: what a client sees of a closed connection must not decide
//! what is stored.

use std::{iter, panic::AssertUnwindSafe, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{mpsc, oneshot};

use super::{
    Error,
    conn::{Conn, Done, Work, bounded_commit},
    counters::Counters,
    data_file::DataFile,
    error::Fault,
};
use crate::failpoint;

/// How many units may wait; further callers wait to hand theirs over.
const QUEUE: usize = 1024;

/// How many units share a commit at most, so that the first of them does not wait for ever.
const GROUP: usize = 128;

/// The writer's front: cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

enum Message {
    Unit(Box<dyn Unit>),
    /// Close the connection and say so.
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the writer on the current runtime. It opens another connection with `options` after a failure, never to another file in the
    /// place of the one that it has.
    pub(super) async fn start(options: SqliteConnectOptions, file: Arc<DataFile>, counters: Arc<Counters>) -> Result<Self, Error> {
        let (queue, messages) = mpsc::channel(QUEUE);
        let mut task = Task { conn: None, options, file, counters, messages, closing: None };
        task.conn = Some(task.connection().await?);
        tokio::spawn(task.run());
        Ok(Self { queue })
    }

    /// Runs a unit of work in some group, and answers when that is committed or has failed.
    pub(super) async fn write<D, T>(&self, name: &'static str, data: D, work: Work<D, T>) -> Result<T, Error>
    where
        D: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let unit = Box::new(Pending { name, data, work, result: None, answer });
        self.queue.send(Message::Unit(unit)).await.map_err(|_| Error::Unavailable(Fault::stopped()))?;
        answered.await.unwrap_or_else(|_| Err(Error::OutcomeUnknown(Fault::stopped())))
    }

    /// Finishes what was handed over and closes the connection. Later units are refused.
    pub(super) async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.queue.send(Message::Close(answer)).await.is_ok() {
            let _ = answered.await;
        }
    }
}

/// A unit of work with its types forgotten, so that units of all kinds share a queue.
trait Unit: Send {
    fn name(&self) -> &'static str;
    /// Runs it, remembers its result, and tells whether its writes are to be kept.
    fn run<'a>(&'a mut self, conn: &'a mut SqliteConnection) -> BoxFuture<'a, bool>;
    /// Tells its caller. `commit` is how the group's commit went: a result that rests on it is worth nothing when it failed.
    fn answer(self: Box<Self>, commit: Result<(), Error>);
}

struct Pending<D, T> {
    name: &'static str,
    data: D,
    work: Work<D, T>,
    result: Option<Result<Done<T>, Error>>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<D: Send + Sync, T: Send> Unit for Pending<D, T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run<'a>(&'a mut self, conn: &'a mut SqliteConnection) -> BoxFuture<'a, bool> {
        async move {
            let result = (self.work)(&mut Conn::Sqlite(conn), &self.data).await;
            let keep = matches!(result, Ok(Done::Keep(_)));
            self.result = Some(result);
            keep
        }
        .boxed()
    }

    fn answer(self: Box<Self>, commit: Result<(), Error>) {
        let result = match commit {
            Ok(()) => match self.result {
                Some(Ok(Done::Keep(value) | Done::Undo(value))) => Ok(value),
                Some(Err(error)) => Err(error),
                None => Err(Error::Unavailable(Fault::stopped())),
            },
            // What wrote nothing is not in doubt. But what it saw of the others may never have been: its result is no good either.
            Err(Error::OutcomeUnknown(fault)) if !matches!(self.result, Some(Ok(Done::Keep(_)))) => Err(Error::Unavailable(fault)),
            Err(error) => Err(error),
        };
        // A caller that no longer waits has its writes all the same.
        let _ = self.answer.send(result);
    }
}

struct Task {
    conn: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    file: Arc<DataFile>,
    counters: Arc<Counters>,
    messages: mpsc::Receiver<Message>,
    /// Who asked for the end, once somebody did. What was handed over before is still written.
    closing: Option<oneshot::Sender<()>>,
}

impl Task {
    async fn run(mut self) {
        while let Some(message) = self.messages.recv().await {
            if let Some(first) = self.unit(message) {
                self.write_group(first).await;
            }
        }
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the database's writer did not close well");
        }
        if let Some(asked) = self.closing.take() {
            let _ = asked.send(());
        }
    }

    /// The unit in a message; the end is remembered, and from then on nothing more is accepted.
    fn unit(&mut self, message: Message) -> Option<Box<dyn Unit>> {
        match message {
            Message::Unit(unit) => Some(unit),
            Message::Close(asked) => {
                self.messages.close();
                self.closing = Some(asked);
                None
            }
        }
    }

    /// A unit that waits already.
    fn waiting(&mut self) -> Option<Box<dyn Unit>> {
        let message = self.messages.try_recv().ok()?;
        self.unit(message)
    }

    /// Runs `first` and what else is waiting, and answers each. A connection on which anything but a unit failed is replaced.
    async fn write_group(&mut self, first: Box<dyn Unit>) {
        let mut conn = match self.connection().await {
            Ok(conn) => conn,
            Err(error) => return first.answer(Err(error)),
        };
        let mut group = vec![first];
        // A unit that panics must not take the writer with it, only its group, which is rolled back with the connection.
        let outcome = AssertUnwindSafe(self.transaction(&mut conn, &mut group)).catch_unwind().await;
        let commit = outcome.unwrap_or_else(|_| Err(Error::Unavailable(Fault::stopped())));
        match &commit {
            Ok(()) => self.conn = Some(conn),
            Err(error) => {
                tracing::warn!(%error, units = group.len(), "a group of writes was not committed");
                // Dropped, not closed: its thread ends by itself, and an open transaction is rolled back with it.
                drop(conn);
            }
        }
        for unit in group {
            unit.answer(commit.clone());
        }
    }

    async fn connection(&mut self) -> Result<SqliteConnection, Error> {
        self.file.check()?;
        match self.conn.take() {
            Some(conn) => Ok(conn),
            None => Ok(self.options.connect().await?),
        }
    }

    /// One transaction: the units in `group`, then those that wait, which are added to it.
    async fn transaction(&mut self, conn: &mut SqliteConnection, group: &mut Vec<Box<dyn Unit>>) -> Result<(), Error> {
        let mut tx = match conn.begin_with("BEGIN IMMEDIATE").await {
            Ok(tx) => tx,
            Err(error) => {
                // Another process had the file for too long. What gathered meanwhile has waited too, and does not wait as long once more.
                group.extend(iter::from_fn(|| self.waiting()).take(GROUP));
                return Err(error.into());
            }
        };
        let mut kept = Vec::new();
        let mut next = 0;
        while let Some(unit) = group.get_mut(next) {
            let mut savepoint = tx.begin().await?;
            if unit.run(&mut savepoint).await {
                savepoint.commit().await?;
                kept.push(unit.name());
            } else {
                savepoint.rollback().await?;
            }
            next += 1;
            if group.len() < GROUP
                && let Some(unit) = self.waiting()
            {
                group.push(unit);
            }
        }
        if kept.is_empty() {
            return Ok(tx.rollback().await?);
        }
        for name in &kept {
            failpoint::hit_in("storage.before_commit", name);
        }
        self.file.check()?;
        bounded_commit(tx.commit()).await?;
        for name in &kept {
            failpoint::hit_in("storage.after_commit", name);
        }
        self.counters.committed(kept.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the caller of a unit with this result learns when its group's commit went like that.
    fn answered(result: Result<Done<u8>, Error>, commit: Result<(), Error>) -> Result<u8, Error> {
        let (answer, mut answered) = oneshot::channel();
        let work: Work<(), u8> = |_, ()| Box::pin(async { Ok(Done::Keep(0)) });
        Box::new(Pending { name: "test", data: (), work, result: Some(result), answer }).answer(commit);
        answered.try_recv().unwrap()
    }

    #[test]
    fn a_result_is_worth_its_commit() {
        let unknown = || Err(Error::OutcomeUnknown(Fault::stopped()));
        assert_eq!(answered(Ok(Done::Keep(1)), Ok(())).ok(), Some(1));
        assert_eq!(answered(Ok(Done::Undo(2)), Ok(())).ok(), Some(2));
        assert!(matches!(answered(Err(Error::Conflict), Ok(())), Err(Error::Conflict)));
        assert!(matches!(answered(Ok(Done::Keep(1)), unknown()), Err(Error::OutcomeUnknown(_))));
        // What wrote nothing is not in doubt, but it may have seen what never was.
        assert!(matches!(answered(Ok(Done::Undo(2)), unknown()), Err(Error::Unavailable(_))));
        assert!(matches!(answered(Err(Error::Conflict), unknown()), Err(Error::Unavailable(_))));
        assert!(matches!(answered(Ok(Done::Keep(1)), Err(Error::Unavailable(Fault::stopped()))), Err(Error::Unavailable(_))));
    }
}
