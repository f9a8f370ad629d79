//! Making, destroying and listing key pairs. One thread does it, with a session of its own, so that no signature waits for it.

use std::collections::BTreeMap;

use cryptoki::{
    error::{Error as P11Error, Result as P11Result},
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{
    attributes,
    fault::{self, Class},
    index::find,
    lane::Lane,
    template::{self, Step},
};
use crate::{
    domain::{KeyEvidence, KeyId, RSA_BITS, SigningAlgorithm, Timestamp},
    hsm::{
        Inventory, InventoryKey, evidence,
        health::HEALTH_KEY,
        protocol::{Failure, Generate, Generated},
        public_key::{PublicKey, PublicKeyError},
        root_key::ROOT_KEY,
    },
};

/// Why a key was not made, destroyed or listed.
#[derive(Debug)]
pub(super) enum KeyError {
    /// Known, and final.
    Failure(Failure),
    /// The module said so.
    Module(P11Error),
}

impl From<P11Error> for KeyError {
    fn from(error: P11Error) -> Self {
        Self::Module(error)
    }
}

pub(super) fn unclear<T>(text: impl Into<String>) -> Result<T, KeyError> {
    Err(KeyError::Failure(Failure::KeyUnclear(text.into())))
}

pub(super) fn refused<T>(text: &str) -> Result<T, KeyError> {
    Err(KeyError::Failure(Failure::Refused(text.to_owned())))
}

pub(super) fn not_of_its_algorithm(error: &PublicKeyError) -> KeyError {
    KeyError::Failure(Failure::KeyUnclear(format!("its public half cannot be read: {error}")))
}

/// The objects of one key.
pub(super) struct Pair {
    pub(super) private: Vec<ObjectHandle>,
    pub(super) public: Vec<ObjectHandle>,
}

impl Pair {
    fn by(session: &Session, attribute: Attribute) -> P11Result<Self> {
        let private = find(session, ObjectClass::PRIVATE_KEY, attribute.clone())?;
        Ok(Self { private, public: find(session, ObjectClass::PUBLIC_KEY, attribute)? })
    }

    /// By CKA_ID alone.
    pub(super) fn by_id(session: &Session, cka_id: &[u8]) -> P11Result<Self> {
        Self::by(session, Attribute::Id(cka_id.to_vec()))
    }

    /// By CKA_ID, or by label where the module chose an id of its own.
    pub(super) fn find(session: &Session, kid: KeyId) -> P11Result<Self> {
        let by_id = Self::by_id(session, kid.as_bytes())?;
        if by_id.is_empty() { Self::by(session, Attribute::Label(kid.to_string().into_bytes())) } else { Ok(by_id) }
    }

    fn is_empty(&self) -> bool {
        self.private.is_empty() && self.public.is_empty()
    }
}

/// Makes the pair, or takes over the complete one that is there; then proves that it signs.
///
/// Safe to ask again whatever became of the first time: the pair is looked for under its id first. Half a pair, or two, is for a person, except
/// for half a health key.
pub(super) fn generate(lane: &mut Lane, g: &Generate) -> Result<Generated, KeyError> {
    if g.kid == ROOT_KEY {
        return refused("the root key is made when it is asked for its signature");
    }
    let found = {
        let _exclusive = lane.device.index.exclusive();
        lane.call(|session| Ok(find_or_make(session, g)))??
    };
    witness(lane, found, &Birth { kid: g.kid, algorithm: g.algorithm, now: g.now, actor: &g.actor, origin: "generated" })
}

/// What evidence says of a key beside what the token does.
pub(super) struct Birth<'a> {
    pub(super) kid: KeyId,
    pub(super) algorithm: SigningAlgorithm,
    pub(super) now: Timestamp,
    pub(super) actor: &'a str,
    pub(super) origin: &'static str,
}

/// Has the key sign its evidence, which proves that its halves belong together.
pub(super) fn witness(lane: &mut Lane, found: Found, birth: &Birth) -> Result<Generated, KeyError> {
    let (private, public_key, attributes, taken_over) = found;
    let cka_id = match lane.call(|s| attributes::read_bytes(s, private, AttributeType::Id))? {
        id if id.is_empty() => return unclear("the token tells no CKA_ID of it"),
        id => id,
    };
    lane.device.index.put(&cka_id, vec![private]);

    let Birth { kid, algorithm, now, actor, origin } = *birth;
    let token = &lane.device.info;
    let facts = evidence::Facts { kid, algorithm, token, attributes, public_key: &public_key, taken_over, origin, actor, now };
    let record = evidence::record(&facts).map_err(|e| not_of_its_algorithm(&e))?;
    let message = evidence::message(&record);
    let spki = public_key.to_spki().map_err(|e| not_of_its_algorithm(&e))?;
    let parsed = || PublicKey::from_spki(algorithm, &spki).ok();
    let signature = lane.device.mechanisms.sign(lane, private, algorithm, &message, parsed)?;
    if !public_key.verify(&message, &signature) {
        return unclear("what its private half signs does not verify with its public half");
    }
    Ok(Generated { cka_id, public_key: spki, evidence: KeyEvidence { record, signature } })
}

pub(super) type Found = (ObjectHandle, PublicKey, serde_json::Map<String, serde_json::Value>, bool);

pub(super) fn find_or_make(session: &Session, g: &Generate) -> Result<Found, KeyError> {
    let mut pair = Pair::find(session, g.kid)?;
    if g.kid == HEALTH_KEY && pair.private.is_empty() != pair.public.is_empty() {
        // Nobody's tokens depend on it, and without it no process starts: what a cut left of it is cleared away.
        tracing::warn!("half of the health key is on the token: it is made anew");
        for object in pair.private.drain(..).chain(pair.public.drain(..)) {
            session.destroy_object(object)?;
        }
    }
    let (private, public, taken_over) = match (pair.private.as_slice(), pair.public.as_slice()) {
        ([private], [public]) => (*private, *public, true),
        ([], []) => {
            let (public, private) = make(session, g)?;
            (private, public, false)
        }
        ([], [_, ..]) => return unclear("its private half is missing, its public half is there"),
        ([_, ..], []) => return unclear("its public half is missing, its private half is there"),
        (private, public) => return unclear(format!("there are {} private and {} public keys", private.len(), public.len())),
    };
    let attributes = attributes::describe(session, private)?;
    if let Some(reason) = attributes::unacceptable(&attributes) {
        let text = format!("{reason}: the token does not keep it as it has to be kept");
        if taken_over {
            return unclear(text);
        }
        // Made by this very call: nobody can own it yet. Another would be no better.
        session.destroy_object(private)?;
        session.destroy_object(public)?;
        return Err(KeyError::Failure(Failure::Mechanism(text)));
    }
    let key_type = attributes::read(session, public, AttributeType::KeyType)?;
    if !matches!(key_type, Some(Attribute::KeyType(t)) if t == template::key_type(g.algorithm)) {
        return unclear(format!("it is not a key for {}", g.algorithm));
    }
    let public_key = attributes::public_key(session, public, g.algorithm)?.map_err(|e| not_of_its_algorithm(&e))?;
    Ok((private, public_key, attributes, taken_over))
}

fn make(session: &Session, g: &Generate) -> Result<(ObjectHandle, ObjectHandle), KeyError> {
    let bits = g.rsa_bits.unwrap_or(RSA_BITS[0]);
    if g.algorithm.is_rsa() && !RSA_BITS.contains(&bits) {
        return Err(KeyError::Failure(Failure::Refused(format!("RSA keys have 2048, 3072 or 4096 bits, not {bits}"))));
    }
    let mut refused = None;
    for step in Step::ALL {
        let (mechanism, public, private) = template::key_pair(g.kid, g.algorithm, bits, step);
        match session.generate_key_pair(&mechanism, &public, &private) {
            Ok(pair) => return Ok(pair),
            // An attribute that this module does not take: ask for less.
            Err(error) if fault::classify(&error) == Class::Refused => refused = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(refused.unwrap_or(P11Error::NotSupported).into())
}

/// Every key on the token, whoever made it.
pub(super) fn inventory(lane: &Lane) -> Result<Inventory, KeyError> {
    let mut keys: BTreeMap<Vec<u8>, InventoryKey> = BTreeMap::new();
    let _shared = lane.device.index.shared();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        for object in lane.call(|s| s.find_objects(&[Attribute::Class(class), Attribute::Token(true)]))? {
            let found = lane.call(|s| describe(s, object))?;
            let key = keys.entry(found.cka_id.clone()).or_insert(found);
            let count = if class == ObjectClass::PRIVATE_KEY { &mut key.private_keys } else { &mut key.public_keys };
            *count += 1;
        }
    }
    Ok(Inventory { token: lane.device.info.clone(), keys: keys.into_values().collect() })
}

fn describe(session: &Session, object: ObjectHandle) -> P11Result<InventoryKey> {
    let key_type = match attributes::read(session, object, AttributeType::KeyType)? {
        Some(Attribute::KeyType(t)) => t.to_string().trim_start_matches("CKK_").to_owned(),
        _ => "unknown".to_owned(),
    };
    Ok(InventoryKey {
        cka_id: attributes::read_bytes(session, object, AttributeType::Id)?,
        label: String::from_utf8_lossy(&attributes::read_bytes(session, object, AttributeType::Label)?).into_owned(),
        key_type,
        private_keys: 0,
        public_keys: 0,
    })
}
