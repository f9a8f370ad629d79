//! Keys that are taken out of use: for a while, for good, or at once because nobody may trust them any more.

use super::{ATTEMPTS, By, Error, Keys, activation::Leaves, contended, rotate_after, rules};
use crate::domain::{AuditEventType, KeyChange, KeyId, KeyPlan, KeyRefusal, KeyRule, KeyState, SigningKey};

impl Keys {
    /// active -> suspended. The tenant has no active key then, unless `replace` puts its standby there.
    pub async fn suspend(&self, kid: KeyId, replace: bool, by: &By) -> Result<SigningKey, Error> {
        for _ in 0..ATTEMPTS {
            let key = self.get(kid).await?;
            let tenant = self.tenant(key.tenant_id).await?;
            rules::in_state(&key, &[KeyState::Active])?;
            if replace {
                let keys = self.list(tenant.id).await?;
                let none = || KeyRefusal::new(KeyRule::Standby, "there is no published key of the tenant's algorithm that could take over");
                let leaves = Leaves { kid: Some(kid), to: KeyState::Suspended };
                self.take_over(self.standby(&tenant, &keys).ok_or_else(none)?.id, leaves, false, by).await?;
                return self.get(kid).await;
            }
            let event = self.event(&key, AuditEventType::SigningKeySuspended, by);
            if let Some(key) = self.change(&key, KeyChange::Suspend(self.times(&tenant.settings.keys)), &[event]).await? {
                return Ok(key);
            }
        }
        Err(contended())
    }

    /// suspended -> active, or published where it has left the JWKS.
    pub async fn resume(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        for _ in 0..ATTEMPTS {
            let key = self.get(kid).await?;
            let tenant = self.tenant(key.tenant_id).await?;
            let policy = &tenant.settings.keys;
            rules::in_state(&key, &[KeyState::Suspended])?;
            rules::private_half(&key)?;
            let change = if key.in_jwks() {
                rules::one_active(self.context.store.active_signing_key(tenant.id).await?.as_ref())?;
                self.prove(&key).await?;
                KeyChange::Reinstate { leaving: None, rotate_after: rotate_after(policy, kid) }
            } else {
                KeyChange::Republish { publication: policy.publication() }
            };
            let event = self.event(&key, AuditEventType::SigningKeyResumed, by);
            if let Some(key) = self.change(&key, change, &[event]).await? {
                return Ok(key);
            }
        }
        Err(contended())
    }

    /// Takes a key out of use that does not sign: pending and published keys are retired at once, a suspended one after R.
    pub async fn retire(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        for _ in 0..ATTEMPTS {
            let key = self.get(kid).await?;
            rules::successor(&key)?;
            rules::in_state(&key, &[KeyState::Pending, KeyState::Published, KeyState::Suspended])?;
            rules::was_made(&key)?;
            let event = self.event(&key, AuditEventType::SigningKeyRetired, by);
            if let Some(key) = self.change(&key, KeyChange::Retire, &[event]).await? {
                return Ok(key);
            }
        }
        Err(contended())
    }

    /// Distrusts a key: it leaves the JWKS at once, and its private half is destroyed by the scheduler. Where it was active a standby takes over;
    /// where there is none that may (or `accept_exposure` makes it), the tenant has no active key, and its finalizes answer 503. Returns the key,
    /// and the one that signs now.
    pub async fn compromise(&self, kid: KeyId, accept_exposure: bool, by: &By) -> Result<(SigningKey, Option<SigningKey>), Error> {
        for _ in 0..ATTEMPTS {
            let key = self.get(kid).await?;
            rules::was_made(&key)?;
            let alive =
                [KeyState::Pending, KeyState::Published, KeyState::Active, KeyState::Suspended, KeyState::Retiring, KeyState::Retired];
            rules::in_state(&key, &alive)?;
            let (heir, active) = match key.state {
                KeyState::Active => (self.heir(&key).await?, None),
                _ => (None, self.context.store.active_signing_key(key.tenant_id).await?),
            };
            if let Some(heir) = &heir {
                let leaves = Leaves { kid: Some(kid), to: KeyState::Compromised };
                match self.take_over(heir.id, leaves, accept_exposure, by).await {
                    Ok((signs, _)) => return Ok((self.get(kid).await?, Some(signs))),
                    // Distrust does not wait for a successor, nor for the HSM.
                    Err(error) => tracing::warn!(%kid, %error, "key {} cannot take over from {kid}, which is distrusted: {error}", heir.id),
                }
            }
            let event = self.event(&key, AuditEventType::SigningKeyCompromised, by);
            if let Some(distrusted) = self.change(&key, KeyChange::Compromise, &[event]).await? {
                if let Some(heir) = heir {
                    self.await_its_time(heir, by).await;
                }
                return Ok((distrusted, active));
            }
        }
        Err(contended())
    }

    /// The key that would take over, of a tenant that is still there.
    async fn heir(&self, key: &SigningKey) -> Result<Option<SigningKey>, Error> {
        let Some(tenant) = self.context.store.tenant(key.tenant_id).await? else { return Ok(None) };
        let keys = self.list(tenant.id).await?;
        Ok(self.standby(&tenant, &keys).cloned())
    }

    /// The tenant has no active key: the one that could not take over does so as soon as it may. The distrust stands whether or not that can be
    /// written down.
    async fn await_its_time(&self, heir: SigningKey, by: &By) {
        let kid = heir.id;
        if let Err(error) = self.plan(heir, KeyPlan::Activate, by).await {
            tracing::warn!(%kid, %error, "key {kid} is not planned to sign: {error}");
        }
    }
}
