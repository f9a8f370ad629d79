//! The end of tenants, and the way back.

use std::time::Duration;

use super::{Error, Tenants, event};
use crate::{
    domain::{Actor, AuditEventType, DeletedTenant, RequestMeta, TenantId},
    services::{keys::By, vouching::settle},
};

/// So long before the grace period is over a tenant cannot be restored any more: as long as a statement may take, so that no server begins to
/// destroy what another is bringing back.
const LAST_CHANCE: Duration = Duration::from_secs(10);

/// How many rows are deleted at once when a tenant is purged, so that nobody waits for long, and how often so at one go.
const PURGE_ROWS: u32 = 1000;
const PURGE_BATCHES: u32 = 10;

/// How many tenants are purged at one go.
const PURGE_TENANTS: u32 = 16;

impl Tenants {
    /// Deletes a tenant: it is out of sight at once, nothing more is signed or stored for it, and once the configured grace period is over its
    /// keys and its data are destroyed. Its audit trail stays.
    ///
    /// # Errors
    /// [`Error::TenantNotFound`], also when it is deleted already.
    pub async fn delete(&self, id: TenantId, by: &By) -> Result<(), Error> {
        let now = self.context.store.database_now().await?;
        let event = event(&self.context, id, AuditEventType::TenantDeleted, by);
        let deleted = self.context.store.delete_tenant(id, now, now + self.context.governance.deletion_grace, &event).await;
        if settle(&self.context, &event, deleted, || true).await? { Ok(()) } else { Err(Error::TenantNotFound(id)) }
    }

    /// Brings a deleted tenant back as it was.
    ///
    /// # Errors
    /// [`Error::TenantNotFound`] when no tenant of this id is deleted; [`Error::Conflict`] when it is too late.
    pub async fn restore(&self, id: TenantId, by: &By) -> Result<(), Error> {
        let now = self.context.store.database_now().await?;
        let event = event(&self.context, id, AuditEventType::TenantRestored, by);
        let restored = self.context.store.restore_tenant(id, now + LAST_CHANCE, &event).await;
        if settle(&self.context, &event, restored, || true).await? {
            return Ok(());
        }
        let is_deleted = self.deleted().await?.iter().any(|tenant| tenant.id == id);
        Err(if is_deleted {
            Error::Conflict("the tenant cannot be restored: its grace period is over, or a key of it was destroyed".to_owned())
        } else {
            Error::TenantNotFound(id)
        })
    }

    /// The deleted tenants, purged ones included, the one deleted last first.
    pub async fn deleted(&self) -> Result<Vec<DeletedTenant>, Error> {
        Ok(self.context.store.deleted_tenants().await?)
    }

    /// That there is a tenant of this id, or was: for what outlives it.
    ///
    /// # Errors
    /// [`Error::TenantNotFound`]
    pub async fn known(&self, id: TenantId) -> Result<(), Error> {
        if self.context.store.was_tenant(id).await? { Ok(()) } else { Err(Error::TenantNotFound(id)) }
    }

    /// Destroys the data of tenants whose grace period is over and whose keys are destroyed already, a bounded part of them at a time; says
    /// how many tenants are done with. For the scheduler.
    pub async fn purge_due(&self) -> Result<u32, Error> {
        let now = self.context.store.database_now().await?;
        let mut purged = 0;
        for id in self.context.store.tenants_to_purge(now, PURGE_TENANTS).await? {
            purged += u32::from(self.purge(id).await?);
        }
        Ok(purged)
    }

    async fn purge(&self, id: TenantId) -> Result<bool, Error> {
        let store = &self.context.store;
        let now = store.database_now().await?;
        for _ in 0..PURGE_BATCHES {
            match store.purge_batch(id, now, PURGE_ROWS).await? {
                None => return Ok(false),
                Some(0) => {
                    let scheduler = Actor::Scheduler { replica: self.context.replica };
                    let by = By { actor: scheduler, reason: None, meta: RequestMeta::default() };
                    let event = event(&self.context, id, AuditEventType::TenantPurged, &by);
                    let purged = store.purge_tenant(id, now, &event).await;
                    return settle(&self.context, &event, purged, || true).await;
                }
                Some(_) => {}
            }
        }
        Ok(false)
    }
}
