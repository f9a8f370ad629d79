//! Users.

use sqlx::types::Uuid;

use super::{
    Error, Store,
    conn::Conn,
    rows::{OrCorrupt, text},
};
use crate::domain::{TenantId, Timestamp, User, UserId};

struct UserRow {
    tenant_id: Uuid,
    user_id: String,
    name: String,
    display_name: String,
    icon: Option<String>,
    created_at: i64,
    updated_at: i64,
}

impl Store {
    /// A user of a tenant.
    pub async fn user(&self, tenant: TenantId, id: &UserId) -> Result<Option<User>, Error> {
        let row = query!(
            self.reader().await?,
            fetch_optional,
            UserRow,
            r#"SELECT tenant_id AS "tenant_id: Uuid", user_id, name, display_name, icon, created_at, updated_at
            FROM users WHERE tenant_id = $1 AND user_id = $2"#,
            tenant.as_uuid(),
            id.as_str()
        )?;
        row.map(User::try_from).transpose()
    }
}

/// Writes a user, or writes it anew: only `created_at` stays what it was.
pub(super) async fn upsert(tx: &mut Conn<'_>, u: &User) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO users (tenant_id, user_id, name, display_name, icon, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (tenant_id, user_id) DO UPDATE
        SET name = excluded.name, display_name = excluded.display_name, icon = excluded.icon, updated_at = excluded.updated_at",
        u.tenant_id.as_uuid(),
        u.user_id.as_str(),
        text(&u.name),
        text(&u.display_name),
        u.icon.as_deref().map(text),
        u.created_at.as_millis(),
        u.updated_at.as_millis()
    )?;
    Ok(())
}

impl TryFrom<UserRow> for User {
    type Error = Error;

    fn try_from(row: UserRow) -> Result<Self, Error> {
        Ok(Self {
            tenant_id: TenantId::from_uuid(row.tenant_id),
            user_id: row.user_id.parse().or_corrupt("users", &format_args!("of tenant {}", row.tenant_id))?,
            name: row.name,
            display_name: row.display_name,
            icon: row.icon,
            created_at: Timestamp::from_millis(row.created_at),
            updated_at: Timestamp::from_millis(row.updated_at),
        })
    }
}
