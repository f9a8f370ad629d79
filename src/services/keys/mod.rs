//! Signing keys under command: each change of a key's state, with the rules that it has to keep.
//!
//! Each change is checked before it is made, so that a refusal names the rule; and made by one conditional statement, which has the last
//! word. One file for each kind of change; `rules` says what keeps a change from being made, `proof` what has to be shown before a key
//! signs, `scheduler` and `follower` are what runs in every server.

mod activation;
mod adoption;
mod destruction;
mod distrust;
mod dossier;
mod evidence_file;
mod follower;
mod generation;
mod policy;
mod proof;
mod publication;
mod published_jwk;
mod rules;
mod scheduler;
mod trouble;

use std::time::Duration;

pub(super) use self::policy::{changes_keys, settings_changed};
pub use self::{
    evidence_file::{KeyFinding, evidence_file, verify_key_evidence},
    scheduler::{Scheduler, describe_key_metrics},
};
use super::{Context, Error, Tokens, vouching::settle};
use crate::{
    domain::{
        Actor, AuditEvent, AuditEventId, AuditEventType, KeyChange, KeyId, KeyPlan, KeyPolicy, KeyRefusal, KeyRule, RequestMeta,
        SigningAlgorithm, SigningKey, Tenant, TenantId, Times, Timestamp,
    },
    storage::KeyAttachment,
};

/// How long a server counts as alive after it was last seen: so long after the death of one that nobody saw end no key is activated.
pub const REPLICA_LEASE: Duration = Duration::from_secs(10);

/// How often a change is tried: what the first try loses to somebody else's change, the second finds named, or makes.
const ATTEMPTS: u32 = 2;

/// Who asks for a change, and why: for the audit log.
#[derive(Debug, Clone)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// How the request came.
    pub meta: RequestMeta,
}

/// A key to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewKey {
    /// What it signs with; the tenant's own choice where it is `None`.
    pub algorithm: Option<SigningAlgorithm>,
    /// Modulus size of an RSA key; the tenant's own choice where it is `None`.
    pub rsa_bits: Option<u32>,
    /// What the scheduler does with it.
    pub plan: KeyPlan,
}

/// A key on the token to be taken over: exactly one pair has to match.
#[derive(Debug, Clone)]
pub struct AdoptKey {
    /// Its `CKA_ID`.
    pub cka_id: Option<Vec<u8>>,
    /// Its `CKA_LABEL`.
    pub label: Option<String>,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// What the scheduler does with it.
    pub plan: KeyPlan,
}

/// A rotation to be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rotate {
    /// Now, or not at all. Without it a rotation for which no key is ready is planned.
    pub emergency: bool,
    /// Have a key take over that verifiers may not have yet.
    pub accept_exposure: bool,
    /// Only if the active key signs since before this instant: so that a run over many tenants can be taken up again.
    pub if_active_before: Option<Timestamp>,
}

/// What came of a rotation.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one for each rotation, moved a few times")]
pub enum Rotation {
    /// The first signs now, in the place of the second.
    Done(SigningKey, Option<SigningKey>),
    /// The key will sign from `usable_from` on.
    Planned(SigningKey),
    /// The active key began to sign after the instant that was given: there was nothing to do.
    NotNeeded(SigningKey),
}

/// A key's evidence, for `key evidence`: what it signed at its birth, and its history.
#[derive(Debug, Clone)]
pub struct KeyDossier {
    /// The key with its birth record.
    pub key: SigningKey,
    /// What vendors' tools say of it.
    pub attachments: Vec<KeyAttachment>,
    /// Its changes, the oldest first.
    pub history: Vec<AuditEvent>,
}

/// The use cases of signing keys. A change that breaks a rule is an [`Error::KeyRefused`], which names it.
#[derive(Clone, Debug)]
pub struct Keys {
    context: Context,
    tokens: Tokens,
}

impl Keys {
    pub(super) fn new(context: Context, tokens: Tokens) -> Self {
        Self { context, tokens }
    }

    /// A tenant's keys in whatever state, the oldest first.
    pub async fn list(&self, tenant: TenantId) -> Result<Vec<SigningKey>, Error> {
        Ok(self.context.store.signing_keys_of(tenant).await?)
    }

    /// A key.
    pub async fn get(&self, kid: KeyId) -> Result<SigningKey, Error> {
        self.context.store.signing_key(kid).await?.ok_or(Error::KeyNotFound(kid))
    }

    /// Every key of every tenant.
    pub async fn all(&self) -> Result<Vec<SigningKey>, Error> {
        Ok(self.context.store.signing_keys().await?)
    }

    async fn tenant(&self, id: TenantId) -> Result<Tenant, Error> {
        self.context.store.tenant(id).await?.ok_or(Error::TenantNotFound(id))
    }

    /// Makes a change that the rules were found to allow. `None` where the database found otherwise: somebody was faster.
    async fn change(&self, key: &SigningKey, change: KeyChange, events: &[AuditEvent]) -> Result<Option<SigningKey>, Error> {
        let changed = self.context.store.change_signing_key(key.tenant_id, key.id, change, events).await;
        let changed = match events.first() {
            Some(event) => settle(&self.context, event, changed.map(Some), || None).await?,
            None => Some(changed?),
        };
        let changed = match changed {
            Some(changed) => changed,
            // The reply was lost, not the change.
            None => Some(self.get(key.id).await?),
        };
        if changed.is_some() {
            for event in events {
                metrics::counter!(KEY_CHANGES, "change" => event.event_type.as_str()).increment(1);
            }
        }
        Ok(changed)
    }

    /// An event about a key, of now.
    fn event(&self, key: &SigningKey, event_type: AuditEventType, by: &By) -> AuditEvent {
        AuditEvent {
            id: AuditEventId::random(&*self.context.rng),
            tenant_id: key.tenant_id,
            event_type,
            error: None,
            meta: by.meta.clone(),
            actor_user_id: None,
            credential_id: None,
            transaction_id: None,
            actor: Some(by.actor.to_string()),
            key_id: Some(key.id),
            reason: by.reason.as_deref().map(|reason| reason.chars().take(AuditEvent::MAX_ERROR_CHARS).collect()),
            created_at: self.context.clock.now(),
        }
    }

    /// How long a key that ceases to sign now is still needed. A server that read of it a moment ago may still be signing with it.
    fn times(&self, policy: &KeyPolicy) -> Times {
        let under_way = self.context.governance.follow_interval + self.context.signer.sign_deadline();
        Times { retirement: policy.retirement(), rollback: policy.rollback_window() + under_way }
    }
}

/// Counter, label `change` (an audit event's type): changes of signing keys made by this process.
const KEY_CHANGES: &str = "key_changes_total";

/// When the successor of a key that begins to sign now is due. Up to a twentieth sooner than the policy's period, by the key's id: keys that
/// were made together are not replaced together.
pub(super) fn rotate_after(policy: &KeyPolicy, kid: KeyId) -> Option<Duration> {
    let [a, b, ..] = *kid.as_bytes();
    let sooner = u32::from(u16::from_be_bytes([a, b]));
    policy.period().map(|period| period.saturating_sub(period / 20 * sooner / u32::from(u16::MAX)))
}

/// Somebody else's changes came first, again and again.
fn contended() -> Error {
    KeyRefusal::new(KeyRule::State, "it, or the tenant's active key, was changed by somebody else in the same moment: look again").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_are_due_a_little_before_the_period_is_over_and_not_all_at_once() {
        let policy = KeyPolicy::default();
        let period = policy.period().unwrap();
        let soonest = period.saturating_sub(period / 20);
        let due = |first: [u8; 2]| {
            let mut bytes = [7; 16];
            bytes[..2].copy_from_slice(&first);
            rotate_after(&policy, KeyId::from_uuid(uuid::Uuid::from_bytes(bytes))).unwrap()
        };
        assert_eq!(due([0, 0]), period);
        assert_eq!(due([255, 255]), soonest);
        assert!(due([128, 0]) < period && due([128, 0]) > soonest);
        let never: KeyPolicy = serde_json::from_value(serde_json::json!({ "period_seconds": null })).unwrap();
        assert_eq!(rotate_after(&never, KeyId::from_uuid(uuid::Uuid::nil())), None);
    }
}
