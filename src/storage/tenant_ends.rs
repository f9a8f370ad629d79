//! The end of tenants: out of sight at once, gone after the grace period, the audit trail kept.

use sqlx::types::Uuid;

use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    rows::OrCorrupt,
};
use crate::domain::{AuditEvent, DeletedTenant, TenantId, Timestamp};

struct DeletedRow {
    id: Uuid,
    display_name: String,
    deleted_at: i64,
    purge_from: Option<i64>,
    purged_at: Option<i64>,
}

struct IdRow {
    id: Uuid,
}

struct FoundRow {
    found: bool,
}

impl Store {
    /// Deletes a tenant: out of sight at once. `false`, and no event, when there is none.
    pub async fn delete_tenant(&self, id: TenantId, now: Timestamp, purge_from: Timestamp, event: &AuditEvent) -> Result<bool, Error> {
        self.write("tenant_deletion", (id, now, purge_from, event.clone()), |tx, (id, now, purge_from, event)| {
            Box::pin(async move {
                let deleted = execute!(
                    tx,
                    "UPDATE tenants SET deleted_at = $1, purge_from = $2 WHERE id = $3 AND state = 'active' AND deleted_at IS NULL",
                    now.as_millis(),
                    purge_from.as_millis(),
                    id.as_uuid()
                )?;
                recorded(tx, deleted, event).await
            })
        })
        .await
    }

    /// Brings a deleted tenant back whose grace period is not over at `now`, and of which no key's end was begun because it was deleted: what
    /// was out of use, or is destroyed by command, has its own time. `false`, and no event, when that cannot be.
    pub async fn restore_tenant(&self, id: TenantId, now: Timestamp, event: &AuditEvent) -> Result<bool, Error> {
        self.write("tenant_restoration", (id, now, event.clone()), |tx, (id, now, event)| {
            Box::pin(async move {
                let restored = execute!(
                    tx,
                    "UPDATE tenants SET deleted_at = NULL, purge_from = NULL
                    WHERE id = $1 AND deleted_at IS NOT NULL AND purged_at IS NULL AND purge_from > $2
                        AND NOT EXISTS (SELECT 1 FROM signing_keys k WHERE k.tenant_id = $1 AND k.destroying_at >= tenants.deleted_at
                            AND NOT k.destroying_by_command AND k.state NOT IN ('retiring', 'retired', 'compromised'))",
                    id.as_uuid(),
                    now.as_millis()
                )?;
                recorded(tx, restored, event).await
            })
        })
        .await
    }

    /// Every deleted tenant, purged ones included, the one deleted last first.
    pub async fn deleted_tenants(&self) -> Result<Vec<DeletedTenant>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            DeletedRow,
            r#"SELECT id AS "id: Uuid", display_name, deleted_at AS "deleted_at!", purge_from, purged_at
            FROM tenants WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC, id"#
        )?;
        rows.into_iter().map(DeletedTenant::try_from).collect()
    }

    /// Whether there is, or was, a tenant of this id: its audit trail outlives it.
    pub async fn was_tenant(&self, id: TenantId) -> Result<bool, Error> {
        let row = query!(
            self.reader().await?,
            fetch_one,
            FoundRow,
            r#"SELECT EXISTS (SELECT 1 FROM tenants WHERE id = $1 AND state = 'active') AS "found!: bool""#,
            id.as_uuid()
        )?;
        Ok(row.found)
    }

    /// Deleted tenants whose grace period is over at `now` and that are not purged, at most `limit`.
    pub async fn tenants_to_purge(&self, now: Timestamp, limit: u32) -> Result<Vec<TenantId>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            IdRow,
            r#"SELECT id AS "id: Uuid" FROM tenants
            WHERE deleted_at IS NOT NULL AND purged_at IS NULL AND purge_from <= $1 ORDER BY purge_from, id LIMIT $2"#,
            now.as_millis(),
            i64::from(limit)
        )?;
        Ok(rows.into_iter().map(|row| TenantId::from_uuid(row.id)).collect())
    }

    /// Deletes some of what a tenant had, at most `limit` rows of the tables that have many, so that nobody waits for long. The number of rows;
    /// `None` while it is not due at `now`, or a private half of its keys may still be on a token.
    pub async fn purge_batch(&self, id: TenantId, now: Timestamp, limit: u32) -> Result<Option<u64>, Error> {
        self.write("purge", (id, now, limit), |tx, (id, now, limit)| {
            Box::pin(async move {
                if !is_purgeable(tx, *id, *now).await? {
                    return Ok(Done::Undo(None));
                }
                let deleted = delete_some(tx, *id, i64::from(*limit)).await?;
                Ok(if deleted == 0 { Done::Undo(Some(0)) } else { Done::Keep(Some(deleted)) })
            })
        })
        .await
    }

    /// Writes down that nothing of a tenant is left but its row, its keys' rows and its audit trail. `false`, and no event, while that is not so.
    pub async fn purge_tenant(&self, id: TenantId, now: Timestamp, event: &AuditEvent) -> Result<bool, Error> {
        self.write("purged", (id, now, event.clone()), |tx, (id, now, event)| {
            Box::pin(async move {
                if !is_purgeable(tx, *id, *now).await? || delete_some(tx, *id, 1).await? > 0 {
                    return Ok(Done::Undo(false));
                }
                let purged = execute!(
                    tx,
                    "UPDATE tenants SET purged_at = $1 WHERE id = $2 AND deleted_at IS NOT NULL AND purged_at IS NULL",
                    now.as_millis(),
                    id.as_uuid()
                )?;
                recorded(tx, purged, event).await
            })
        })
        .await
    }
}

/// Ends a unit of work that changed one row, or none.
async fn recorded(tx: &mut Conn<'_>, changed: u64, event: &AuditEvent) -> Result<Done<bool>, Error> {
    if changed == 0 {
        return Ok(Done::Undo(false));
    }
    audit::insert(tx, event).await?;
    Ok(Done::Keep(true))
}

/// An intent that came to nothing is `destroyed`; every other key had a private half, and says when that was proved to be gone.
async fn is_purgeable(tx: &mut Conn<'_>, id: TenantId, now: Timestamp) -> Result<bool, Error> {
    let row = query!(
        tx,
        fetch_one,
        FoundRow,
        r#"SELECT EXISTS (
            SELECT 1 FROM tenants t WHERE t.id = $1 AND t.deleted_at IS NOT NULL AND t.purged_at IS NULL AND t.purge_from <= $2
                AND NOT EXISTS (
                    SELECT 1 FROM signing_keys k WHERE k.tenant_id = t.id AND k.private_destroyed_at IS NULL AND k.state <> 'destroyed')
        ) AS "found!: bool""#,
        id.as_uuid(),
        now.as_millis()
    )?;
    Ok(row.found)
}

/// Deletes up to `limit` rows in an order that foreign keys allow; evidence goes with what it is of. Ceremonies go before their users, whose
/// deletion would otherwise look through all of them each time.
async fn delete_some(tx: &mut Conn<'_>, tenant: TenantId, limit: i64) -> Result<u64, Error> {
    let (id, mut deleted) = (tenant.as_uuid(), 0);
    macro_rules! delete {
        ($sql:literal) => {
            let left = limit.saturating_sub_unsigned(deleted);
            if left <= 0 {
                return Ok(deleted);
            }
            deleted += execute!(tx, $sql, id, left)?;
        };
    }
    delete!(
        "DELETE FROM ceremonies WHERE (tenant_id, operation, challenge) IN (
            SELECT tenant_id, operation, challenge FROM ceremonies WHERE tenant_id = $1 LIMIT $2)"
    );
    delete!("DELETE FROM transactions WHERE id IN (SELECT id FROM transactions WHERE tenant_id = $1 LIMIT $2)");
    delete!("DELETE FROM credentials WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM credentials WHERE tenant_id = $1 LIMIT $2)");
    delete!("DELETE FROM users WHERE (tenant_id, user_id) IN (SELECT tenant_id, user_id FROM users WHERE tenant_id = $1 LIMIT $2)");
    delete!(
        "DELETE FROM used_challenges WHERE (tenant_id, challenge) IN (
            SELECT tenant_id, challenge FROM used_challenges WHERE tenant_id = $1 LIMIT $2)"
    );
    delete!("DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE tenant_id = $1 LIMIT $2)");
    delete!(
        "DELETE FROM admin_tenants WHERE (admin_id, tenant_id) IN (
            SELECT admin_id, tenant_id FROM admin_tenants WHERE tenant_id = $1 LIMIT $2)"
    );
    Ok(deleted)
}

impl TryFrom<DeletedRow> for DeletedTenant {
    type Error = Error;

    fn try_from(row: DeletedRow) -> Result<Self, Error> {
        let purge_from = row.purge_from.ok_or("it is deleted, and never purged").or_corrupt("tenants", &row.id)?;
        Ok(Self {
            id: TenantId::from_uuid(row.id),
            display_name: row.display_name,
            deleted_at: Timestamp::from_millis(row.deleted_at),
            purge_from: Timestamp::from_millis(purge_from),
            purged_at: row.purged_at.map(Timestamp::from_millis),
        })
    }
}
