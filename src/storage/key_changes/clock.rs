//! The database's clock: the one that all servers share.

use std::time::Duration;

use super::super::{Error, Store, conn::Conn};
use crate::domain::Timestamp;

struct Row {
    now: i64,
}

impl Store {
    /// The database's clock: what transitions of keys go by.
    pub async fn database_now(&self) -> Result<Timestamp, Error> {
        now(&mut self.reader().await?.borrow()).await
    }
}

/// The database's clock at this statement, not at the beginning of its transaction. Each engine has its own words for it.
pub(in crate::storage) async fn now(conn: &mut Conn<'_>) -> Result<Timestamp, Error> {
    let row = match conn.borrow() {
        #[cfg(feature = "sqlite")]
        Conn::Sqlite(c) => {
            let read = sqlx::query_as!(Row, r#"SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) AS "now!: i64""#).fetch_one(c);
            crate::storage::conn::bounded(read).await?
        }
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            let read = sqlx::query_as!(Row, r#"SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint) AS "now!: i64""#)
                .fetch_one(c);
            crate::storage::conn::bounded(read).await?
        }
    };
    Ok(Timestamp::from_millis(row.now))
}

/// The instant that was so long before `now`, as it is stored.
pub(in crate::storage) fn before(now: Timestamp, length: Duration) -> i64 {
    now.as_millis().saturating_sub(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}
