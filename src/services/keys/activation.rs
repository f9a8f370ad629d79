//! Keys that begin to sign: by command, by rotation, and again after a rotation that was undone.

use super::{ATTEMPTS, By, Error, Keys, Rotate, Rotation, contended, rotate_after, rules};
use crate::domain::{
    AuditEvent, AuditEventType, KeyChange, KeyId, KeyPlan, KeyRefusal, KeyRule, KeyState, Leaving, SigningKey, Tenant, TenantId,
};

/// Which key has to leave for another to sign, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaves {
    /// This one, or whichever is active.
    pub(super) kid: Option<KeyId>,
    /// Retiring, suspended or compromised.
    pub(super) to: KeyState,
}

impl Leaves {
    /// A rotation's.
    pub(super) const RETIRING: Self = Self { kid: None, to: KeyState::Retiring };

    const fn event_type(self) -> AuditEventType {
        match self.to {
            KeyState::Suspended => AuditEventType::SigningKeySuspended,
            KeyState::Compromised => AuditEventType::SigningKeyCompromised,
            _ => AuditEventType::SigningKeyDeactivated,
        }
    }
}

impl Keys {
    /// published -> active, in the place of the active key, which retires.
    pub async fn activate(&self, kid: KeyId, accept_exposure: bool, by: &By) -> Result<Rotation, Error> {
        let (signs, before) = self.take_over(kid, Leaves::RETIRING, accept_exposure, by).await?;
        Ok(Rotation::Done(signs, before))
    }

    /// Puts the tenant's standby in the place of its active key; makes or plans one where there is none that is ready.
    pub async fn rotate(&self, tenant: TenantId, rotate: Rotate, by: &By) -> Result<Rotation, Error> {
        let tenant = self.tenant(tenant).await?;
        let active = self.context.store.active_signing_key(tenant.id).await?;
        if let (Some(active), Some(before)) = (active, rotate.if_active_before)
            && active.activated_at.is_some_and(|at| at >= before)
        {
            return Ok(Rotation::NotNeeded(active));
        }
        let Some(successor) = self.successor(&tenant, rotate, by).await? else {
            let detail = "there is no published key of the tenant's algorithm that could take over; without --emergency one is made and planned, \
                          and with --accept-exposure one is made and signs before verifiers can know it";
            return Err(KeyRefusal::new(KeyRule::Standby, detail).into());
        };
        match self.take_over(successor.id, Leaves::RETIRING, rotate.accept_exposure, by).await {
            Ok((signs, before)) => Ok(Rotation::Done(signs, before)),
            Err(Error::KeyRefused(KeyRefusal { rule: KeyRule::PublicationTime | KeyRule::Replicas, .. })) if !rotate.emergency => {
                Ok(Rotation::Planned(self.plan(successor, KeyPlan::Activate, by).await?))
            }
            Err(error) => Err(error),
        }
    }

    /// The published key that is to take over: the standby, or one that is made for it. `None` in an emergency, in which there is no time for
    /// that unless the exposure is accepted.
    async fn successor(&self, tenant: &Tenant, rotate: Rotate, by: &By) -> Result<Option<SigningKey>, Error> {
        let keys = self.list(tenant.id).await?;
        if let Some(standby) = self.standby(tenant, &keys) {
            return Ok(Some(standby.clone()));
        }
        if rotate.emergency && !rotate.accept_exposure {
            return Ok(None);
        }
        let pending = match keys.into_iter().find(|k| k.state == KeyState::Pending) {
            Some(key) if !is_of_choice(tenant, &key) => return Err(rules::one_pending(&key).into()),
            Some(key) => self.resume_generation(key.id, by).await?,
            None => self.generate_standby(tenant.id, KeyPlan::Activate, by).await?,
        };
        let planned = self.plan(pending, KeyPlan::Activate, by).await?;
        Ok(Some(self.publish(planned.id, by).await?))
    }

    /// Undoes the last rotation: the key before signs again, the active one is suspended.
    pub async fn roll_back(&self, tenant: TenantId, by: &By) -> Result<Rotation, Error> {
        for _ in 0..ATTEMPTS {
            let tenant = self.tenant(tenant).await?;
            let active = self.context.store.active_signing_key(tenant.id).await?.ok_or(Error::NoActiveKey(tenant.id))?;
            let no_predecessor =
                || KeyRefusal::new(KeyRule::RollbackWindow, "no key signed before the active one: there is nothing to undo");
            let before = self.get(active.predecessor.ok_or_else(no_predecessor)?).await?;
            rules::rollback(&before, self.context.store.database_now().await?)?;
            self.prove(&before).await?;
            let policy = &tenant.settings.keys;
            let leaving = Leaving { kid: active.id, to: KeyState::Suspended, times: self.times(policy) };
            let change = KeyChange::Reinstate { leaving: Some(leaving), rotate_after: rotate_after(policy, before.id) };
            let events = [
                self.event(&before, AuditEventType::SigningKeyRolledBack, by),
                self.event(&active, AuditEventType::SigningKeySuspended, by),
            ];
            if let Some(signs) = self.change(&before, change, &events).await? {
                return Ok(Rotation::Done(signs, Some(self.get(active.id).await?)));
            }
        }
        Err(contended())
    }

    /// Has a published key sign, in the place of the one that signs until now: that one and this one, in one unit of work.
    pub(super) async fn take_over(
        &self,
        kid: KeyId,
        leaves: Leaves,
        accept_exposure: bool,
        by: &By,
    ) -> Result<(SigningKey, Option<SigningKey>), Error> {
        for _ in 0..ATTEMPTS {
            let key = self.get(kid).await?;
            let tenant = self.tenant(key.tenant_id).await?;
            let active = self.context.store.active_signing_key(tenant.id).await?;
            if leaves.kid.is_some() && leaves.kid != active.as_ref().map(|k| k.id) {
                return Err(KeyRefusal::new(KeyRule::State, "the key that was to be replaced does not sign any more").into());
            }
            let exposed = self.may_sign(&tenant, &key, accept_exposure).await?;
            let policy = &tenant.settings.keys;
            let leaving = active.as_ref().map(|k| Leaving { kid: k.id, to: leaves.to, times: self.times(policy) });
            let (replica_lease, rotate_after) = (super::REPLICA_LEASE, rotate_after(policy, kid));
            let change = KeyChange::Activate { leaving, accept_exposure, replica_lease, rotate_after };
            let mut events = vec![self.activated(&key, exposed, by)];
            events.extend(active.as_ref().map(|k| self.event(k, leaves.event_type(), by)));
            if let Some(signs) = self.change(&key, change, &events).await? {
                let before = match active {
                    Some(active) => Some(self.get(active.id).await?),
                    None => None,
                };
                return Ok((signs, before));
            }
        }
        Err(contended())
    }

    /// The published key of a tenant that takes over first, of those that this server's token can have.
    pub(super) fn standby<'a>(&self, tenant: &Tenant, keys: &'a [SigningKey]) -> Option<&'a SigningKey> {
        let token = self.context.signer.status().token;
        standby(tenant, keys, token.as_ref().map(|token| token.serial.as_str()))
    }

    /// That verifiers were exposed to tokens that they may not be able to verify is part of the record.
    fn activated(&self, key: &SigningKey, exposed: bool, by: &By) -> AuditEvent {
        let event = self.event(key, AuditEventType::SigningKeyActivated, by);
        if !exposed {
            return event;
        }
        let reason = event.reason.iter().fold("exposure accepted".to_owned(), |text, reason| format!("{text}: {reason}"));
        AuditEvent { reason: Some(reason), ..event }
    }
}

/// The published key that takes over first: of the tenant's own choice, and the one that may sign the soonest. Not one that went with a token
/// that was lost, out of which there would be no way; nor one whose end was begun, which may take as long as the HSM is away.
fn standby<'a>(tenant: &Tenant, keys: &'a [SigningKey], token_serial: Option<&str>) -> Option<&'a SigningKey> {
    let is_here = |k: &SigningKey| token_serial.is_none_or(|serial| k.token_serial.as_deref() == Some(serial));
    let ready = |k: &&SigningKey| k.state == KeyState::Published && is_of_choice(tenant, k) && is_here(k) && rules::private_half(k).is_ok();
    keys.iter().filter(ready).min_by_key(|k| k.usable_from)
}

/// Whether it is such a key as the tenant has chosen.
pub(super) fn is_of_choice(tenant: &Tenant, key: &SigningKey) -> bool {
    (key.algorithm, key.rsa_bits) == (tenant.settings.algorithm, tenant.settings.key_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SystemRng, TenantConfig, TenantSettings, Timestamp};

    #[test]
    fn a_standby_whose_end_was_begun_is_in_nobodys_way() {
        let id = TenantId::random(&SystemRng);
        let party = serde_json::json!({"id": "example.org", "display_name": "Example", "origins": ["https://example.org"]});
        let config: TenantConfig = serde_json::from_value(serde_json::json!({
            "cors": {"allowed_origins": ["https://example.org"], "allow_unsafe_wildcard": false},
            "webauthn": {"relying_party": party, "timeout": 60000},
        }))
        .unwrap();
        let (settings, created_at) = (TenantSettings::default(), Timestamp::from_millis(1));
        let tenant = Tenant { id, display_name: "t".to_owned(), config, settings, created_at };
        let published = |usable_from| SigningKey {
            state: KeyState::Published,
            usable_from: Some(Timestamp::from_millis(usable_from)),
            ..SigningKey::intent(KeyId::random(&SystemRng), id, tenant.settings.algorithm, None, KeyPlan::None, created_at)
        };
        let (first, second) = (published(5), published(9));
        assert_eq!(standby(&tenant, &[second.clone(), first.clone()], None).map(|k| k.id), Some(first.id));
        let ending = SigningKey { destroying_at: Some(created_at), ..first };
        assert_eq!(standby(&tenant, &[ending.clone(), second.clone()], None).map(|k| k.id), Some(second.id));
        assert!(standby(&tenant, &[ending], None).is_none());
        assert!(standby(&tenant, std::slice::from_ref(&second), Some("another")).is_none());
        let here = SigningKey { token_serial: Some("this".to_owned()), ..second };
        assert!(standby(&tenant, &[here], Some("this")).is_some());
    }
}
