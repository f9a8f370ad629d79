//! The end of tenants and of users.

use super::{Error, Store, unbuilt};
use crate::domain::{AuditEvent, Page, TenantId, Timestamp, User, UserRowId};

impl Store {
    /// Deletes a tenant: out of sight at once. `false`, and no event, when there is none.
    pub async fn delete_tenant(&self, id: TenantId, now: Timestamp, purge_from: Timestamp, event: &AuditEvent) -> Result<bool, Error> {
        let _ = (id, now, purge_from, event);
        unbuilt()
    }

    /// Brings a deleted tenant back, before anything of it is gone. `false`, and no event, when that cannot be.
    pub async fn restore_tenant(&self, id: TenantId, event: &AuditEvent) -> Result<bool, Error> {
        let _ = (id, event);
        unbuilt()
    }

    /// Deleted tenants whose grace period is over at `now` and that are not purged, at most `limit`.
    pub async fn tenants_to_purge(&self, now: Timestamp, limit: u32) -> Result<Vec<TenantId>, Error> {
        let _ = (now, limit);
        unbuilt()
    }

    /// Deletes everything of a tenant but its row, its keys' rows and its audit trail. `false` while a private half of its keys may still be on
    /// a token, or when it is not due.
    pub async fn purge_tenant(&self, id: TenantId, now: Timestamp, event: &AuditEvent) -> Result<bool, Error> {
        let _ = (id, now, event);
        unbuilt()
    }

    /// Deletes audit events before `before`, at most `limit`; says how many.
    pub async fn sweep_audit(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        let _ = (before, limit);
        unbuilt()
    }

    /// A page of a tenant's users by the time they were made, and how many there are.
    pub async fn users(&self, tenant: TenantId, page: Page) -> Result<(Vec<(UserRowId, User)>, u64), Error> {
        let _ = (tenant, page);
        unbuilt()
    }

    /// A user of a tenant by the row's id.
    pub async fn user_by_row(&self, tenant: TenantId, id: UserRowId) -> Result<Option<User>, Error> {
        let _ = (tenant, id);
        unbuilt()
    }

    /// Deletes a user with all credentials, ceremonies and transactions. `false`, and no event, when the tenant has no such user.
    pub async fn delete_user(&self, tenant: TenantId, id: UserRowId, event: &AuditEvent) -> Result<bool, Error> {
        let _ = (tenant, id, event);
        unbuilt()
    }
}
