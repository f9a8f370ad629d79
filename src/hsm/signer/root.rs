//! The root key as the signer sees it: looked for, made where there is none, and let sign its label.

use cryptoki::object::ObjectHandle;

use super::{
    attributes,
    fault::{self, Class},
    health,
    keys::{self, KeyError, Pair},
    lane::Lane,
};
use crate::{
    domain::{SigningAlgorithm, Timestamp},
    hsm::{
        protocol::{Failure, Generate},
        public_key::PublicKey,
        root_key::{LABEL, ROOT_KEY, Unlocked},
    },
};

const ALGORITHM: SigningAlgorithm = SigningAlgorithm::Rs256;

/// Sizes of its modulus, the first that the token can.
const BITS: [u32; 2] = [3072, 2048];

/// The root key's signature. With a `wanted` public key it is that pair's and nothing is made: another one opens no envelope that there is.
pub(super) fn unlock(lane: &mut Lane, wanted: Option<&[u8]>, may_make: bool) -> Result<Unlocked, KeyError> {
    if let Some(found) = find(lane, wanted)? {
        return Ok(found);
    }
    // "Found nothing" is also what a module says whose token is gone.
    if !health::token_works(lane).map_err(|why| KeyError::Failure(Failure::Device(why)))? {
        return Err(KeyError::Failure(Failure::Device("the token shows neither the root key nor the health key".to_owned())));
    }
    if wanted.is_some() {
        return Err(KeyError::Failure(Failure::KeyNotFound));
    }
    if !may_make {
        let text = "the token has no root key, and this signer was started with signing rights only";
        return Err(KeyError::Failure(Failure::Refused(text.to_owned())));
    }
    make(lane)?;
    find(lane, None)?.ok_or_else(|| unclear("what its private half signs does not verify with its public half"))
}

/// The signature of the wanted pair, or of the first that signs: two servers that start at once on two hosts may both have made one, and
/// the envelope says which one counts.
fn find(lane: &mut Lane, wanted: Option<&[u8]>) -> Result<Option<Unlocked>, KeyError> {
    let pair = {
        let _shared = lane.device.index.shared();
        lane.call(|session| Pair::find(session, ROOT_KEY))?
    };
    // A key that is not kept as it has to be does not sign; beside one that is, it is nobody's concern here.
    let mut unkept = None;
    for public in pair.public {
        let Ok(key) = lane.call(|session| attributes::public_key(session, public, ALGORITHM))? else { continue };
        let Ok(public_key) = key.to_spki() else { continue };
        if wanted.is_some_and(|wanted| wanted != public_key) {
            continue;
        }
        for private in &pair.private {
            match sign(lane, *private, &public_key) {
                Ok(unlocked) if unlocked.is_genuine(wanted) => return Ok(Some(unlocked)),
                Ok(_) => {}
                Err(KeyError::Failure(failure)) => unkept = Some(failure),
                Err(error) => return Err(error),
            }
        }
    }
    unkept.map_or(Ok(None), |failure| Err(KeyError::Failure(failure)))
}

fn sign(lane: &mut Lane, private: ObjectHandle, public_key: &[u8]) -> Result<Unlocked, KeyError> {
    let found = lane.call(|session| attributes::describe(session, private))?;
    if let Some(reason) = attributes::unacceptable(&found) {
        return Err(unclear(&format!("{reason}: the token does not keep it as it has to be kept")));
    }
    let parsed = || PublicKey::from_spki(ALGORITHM, public_key).ok();
    let signature = lane.device.mechanisms.sign(lane, private, ALGORITHM, LABEL, parsed)?;
    let token_serial = lane.device.info.serial.clone();
    Ok(Unlocked { token_serial, public_key: public_key.to_vec(), signature: signature.into() })
}

/// Makes the pair. Nothing else on this host makes keys meanwhile, and nothing in this process searches.
fn make(lane: &Lane) -> Result<(), KeyError> {
    let _exclusive = lane.device.index.exclusive();
    let pair = lane.call(|session| Pair::find(session, ROOT_KEY))?;
    if !pair.private.is_empty() {
        return Err(unclear(&format!("there are {} private and {} public keys, and none signs", pair.private.len(), pair.public.len())));
    }
    // The private half is what counts, and there is none, on a token whose health key has just signed: a process was killed half-way.
    for object in pair.public {
        tracing::warn!("half of the root key is on the token: it is made anew");
        lane.call(|session| session.destroy_object(object))?;
    }
    let mut last = None;
    for bits in BITS {
        // Its time is for its evidence, which nobody asks of this key.
        let request =
            Generate { kid: ROOT_KEY, algorithm: ALGORITHM, rsa_bits: Some(bits), now: Timestamp::from_millis(0), actor: "".into() };
        match lane.call(|session| Ok(keys::find_or_make(session, &request)))? {
            Ok(_) => return Ok(()),
            Err(KeyError::Module(error)) if matches!(fault::classify(&error), Class::Mechanism | Class::Refused) => {
                last = Some(KeyError::Module(error));
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| unclear("it could not be made")))
}

fn unclear(text: &str) -> KeyError {
    KeyError::Failure(Failure::KeyUnclear(text.to_owned()))
}
