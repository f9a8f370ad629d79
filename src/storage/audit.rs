//! The audit trail.

use sqlx::types::Uuid;

use super::{
    Backend, Error, Store,
    conn::{Conn, Done},
    rows::{OrCorrupt, text},
};
use crate::domain::{AuditEvent, AuditEventId, CredentialId, RequestMeta, TenantId, Timestamp, UserId};

struct AuditRow {
    id: Uuid,
    tenant_id: Uuid,
    event_type: String,
    error: Option<String>,
    request_id: String,
    source_ip: String,
    user_agent: String,
    actor_user_id: Option<String>,
    credential_id: Option<Vec<u8>>,
    transaction_id: Option<String>,
    created_at: i64,
}

macro_rules! select_audit_events {
    ($conn:expr, $fetch:ident, $rest:literal $(, $arg:expr)*) => {
        query!(
            $conn, $fetch, AuditRow,
            r#"SELECT id AS "id: Uuid", tenant_id AS "tenant_id: Uuid", event_type, error, request_id, source_ip, user_agent,
                actor_user_id, credential_id, transaction_id, created_at
            FROM audit_events "# + $rest $(, $arg)*
        )
    };
}

impl Store {
    /// Adds an event that stands alone, such as a refusal.
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), Error> {
        self.write("audit", event.clone(), |tx, event| {
            Box::pin(async move {
                insert(tx, event).await?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }

    /// The event with this id. It is read on a connection that has nothing to do with any that failed before, so that after
    /// [`Error::OutcomeUnknown`] an event found proves that its unit of work was committed.
    pub async fn audit_event(&self, tenant: TenantId, id: AuditEventId) -> Result<Option<AuditEvent>, Error> {
        let (tenant, id) = (tenant.as_uuid(), id.as_uuid());
        let row = match &self.0 {
            // The readers are others than the writer as it is.
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => {
                select_audit_events!(self.reader().await?, fetch_optional, "WHERE tenant_id = $1 AND id = $2", tenant, id)?
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(db) => {
                let mut fresh = db.connect().await?;
                select_audit_events!(Conn::Postgres(&mut fresh), fetch_optional, "WHERE tenant_id = $1 AND id = $2", tenant, id)?
            }
        };
        row.map(AuditEvent::try_from).transpose()
    }

    /// A tenant's newest events, newest first.
    pub async fn audit_events(&self, tenant: TenantId, limit: u32) -> Result<Vec<AuditEvent>, Error> {
        let rows = select_audit_events!(
            self.reader().await?,
            fetch_all,
            "WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2",
            tenant.as_uuid(),
            i64::from(limit)
        )?;
        rows.into_iter().map(AuditEvent::try_from).collect()
    }
}

/// Adds an event within a unit of work.
pub(super) async fn insert(tx: &mut Conn<'_>, e: &AuditEvent) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO audit_events (id, tenant_id, event_type, error, request_id, source_ip, user_agent, actor_user_id, credential_id,
            transaction_id, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        e.id.as_uuid(),
        e.tenant_id.as_uuid(),
        e.event_type.as_str(),
        e.error.as_deref().map(text),
        text(&e.meta.request_id),
        text(&e.meta.source_ip),
        text(&e.meta.user_agent),
        e.actor_user_id.as_ref().map(UserId::as_str),
        e.credential_id.as_ref().map(CredentialId::as_bytes),
        e.transaction_id.as_deref().map(text),
        e.created_at.as_millis()
    )?;
    Ok(())
}

impl TryFrom<AuditRow> for AuditEvent {
    type Error = Error;

    fn try_from(row: AuditRow) -> Result<Self, Error> {
        const TABLE: &str = "audit_events";
        Ok(Self {
            id: AuditEventId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            event_type: row.event_type.parse().or_corrupt(TABLE, &row.id)?,
            error: row.error,
            meta: RequestMeta { request_id: row.request_id, source_ip: row.source_ip, user_agent: row.user_agent },
            actor_user_id: row.actor_user_id.map(|id| id.parse()).transpose().or_corrupt(TABLE, &row.id)?,
            credential_id: row.credential_id.map(|id| id.as_slice().try_into()).transpose().or_corrupt(TABLE, &row.id)?,
            transaction_id: row.transaction_id,
            created_at: Timestamp::from_millis(row.created_at),
        })
    }
}
