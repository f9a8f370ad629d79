//! The only SQL: a [`Store`] on SQLite or PostgreSQL, one file per aggregate, every statement written once for both.
//!
//! Each method is one atomic unit: when it answers `Ok` and wrote something, that is durable; when it answers an error other than
//! [`Error::OutcomeUnknown`], it wrote nothing. A write is finished once it was begun, even if its caller goes away.

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("choose at least one of the features sqlite and postgres");

#[macro_use]
mod macros;

mod admins;
mod anchors;
mod api_keys;
mod approvals;
mod audit;
mod authentication;
mod ceremonies;
mod conn;
mod counters;
mod credentials;
#[cfg(feature = "sqlite")]
mod data_file;
mod error;
mod evidence;
mod key_attachments;
mod key_changes;
mod key_names;
mod key_policy;
mod leases;
mod metadata;
mod migrations;
mod models;
#[cfg(feature = "postgres")]
mod postgres;
mod registration;
mod replicas;
mod root_secret;
mod rows;
mod signing_keys;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tenant_ends;
mod tenants;
mod transactions;
mod trust_revision;
mod used_challenges;
mod users;
#[cfg(feature = "sqlite")]
mod writer;

use std::{fmt, sync::Arc, time::Duration};

pub use approvals::ApprovalAdded;
pub use authentication::{Answered, AuthenticationCommit, AuthenticationUnit};
use conn::{Pooled, Work};
pub use counters::Stats;
pub use error::{Error, Fault};
pub use key_attachments::KeyAttachment;
pub use key_changes::{DueKeys, KeyNotices};
pub use metadata::MetadataUpdate;
pub use registration::RegistrationCommit;
pub use root_secret::{RootEnvelope, RootFingerprint, StoredRootSecret};
pub use signing_keys::KeyFilter;

/// Which database is behind a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite, in this process.
    Sqlite,
    /// PostgreSQL, or what speaks its protocol.
    Postgres,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// How long closing may take: a little longer than the longest statement.
const CLOSE_LIMIT: Duration = Duration::from_secs(12);

/// The database. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct Store(Backend);

#[derive(Clone)]
enum Backend {
    #[cfg(feature = "sqlite")]
    Sqlite(Arc<sqlite::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Arc<postgres::Postgres>),
}

impl Store {
    /// Opens the database at `url`: `sqlite:PATH` (the file is made if it is not there) or `postgres://user@host/database`.
    ///
    /// `max_connections` bounds the connections to PostgreSQL; on SQLite it bounds the readers, beside one writer. Call it on the runtime
    /// that will use the store, which keeps tasks there. The tables are not made: see [`Store::migrate`].
    pub async fn open(url: &str, max_connections: u32) -> Result<Self, Error> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "sqlite")]
            Some("sqlite") => Ok(Self(Backend::Sqlite(sqlite::Sqlite::open(url, max_connections).await?.into()))),
            #[cfg(feature = "postgres")]
            Some("postgres" | "postgresql") => Ok(Self(Backend::Postgres(postgres::Postgres::open(url, max_connections).await?.into()))),
            #[cfg(not(feature = "sqlite"))]
            Some("sqlite") => Err(Error::Url("this build has no SQLite".to_owned())),
            #[cfg(not(feature = "postgres"))]
            Some("postgres" | "postgresql") => Err(Error::Url("this build has no PostgreSQL".to_owned())),
            _ => Err(Error::Url("it must begin with sqlite: or postgres:".to_owned())),
        }
    }

    /// Which database this is.
    pub fn engine(&self) -> Engine {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => Engine::Sqlite,
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => Engine::Postgres,
        }
    }

    /// What this store has written since it was opened.
    pub fn stats(&self) -> Stats {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(db) => db.counters.stats(),
            #[cfg(feature = "postgres")]
            Backend::Postgres(db) => db.counters.stats(),
        }
    }

    /// Asks the database for an answer.
    pub async fn ping(&self) -> Result<(), Error> {
        struct Row {
            one: i64,
        }
        let row = query!(self.reader().await?, fetch_one, Row, r#"SELECT CAST(1 AS BIGINT) AS "one!: i64""#)?;
        if row.one == 1 { Ok(()) } else { Err(Error::Corrupt("SELECT 1".to_owned())) }
    }

    /// Finishes the writes that were begun and closes every connection; leaves them after a while, because a database that does not answer
    /// does not say goodbye either. The store is of no use afterwards.
    pub async fn close(&self) {
        let closed = async {
            match &self.0 {
                #[cfg(feature = "sqlite")]
                Backend::Sqlite(db) => db.close().await,
                #[cfg(feature = "postgres")]
                Backend::Postgres(db) => db.pool.close().await,
            }
        };
        if tokio::time::timeout(CLOSE_LIMIT, closed).await.is_err() {
            tracing::warn!("the database did not let its connections be closed in time");
        }
    }

    /// A connection for reads outside of a transaction.
    async fn reader(&self) -> Result<Pooled, Error> {
        Ok(match &self.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(db) => Pooled::Sqlite(db.reader().await?),
            #[cfg(feature = "postgres")]
            Backend::Postgres(db) => Pooled::Postgres(db.pool.acquire().await?.into()),
        })
    }

    /// Runs a unit of work, atomically and durably. `name` is what failpoints call it.
    async fn write<D, T>(&self, name: &'static str, data: D, work: Work<D, T>) -> Result<T, Error>
    where
        D: Send + Sync + 'static,
        T: Send + 'static,
    {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(db) => db.writer.write(name, data, work).await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(db) => db.write(name, data, work).await,
        }
    }
}

/// Says which engine; an address can hold a password.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.engine())
    }
}
