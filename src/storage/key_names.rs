//! The names that the admin API gives to API keys and to signing keys: one space of names for each tenant.

use sqlx::types::Uuid;

use super::{
    Error, Store,
    conn::{Conn, Done},
    rows::text,
};
use crate::domain::{KeyId, TenantId};

struct FoundRow {
    found: bool,
}

struct NameRow {
    id: Uuid,
    name: String,
}

impl Store {
    /// The signing keys of a tenant that have names.
    pub async fn signing_key_names(&self, tenant: TenantId) -> Result<Vec<(KeyId, String)>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            NameRow,
            r#"SELECT id AS "id: Uuid", name AS "name!" FROM signing_keys WHERE tenant_id = $1 AND name IS NOT NULL"#,
            tenant.as_uuid()
        )?;
        Ok(rows.into_iter().map(|row| (KeyId::from_uuid(row.id), row.name)).collect())
    }

    /// Whether one of a tenant's keys has this name: a signing key, or an API key that is not revoked.
    pub async fn is_key_name(&self, tenant: TenantId, name: &str) -> Result<bool, Error> {
        let mut conn = self.reader().await?;
        Ok(is_signing_keys(&mut conn.borrow(), tenant, name).await? || is_api_keys(&mut conn.borrow(), tenant, name).await?)
    }

    /// Gives a signing key a name, or takes it away: it is another key's to have then. [`Error::Conflict`] when another key of the tenant has
    /// that name.
    pub async fn name_signing_key(&self, tenant: TenantId, kid: KeyId, name: Option<&str>) -> Result<(), Error> {
        self.write("key_name", (tenant, kid, name.map(text)), |tx, (tenant, kid, name)| {
            Box::pin(async move {
                if let Some(name) = name
                    && is_api_keys(tx, *tenant, name).await?
                {
                    return Err(Error::Conflict);
                }
                execute!(
                    tx,
                    "UPDATE signing_keys SET name = $1 WHERE tenant_id = $2 AND id = $3",
                    name.as_deref(),
                    tenant.as_uuid(),
                    kid.as_uuid()
                )?;
                Ok(Done::Keep(()))
            })
        })
        .await
    }
}

/// Whether a signing key of the tenant has this name.
pub(super) async fn is_signing_keys(conn: &mut Conn<'_>, tenant: TenantId, name: &str) -> Result<bool, Error> {
    let row = query!(
        conn,
        fetch_one,
        FoundRow,
        r#"SELECT EXISTS (SELECT 1 FROM signing_keys WHERE tenant_id = $1 AND name = $2) AS "found!: bool""#,
        tenant.as_uuid(),
        text(name)
    )?;
    Ok(row.found)
}

async fn is_api_keys(conn: &mut Conn<'_>, tenant: TenantId, name: &str) -> Result<bool, Error> {
    let row = query!(
        conn,
        fetch_one,
        FoundRow,
        r#"SELECT EXISTS (SELECT 1 FROM api_keys WHERE tenant_id = $1 AND name = $2 AND revoked_at IS NULL) AS "found!: bool""#,
        tenant.as_uuid(),
        text(name)
    )?;
    Ok(row.found)
}
