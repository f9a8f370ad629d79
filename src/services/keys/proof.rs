//! What has to be shown before a key signs.

use tokio::time::{Instant, sleep};

use super::{Error, Keys, REPLICA_LEASE, published_jwk, rules};
use crate::{
    domain::{KeyRefusal, KeyRule, KeyState, SigningKey, Tenant},
    hsm::{self, verify_proof},
};

/// How often servers are asked for while they are waited for.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(25);

impl Keys {
    /// Whether a published key may sign:
    ///
    /// 1. it is published;
    /// 2. P is over by the database's clock, or the exposure is accepted;
    /// 3. the evidence of its birth is there and was signed by it;
    /// 4. its attributes are those that a strict policy wants;
    /// 5. every live server has seen it in the JWKS that it serves;
    /// 6. the token signs with it what the published JWK verifies.
    ///
    /// Says whether verifiers are exposed: whether the second rule was waived.
    pub(super) async fn may_sign(&self, tenant: &Tenant, key: &SigningKey, accept_exposure: bool) -> Result<bool, Error> {
        rules::in_state(key, &[KeyState::Published])?;
        let in_time = rules::publication_time(key, self.context.store.database_now().await?);
        let exposed = in_time.is_err();
        if !accept_exposure {
            in_time?;
        }
        rules::evidence(key)?;
        rules::strict_policy(&tenant.settings.keys, key)?;
        self.seen_by_all(key, accept_exposure).await?;
        self.prove(key).await?;
        Ok(exposed)
    }

    /// Whether every live server serves the JWKS that has the key. Where it was published only just now they are waited for: what they need is
    /// their next look.
    async fn seen_by_all(&self, key: &SigningKey, wait: bool) -> Result<(), Error> {
        let until = Instant::now() + self.context.governance.follow_interval * 4;
        loop {
            let replicas = self.context.store.live_replicas(REPLICA_LEASE).await?;
            match rules::replicas(key, &replicas) {
                Err(_) if wait && Instant::now() < until => sleep(PAUSE).await,
                seen => return Ok(seen?),
            }
        }
    }

    /// A test signature that verifies with the JWK that this very process serves.
    pub(super) async fn prove(&self, key: &SigningKey) -> Result<(), Error> {
        rules::private_half(key)?;
        self.on_token(key)?;
        let (Some(public_key), Some(cka_id)) = (&key.public_key, &key.cka_id) else {
            return Err(Error::Internal(format!("signing key {} is {} but was never completed", key.id, key.state), None));
        };
        let served = self.tokens.published_keys(key.tenant_id).await?;
        let refused = |detail: String| Error::from(KeyRefusal::new(KeyRule::TestSignature, detail));
        let published = published_jwk::find(&served.body, key.id, key.algorithm).map_err(|why| refused(why.to_string()))?;
        let nonce = self.context.rng.bytes();
        let signature = match self.context.signer.prove(key.id, cka_id, key.algorithm, public_key, nonce).await {
            Ok(signature) => signature,
            Err(hsm::Error::KeyNotFound(_)) => {
                return Err(KeyRefusal::new(KeyRule::PrivateHalf, "the token works and does not hold it").into());
            }
            Err(error @ (hsm::Error::WrongSignature(_) | hsm::Error::KeyUnclear(..) | hsm::Error::Mechanism(_))) => {
                return Err(refused(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        if verify_proof(key.algorithm, &published, key.id, &nonce, &signature) {
            Ok(())
        } else {
            Err(refused("the token's test signature does not verify with the published JWK".to_owned()))
        }
    }

    /// Whether it is on the token that is configured, as far as its serial number tells.
    pub(super) fn on_token(&self, key: &SigningKey) -> Result<(), Error> {
        let token = self.context.signer.status().token.ok_or(hsm::Error::Unavailable)?;
        Ok(rules::token(key, &token.serial)?)
    }
}
