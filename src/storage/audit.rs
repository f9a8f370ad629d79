//! The audit trail.

use sqlx::types::Uuid;

use super::{
    Backend, Error, Store,
    conn::{Conn, Done},
    rows::{OrCorrupt, text},
};
use crate::domain::{
    AuditEvent, AuditEventId, AuditEventType, AuditFilter, CredentialId, KeyId, Page, RequestMeta, TenantId, Timestamp, UserId,
};

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
    actor: Option<String>,
    key_id: Option<Uuid>,
    reason: Option<String>,
    created_at: i64,
}

macro_rules! select_audit_events {
    ($conn:expr, $fetch:ident, $rest:literal $(, $arg:expr)*) => {
        query!(
            $conn, $fetch, AuditRow,
            r#"SELECT id AS "id: Uuid", tenant_id AS "tenant_id: Uuid", event_type, error, request_id, source_ip, user_agent,
                actor_user_id, credential_id, transaction_id, actor, key_id AS "key_id: Uuid", reason, created_at
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

    /// Deletes audit events before `before`, the oldest first, at most `limit`; says how many.
    pub async fn sweep_audit(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write("sweep", (before, limit), |tx, (before, limit)| {
            Box::pin(async move {
                let deleted = execute!(
                    tx,
                    "DELETE FROM audit_events WHERE id IN (
                        SELECT id FROM audit_events WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
                    before.as_millis(),
                    i64::from(*limit)
                )?;
                Ok(if deleted == 0 { Done::Undo(0) } else { Done::Keep(deleted) })
            })
        })
        .await
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

    /// A signing key's events, the oldest first, at most `limit`.
    pub async fn audit_events_of_key(&self, tenant: TenantId, kid: KeyId, limit: u32) -> Result<Vec<AuditEvent>, Error> {
        let rows = select_audit_events!(
            self.reader().await?,
            fetch_all,
            "WHERE tenant_id = $1 AND key_id = $2 ORDER BY created_at, id LIMIT $3",
            tenant.as_uuid(),
            kid.as_uuid(),
            i64::from(limit)
        )?;
        rows.into_iter().map(AuditEvent::try_from).collect()
    }

    /// A page of the tenant's events that `filter` lets through, newest first, and how many it lets through in all. The number is read
    /// first: an event that is written meanwhile may be on the page and not in the number.
    pub async fn audit_log(&self, tenant: TenantId, filter: &AuditFilter, page: Page) -> Result<(Vec<AuditEvent>, u64), Error> {
        let (tenant, f) = (tenant.as_uuid(), Patterns::from(filter));
        let (types, user, address, search) = (f.types.as_str(), f.user.as_str(), f.address.as_str(), f.search.as_str());
        let mut conn = self.reader().await?;
        let count = query!(
            conn,
            fetch_one,
            CountRow,
            r#"SELECT count(*) AS "count!: i64" FROM audit_events
            WHERE tenant_id = $1 AND created_at > $2 AND created_at < $3
                AND ($4 = '' OR replace($4, ',' || event_type || ',', '') <> $4)
                AND ($5 = '%' OR lower(actor_user_id) LIKE lower($5) ESCAPE '!')
                AND ($6 = '%' OR lower(source_ip) LIKE lower($6) ESCAPE '!')
                AND ($7 = '%' OR lower(source_ip) LIKE lower($7) ESCAPE '!' OR lower(actor_user_id) LIKE lower($7) ESCAPE '!')"#,
            tenant,
            f.after,
            f.before,
            types,
            user,
            address,
            search,
        )?;
        let total = u64::try_from(count.count).unwrap_or(0);
        // Nothing is read for a page behind the last, however far: to skip rows the database reads them.
        let offset = match i64::try_from(page.offset()) {
            Ok(offset) if page.offset() < total => offset,
            _ => return Ok((Vec::new(), total)),
        };
        let rows = select_audit_events!(
            conn,
            fetch_all,
            "WHERE tenant_id = $1 AND created_at > $2 AND created_at < $3
                AND ($4 = '' OR replace($4, ',' || event_type || ',', '') <> $4)
                AND ($5 = '%' OR lower(actor_user_id) LIKE lower($5) ESCAPE '!')
                AND ($6 = '%' OR lower(source_ip) LIKE lower($6) ESCAPE '!')
                AND ($7 = '%' OR lower(source_ip) LIKE lower($7) ESCAPE '!' OR lower(actor_user_id) LIKE lower($7) ESCAPE '!')
            ORDER BY created_at DESC, id DESC LIMIT $8 OFFSET $9",
            tenant,
            f.after,
            f.before,
            types,
            user,
            address,
            search,
            i64::from(page.size()),
            offset
        )?;
        Ok((rows.into_iter().map(AuditEvent::try_from).collect::<Result<_, _>>()?, total))
    }

    /// The same of all tenants' events and the deployment's.
    pub async fn audit_log_of_all(&self, filter: &AuditFilter, page: Page) -> Result<(Vec<AuditEvent>, u64), Error> {
        let f = Patterns::from(filter);
        let (types, user, address, search) = (f.types.as_str(), f.user.as_str(), f.address.as_str(), f.search.as_str());
        let mut conn = self.reader().await?;
        let count = query!(
            conn,
            fetch_one,
            CountRow,
            r#"SELECT count(*) AS "count!: i64" FROM audit_events
            WHERE created_at > $1 AND created_at < $2
                AND ($3 = '' OR replace($3, ',' || event_type || ',', '') <> $3)
                AND ($4 = '%' OR lower(actor_user_id) LIKE lower($4) ESCAPE '!')
                AND ($5 = '%' OR lower(source_ip) LIKE lower($5) ESCAPE '!')
                AND ($6 = '%' OR lower(source_ip) LIKE lower($6) ESCAPE '!' OR lower(actor_user_id) LIKE lower($6) ESCAPE '!')"#,
            f.after,
            f.before,
            types,
            user,
            address,
            search,
        )?;
        let total = u64::try_from(count.count).unwrap_or(0);
        let offset = match i64::try_from(page.offset()) {
            Ok(offset) if page.offset() < total => offset,
            _ => return Ok((Vec::new(), total)),
        };
        let rows = select_audit_events!(
            conn,
            fetch_all,
            "WHERE created_at > $1 AND created_at < $2
                AND ($3 = '' OR replace($3, ',' || event_type || ',', '') <> $3)
                AND ($4 = '%' OR lower(actor_user_id) LIKE lower($4) ESCAPE '!')
                AND ($5 = '%' OR lower(source_ip) LIKE lower($5) ESCAPE '!')
                AND ($6 = '%' OR lower(source_ip) LIKE lower($6) ESCAPE '!' OR lower(actor_user_id) LIKE lower($6) ESCAPE '!')
            ORDER BY created_at DESC, id DESC LIMIT $7 OFFSET $8",
            f.after,
            f.before,
            types,
            user,
            address,
            search,
            i64::from(page.size()),
            offset
        )?;
        Ok((rows.into_iter().map(AuditEvent::try_from).collect::<Result<_, _>>()?, total))
    }
}

struct CountRow {
    count: i64,
}

/// A filter as the statements take it: what is not asked for lets everything through.
struct Patterns {
    after: i64,
    before: i64,
    /// Each type between commas, which no type contains; nothing for all types. Neither engine knows the other's arrays.
    types: String,
    user: String,
    address: String,
    search: String,
}

impl From<&AuditFilter> for Patterns {
    fn from(filter: &AuditFilter) -> Self {
        let list = |types: &Vec<AuditEventType>| {
            let names: Vec<_> = types.iter().map(|event_type| event_type.as_str()).collect();
            format!(",{},", names.join(","))
        };
        Self {
            after: filter.after.map_or(i64::MIN, Timestamp::as_millis),
            before: filter.before.map_or(i64::MAX, Timestamp::as_millis),
            types: filter.types.as_ref().map(list).unwrap_or_default(),
            user: containing(filter.actor_user_id.as_deref()),
            address: containing(filter.source_ip.as_deref()),
            search: containing(filter.search.as_deref()),
        }
    }
}

/// The pattern of what contains `part`, for LIKE with `!` to escape; SQLite's and PostgreSQL's own escape characters differ.
fn containing(part: Option<&str>) -> String {
    match part.map(text) {
        None => "%".to_owned(),
        Some(part) => format!("%{}%", part.replace('!', "!!").replace('%', "!%").replace('_', "!_")),
    }
}

/// Adds an event within a unit of work.
pub(super) async fn insert(tx: &mut Conn<'_>, e: &AuditEvent) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO audit_events (id, tenant_id, event_type, error, request_id, source_ip, user_agent, actor_user_id, credential_id,
            transaction_id, actor, key_id, reason, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
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
        e.actor.as_deref().map(text),
        e.key_id.map(KeyId::as_uuid),
        e.reason.as_deref().map(text),
        e.created_at.as_millis()
    )?;
    Ok(())
}

impl TryFrom<AuditRow> for AuditEvent {
    type Error = Error;

    fn try_from(row: AuditRow) -> Result<Self, Error> {
        const TABLE: &str = "audit_events";
        let (event_type, error) = recognized(&row.event_type, row.error);
        Ok(Self {
            id: AuditEventId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            event_type,
            error,
            meta: RequestMeta { request_id: row.request_id, source_ip: row.source_ip, user_agent: row.user_agent },
            actor_user_id: row.actor_user_id.map(|id| id.parse()).transpose().or_corrupt(TABLE, &row.id)?,
            credential_id: row.credential_id.map(|id| id.as_slice().try_into()).transpose().or_corrupt(TABLE, &row.id)?,
            transaction_id: row.transaction_id,
            actor: row.actor,
            key_id: row.key_id.map(KeyId::from_uuid),
            reason: row.reason,
            created_at: Timestamp::from_millis(row.created_at),
        })
    }
}

/// While servers of two versions run, the newer one may write types that the older one does not know: its listings go on.
fn recognized(event_type: &str, error: Option<String>) -> (AuditEventType, Option<String>) {
    if let Ok(event_type) = event_type.parse() {
        return (event_type, error);
    }
    let error = error.map_or_else(|| event_type.to_owned(), |error| format!("{event_type}: {error}"));
    (AuditEventType::Unrecognized, Some(error.chars().take(AuditEvent::MAX_ERROR_CHARS).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_finds_what_it_says() {
        for (part, pattern) in
            [(None, "%"), (Some(""), "%%"), (Some("ann"), "%ann%"), (Some("100%_!\\'"), "%100!%!_!!\\'%"), (Some("a\0"), "%a\u{fffd}%")]
        {
            assert_eq!(containing(part), pattern);
        }
        let types = |types| Patterns::from(&AuditFilter { types, ..AuditFilter::default() }).types;
        assert_eq!(types(None), "");
        assert_eq!(types(Some(Vec::new())), ",,");
        assert_eq!(types(Some(vec![AuditEventType::TenantCreated, AuditEventType::ApiKeyCreated])), ",tenant_created,api_key_created,");
        assert!(AuditEventType::ALL.iter().all(|t| !t.as_str().contains(',')));
    }
}
