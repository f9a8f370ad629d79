//! Signing keys under command: each change of a key's state, with the rules that it has to keep.

mod evidence_file;
mod scheduler;

use crate::domain::{Actor, KeyId, KeyPlan, RequestMeta, SigningAlgorithm, SigningKey, TenantId, Timestamp};

pub use self::{
    evidence_file::{KeyFinding, evidence_file, verify_key_evidence},
    scheduler::Scheduler,
};
use super::{Context, Error, Tokens};
use crate::storage::{KeyAttachment, unbuilt};

/// How long a server counts as alive after it was last seen: so long after the death of one that nobody saw end no key is activated.
pub const REPLICA_LEASE: std::time::Duration = std::time::Duration::from_secs(10);

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
    pub history: Vec<crate::domain::AuditEvent>,
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

    /// Makes a key: the intent first, then the pair on the token, then what it became. It is `pending` with its evidence, and is published by
    /// command or, if so planned, by the scheduler.
    pub async fn generate(&self, tenant: TenantId, new: NewKey, by: &By) -> Result<SigningKey, Error> {
        let _ = (tenant, new, by, &self.tokens);
        Ok(unbuilt()?)
    }

    /// Finishes a key whose making was cut short.
    pub async fn resume_generation(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        let _ = (kid, by);
        Ok(unbuilt()?)
    }

    /// Takes over a key that a ceremony made on the token. A tenant that never had a key can sign with it at once: its plan is then to activate,
    /// and nobody has cached a JWKS.
    pub async fn adopt(&self, tenant: TenantId, adopt: &AdoptKey, by: &By) -> Result<SigningKey, Error> {
        let _ = (tenant, adopt, by);
        Ok(unbuilt()?)
    }

    /// pending -> published.
    pub async fn publish(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        let _ = (kid, by);
        Ok(unbuilt()?)
    }

    /// published -> active, in the place of the active key, which retires.
    pub async fn activate(&self, kid: KeyId, accept_exposure: bool, by: &By) -> Result<Rotation, Error> {
        let _ = (kid, accept_exposure, by);
        Ok(unbuilt()?)
    }

    /// Puts the tenant's standby in the place of its active key; makes or plans one where there is none that is ready.
    pub async fn rotate(&self, tenant: TenantId, rotate: Rotate, by: &By) -> Result<Rotation, Error> {
        let _ = (tenant, rotate, by);
        Ok(unbuilt()?)
    }

    /// Undoes the last rotation: the key before signs again, the active one is suspended.
    pub async fn roll_back(&self, tenant: TenantId, by: &By) -> Result<Rotation, Error> {
        let _ = (tenant, by);
        Ok(unbuilt()?)
    }

    /// active -> suspended. The tenant has no active key then, unless `replace` puts its standby there.
    pub async fn suspend(&self, kid: KeyId, replace: bool, by: &By) -> Result<SigningKey, Error> {
        let _ = (kid, replace, by);
        Ok(unbuilt()?)
    }

    /// suspended -> active, or published where it has left the JWKS.
    pub async fn resume(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        let _ = (kid, by);
        Ok(unbuilt()?)
    }

    /// Takes a key out of use that does not sign: pending and published keys are retired at once, a suspended one after R.
    pub async fn retire(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        let _ = (kid, by);
        Ok(unbuilt()?)
    }

    /// Distrusts a key: it leaves the JWKS at once, and its private half is destroyed by the scheduler. Where it was active a standby takes over;
    /// where there is none that may (or `accept_exposure` makes it), the tenant has no active key, and its finalizes answer 503.
    pub async fn compromise(&self, kid: KeyId, accept_exposure: bool, by: &By) -> Result<(SigningKey, Option<SigningKey>), Error> {
        let _ = (kid, accept_exposure, by);
        Ok(unbuilt()?)
    }

    /// Destroys a key that does not sign, on the token and for good, and proves that it is gone. Also finishes what was cut short.
    pub async fn destroy(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        let _ = (kid, by);
        Ok(unbuilt()?)
    }

    /// What is known of a key's birth and life.
    pub async fn dossier(&self, kid: KeyId) -> Result<KeyDossier, Error> {
        let _ = kid;
        Ok(unbuilt()?)
    }

    /// Adds what a vendor's tool says of a key.
    pub async fn attach(&self, kid: KeyId, name: &str, content: Vec<u8>, by: &By) -> Result<(), Error> {
        let _ = (kid, name, content, by);
        Ok(unbuilt()?)
    }
}
