//! Signing keys in the form of the contract's secrets: made, listed and taken out of use by a name, for those who know no other way.

use super::{
    Context, Error, Keys,
    api_keys::name_taken,
    keys::{By, NewKey, Rotate},
};
use crate::{
    domain::{KeyId, KeyPlan, KeyState, SigningKey, TenantId},
    storage,
};

/// A signing key and what it is called.
#[derive(Debug, Clone)]
pub struct NamedKey {
    /// The key.
    pub key: SigningKey,
    /// The name that was asked for; its `kid` where none was.
    pub name: String,
}

/// The use cases of the contract's JWK secrets.
#[derive(Clone, Debug)]
pub struct KeySecrets {
    context: Context,
    keys: Keys,
}

impl KeySecrets {
    pub(super) fn new(context: Context, keys: Keys) -> Self {
        Self { context, keys }
    }

    /// A tenant's keys that sign, or may yet, the oldest first.
    pub async fn list(&self, tenant: TenantId) -> Result<Vec<NamedKey>, Error> {
        self.context.store.tenant(tenant).await?.ok_or(Error::TenantNotFound(tenant))?;
        let mut names = self.context.store.signing_key_names(tenant).await?;
        let keys = self.keys.list(tenant).await?.into_iter().filter(is_in_use);
        let listed = keys.map(|key| {
            let at = names.iter().position(|(kid, _)| *kid == key.id);
            let name = at.map_or_else(|| key.id.to_string(), |at| names.swap_remove(at).1);
            NamedKey { key, name }
        });
        Ok(listed.collect())
    }

    /// Makes a key that is published, and signs as soon as every verifier can know it.
    ///
    /// # Errors
    /// [`Error::TenantNotFound`]; [`Error::Conflict`] when the tenant has a key of that name, be it an API key; [`Error::KeyRefused`] while
    /// another key is in the making.
    pub async fn create(&self, tenant: TenantId, name: &str, by: &By) -> Result<NamedKey, Error> {
        self.context.store.tenant(tenant).await?.ok_or(Error::TenantNotFound(tenant))?;
        if self.context.store.is_key_name(tenant, name).await? {
            return Err(name_taken(name));
        }
        let key = self.keys.generate(tenant, NewKey { algorithm: None, rsa_bits: None, plan: KeyPlan::Activate }, by).await?;
        match self.context.store.name_signing_key(tenant, key.id, Some(name)).await {
            Err(storage::Error::Conflict) => Err(name_taken(name)),
            named => Ok(named.map(|()| NamedKey { key, name: name.to_owned() })?),
        }
    }

    /// Takes a key out of use. One that signs goes on until its successor may: that is made where there is none. Its name is free at once.
    /// `false` when the tenant has no such key, or it is out of use already.
    ///
    /// # Errors
    /// [`Error::KeyRefused`]
    pub async fn retire(&self, tenant: TenantId, kid: KeyId, by: &By) -> Result<bool, Error> {
        let Some(key) = self.list(tenant).await?.into_iter().map(|named| named.key).find(|key| key.id == kid) else { return Ok(false) };
        if key.state == KeyState::Active {
            self.keys.rotate(tenant, Rotate::default(), by).await?;
        } else {
            self.keys.retire(kid, by).await?;
        }
        self.context.store.name_signing_key(tenant, kid, None).await?;
        Ok(true)
    }
}

/// Whether it signs, or may yet.
fn is_in_use(key: &SigningKey) -> bool {
    matches!(key.state, KeyState::Pending | KeyState::Published | KeyState::Active | KeyState::Suspended)
}
