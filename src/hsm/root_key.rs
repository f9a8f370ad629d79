//! The root key: one pair on each token that makes one signature, always the same, from which the key is derived that wraps the
//! deployment's root secret for this token.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{health::HEALTH_KEY, public_key::PublicKey};
use crate::domain::{KeyId, SigningAlgorithm};

/// Its reserved id, and so its `CKA_ID`: the bytes `passkeyhsm-root!`.
pub const ROOT_KEY: KeyId = KeyId::from_uuid(Uuid::from_bytes(*b"passkeyhsm-root!"));

/// Whether a `CKA_ID` is that of the root key or of the health key, which sign for nobody and are not to be touched.
pub(super) fn is_reserved(cka_id: &[u8]) -> bool {
    cka_id == ROOT_KEY.as_bytes() || cka_id == HEALTH_KEY.as_bytes()
}

/// What it signs, and nothing else. Starts with NUL, which no JWS signing input contains: no other request comes to this signature.
pub(super) const LABEL: &[u8] = b"\0passkey-hsm root secret v1\0";

/// The least bits of its modulus.
const MIN_BITS: u32 = 2048;

/// What a token has to say to whoever opens the root secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct Unlocked {
    /// Serial number of the token.
    pub token_serial: String,
    /// SubjectPublicKeyInfo of its root key, in DER.
    pub public_key: Vec<u8>,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2) over a fixed label. One signature alone verifies for one key and one message, so
    /// that it is the same each time. As secret as what it opens.
    pub signature: Zeroizing<Vec<u8>>,
}

impl Unlocked {
    /// Whether this is what was asked for. A signature that verifies is the one that there is: the padding is compared, not parsed.
    pub(super) fn is_genuine(&self, wanted: Option<&[u8]>) -> bool {
        let verifies = |key: PublicKey| key.rsa_bits().is_some_and(|bits| bits >= MIN_BITS) && key.verify(LABEL, self.signature.as_slice());
        wanted.is_none_or(|wanted| wanted == self.public_key)
            && PublicKey::from_spki(SigningAlgorithm::Rs256, &self.public_key).is_ok_and(verifies)
    }
}

/// Without the signature.
impl fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unlocked({})", self.token_serial)
    }
}

#[cfg(test)]
mod tests {
    use openssl::{
        hash::MessageDigest,
        pkey::{PKey, Private},
        rsa::Rsa,
        sign::Signer,
    };

    use super::*;

    fn unlocked(key: &PKey<Private>, message: &[u8]) -> Unlocked {
        let signature = Signer::new(MessageDigest::sha256(), key).unwrap().sign_oneshot_to_vec(message).unwrap();
        Unlocked { token_serial: "s".to_owned(), public_key: key.public_key_to_der().unwrap(), signature: signature.into() }
    }

    fn key(bits: u32) -> PKey<Private> {
        PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
    }

    #[test]
    fn one_signature_of_a_large_enough_key_is_genuine() {
        let (key, other) = (key(2048), key(2048));
        let good = unlocked(&key, LABEL);
        assert!(good.is_genuine(None) && good.is_genuine(Some(&good.public_key)));
        assert!(!good.is_genuine(Some(&other.public_key_to_der().unwrap())), "another key than the one asked for");
        assert!(!unlocked(&key, b"\0another label").is_genuine(None));
        let mut bent = good.clone();
        bent.signature[100] ^= 1;
        assert!(!bent.is_genuine(None));
        assert!(!Unlocked { public_key: other.public_key_to_der().unwrap(), ..good }.is_genuine(None));
        assert!(!unlocked(&self::key(1024), LABEL).is_genuine(None), "too small to keep anything");
    }

    #[test]
    fn the_signature_is_not_printed() {
        assert_eq!(format!("{:?}", unlocked(&key(2048), LABEL)), "Unlocked(s)");
    }
}
