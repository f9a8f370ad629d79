//! PostgreSQL, or what speaks its protocol: a pool, and transactions that are tried again.
//!
//! A transaction runs at the server's default isolation, READ COMMITTED: each change of state is one conditional statement, so nothing
//! more is needed; a server set to a stricter level works too, its serialization failures are tried again here. A transaction is run by a
//! task of its own, so that a caller that goes away does not leave half a conversation on a connection.

use std::{str::FromStr, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    Error,
    conn::{Conn, Done, Work, bounded, bounded_commit},
    counters::Counters,
    error::Fault,
};
use crate::failpoint;

/// How long to wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that was idle for longer is tried before it is used: the server may have been restarted meanwhile.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How often a transaction is tried.
const ATTEMPTS: u32 = 5;

/// The server's own limits for this session's statements, lock waits and forgotten transactions, in milliseconds.
const LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "5000"), ("lock_timeout", "4000"), ("idle_in_transaction_session_timeout", "10000")];

#[derive(Debug, Clone)]
pub(super) struct Postgres {
    pub(super) pool: PgPool,
    pub(super) counters: Arc<Counters>,
}

impl Postgres {
    /// Connects to the server that `url` (`postgres://..`) names.
    pub(super) async fn open(url: &str, max_connections: u32) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url).map_err(|error| Error::Url(error.to_string()))?;
        let options = options.application_name("passkey-hsm").options(LIMITS);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // Not before every use: that would be a round trip more each time.
            .test_before_acquire(false)
            .before_acquire(|conn, meta| {
                async move {
                    if meta.idle_for > TRUSTED_IDLE {
                        conn.ping().await?;
                    }
                    Ok(true)
                }
                .boxed()
            })
            .connect_with(options)
            .await?;
        Ok(Self { pool, counters: Arc::default() })
    }

    /// A connection that was never in the pool, without limits on its statements: for migrations, and to read again what a failed
    /// connection may have done.
    pub(super) async fn connect(&self) -> Result<PgConnection, Error> {
        let mut conn = bounded(self.pool.connect_options().connect()).await?;
        bounded(sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut conn)).await?;
        Ok(conn)
    }

    /// Runs a unit of work in a transaction: BEGIN and COMMIT are a round trip each.
    pub(super) async fn write<D, T>(&self, name: &'static str, data: D, work: Work<D, T>) -> Result<T, Error>
    where
        D: Send + Sync + 'static,
        T: Send + 'static,
    {
        let this = self.clone();
        let task = tokio::spawn(async move { retried(|wary| this.transaction(wary, name, &data, work)).await });
        task.await.unwrap_or_else(|_| Err(Error::OutcomeUnknown(Fault::stopped())))
    }

    /// Runs a unit of work that is one statement, which commits by itself: one round trip for everything. Its `Undo` must have written
    /// nothing, and its errors must be those of a commit.
    pub(super) async fn write_at_once<D, T>(&self, name: &'static str, data: D, work: Statement<D, T>) -> Result<T, Error>
    where
        D: Send + Sync + 'static,
        T: Send + 'static,
    {
        let this = self.clone();
        let task = tokio::spawn(async move { retried(|wary| this.statement(wary, name, &data, work)).await });
        task.await.unwrap_or_else(|_| Err(Error::OutcomeUnknown(Fault::stopped())))
    }

    async fn transaction<D, T>(&self, wary: bool, name: &'static str, data: &D, work: Work<D, T>) -> Result<T, Error> {
        let mut conn = self.acquire(wary).await?;
        let result = in_transaction(&mut conn, name, data, work).await;
        self.settle(conn, result)
    }

    async fn statement<D, T>(&self, wary: bool, name: &'static str, data: &D, work: Statement<D, T>) -> Result<T, Error> {
        let mut conn = self.acquire(wary).await?;
        failpoint::hit_in("storage.before_commit", name);
        let result = work(&mut conn, data).await;
        if let Ok(Done::Keep(_)) = result {
            failpoint::hit_in("storage.after_commit", name);
        }
        self.settle(conn, result)
    }

    /// A connection. `wary`: one failed just now, so the others may be dead too (a server that was restarted leaves a pool of them), and
    /// each is tried until one lives.
    async fn acquire(&self, wary: bool) -> Result<PoolConnection<sqlx::Postgres>, Error> {
        let mut suspects = if wary { self.pool.options().get_max_connections() } else { 0 };
        loop {
            let mut conn = self.pool.acquire().await?;
            if suspects == 0 || bounded(conn.ping()).await.is_ok() {
                return Ok(conn);
            }
            suspects -= 1;
            conn.close_on_drop();
        }
    }

    /// Counts what was committed, and keeps a connection that failed out of the pool, which would wait for its reply.
    fn settle<T>(&self, mut conn: PoolConnection<sqlx::Postgres>, result: Result<Done<T>, Error>) -> Result<T, Error> {
        match result {
            Ok(Done::Keep(value)) => {
                self.counters.committed(1);
                Ok(value)
            }
            Ok(Done::Undo(value)) => Ok(value),
            Err(error) => {
                if let Error::Unavailable(fault) | Error::OutcomeUnknown(fault) = &error
                    && !fault.leaves_connection()
                {
                    conn.close_on_drop();
                }
                Err(error)
            }
        }
    }
}

/// A unit of work that is one statement.
pub(super) type Statement<D, T> = for<'a> fn(&'a mut PgConnection, &'a D) -> BoxFuture<'a, Result<Done<T>, Error>>;

async fn in_transaction<D, T>(conn: &mut PgConnection, name: &str, data: &D, work: Work<D, T>) -> Result<Done<T>, Error> {
    let mut tx = bounded(conn.begin()).await?;
    let value = match work(&mut Conn::Postgres(&mut tx), data).await? {
        Done::Keep(value) => value,
        Done::Undo(value) => {
            // Whether or not the reply comes, nothing is committed.
            let _ = bounded(tx.rollback()).await;
            return Ok(Done::Undo(value));
        }
    };
    failpoint::hit_in("storage.before_commit", name);
    bounded_commit(tx.commit()).await?;
    failpoint::hit_in("storage.after_commit", name);
    Ok(Done::Keep(value))
}

/// Tries again what failed without effect and may succeed at once. An attempt is told whether it has to be wary of its connection.
async fn retried<T, F: Future<Output = Result<T, Error>>>(attempt: impl Fn(bool) -> F) -> Result<T, Error> {
    let (mut tries, mut wary) = (1, false);
    loop {
        match attempt(wary).await {
            Err(Error::Unavailable(fault)) if fault.is_transient() && tries < ATTEMPTS => {
                tracing::debug!(%fault, tries, "a transaction is tried again");
                tokio::time::sleep(Duration::from_millis(5 << tries)).await;
                wary |= !fault.leaves_connection();
                tries += 1;
            }
            result => return result,
        }
    }
}
