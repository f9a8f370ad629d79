//! Keys that come into the JWKS, that leave it, and what the scheduler means to do with them.

use std::time::Duration;

use super::{ATTEMPTS, By, Error, Keys, contended, rules};
use crate::domain::{AuditEventType, KeyChange, KeyId, KeyPlan, KeyState, SigningKey};

impl Keys {
    /// pending -> published. The first key of a tenant needs no publication time: nobody has cached a JWKS that could lack it.
    pub async fn publish(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        for _ in 0..ATTEMPTS {
            let key = self.get(kid).await?;
            let tenant = self.tenant(key.tenant_id).await?;
            let policy = &tenant.settings.keys;
            rules::in_state(&key, &[KeyState::Pending])?;
            rules::was_made(&key)?;
            rules::evidence(&key)?;
            rules::strict_policy(policy, &key)?;
            let first = self.list(tenant.id).await?.iter().all(|k| k.published_at.is_none());
            let publication = if first { Duration::ZERO } else { policy.publication() };
            let event = self.event(&key, AuditEventType::SigningKeyPublished, by);
            if let Some(published) = self.change(&key, KeyChange::Publish { publication }, &[event]).await? {
                return Ok(published);
            }
        }
        Err(contended())
    }

    /// retiring -> retired once R is over; a suspended key leaves the JWKS then. `None` when it was done, or is not due any more.
    pub(super) async fn withdraw(&self, key: &SigningKey, by: &By) -> Result<Option<SigningKey>, Error> {
        // A suspended key stays what it is.
        let event_type =
            if key.state == KeyState::Suspended { AuditEventType::SigningKeyWithdrawn } else { AuditEventType::SigningKeyRetired };
        let event = self.event(key, event_type, by);
        self.change(key, KeyChange::Withdraw, &[event]).await
    }

    /// Has the scheduler do something else with a key that does not sign yet.
    pub(super) async fn plan(&self, key: SigningKey, plan: KeyPlan, by: &By) -> Result<SigningKey, Error> {
        if key.plan == plan {
            return Ok(key);
        }
        let event = self.event(&key, AuditEventType::SigningKeyPlanned, by);
        self.change(&key, KeyChange::Plan(plan), &[event]).await?.ok_or_else(contended)
    }
}
