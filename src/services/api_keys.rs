//! API keys: made, listed, revoked, and checked at every call of an application's backend.

use super::{Context, Error, keys::By, vouching::settle};
use crate::{
    domain::{ApiKey, ApiKeyId, ApiKeyRecord, AuditEvent, AuditEventId, AuditEventType, TenantId},
    storage,
};

/// The use cases of API keys.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    context: Context,
}

impl ApiKeys {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Whether `key` opens `tenant`.
    pub async fn authenticate(&self, tenant: TenantId, key: &ApiKey) -> Result<bool, Error> {
        Ok(self.context.store.find_api_key(tenant, &key.hash()).await?.is_some())
    }

    /// Makes a key named `name` for `tenant`. The key itself is never to be had again.
    ///
    /// # Errors
    /// [`Error::TenantNotFound`]; [`Error::Conflict`] when the tenant has a key of that name: an API key that is not revoked, or a signing key.
    pub async fn create(&self, tenant: TenantId, name: &str, by: &By) -> Result<(ApiKeyRecord, ApiKey), Error> {
        self.context.store.tenant(tenant).await?.ok_or(Error::TenantNotFound(tenant))?;
        let (record, key) = new_key(&self.context, tenant, name);
        let event = event(&self.context, tenant, AuditEventType::ApiKeyCreated, by);
        match self.context.store.add_api_key(&record, &key.hash(), &event).await {
            Err(storage::Error::Conflict) => Err(name_taken(name)),
            added => Ok(settle(&self.context, &event, added, || ()).await.map(|()| (record, key))?),
        }
    }

    /// The keys of `tenant`, revoked ones included, without their secrets.
    pub async fn list(&self, tenant: TenantId) -> Result<Vec<ApiKeyRecord>, Error> {
        self.context.store.tenant(tenant).await?.ok_or(Error::TenantNotFound(tenant))?;
        Ok(self.context.store.api_keys(tenant).await?)
    }

    /// Revokes a key at once and for good; `false` when there is no such key, or it was revoked before.
    pub async fn revoke(&self, tenant: TenantId, id: ApiKeyId, by: &By) -> Result<bool, Error> {
        let event = event(&self.context, tenant, AuditEventType::ApiKeyRevoked, by);
        let revoked = self.context.store.revoke_api_key(tenant, id, event.created_at, &event).await;
        settle(&self.context, &event, revoked, || true).await
    }
}

/// Names of API keys and of signing keys are one space.
pub(super) fn name_taken(name: &str) -> Error {
    Error::Conflict(format!("the tenant already has an API key named {name}, or a signing key"))
}

/// A fresh key and the row that stands for it.
pub(super) fn new_key(context: &Context, tenant: TenantId, name: &str) -> (ApiKeyRecord, ApiKey) {
    let key = ApiKey::random(&*context.rng);
    let id = ApiKeyId::random(&*context.rng);
    (ApiKeyRecord { id, tenant_id: tenant, name: name.to_owned(), created_at: context.clock.now(), revoked_at: None }, key)
}

/// An event that an administrator, an operator or the scheduler caused, with the reason that was given.
pub(super) fn event(context: &Context, tenant: TenantId, event_type: AuditEventType, by: &By) -> AuditEvent {
    AuditEvent {
        id: AuditEventId::random(&*context.rng),
        tenant_id: tenant,
        event_type,
        error: None,
        meta: by.meta.clone(),
        actor_user_id: None,
        credential_id: None,
        transaction_id: None,
        actor: Some(by.actor.to_string()),
        key_id: None,
        reason: by.reason.as_ref().map(|reason| reason.chars().take(AuditEvent::MAX_ERROR_CHARS).collect()),
        created_at: context.clock.now(),
    }
}
