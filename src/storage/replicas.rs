//! The servers that there are.

use std::time::Duration;

use sqlx::types::Uuid;

use super::{
    Error, Store,
    conn::{Conn, Done},
    key_changes::clock,
    rows::{OrCorrupt, text},
};
use crate::domain::{Replica, ReplicaId, Timestamp};

/// How many leases a server may be silent until its row goes.
const SWEPT_AFTER: u32 = 10;

struct ReplicaRow {
    id: Uuid,
    host: String,
    pid: i64,
    version: String,
    started_at: i64,
    seen_at: i64,
    key_revision: i64,
}

impl Store {
    /// Says that a server is there and which changes of keys its JWKS have; `started_at` and `seen_at` are the database's. Rows of servers that
    /// have been silent for ten times `lease` are swept.
    pub async fn beat(&self, replica: &Replica, lease: Duration) -> Result<(), Error> {
        self.write("beat", (replica.clone(), lease), |tx, (replica, lease)| {
            Box::pin(async move {
                let now = clock::now(tx).await?;
                upsert(tx, replica, now).await?;
                execute!(
                    tx,
                    "DELETE FROM replicas WHERE seen_at <= $1 AND id <> $2",
                    clock::before(now, lease.saturating_mul(SWEPT_AFTER)),
                    replica.id.as_uuid()
                )?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }

    /// A server that stopped in good order is not waited for.
    pub async fn remove_replica(&self, id: ReplicaId) -> Result<(), Error> {
        self.write("remove_replica", id, |tx, id| {
            Box::pin(async move {
                execute!(tx, "DELETE FROM replicas WHERE id = $1", id.as_uuid())?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }

    /// The servers that were seen within `lease`, by the database's clock, the oldest first.
    pub async fn live_replicas(&self, lease: Duration) -> Result<Vec<Replica>, Error> {
        let mut conn = self.reader().await?;
        let now = clock::now(&mut conn.borrow()).await?;
        let rows = query!(
            conn,
            fetch_all,
            ReplicaRow,
            r#"SELECT id AS "id: Uuid", host, pid, version, started_at, seen_at, key_revision FROM replicas
            WHERE seen_at > $1 ORDER BY started_at, id"#,
            clock::before(now, lease)
        )?;
        rows.into_iter().map(Replica::try_from).collect()
    }
}

async fn upsert(tx: &mut Conn<'_>, replica: &Replica, now: Timestamp) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO replicas (id, host, pid, version, started_at, seen_at, key_revision) VALUES ($1, $2, $3, $4, $5, $5, $6)
        ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, key_revision = excluded.key_revision",
        replica.id.as_uuid(),
        text(&replica.host),
        i64::from(replica.pid),
        text(&replica.version),
        now.as_millis(),
        replica.key_revision
    )?;
    Ok(())
}

impl TryFrom<ReplicaRow> for Replica {
    type Error = Error;

    fn try_from(row: ReplicaRow) -> Result<Self, Error> {
        Ok(Self {
            id: ReplicaId::from_uuid(row.id),
            host: row.host,
            pid: u32::try_from(row.pid).or_corrupt("replicas", &row.id)?,
            version: row.version,
            started_at: Timestamp::from_millis(row.started_at),
            seen_at: Timestamp::from_millis(row.seen_at),
            key_revision: row.key_revision,
        })
    }
}
