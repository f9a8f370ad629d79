//! What a change of a tenant's settings means for the keys that it has.

use super::{By, Context, Error, Keys, Tokens, activation::is_of_choice, rotate_after};
use crate::domain::{KeyState, SigningKey, TenantId, TenantSettings};

/// Brings a tenant's keys in line with its new settings. That verifiers may still hold what was served under the old ones was written down with
/// the settings themselves.
pub(in crate::services) async fn settings_changed(
    context: &Context,
    tenant: TenantId,
    old: &TenantSettings,
    new: &TenantSettings,
    by: &By,
) -> Result<(), Error> {
    let keys = Keys::new(context.clone(), Tokens::new(context.clone()));
    if old.keys.period() != new.keys.period()
        && let Some(active) = context.store.active_signing_key(tenant).await?
    {
        keys.schedule(&active, new).await?;
    }
    if (old.algorithm, old.key_bits()) != (new.algorithm, new.key_bits()) {
        keys.retire_standbys(tenant, by).await?;
    }
    Ok(())
}

impl Keys {
    /// When the successor of a key that signs is due, by these settings.
    pub(super) async fn schedule(&self, active: &SigningKey, settings: &TenantSettings) -> Result<bool, Error> {
        let since = active.activated_at.unwrap_or(active.created_at);
        let rotate_from = rotate_after(&settings.keys, active.id).map(|after| since + after);
        Ok(self.context.store.set_rotate_from(active.id, rotate_from).await?)
    }

    /// Retires keys that wait to sign and are not such as the tenant wants any more. Each is tried; one that cannot go now is in nobody's way:
    /// it is not chosen, and an administrator can retire it.
    async fn retire_standbys(&self, tenant: TenantId, by: &By) -> Result<(), Error> {
        let tenant = self.tenant(tenant).await?;
        let waits = |k: &SigningKey| matches!(k.state, KeyState::Pending | KeyState::Published) && !is_of_choice(&tenant, k);
        for key in self.list(tenant.id).await?.into_iter().filter(waits) {
            let gone = if key.public_key.is_some() { self.retire(key.id, by).await } else { self.destroy(key.id, by).await };
            if let Err(error) = gone {
                tracing::warn!(kid = %key.id, %error, "key {} is not of the algorithm that tenant {} chose, and stays: {error}", key.id, tenant.id);
            }
        }
        Ok(())
    }
}

/// Whether a change of settings concerns keys.
pub(in crate::services) fn changes_keys(old: &TenantSettings, new: &TenantSettings) -> bool {
    let of = |s: &TenantSettings| (s.keys, s.algorithm, s.key_bits());
    of(old) != of(new)
}
