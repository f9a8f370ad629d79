//! Tenants: made with their first signing key, unless that is to come out of a ceremony; changed; and ended.

mod change;
mod end;

use super::{
    Context, Error,
    api_keys::{event, new_key},
    keys::{By, rotate_after},
};
use crate::{
    domain::{
        ApiKey, ApiKeyRecord, AuditEvent, AuditEventType, KeyId, KeyPlan, KeyState, SigningKey, Tenant, TenantConfig, TenantId,
        TenantSettings,
    },
    failpoint,
    hsm::{self, GenerateRequest},
};

pub use self::change::UpdateTenant;

/// A tenant to be.
#[derive(Debug)]
pub struct NewTenant {
    /// A name for people.
    pub display_name: String,
    /// The contract's configuration.
    pub config: TenantConfig,
    /// What it chooses besides; its algorithm is its first key's.
    pub settings: TenantSettings,
    /// Make no key: it signs nothing until one that a ceremony made is adopted.
    pub await_key: bool,
}

/// A tenant just made.
#[derive(Debug)]
pub struct CreatedTenant {
    /// The tenant.
    pub tenant: Tenant,
    /// Its active signing key; `None` where it waits for one.
    pub key: Option<SigningKey>,
    /// Its first API key, if one was asked for.
    pub api_key: Option<(ApiKeyRecord, ApiKey)>,
}

/// How many tenants of one RP ID are looked at: what is published at its host is read by browsers, which stop after a few origins.
const TENANTS_OF_RP_ID: u32 = 100;

/// The use cases of tenants.
#[derive(Clone, Debug)]
pub struct Tenants {
    context: Context,
}

impl Tenants {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Makes a tenant, its first signing key and, if `api_key_name` is given, its first API key.
    ///
    /// 1. The intent is written down: the tenant, invisible still, and a `pending` key with the UUID that the token will know it by.
    /// 2. The key pair is generated on the token under that UUID, read back, tried, and its evidence signed.
    /// 3. Key, API key and tenant become real in one transaction. Nobody has cached a JWKS of this tenant: its first key is born active.
    ///
    /// Whatever dies in between, [`Tenants::incomplete`] names what is left and [`Tenants::resume`] finishes it.
    pub async fn create(&self, new: NewTenant, api_key_name: Option<&str>, by: &By) -> Result<CreatedTenant, Error> {
        let now = self.context.clock.now();
        let rng = &*self.context.rng;
        let tenant = Tenant {
            id: TenantId::random(rng),
            display_name: new.display_name,
            config: new.config,
            settings: new.settings,
            created_at: now,
        };
        if new.await_key {
            return self.wait_for_key(tenant, api_key_name, by).await;
        }
        let (id, settings) = (KeyId::random(rng), &tenant.settings);
        let key = SigningKey::intent(id, tenant.id, settings.algorithm, settings.key_bits(), KeyPlan::None, now);
        self.context.store.begin_tenant(&tenant, &key).await?;
        failpoint::hit("tenant.intent_written");
        self.finish(tenant, key, api_key_name, by).await
    }

    /// Finishes a tenant whose making was cut short: the key that its intent names is taken over if the token has it, made if not.
    ///
    /// # Errors
    /// [`Error::TenantNotFound`] when there is no such tenant, or it was finished before.
    pub async fn resume(&self, id: TenantId, api_key_name: Option<&str>, by: &By) -> Result<CreatedTenant, Error> {
        let found = self.incomplete().await?.into_iter().find(|(tenant, _)| tenant.id == id);
        let (tenant, key) = found.ok_or(Error::TenantNotFound(id))?;
        self.finish(tenant, key, api_key_name, by).await
    }

    /// The tenants whose making was cut short, each with the key that was meant for it.
    pub async fn incomplete(&self) -> Result<Vec<(Tenant, SigningKey)>, Error> {
        Ok(self.context.store.incomplete_tenants().await?)
    }

    /// A tenant; a deleted one is not found.
    pub async fn get(&self, id: TenantId) -> Result<Tenant, Error> {
        self.context.store.tenant(id).await?.ok_or(Error::TenantNotFound(id))
    }

    /// All tenants but deleted ones.
    pub async fn list(&self) -> Result<Vec<Tenant>, Error> {
        Ok(self.context.store.tenants().await?)
    }

    /// Whether no key of the tenant's ever signed: it waits for one to be adopted.
    pub async fn awaits_key(&self, id: TenantId) -> Result<bool, Error> {
        Ok(self.context.store.awaits_key(id).await?)
    }

    /// The tenants of an RP ID, in lower case: the oldest first, and not more than a host's document can speak for.
    pub async fn of_rp_id(&self, rp_id: &str) -> Result<Vec<Tenant>, Error> {
        Ok(self.context.store.tenants_of_rp_id(rp_id, TENANTS_OF_RP_ID).await?)
    }

    async fn finish(&self, tenant: Tenant, intent: SigningKey, api_key_name: Option<&str>, by: &By) -> Result<CreatedTenant, Error> {
        let actor = by.actor.to_string();
        let request = GenerateRequest {
            kid: intent.id,
            algorithm: intent.algorithm,
            rsa_bits: intent.rsa_bits,
            now: self.context.clock.now(),
            actor: &actor,
        };
        let made = match self.context.signer.generate(&request).await {
            // The token will never make this key: what was begun is given up rather than left for somebody to finish.
            Err(error @ (hsm::Error::Mechanism(_) | hsm::Error::Refused(_))) => return Err(self.abandon(intent, error).await),
            made => made?,
        };
        failpoint::hit("tenant.key_generated");
        let now = self.context.clock.now();
        let key = SigningKey {
            state: KeyState::Active,
            public_key: Some(made.public_key),
            cka_id: Some(made.cka_id),
            token_serial: Some(made.token_serial),
            evidence: Some(made.evidence),
            published_at: Some(now),
            activated_at: Some(now),
            rotate_from: rotate_after(&tenant.settings.keys, intent.id).map(|after| now + after),
            ..intent
        };
        let api_key = api_key_name.map(|name| new_key(&self.context, tenant.id, name));
        let hashed = api_key.as_ref().map(|(record, secret)| (record, secret.hash()));
        let generated = AuditEvent { key_id: Some(key.id), ..event(&self.context, tenant.id, AuditEventType::SigningKeyGenerated, by) };
        let events = self.events(tenant.id, Some(generated), api_key.is_some(), by);
        let completed = self.context.store.complete_tenant(tenant.id, &key, hashed.as_ref().map(|(r, h)| (*r, h)), &events).await?;
        failpoint::hit("tenant.completed");
        if completed { Ok(CreatedTenant { tenant, key: Some(key), api_key }) } else { Err(Error::TenantNotFound(tenant.id)) }
    }

    /// Makes a tenant without a key: one that a ceremony makes on the token is adopted. Until then nothing is signed for it.
    async fn wait_for_key(&self, tenant: Tenant, api_key_name: Option<&str>, by: &By) -> Result<CreatedTenant, Error> {
        let api_key = api_key_name.map(|name| new_key(&self.context, tenant.id, name));
        let hashed = api_key.as_ref().map(|(record, secret)| (record, secret.hash()));
        let events = self.events(tenant.id, None, api_key.is_some(), by);
        self.context.store.add_waiting_tenant(&tenant, hashed.as_ref().map(|(r, h)| (*r, h)), &events).await?;
        Ok(CreatedTenant { tenant, key: None, api_key })
    }

    /// What is written down of a tenant's making.
    fn events(&self, tenant: TenantId, generated: Option<AuditEvent>, api_key: bool, by: &By) -> Vec<AuditEvent> {
        let event = |event_type| event(&self.context, tenant, event_type, by);
        let api_key = api_key.then(|| event(AuditEventType::ApiKeyCreated));
        [Some(event(AuditEventType::TenantCreated)), generated, api_key].into_iter().flatten().collect()
    }

    /// Gives up a tenant whose key the token cannot make, after seeing to it that nothing of the key is there. Returns why.
    async fn abandon(&self, intent: SigningKey, why: hsm::Error) -> Error {
        let gone = self.context.signer.destroy(intent.id, None).await;
        let destroyed = SigningKey { state: KeyState::Destroyed, ..intent };
        let abandoned = match gone {
            Ok(_) => self.context.store.abandon_tenant(&destroyed).await.map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = abandoned {
            tracing::warn!(%error, "tenant {} could not be given up: {error}", destroyed.tenant_id);
        }
        Error::Unsupported(destroyed.algorithm, why)
    }
}
