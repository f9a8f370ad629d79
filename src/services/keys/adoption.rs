//! Keys that a ceremony made on the token, and that are taken over.

use openssl::pkey::PKey;

use super::{AdoptKey, By, Error, Keys, generation::ready};
use crate::{
    domain::{AuditEventType, KeyId, KeyOrigin, KeyPlan, SigningKey, TenantId},
    failpoint,
    hsm::{self, AdoptRequest, GeneratedKey},
};

impl Keys {
    /// Takes over a key that a ceremony made on the token. A tenant that never had a key can sign with it at once: its plan is then to activate,
    /// and nobody has cached a JWKS.
    ///
    /// The token is asked first, and not changed: an intent that is left behind is given up, for there is nothing to finish.
    pub async fn adopt(&self, tenant: TenantId, adopt: &AdoptKey, by: &By) -> Result<SigningKey, Error> {
        let tenant = self.tenant(tenant).await?;
        if adopt.cka_id.is_none() && adopt.label.is_none() {
            return Err(Error::Invalid("say which key: its cka_id, its label, or both".to_owned()));
        }
        ready(&self.context)?;
        let (kid, now, actor) = (KeyId::random(&*self.context.rng), self.context.store.database_now().await?, by.actor.to_string());
        let (cka_id, label) = (adopt.cka_id.as_deref(), adopt.label.as_deref());
        let request = AdoptRequest { kid, cka_id, label, algorithm: adopt.algorithm, now, actor: &actor };
        let found = self.context.signer.adopt(&request).await.map_err(not_adopted)?;
        self.unowned(&found).await?;

        let intent = SigningKey::intent(kid, tenant.id, adopt.algorithm, rsa_bits_of(adopt, &found)?, adopt.plan, now);
        let intent = SigningKey { origin: KeyOrigin::Adopted, ..intent };
        self.begin(&intent, AuditEventType::SigningKeyRequested, by).await?;
        failpoint::hit("key.intent_written");
        let key = self.complete(intent, found, AuditEventType::SigningKeyAdopted, by).await?;
        self.sign_at_once(&key, by).await?;
        self.get(kid).await
    }

    /// Two rows for one private key would let one tenant sign as another.
    async fn unowned(&self, found: &GeneratedKey) -> Result<(), Error> {
        let all = self.all().await?;
        let is_it = |k: &&SigningKey| {
            let on_token = k.private_destroyed_at.is_none() && k.cka_id.as_ref() == Some(&found.cka_id);
            k.public_key.as_ref() == Some(&found.public_key)
                || (on_token && k.token_serial.as_ref() == Some(&found.token_serial))
                || k.id.as_bytes().as_slice() == found.cka_id
        };
        match all.iter().find(is_it) {
            None => Ok(()),
            Some(k) => Err(Error::Conflict(format!("that is signing key {} of tenant {} already ({})", k.id, k.tenant_id, k.state))),
        }
    }

    /// The first key of a tenant that waited for it. What cannot be done now the scheduler does.
    async fn sign_at_once(&self, key: &SigningKey, by: &By) -> Result<(), Error> {
        let others = self.list(key.tenant_id).await?;
        if key.plan != KeyPlan::Activate || others.iter().any(|k| k.id != key.id && k.published_at.is_some()) {
            return Ok(());
        }
        self.publish(key.id, by).await?;
        match self.take_over(key.id, super::activation::Leaves::RETIRING, true, by).await {
            Ok(_) | Err(Error::KeyRefused(_) | Error::Unavailable(..)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The modulus size, if it is an RSA key.
fn rsa_bits_of(adopt: &AdoptKey, found: &GeneratedKey) -> Result<Option<u32>, Error> {
    let unreadable =
        |e: openssl::error::ErrorStack| Error::Internal("the adopted key's public half cannot be read".to_owned(), Some(e.into()));
    let key = PKey::public_key_from_der(&found.public_key).map_err(unreadable)?;
    Ok(adopt.algorithm.is_rsa().then(|| key.bits()))
}

/// What is wrong with the key that was named, for whoever named it.
fn not_adopted(error: hsm::Error) -> Error {
    match error {
        hsm::Error::KeyNotFound(_) => Error::Invalid("the token has no key pair of that id and label".to_owned()),
        hsm::Error::KeyUnclear(_, why) => Error::Invalid(format!("the key on the token is unclear: {why}")),
        hsm::Error::Refused(why) | hsm::Error::Mechanism(why) => {
            Error::Invalid(format!("the key on the token cannot be taken over: {why}"))
        }
        other => other.into(),
    }
}
