//! What only one server may do at a time.

use std::time::Duration;

use super::{Error, Store, conn::Done, key_changes::clock};
use crate::domain::ReplicaId;

impl Store {
    /// Takes the lease called `name`, or holds it for longer, until `ttl` from now by the database's clock. `false` when another has it.
    pub async fn hold_lease(&self, name: &str, holder: ReplicaId, ttl: Duration) -> Result<bool, Error> {
        self.write("lease", (name.to_owned(), holder, ttl), |tx, (name, holder, ttl)| {
            Box::pin(async move {
                let now = clock::now(tx).await?;
                let held = execute!(
                    tx,
                    "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3)
                    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
                    WHERE leases.holder = excluded.holder OR leases.expires_at <= $4",
                    name,
                    holder.as_uuid(),
                    (now + *ttl).as_millis(),
                    now.as_millis()
                )?;
                Ok(if held == 1 { Done::Keep(true) } else { Done::Undo(false) })
            })
        })
        .await
    }

    /// Gives it back, if `holder` has it.
    pub async fn release_lease(&self, name: &str, holder: ReplicaId) -> Result<(), Error> {
        self.write("release_lease", (name.to_owned(), holder), |tx, (name, holder)| {
            Box::pin(async move {
                execute!(tx, "DELETE FROM leases WHERE name = $1 AND holder = $2", name, holder.as_uuid())?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }
}
