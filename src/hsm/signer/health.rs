//! The health key as the signer sees it, and the question it answers: is it the token, or only this request?

use cryptoki::{
    error::Result,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
};

use super::{attributes, index::find, lane::Lane, queue::lock};
use crate::{
    domain::SigningAlgorithm,
    hsm::{
        health::{HEALTH_KEY, message, proves},
        protocol::HealthProof,
        public_key::PublicKey,
    },
};

/// The health key of this token.
#[derive(Clone)]
pub(super) struct HealthKey {
    handle: ObjectHandle,
    algorithm: SigningAlgorithm,
    /// SubjectPublicKeyInfo in DER.
    public_key: Vec<u8>,
}

/// A signature with the health key; `None` when the token shows none.
pub(super) fn sign(lane: &mut Lane, nonce: u64) -> Result<Option<HealthProof>> {
    let known = lock(&lane.device.health).clone();
    let Some(key) = (match known {
        Some(key) => Some(key),
        None => find_key(lane)?,
    }) else {
        return Ok(None);
    };
    let public_key = || PublicKey::from_spki(key.algorithm, &key.public_key).ok();
    let signature = lane.device.mechanisms.sign(lane, key.handle, key.algorithm, &message(nonce), public_key)?;
    Ok(Some(HealthProof { algorithm: key.algorithm, public_key: key.public_key, signature }))
}

/// Whether the token works: its health key signs, verified. `Ok(false)` when it has none and nothing can be told.
pub(super) fn token_works(lane: &mut Lane) -> std::result::Result<bool, String> {
    let proof = lane.renew().and_then(|()| sign(lane, 0)).map_err(|error| super::fault::name(&error))?;
    match proof {
        None => Ok(false),
        Some(proof) if proves(&proof, 0) => Ok(true),
        Some(_) => Err("the health key's signature does not verify".to_owned()),
    }
}

/// Looks for the pair. Two servers that start at once on an empty token may both have made one: the first that signs will do.
fn find_key(lane: &mut Lane) -> Result<Option<HealthKey>> {
    let id = || Attribute::Id(HEALTH_KEY.as_bytes().to_vec());
    let (private, public) = {
        let _shared = lane.device.index.shared();
        lane.call(|s| Ok((find(s, ObjectClass::PRIVATE_KEY, id())?, find(s, ObjectClass::PUBLIC_KEY, id())?)))?
    };
    for public in public {
        let Some((algorithm, key)) = lane.call(|s| {
            let algorithm = match attributes::read(s, public, AttributeType::KeyType)? {
                Some(Attribute::KeyType(KeyType::EC)) => SigningAlgorithm::Es256,
                Some(Attribute::KeyType(KeyType::RSA)) => SigningAlgorithm::Rs256,
                _ => return Ok(None),
            };
            Ok(attributes::public_key(s, public, algorithm)?.ok().map(|key| (algorithm, key)))
        })?
        else {
            continue;
        };
        for handle in &private {
            let spki = key.to_spki().unwrap_or_default();
            let parsed = || PublicKey::from_spki(algorithm, &spki).ok();
            let signature = lane.device.mechanisms.sign(lane, *handle, algorithm, &message(0), parsed)?;
            if key.verify(&message(0), &signature) {
                let found = HealthKey { handle: *handle, algorithm, public_key: spki };
                *lock(&lane.device.health) = Some(found.clone());
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}
