//! Administrators, by the hashes of their tokens and certificates.

use std::collections::HashMap;

use sqlx::types::Uuid;

use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    rows::{OrCorrupt, text},
};
use crate::domain::{AdminHash, AdminId, AdminRecord, AuditEvent, Role, TenantId, Timestamp};

struct AdminRow {
    id: Uuid,
    name: String,
    kind: String,
    role: String,
    created_at: i64,
    created_by: String,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
}

struct BindingRow {
    admin_id: Uuid,
    tenant_id: Uuid,
}

macro_rules! select_admins {
    ($conn:expr, $fetch:ident, $rest:literal $(, $arg:expr)*) => {
        query!(
            $conn, $fetch, AdminRow,
            r#"SELECT id AS "id: Uuid", name, kind, role, created_at, created_by, expires_at, last_used_at, revoked_at FROM admins "# + $rest
            $(, $arg)*
        )
    };
}

macro_rules! select_bindings {
    ($conn:expr, $rest:literal $(, $arg:expr)*) => {
        query!(
            $conn, fetch_all, BindingRow,
            r#"SELECT admin_id AS "admin_id: Uuid", tenant_id AS "tenant_id: Uuid" FROM admin_tenants "# + $rest $(, $arg)*
        )
    };
}

/// How long a use is not written down again, in milliseconds.
const TOUCH_INTERVAL: i64 = 60_000;

impl Store {
    /// Adds one. [`Error::Conflict`] when the name or the certificate is taken, by a revoked one too. Its tenants must be there.
    pub async fn add_admin(&self, record: &AdminRecord, hash: &AdminHash, event: &AuditEvent) -> Result<(), Error> {
        self.write("admin", (record.clone(), hash.clone(), event.clone()), |tx, (record, hash, event)| {
            Box::pin(async move {
                insert(tx, record, hash).await?;
                audit::insert(tx, event).await?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }

    /// All of them, revoked ones included, the oldest first.
    pub async fn admins(&self) -> Result<Vec<AdminRecord>, Error> {
        let mut conn = self.reader().await?;
        // A row and its bindings are written at once and never change: those of a row that is read are there.
        let mut bindings: HashMap<Uuid, Vec<TenantId>> = HashMap::new();
        let rows = select_admins!(conn, fetch_all, "ORDER BY created_at, id")?;
        for BindingRow { admin_id, tenant_id } in select_bindings!(conn, "ORDER BY admin_id, tenant_id")? {
            bindings.entry(admin_id).or_default().push(TenantId::from_uuid(tenant_id));
        }
        rows.into_iter().map(|row| row.bound_to(|id| bindings.remove(&id).unwrap_or_default())).collect()
    }

    /// One of them.
    pub async fn admin(&self, id: AdminId) -> Result<Option<AdminRecord>, Error> {
        let mut conn = self.reader().await?;
        let Some(row) = select_admins!(conn, fetch_optional, "WHERE id = $1", id.as_uuid())? else { return Ok(None) };
        let bindings = select_bindings!(conn, "WHERE admin_id = $1 ORDER BY tenant_id", row.id)?;
        row.bound_to(|_| tenants(bindings)).map(Some)
    }

    /// The one with this hash, unless it is revoked or has expired at `now`.
    pub async fn find_admin(&self, hash: &AdminHash, now: Timestamp) -> Result<Option<AdminRecord>, Error> {
        let mut conn = self.reader().await?;
        let row = select_admins!(
            conn,
            fetch_optional,
            "WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            hash.as_bytes(),
            now.as_millis()
        )?;
        let Some(row) = row else { return Ok(None) };
        let bindings = select_bindings!(conn, "WHERE admin_id = $1 ORDER BY tenant_id", row.id)?;
        row.bound_to(|_| tenants(bindings)).map(Some)
    }

    /// Writes down that it was shown, unless that was written down less than a minute before.
    pub async fn touch_admin(&self, id: AdminId, now: Timestamp) -> Result<(), Error> {
        self.write("admin_use", (id, now), |tx, (id, now)| {
            Box::pin(async move {
                execute!(
                    tx,
                    "UPDATE admins SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at <= $3)",
                    now.as_millis(),
                    id.as_uuid(),
                    now.as_millis().saturating_sub(TOUCH_INTERVAL)
                )?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }

    /// Revokes one for good. `false`, and no event, when there is none or it was revoked before; or, with `keep_one`, when nobody of the role
    /// admin would be left who is good at `now`.
    pub async fn revoke_admin(&self, id: AdminId, now: Timestamp, keep_one: bool, event: &AuditEvent) -> Result<bool, Error> {
        self.write("admin_revocation", (id, now, keep_one, event.clone()), |tx, (id, now, keep_one, event)| {
            Box::pin(async move {
                if *keep_one && !others_are_left(tx, *id, *now).await? {
                    return Ok(Done::Undo(false));
                }
                let revoked =
                    execute!(tx, "UPDATE admins SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL", now.as_millis(), id.as_uuid())?;
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

/// Whether somebody of the role admin is good beside this one, or it is none itself. Every row of that role is touched, so that two that are
/// revoked at once are revoked one after the other.
async fn others_are_left(tx: &mut Conn<'_>, id: AdminId, now: Timestamp) -> Result<bool, Error> {
    let role = Role::Admin.as_str();
    execute!(tx, "UPDATE admins SET role = role WHERE role = $1", role)?;
    let good = select_admins!(
        tx,
        fetch_all,
        "WHERE role = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
        role,
        now.as_millis()
    )?;
    Ok(good.iter().all(|row| row.id != id.as_uuid()) || good.len() > 1)
}

async fn insert(tx: &mut Conn<'_>, record: &AdminRecord, hash: &AdminHash) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO admins (id, name, kind, hash, role, created_at, created_by, expires_at, last_used_at, revoked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        record.id.as_uuid(),
        text(&record.name),
        record.kind.as_str(),
        hash.as_bytes(),
        record.role.as_str(),
        record.created_at.as_millis(),
        text(&record.created_by),
        record.expires_at.map(Timestamp::as_millis),
        record.last_used_at.map(Timestamp::as_millis),
        record.revoked_at.map(Timestamp::as_millis)
    )?;
    for tenant in &record.tenants {
        execute!(tx, "INSERT INTO admin_tenants (admin_id, tenant_id) VALUES ($1, $2)", record.id.as_uuid(), tenant.as_uuid())?;
    }
    Ok(())
}

fn tenants(rows: Vec<BindingRow>) -> Vec<TenantId> {
    rows.into_iter().map(|row| TenantId::from_uuid(row.tenant_id)).collect()
}

impl AdminRow {
    fn bound_to(self, tenants: impl FnOnce(Uuid) -> Vec<TenantId>) -> Result<AdminRecord, Error> {
        let id = AdminId::from_uuid(self.id);
        Ok(AdminRecord {
            id,
            kind: self.kind.parse().or_corrupt("admins", &id)?,
            role: self.role.parse().or_corrupt("admins", &id)?,
            tenants: tenants(self.id),
            name: self.name,
            created_at: Timestamp::from_millis(self.created_at),
            created_by: self.created_by,
            expires_at: self.expires_at.map(Timestamp::from_millis),
            last_used_at: self.last_used_at.map(Timestamp::from_millis),
            revoked_at: self.revoked_at.map(Timestamp::from_millis),
        })
    }
}
