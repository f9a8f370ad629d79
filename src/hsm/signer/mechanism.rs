//! How a token makes each algorithm's signature: over a digest made here (the raw mechanisms, which every module has), or over the message
//! (the combined ones, which FIPS modules may insist on). Which one works is found by a real signature, verified, at an algorithm's first
//! use: mechanism lists lie in both directions.

use std::sync::atomic::{AtomicU8, Ordering};

use cryptoki::{
    error::Result,
    mechanism::{
        Mechanism, MechanismType,
        eddsa::{EddsaParams, EddsaSignatureScheme},
        rsa::{PkcsMgfType, PkcsPssParams},
    },
    object::ObjectHandle,
    session::Session,
};
use openssl::sha::{sha256, sha384};

use super::{
    fault::{self, Class},
    lane::Lane,
};
use crate::{domain::SigningAlgorithm, hsm::public_key::PublicKey};

/// Where messages are hashed first, if the token has both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hashing {
    /// Here; the token signs the digest. Works with every module that has the key type.
    #[default]
    Raw,
    /// In the token.
    Combined,
}

/// DigestInfo of SHA-256 up to the digest (RFC 8017 section 9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// Zero stands for not known yet.
const RAW: u8 = 1;
const COMBINED: u8 = 2;

/// What this process has found out about its token.
pub(super) struct Mechanisms {
    preferred: Hashing,
    known: [AtomicU8; SigningAlgorithm::ALL.len()],
}

impl Mechanisms {
    pub(super) fn new(preferred: Hashing) -> Self {
        Self { preferred, known: Default::default() }
    }

    /// A signature in JOSE form over `message`.
    ///
    /// At the first use of an algorithm the signature is compared with `public_key`, and the other way is tried if it does not verify.
    /// One that verifies in neither way is returned nevertheless: it is the caller who judges signatures, and the key may be the wrong one.
    pub(super) fn sign(
        &self,
        lane: &mut Lane,
        key: ObjectHandle,
        algorithm: SigningAlgorithm,
        message: &[u8],
        public_key: impl FnOnce() -> Option<PublicKey>,
    ) -> Result<Vec<u8>> {
        let known = &self.known[algorithm as usize];
        match known.load(Ordering::Relaxed) {
            RAW => lane.call(|session| sign(session, key, algorithm, Hashing::Raw, message)),
            COMBINED => lane.call(|session| sign(session, key, algorithm, Hashing::Combined, message)),
            _ => self.negotiate(lane, key, algorithm, message, public_key().as_ref()),
        }
    }

    fn negotiate(
        &self,
        lane: &mut Lane,
        key: ObjectHandle,
        algorithm: SigningAlgorithm,
        message: &[u8],
        public_key: Option<&PublicKey>,
    ) -> Result<Vec<u8>> {
        let (second, first_code, second_code) = match self.preferred {
            Hashing::Raw => (Hashing::Combined, RAW, COMBINED),
            Hashing::Combined => (Hashing::Raw, COMBINED, RAW),
        };
        let mut last = None;
        for (hashing, code) in [(self.preferred, first_code), (second, second_code)] {
            match lane.call(|session| sign(session, key, algorithm, hashing, message)) {
                Ok(signature) if public_key.is_some_and(|k| k.verify(message, &signature)) => {
                    self.known[algorithm as usize].store(code, Ordering::Relaxed);
                    return Ok(signature);
                }
                Ok(signature) => last = Some(Ok(signature)),
                Err(error) if matches!(fault::classify(&error), Class::Mechanism | Class::Refused) => {
                    lane.renew()?;
                    last.get_or_insert(Err(error));
                }
                Err(error) => return Err(error),
            }
            if algorithm == SigningAlgorithm::EdDsa {
                break; // one way only: Ed25519 hashes twice, so that the message itself goes in
            }
        }
        last.unwrap_or(Err(cryptoki::error::Error::NotSupported))
    }
}

/// One signature in one way. Ends the operation in every case, so that only an error makes the session suspect.
pub(super) fn sign(session: &Session, key: ObjectHandle, algorithm: SigningAlgorithm, hashing: Hashing, message: &[u8]) -> Result<Vec<u8>> {
    use SigningAlgorithm as A;
    let pss = PkcsPssParams { hash_alg: MechanismType::SHA256, mgf: PkcsMgfType::MGF1_SHA256, s_len: 32.into() };
    match (algorithm, hashing) {
        (A::Es256, Hashing::Raw) => session.sign(&Mechanism::Ecdsa, key, &sha256(message)),
        (A::Es256, Hashing::Combined) => session.sign(&Mechanism::EcdsaSha256, key, message),
        (A::Es384, Hashing::Raw) => session.sign(&Mechanism::Ecdsa, key, &sha384(message)),
        (A::Es384, Hashing::Combined) => session.sign(&Mechanism::EcdsaSha384, key, message),
        (A::Rs256, Hashing::Raw) => {
            let info = [SHA256_DIGEST_INFO.as_slice(), &sha256(message)].concat();
            session.sign(&Mechanism::RsaPkcs, key, &info)
        }
        (A::Rs256, Hashing::Combined) => session.sign(&Mechanism::Sha256RsaPkcs, key, message),
        (A::Ps256, Hashing::Raw) => session.sign(&Mechanism::RsaPkcsPss(pss), key, &sha256(message)),
        (A::Ps256, Hashing::Combined) => session.sign(&Mechanism::Sha256RsaPkcsPss(pss), key, message),
        (A::EdDsa, _) => session.sign(&Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)), key, message),
    }
}
