//! Users.

use sqlx::types::Uuid;

#[cfg(feature = "postgres")]
use super::conn::bounded;
use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    rows::{OrCorrupt, text},
};
use crate::domain::{AuditEvent, Order, Page, TenantId, Timestamp, User, UserId, UserRowId};

const TABLE: &str = "users";

struct UserRow {
    tenant_id: Uuid,
    user_id: String,
    name: String,
    display_name: String,
    icon: Option<String>,
    created_at: i64,
    updated_at: i64,
}

/// A user's columns, and the row's id.
struct WholeRow {
    id: Uuid,
    tenant_id: Uuid,
    user_id: String,
    name: String,
    display_name: String,
    icon: Option<String>,
    created_at: i64,
    updated_at: i64,
}

struct CountRow {
    count: i64,
}

struct OwnerRow {
    user_id: String,
}

macro_rules! select_users {
    ($conn:expr, $fetch:ident, $rest:literal $(, $arg:expr)*) => {
        query!(
            $conn, $fetch, WholeRow,
            r#"SELECT id AS "id: Uuid", tenant_id AS "tenant_id: Uuid", user_id, name, display_name, icon, created_at, updated_at
            FROM users "# + $rest $(, $arg)*
        )
    };
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

    /// A page of a tenant's users in the order in which they were made (of those of one instant, in the order of their rows' ids); and how
    /// many there are on all pages together, a moment before.
    pub async fn users(&self, tenant: TenantId, order: Order, page: Page) -> Result<(Vec<(UserRowId, User)>, u64), Error> {
        let conn = &mut self.reader().await?;
        let id = tenant.as_uuid();
        let row = query!(conn, fetch_one, CountRow, r#"SELECT count(*) AS "count!: i64" FROM users WHERE tenant_id = $1"#, id)?;
        let total = u64::try_from(row.count).or_corrupt(TABLE, &format_args!("of tenant {tenant}"))?;
        // Nothing is read for a page behind the last, however far: to skip rows the database reads them.
        let offset = match i64::try_from(page.offset()) {
            Ok(offset) if page.offset() < total => offset,
            _ => return Ok((Vec::new(), total)),
        };
        let limit = i64::from(page.size());
        let rows = match order {
            Order::Ascending => {
                select_users!(conn, fetch_all, "WHERE tenant_id = $1 ORDER BY created_at, id LIMIT $2 OFFSET $3", id, limit, offset)
            }
            Order::Descending => {
                select_users!(
                    conn,
                    fetch_all,
                    "WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3",
                    id,
                    limit,
                    offset
                )
            }
        }?;
        Ok((rows.into_iter().map(WholeRow::into_pair).collect::<Result<_, _>>()?, total))
    }

    /// A user of a tenant by the row's id.
    pub async fn user_by_row(&self, tenant: TenantId, id: UserRowId) -> Result<Option<User>, Error> {
        let row = select_users!(self.reader().await?, fetch_optional, "WHERE tenant_id = $1 AND id = $2", tenant.as_uuid(), id.as_uuid())?;
        Ok(row.map(WholeRow::into_pair).transpose()?.map(|(_, user)| user))
    }

    /// Deletes a user with all credentials, ceremonies and transactions. `false`, and no event, when the tenant has no such user. The event's
    /// user is the one deleted.
    pub async fn delete_user(&self, tenant: TenantId, id: UserRowId, event: &AuditEvent) -> Result<bool, Error> {
        self.write("user_deletion", (tenant, id, event.clone()), |tx, (tenant, id, event)| {
            Box::pin(async move {
                let Some(user) = lock(tx, *tenant, *id).await? else { return Ok(Done::Undo(false)) };
                delete(tx, *tenant, &user).await?;
                let user = user.parse().or_corrupt(TABLE, &format_args!("of tenant {tenant}"))?;
                audit::insert(tx, &AuditEvent { actor_user_id: Some(user), ..event.clone() }).await?;
                Ok(Done::Keep(true))
            })
        })
        .await
    }
}

/// The user's id by the row's. Nobody gives the user anything more from here on: on PostgreSQL a credential that is stored at this instant is
/// waited for, and those that come later find no user. SQLite's writer works alone.
async fn lock(tx: &mut Conn<'_>, tenant: TenantId, id: UserRowId) -> Result<Option<String>, Error> {
    let (tenant, id) = (tenant.as_uuid(), id.as_uuid());
    #[cfg(feature = "postgres")]
    match tx.borrow() {
        #[cfg(feature = "sqlite")]
        Conn::Sqlite(_) => {}
        Conn::Postgres(c) => {
            bounded(sqlx::query!("SELECT FROM users WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id).execute(c)).await?;
        }
    }
    let row = query!(tx, fetch_optional, OwnerRow, "SELECT user_id FROM users WHERE tenant_id = $1 AND id = $2", tenant, id)?;
    Ok(row.map(|row| row.user_id))
}

/// In an order that foreign keys allow. Evidence goes with what it is of.
async fn delete(tx: &mut Conn<'_>, tenant: TenantId, user: &str) -> Result<(), Error> {
    let tenant = tenant.as_uuid();
    execute!(tx, "DELETE FROM transactions WHERE tenant_id = $1 AND user_id = $2", tenant, user)?;
    execute!(tx, "DELETE FROM credentials WHERE tenant_id = $1 AND user_id = $2", tenant, user)?;
    // Their ceremonies go with them.
    execute!(tx, "DELETE FROM users WHERE tenant_id = $1 AND user_id = $2", tenant, user)?;
    Ok(())
}

/// Writes a user, or writes it anew: only `created_at` stays what it was, and the row's id, which the database makes.
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

impl WholeRow {
    fn into_pair(self) -> Result<(UserRowId, User), Error> {
        let Self { id, tenant_id, user_id, name, display_name, icon, created_at, updated_at } = self;
        let user = UserRow { tenant_id, user_id, name, display_name, icon, created_at, updated_at };
        Ok((UserRowId::from_uuid(id), user.try_into()?))
    }
}

impl TryFrom<UserRow> for User {
    type Error = Error;

    fn try_from(row: UserRow) -> Result<Self, Error> {
        Ok(Self {
            tenant_id: TenantId::from_uuid(row.tenant_id),
            user_id: row.user_id.parse().or_corrupt(TABLE, &format_args!("of tenant {}", row.tenant_id))?,
            name: row.name,
            display_name: row.display_name,
            icon: row.icon,
            created_at: Timestamp::from_millis(row.created_at),
            updated_at: Timestamp::from_millis(row.updated_at),
        })
    }
}
