//! How an act is done: at once, or as it was approved.

use super::{Acts, Outcome, event};
use crate::{
    domain::{
        Act, Approval, AuditEvent, AuditEventType, AuditFilter, KeyState, Page, Pin, SigningKey, TenantId, TenantSettings, Timestamp,
    },
    failpoint,
    hsm::{self, Activation},
    services::{
        Error, UpdateTenant, api_keys,
        keys::{By, Rotate, Rotation},
        vouching::settle,
    },
};

impl Acts {
    /// Does what was approved, unless it is done already, and writes down what came of it.
    ///
    /// # Errors
    /// What it was refused for; the approval is `failed` then. Where something was out of reach it stays `approved`, to be tried again.
    pub(super) async fn execute(&self, approval: Approval, by: &By) -> Result<(Approval, Option<Outcome>), Error> {
        let mut done = match self.attained(&approval).await? {
            Some(outcome) => Ok(outcome),
            None => self.perform(&approval.act, Some(&approval), by).await,
        };
        failpoint::hit("approval.act_done");
        if done.as_ref().is_err_and(is_final) {
            // Refused, perhaps because another server has done it meanwhile.
            if let Some(outcome) = self.attained(&approval).await? {
                done = Ok(outcome);
            }
        }
        match &done {
            Ok(outcome) => self.conclude(&approval, true, &outcome.to_string(), by).await?,
            Err(error) if is_final(error) => self.conclude(&approval, false, &error.to_string(), by).await?,
            Err(_) => {}
        }
        let outcome = done?;
        Ok((self.get(approval.id).await?, Some(outcome)))
    }

    /// Does an act: at once, or as `approval` has it.
    pub(super) async fn perform(&self, act: &Act, approval: Option<&Approval>, by: &By) -> Result<Outcome, Error> {
        match act {
            Act::DestroyKey { kid } => Ok(Outcome::Key(self.keys.destroy(*kid, by).await?)),
            Act::CompromiseKey { kid, accept_exposure } => {
                let (key, next) = self.keys.compromise(*kid, *accept_exposure, by).await?;
                Ok(Outcome::Compromised(key, next))
            }
            Act::RotateEmergency { tenant, accept_exposure, if_active_before } => {
                // One rotation is wanted: of the key that signed when it was asked for.
                let asked = approval.map(|approval| approval.requested_at);
                let if_active_before = [*if_active_before, asked].into_iter().flatten().min();
                let rotate = Rotate { emergency: true, accept_exposure: *accept_exposure, if_active_before };
                Ok(Outcome::Rotation(self.keys.rotate(*tenant, rotate, by).await?))
            }
            Act::ActivateExposed { kid } => Ok(Outcome::Rotation(self.keys.activate(*kid, true, by).await?)),
            Act::ChangePolicy { tenant, settings } => self.change_policy(*tenant, settings, approval, by).await,
            Act::DeleteTenant { tenant } => self.delete_tenant(*tenant, by).await,
            Act::DeactivateHsm => self.deactivate_hsm(by).await,
            Act::ActivateHsm => Err(Error::Invalid("an activation is done by who asked for it, with the PIN".to_owned())),
        }
    }

    /// What an approved act led to, where it was done before.
    async fn attained(&self, approval: &Approval) -> Result<Option<Outcome>, Error> {
        let since = |instant: Option<Timestamp>| instant.is_some_and(|instant| instant >= approval.requested_at);
        Ok(match &approval.act {
            Act::DestroyKey { kid } => {
                let key = self.keys.get(*kid).await?;
                (key.state == KeyState::Destroyed).then_some(Outcome::Key(key))
            }
            Act::CompromiseKey { kid, .. } => {
                let key = self.keys.get(*kid).await?;
                if key.state != KeyState::Compromised {
                    return Ok(None);
                }
                let next = self.context.store.active_signing_key(key.tenant_id).await?;
                Some(Outcome::Compromised(key, next))
            }
            Act::RotateEmergency { tenant, .. } => {
                let active = self.context.store.active_signing_key(*tenant).await?;
                active.filter(|key| since(key.activated_at)).map(|key| Outcome::Rotation(Rotation::NotNeeded(key)))
            }
            Act::ActivateExposed { kid } => {
                let key = self.keys.get(*kid).await?;
                let done = key.state == KeyState::Active && since(key.activated_at);
                done.then_some(Outcome::Rotation(Rotation::Done(key, None)))
            }
            Act::ChangePolicy { tenant, settings } => (self.tenants.get(*tenant).await?.settings == **settings).then_some(Outcome::Done),
            Act::DeleteTenant { tenant } => self.context.store.tenant(*tenant).await?.is_none().then_some(Outcome::Done),
            Act::DeactivateHsm => (self.context.signer.status().activation == Activation::Deactivated).then_some(Outcome::Done),
            Act::ActivateHsm => None,
        })
    }

    /// Replaces a tenant's settings by those that were asked for, unless others were set since.
    async fn change_policy(
        &self,
        tenant: TenantId,
        settings: &TenantSettings,
        approval: Option<&Approval>,
        by: &By,
    ) -> Result<Outcome, Error> {
        if let Some(approval) = approval {
            let types = Some(vec![AuditEventType::TenantConfigChanged, AuditEventType::KeyPolicyChanged]);
            let filter = AuditFilter { after: Some(approval.requested_at), types, ..AuditFilter::default() };
            if self.context.store.audit_log(tenant, &filter, Page::new(1, 1)).await?.1 > 0 {
                return Err(Error::Conflict("the tenant was configured anew after this was asked for: ask again".to_owned()));
            }
        }
        let change = UpdateTenant { settings: Some(settings.clone()), ..UpdateTenant::default() };
        self.tenants.update(tenant, change, by).await?;
        Ok(Outcome::Done)
    }

    async fn delete_tenant(&self, tenant: TenantId, by: &By) -> Result<Outcome, Error> {
        self.tenants.delete(tenant, by).await?;
        Ok(Outcome::Done)
    }

    /// Gives the signer processes the PIN, and writes down whether the token took it.
    pub(super) async fn enter_pin(&self, pin: Option<Pin>, by: &By) -> Result<(), Error> {
        let entered = self.context.signer.activate(pin).await;
        let event = self.hsm_event(AuditEventType::HsmActivated, by);
        let event = if let Err(error) = &entered { event.because(&error.to_string()) } else { event };
        self.context.store.append_audit(&event).await?;
        entered.map_err(|error| match error {
            hsm::Error::PinRefused(_) | hsm::Error::Refused(_) => Error::Invalid(error.to_string()),
            other => other.into(),
        })
    }

    async fn deactivate_hsm(&self, by: &By) -> Result<Outcome, Error> {
        self.context.signer.deactivate().await?;
        self.context.store.append_audit(&self.hsm_event(AuditEventType::HsmDeactivated, by)).await?;
        Ok(Outcome::Done)
    }

    fn hsm_event(&self, event_type: AuditEventType, by: &By) -> AuditEvent {
        api_keys::event(&self.context, AuditEvent::DEPLOYMENT, event_type, by)
    }

    /// Writes down what came of an approved act.
    pub(super) async fn conclude(&self, approval: &Approval, done: bool, outcome: &str, by: &By) -> Result<(), Error> {
        let event = if done {
            event(&self.context, approval, AuditEventType::ApprovedActDone, by)
        } else {
            event(&self.context, approval, AuditEventType::ApprovedActFailed, by).because(outcome)
        };
        let outcome: String = outcome.chars().take(AuditEvent::MAX_ERROR_CHARS).collect();
        let settled = self.context.store.settle_approval(approval.id, done, &outcome, &event).await;
        // Where it was settled before, that stands.
        settle(&self.context, &event, settled, || true).await.map(|_| ())
    }
}

/// Whether an act that failed so will never be done as it was asked for.
const fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::KeyRefused(_)
            | Error::KeyNotFound(_)
            | Error::TenantNotFound(_)
            | Error::Unsupported(..)
            | Error::Forbidden(_)
            | Error::Invalid(_)
            | Error::Conflict(_)
    )
}

/// What came of an act, in a line of text.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let signs = |key: &SigningKey| format!("key {} signs now", key.id);
        match self {
            Self::Key(key) => write!(f, "key {} is {} now", key.id, key.state.as_str()),
            Self::Compromised(key, Some(next)) => write!(f, "key {} is {} now; {}", key.id, key.state.as_str(), signs(next)),
            Self::Compromised(key, None) => write!(f, "key {} is {} now; no key of its tenant signs", key.id, key.state.as_str()),
            Self::Rotation(Rotation::Done(key, Some(before))) => write!(f, "{}, in the place of {}", signs(key), before.id),
            Self::Rotation(Rotation::Done(key, None)) => f.write_str(&signs(key)),
            Self::Rotation(Rotation::Planned(key)) => write!(f, "key {} is going to sign", key.id),
            Self::Rotation(Rotation::NotNeeded(key)) => write!(f, "key {} signs since after that was asked for", key.id),
            Self::Done => f.write_str("done"),
        }
    }
}
