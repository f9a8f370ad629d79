//! Taking over a key pair that somebody else made on the token: a ceremony with the vendor's tools, or another deployment.

use cryptoki::{
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{
    attributes, health,
    index::find,
    keys::{self, Birth, Found, KeyError, not_of_its_algorithm, refused, unclear},
    lane::Lane,
    template,
};
use crate::{
    domain::{RSA_BITS, SigningAlgorithm},
    hsm::{
        protocol::{Adopt, Failure, Generated},
        public_key::PublicKey,
        root_key::is_reserved,
    },
};

/// Finds exactly one pair, judges how it is kept, and has it sign its evidence under its new id. Changes nothing on the token.
pub(super) fn adopt(lane: &mut Lane, a: &Adopt) -> Result<Generated, KeyError> {
    if is_reserved(a.kid.as_bytes()) {
        return refused("the health key and the root key are not to be adopted");
    }
    let found = {
        let _shared = lane.device.index.shared();
        lane.call(|session| Ok(locate(session, a)))??
    };
    let Some(found) = found else {
        // "Found nothing" is also what a module says whose token is gone.
        let works = health::token_works(lane).map_err(|why| KeyError::Failure(Failure::Device(why)))?;
        let gone = || Failure::Device("the token shows neither this key nor the health key".to_owned());
        return Err(KeyError::Failure(if works { Failure::KeyNotFound } else { gone() }));
    };
    keys::witness(lane, found, &Birth { kid: a.kid, algorithm: a.algorithm, now: a.now, actor: &a.actor, origin: "adopted" })
}

/// The one private key that matches, with its public half; `None` when none matches.
fn locate(session: &Session, a: &Adopt) -> Result<Option<Found>, KeyError> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)];
    template.extend(a.cka_id.as_deref().map(|id| Attribute::Id(id.to_vec())));
    template.extend(a.label.as_deref().map(|label| Attribute::Label(label.as_bytes().to_vec())));
    if template.len() == 2 || a.cka_id.as_deref().is_some_and(<[u8]>::is_empty) || a.label.as_deref().is_some_and(str::is_empty) {
        return refused("which key is meant has to be said by its CKA_ID or by its label, and neither is empty");
    }
    let private = match session.find_objects(&template)?.as_slice() {
        [] => return Ok(None),
        [one] => *one,
        many => return unclear(format!("{} private keys match: say which by CKA_ID and label", many.len())),
    };
    let cka_id = attributes::read_bytes(session, private, AttributeType::Id)?;
    if cka_id.is_empty() {
        return unclear("it has no CKA_ID to find it by: give it one with the vendor's tool");
    }
    if is_reserved(&cka_id) {
        return refused("the health key and the root key are not to be adopted");
    }
    let sharing = find(session, ObjectClass::PRIVATE_KEY, Attribute::Id(cka_id.clone()))?.len();
    if sharing != 1 {
        return unclear(format!("{sharing} private keys share its CKA_ID: give it one of its own with the vendor's tool"));
    }
    is_kept(session, private, a.algorithm, &cka_id).map(Some)
}

fn is_kept(session: &Session, private: ObjectHandle, algorithm: SigningAlgorithm, cka_id: &[u8]) -> Result<Found, KeyError> {
    let attributes = attributes::describe(session, private)?;
    if let Some(reason) = attributes::unacceptable_to_adopt(&attributes, algorithm) {
        return refused(&format!("{reason}: a key that signs tokens never was outside the token, and signs alone"));
    }
    let public = match find(session, ObjectClass::PUBLIC_KEY, Attribute::Id(cka_id.to_vec()))?.as_slice() {
        [one] => *one,
        // Its private half tells modulus and exponent too.
        [] if algorithm.is_rsa() => private,
        [] => return unclear("its public half is not on the token under its CKA_ID, and a private key of its type does not tell it"),
        many => return unclear(format!("{} public keys have its CKA_ID", many.len())),
    };
    for object in [private, public] {
        let key_type = attributes::read(session, object, AttributeType::KeyType)?;
        if !matches!(key_type, Some(Attribute::KeyType(t)) if t == template::key_type(algorithm)) {
            return unclear(format!("it is not a key for {algorithm}"));
        }
    }
    let public_key: PublicKey = attributes::public_key(session, public, algorithm)?.map_err(|e| not_of_its_algorithm(&e))?;
    match public_key.rsa_bits() {
        Some(bits) if !RSA_BITS.contains(&bits) => refused(&format!("RSA keys have 2048, 3072 or 4096 bits, not {bits}")),
        _ => Ok((private, public_key, attributes, true)),
    }
}
