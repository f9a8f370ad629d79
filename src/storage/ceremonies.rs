//! Ceremonies under way.

use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    rows::OrCorrupt,
    users,
};
use crate::domain::{AuditEvent, Ceremony, Challenge, Operation, TenantId, Timestamp, User};

struct CeremonyRow {
    user_id: String,
    user_verification: String,
    created_at: i64,
    expires_at: i64,
}

impl Store {
    /// Writes the user (anew), the ceremony and the audit event, together.
    pub async fn begin_registration(&self, user: &User, ceremony: &Ceremony, event: &AuditEvent) -> Result<(), Error> {
        self.write("begin_registration", (user.clone(), ceremony.clone(), event.clone()), |tx, (user, ceremony, event)| {
            Box::pin(async move {
                users::upsert(tx, user).await?;
                insert(tx, ceremony).await?;
                audit::insert(tx, event).await?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }

    /// The ceremony that a challenge belongs to, expired or not.
    pub async fn ceremony(&self, tenant: TenantId, operation: Operation, challenge: &Challenge) -> Result<Option<Ceremony>, Error> {
        let row = query!(
            self.reader().await?,
            fetch_optional,
            CeremonyRow,
            "SELECT user_id, user_verification, created_at, expires_at
            FROM ceremonies WHERE tenant_id = $1 AND operation = $2 AND challenge = $3",
            tenant.as_uuid(),
            operation.as_str(),
            challenge.as_bytes()
        )?;
        row.map(|row| row.into_ceremony(tenant, operation, challenge.clone())).transpose()
    }

    /// Consumes a ceremony whose answer was refused, and says so in the trail. `false` when it was gone already; the event is stored all
    /// the same.
    pub async fn refuse_ceremony(&self, ceremony: &Ceremony, event: &AuditEvent) -> Result<bool, Error> {
        self.write("refusal", (ceremony.clone(), event.clone()), |tx, (ceremony, event)| {
            Box::pin(async move {
                let consumed = delete(tx, ceremony).await?;
                audit::insert(tx, event).await?;
                Ok(Done::Keep(consumed))
            })
        })
        .await
    }

    /// Deletes ceremonies that ended before an instant, the oldest first, at most `limit` of them. Returns how many.
    pub async fn sweep_ceremonies(&self, ended_before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write("sweep", (ended_before, limit), |tx, (ended_before, limit)| {
            Box::pin(async move {
                let deleted = execute!(
                    tx,
                    "DELETE FROM ceremonies WHERE (tenant_id, operation, challenge) IN (
                        SELECT tenant_id, operation, challenge FROM ceremonies WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
                    ended_before.as_millis(),
                    i64::from(*limit)
                )?;
                Ok(if deleted == 0 { Done::Undo(0) } else { Done::Keep(deleted) })
            })
        })
        .await
    }
}

async fn insert(tx: &mut Conn<'_>, c: &Ceremony) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO ceremonies (tenant_id, operation, challenge, user_id, user_verification, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)",
        c.tenant_id.as_uuid(),
        c.operation.as_str(),
        c.challenge.as_bytes(),
        c.user_id.as_str(),
        c.user_verification.as_str(),
        c.created_at.as_millis(),
        c.expires_at.as_millis()
    )?;
    Ok(())
}

/// Consumes a ceremony within a unit of work: `true` for exactly one of those who try.
pub(super) async fn delete(tx: &mut Conn<'_>, c: &Ceremony) -> Result<bool, Error> {
    let deleted = execute!(
        tx,
        "DELETE FROM ceremonies WHERE tenant_id = $1 AND operation = $2 AND challenge = $3",
        c.tenant_id.as_uuid(),
        c.operation.as_str(),
        c.challenge.as_bytes()
    )?;
    Ok(deleted == 1)
}

impl CeremonyRow {
    fn into_ceremony(self, tenant_id: TenantId, operation: Operation, challenge: Challenge) -> Result<Ceremony, Error> {
        // The challenge itself stays out of the error.
        let row = format!("({operation} of tenant {tenant_id} begun at {})", Timestamp::from_millis(self.created_at));
        Ok(Ceremony {
            tenant_id,
            operation,
            challenge,
            user_id: self.user_id.parse().or_corrupt("ceremonies", &row)?,
            user_verification: self.user_verification.parse().or_corrupt("ceremonies", &row)?,
            created_at: Timestamp::from_millis(self.created_at),
            expires_at: Timestamp::from_millis(self.expires_at),
        })
    }
}
