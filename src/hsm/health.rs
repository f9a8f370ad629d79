//! The health key: one pair on each token that signs for nobody. A signature by it, verified, is the only proof that a token works: a
//! module whose token is gone goes on to say that sessions are open and that there are no objects.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use super::{protocol::HealthProof, public_key::PublicKey};
use crate::domain::KeyId;

/// Its reserved id, and so its `CKA_ID`: the bytes `passkeyhsmhealth`.
pub const HEALTH_KEY: KeyId = KeyId::from_uuid(Uuid::from_bytes(*b"passkeyhsmhealth"));

/// What it signs. Starts with NUL, which no JWS signing input contains, so that its signatures are good for nothing else.
pub(super) fn message(nonce: u64) -> Vec<u8> {
    [b"\0passkey-hsm health v1\0".as_slice(), &nonce.to_be_bytes()].concat()
}

/// Tells health signatures apart, so that none answers for another.
pub(super) fn next_nonce() -> u64 {
    static NONCE: AtomicU64 = AtomicU64::new(1);
    NONCE.fetch_add(1, Ordering::Relaxed)
}

/// Whether the proof is what was asked for.
pub(super) fn proves(proof: &HealthProof, nonce: u64) -> bool {
    PublicKey::from_spki(proof.algorithm, &proof.public_key).is_ok_and(|key| key.verify(&message(nonce), &proof.signature))
}
