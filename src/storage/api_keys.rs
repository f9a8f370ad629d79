//! API keys, by their hashes.

use sqlx::types::Uuid;

use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    key_names,
    rows::text,
};
use crate::domain::{ApiKeyHash, ApiKeyId, ApiKeyRecord, AuditEvent, TenantId, Timestamp};

struct ApiKeyRow {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl Store {
    /// Adds a key. [`Error::Conflict`] when the tenant has one of that name, or a signing key. A revoked one leaves its name to it, and is called
    /// after the time at which that happened.
    pub async fn add_api_key(&self, record: &ApiKeyRecord, hash: &ApiKeyHash, event: &AuditEvent) -> Result<(), Error> {
        self.write("api_key", (record.clone(), hash.clone(), event.clone()), |tx, (record, hash, event)| {
            Box::pin(async move {
                if key_names::is_signing_keys(tx, record.tenant_id, &record.name).await? {
                    return Err(Error::Conflict);
                }
                execute!(
                    tx,
                    "UPDATE api_keys SET name = name || CAST($1 AS text) WHERE tenant_id = $2 AND name = $3 AND revoked_at IS NOT NULL",
                    format!(" (until {})", record.created_at),
                    record.tenant_id.as_uuid(),
                    text(&record.name)
                )?;
                insert(tx, record, hash).await?;
                audit::insert(tx, event).await?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }

    /// A tenant's keys, revoked ones included, the oldest first.
    pub async fn api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKeyRecord>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            ApiKeyRow,
            r#"SELECT id AS "id: Uuid", tenant_id AS "tenant_id: Uuid", name, created_at, revoked_at
            FROM api_keys WHERE tenant_id = $1 ORDER BY created_at, id"#,
            tenant.as_uuid()
        )?;
        Ok(rows.into_iter().map(ApiKeyRecord::from).collect())
    }

    /// The tenant's key with this hash, unless it is revoked, or the tenant deleted.
    pub async fn find_api_key(&self, tenant: TenantId, hash: &ApiKeyHash) -> Result<Option<ApiKeyRecord>, Error> {
        let row = query!(
            self.reader().await?,
            fetch_optional,
            ApiKeyRow,
            r#"SELECT id AS "id: Uuid", tenant_id AS "tenant_id: Uuid", name, created_at, revoked_at
            FROM api_keys WHERE tenant_id = $1 AND hash = $2 AND revoked_at IS NULL
                AND NOT EXISTS (SELECT 1 FROM tenants WHERE id = $1 AND deleted_at IS NOT NULL)"#,
            tenant.as_uuid(),
            hash.as_bytes()
        )?;
        Ok(row.map(ApiKeyRecord::from))
    }

    /// Revokes a key for good. `false`, and no event, when the tenant has no such key or it was revoked before.
    pub async fn revoke_api_key(&self, tenant: TenantId, id: ApiKeyId, now: Timestamp, event: &AuditEvent) -> Result<bool, Error> {
        self.write("api_key_revocation", (tenant, id, now, event.clone()), |tx, (tenant, id, now, event)| {
            Box::pin(async move {
                let revoked = execute!(
                    tx,
                    "UPDATE api_keys SET revoked_at = $1 WHERE tenant_id = $2 AND id = $3 AND revoked_at IS NULL",
                    now.as_millis(),
                    tenant.as_uuid(),
                    id.as_uuid()
                )?;
                if revoked == 0 {
                    return Ok(Done::Undo(false));
                }
                audit::insert(tx, event).await?;
                Ok(Done::Keep(true))
            })
        })
        .await
    }
}

/// Adds a key within a unit of work.
pub(super) async fn insert(tx: &mut Conn<'_>, record: &ApiKeyRecord, hash: &ApiKeyHash) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO api_keys (id, tenant_id, name, hash, created_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6)",
        record.id.as_uuid(),
        record.tenant_id.as_uuid(),
        text(&record.name),
        hash.as_bytes(),
        record.created_at.as_millis(),
        record.revoked_at.map(Timestamp::as_millis)
    )?;
    Ok(())
}

impl From<ApiKeyRow> for ApiKeyRecord {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: ApiKeyId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            name: row.name,
            created_at: Timestamp::from_millis(row.created_at),
            revoked_at: row.revoked_at.map(Timestamp::from_millis),
        }
    }
}
