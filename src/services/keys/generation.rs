//! Keys that are made: the intent first, then the pair on the token, then what it became. Whatever dies in between, the intent names what is
//! left, and making it again takes over what is there.

use super::{By, Context, Error, Keys, NewKey, contended, rules, settle};
use crate::{
    domain::{
        AuditEventType, KeyId, KeyOrigin, KeyPlan, KeyRefusal, KeyRule, KeyState, SigningAlgorithm, SigningKey, TenantId, TenantSettings,
        rsa_bits,
    },
    failpoint,
    hsm::{self, GenerateRequest, GeneratedKey},
};

impl Keys {
    /// Makes a key: the intent first, then the pair on the token, then what it became. It is `pending` with its evidence, and is published by
    /// command or, if so planned, by the scheduler.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the token makes no such keys: the intent is given up.
    pub async fn generate(&self, tenant: TenantId, new: NewKey, by: &By) -> Result<SigningKey, Error> {
        let tenant = self.tenant(tenant).await?;
        let (algorithm, bits) = kind(&tenant.settings, new)?;
        ready(&self.context)?;
        let id = KeyId::random(&*self.context.rng);
        let now = self.context.store.database_now().await?;
        let intent = SigningKey::intent(id, tenant.id, algorithm, bits, new.plan, now);
        self.begin(&intent, AuditEventType::SigningKeyRequested, by).await?;
        failpoint::hit("key.intent_written");
        self.make(intent, by).await
    }

    /// Finishes a key whose making was cut short.
    pub async fn resume_generation(&self, kid: KeyId, by: &By) -> Result<SigningKey, Error> {
        let key = self.get(kid).await?;
        rules::in_state(&key, &[KeyState::Pending])?;
        if key.public_key.is_some() {
            return Ok(key);
        }
        if self.context.store.tenant(key.tenant_id).await?.is_none() {
            let detail = format!("it is the first key of a tenant in the making: passkey-hsm tenant create --resume {}", key.tenant_id);
            return Err(KeyRefusal::new(KeyRule::State, detail).into());
        }
        ready(&self.context)?;
        self.make(key, by).await
    }

    /// Writes down that a key is meant to exist, or with its public half that it does.
    pub(super) async fn begin(&self, key: &SigningKey, event_type: AuditEventType, by: &By) -> Result<(), Error> {
        let event = self.event(key, event_type, by);
        let begun = self.context.store.begin_signing_key(key, &event).await;
        if settle(&self.context, &event, begun, || true).await? {
            return Ok(());
        }
        let all = self.list(key.tenant_id).await?;
        let pending = all.iter().find(|k| k.state == KeyState::Pending).ok_or(Error::TenantNotFound(key.tenant_id))?;
        Err(rules::one_pending(pending).into())
    }

    /// The second and third part of [`Keys::generate`], which can be done again. An intent to adopt a key is given up: which one that was is not
    /// known any more.
    pub(super) async fn make(&self, intent: SigningKey, by: &By) -> Result<SigningKey, Error> {
        if intent.origin == KeyOrigin::Adopted {
            return self.end(intent.id, true, by).await;
        }
        let actor = by.actor.to_string();
        let (kid, algorithm, now) = (intent.id, intent.algorithm, self.context.clock.now());
        let request = GenerateRequest { kid, algorithm, rsa_bits: intent.rsa_bits, now, actor: &actor };
        let made = match self.context.signer.generate(&request).await {
            // The token will never make it: what was begun is given up rather than left for somebody to finish.
            Err(error @ (hsm::Error::Mechanism(_) | hsm::Error::Refused(_))) => return Err(self.give_up(&intent, error, by).await),
            made => made?,
        };
        failpoint::hit("key.generated");
        self.complete(intent, made, AuditEventType::SigningKeyGenerated, by).await
    }

    /// Writes down what there is on the token.
    pub(super) async fn complete(
        &self,
        intent: SigningKey,
        made: GeneratedKey,
        event_type: AuditEventType,
        by: &By,
    ) -> Result<SigningKey, Error> {
        let key = SigningKey {
            public_key: Some(made.public_key),
            cka_id: Some(made.cka_id),
            token_serial: Some(made.token_serial),
            evidence: Some(made.evidence),
            ..intent
        };
        let event = self.event(&key, event_type, by);
        let completed = self.context.store.complete_signing_key(&key, &event).await;
        let completed = settle(&self.context, &event, completed, || true).await?;
        failpoint::hit("key.completed");
        let key = self.get(key.id).await?;
        if completed || key.public_key.is_some() {
            return Ok(key);
        }
        if key.origin == KeyOrigin::Adopted && key.state == KeyState::Pending && key.destroying_at.is_none() {
            // Nothing on the token has the intent's id: what another adopted at the same time stays.
            Box::pin(self.end(key.id, true, by)).await?;
            return Err(Error::Conflict("that key was adopted by somebody else in the same moment".to_owned()));
        }
        // It was given up meanwhile, and perhaps destroyed before the token made it: nothing of it must stay.
        if key.origin == KeyOrigin::Generated {
            self.context.signer.destroy(key.id, None).await?;
        }
        Err(rules::in_state(&key, &[KeyState::Pending]).and_then(|()| rules::private_half(&key)).err().map_or_else(contended, Error::from))
    }

    /// Gives up an intent, after seeing to it that nothing of it is on the token. Returns why.
    async fn give_up(&self, intent: &SigningKey, why: hsm::Error, by: &By) -> Error {
        if let Err(error) = self.end(intent.id, true, by).await {
            tracing::warn!(kid = %intent.id, %error, "signing key {} could not be given up: {error}", intent.id);
        }
        Error::Unsupported(intent.algorithm, why)
    }

    /// A key of the tenant's own choice.
    pub(super) async fn generate_standby(&self, tenant: TenantId, plan: KeyPlan, by: &By) -> Result<SigningKey, Error> {
        self.generate(tenant, NewKey { algorithm: None, rsa_bits: None, plan }, by).await
    }
}

/// What kind of key it is to be: as asked for, else as the tenant has chosen.
fn kind(settings: &TenantSettings, new: NewKey) -> Result<(SigningAlgorithm, Option<u32>), Error> {
    let algorithm = new.algorithm.unwrap_or(settings.algorithm);
    match (algorithm.is_rsa(), new.rsa_bits) {
        (true, bits) => match rsa_bits(bits.unwrap_or(settings.rsa_bits)) {
            Ok(bits) => Ok((algorithm, Some(bits))),
            Err(error) => Err(Error::Invalid(error.to_string())),
        },
        (false, None) => Ok((algorithm, None)),
        (false, Some(_)) => Err(Error::Invalid(format!("a key for {algorithm} has no size to choose"))),
    }
}

/// Whether the HSM is there: an intent that cannot be made now is better not written.
pub(super) fn ready(context: &Context) -> Result<(), Error> {
    if context.signer.status().up() > 0 { Ok(()) } else { Err(hsm::Error::Unavailable.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(algorithm: Option<SigningAlgorithm>, rsa_bits: Option<u32>) -> NewKey {
        NewKey { algorithm, rsa_bits, plan: KeyPlan::None }
    }

    #[test]
    fn a_key_is_of_the_kind_that_was_asked_for_else_of_the_tenants() {
        let mut settings = TenantSettings::default();
        assert_eq!(kind(&settings, new(None, None)).unwrap(), (SigningAlgorithm::Es256, None));
        assert_eq!(kind(&settings, new(Some(SigningAlgorithm::Ps256), None)).unwrap(), (SigningAlgorithm::Ps256, Some(3072)));
        settings.algorithm = SigningAlgorithm::Rs256;
        assert_eq!(kind(&settings, new(None, Some(2048))).unwrap(), (SigningAlgorithm::Rs256, Some(2048)));
        assert_eq!(kind(&settings, new(Some(SigningAlgorithm::EdDsa), None)).unwrap(), (SigningAlgorithm::EdDsa, None));
    }

    #[test]
    fn a_size_that_cannot_be_is_refused() {
        let settings = TenantSettings::default();
        for (algorithm, bits) in [(SigningAlgorithm::Rs256, 1024), (SigningAlgorithm::Es256, 2048)] {
            assert!(matches!(kind(&settings, new(Some(algorithm), Some(bits))), Err(Error::Invalid(_))), "{algorithm} {bits}");
        }
    }
}
