//! A connection of either engine, and what a unit of work is.

use std::time::Duration;
#[cfg(feature = "postgres")]
use std::time::Instant;

use futures::future::BoxFuture;
#[cfg(feature = "postgres")]
use sqlx::{PgConnection, Postgres};
#[cfg(feature = "sqlite")]
use sqlx::{Sqlite, SqliteConnection};

use super::{Error, error::Fault};

/// A connection, borrowed; in a unit of work, one with an open transaction.
pub(super) enum Conn<'c> {
    #[cfg(feature = "sqlite")]
    Sqlite(&'c mut SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(&'c mut PgConnection),
}

impl Conn<'_> {
    /// What the macros match on.
    pub(super) fn borrow(&mut self) -> Conn<'_> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(c) => Conn::Sqlite(c),
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => Conn::Postgres(c),
        }
    }
}

/// A connection out of a pool, for reads outside of a transaction.
pub(super) enum Pooled {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::pool::PoolConnection<Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Reading),
}

impl Pooled {
    /// What the macros match on.
    pub(super) fn borrow(&mut self) -> Conn<'_> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(c) => Conn::Sqlite(c),
            #[cfg(feature = "postgres")]
            Self::Postgres(c) => Conn::Postgres(&mut c.conn),
        }
    }
}

/// A connection that is read from. When it is put back the driver first waits for what is still owed on it, for ever where no answer comes,
/// and its place in the pool would be lost. So one on which a statement ran out of its time is closed, and for the others the wait is
/// bounded: neither a silent network nor callers that leave in the middle of a read use the pool up.
#[cfg(feature = "postgres")]
pub(super) struct Reading {
    conn: sqlx::pool::PoolConnection<Postgres>,
    since: Instant,
}

#[cfg(feature = "postgres")]
impl From<sqlx::pool::PoolConnection<Postgres>> for Reading {
    fn from(conn: sqlx::pool::PoolConnection<Postgres>) -> Self {
        Self { conn, since: Instant::now() }
    }
}

#[cfg(feature = "postgres")]
impl Drop for Reading {
    fn drop(&mut self) {
        if self.since.elapsed() >= STATEMENT_LIMIT {
            self.conn.close_on_drop();
            return;
        }
        let back = self.conn.return_to_pool();
        // Without a runtime it is closed, not put back.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { tokio::time::timeout(STATEMENT_LIMIT, back).await });
        }
    }
}

/// What a unit of work leaves behind.
pub(super) enum Done<T> {
    /// Its writes are committed.
    Keep(T),
    /// Its writes are undone: it found out half-way that it must not happen.
    Undo(T),
}

/// A unit of work: all of it or nothing. May run more than once, so it owns what it needs (`D`) and borrows it each time. An `Err` undoes it.
pub(super) type Work<D, T> = for<'a> fn(&'a mut Conn<'_>, &'a D) -> BoxFuture<'a, Result<Done<T>, Error>>;

/// How long one statement may take, its way over the network included. The server's own limit is shorter ([`super::postgres`]): this
/// one is for a network that swallows packets.
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);

/// Waits for a statement, but not for ever.
pub(super) async fn bounded<T>(statement: impl Future<Output = sqlx::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(STATEMENT_LIMIT, statement).await {
        Ok(result) => result.map_err(Error::from),
        Err(_) => Err(Error::Unavailable(Fault::timeout())),
    }
}

/// Waits for a commit, but not for ever.
pub(super) async fn bounded_commit<T>(commit: impl Future<Output = sqlx::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(STATEMENT_LIMIT, commit).await {
        Ok(result) => result.map_err(Error::of_commit),
        Err(_) => Err(Error::OutcomeUnknown(Fault::timeout())),
    }
}
