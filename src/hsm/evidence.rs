//! Evidence of a key's birth: what the token said of it, signed by the key itself.

use serde_json::{Value, json};

use super::{
    TokenInfo,
    public_key::{PublicKey, PublicKeyError},
};
use crate::domain::{KeyEvidence, KeyId, SigningAlgorithm, Timestamp};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// What precedes the record under the signature. Its NUL bytes occur in no JWS signing input (RFC 7515 section 5.1: base64url and a dot),
/// so that evidence never is a token and no token ever is evidence.
pub const EVIDENCE_PREFIX: &[u8] = b"\0passkey-hsm key evidence v1\0";

/// What precedes key id and nonce under a proof of possession, and is no JWS signing input either.
pub const PROOF_PREFIX: &[u8] = b"\0passkey-hsm key proof v1\0";

/// What goes into a record.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) kid: KeyId,
    pub(super) algorithm: SigningAlgorithm,
    pub(super) token: &'a TokenInfo,
    /// Names and values as read back from the token.
    pub(super) attributes: serde_json::Map<String, Value>,
    pub(super) public_key: &'a PublicKey,
    /// Whether the pair was there already, made by an attempt whose answer was lost.
    pub(super) taken_over: bool,
    /// `generated`, or `adopted` for one that somebody else made.
    pub(super) origin: &'static str,
    /// Who asked for it; empty where nobody did.
    pub(super) actor: &'a str,
    pub(super) now: Timestamp,
}

/// The record: a JSON object in one line.
pub(super) fn record(facts: &Facts) -> Result<String, PublicKeyError> {
    let mut record = json!({
        "evidence": "passkey-hsm key evidence v1",
        "kid": facts.kid,
        "algorithm": facts.algorithm,
        "token": {
            "label": facts.token.label,
            "serial": facts.token.serial,
            "manufacturer": facts.token.manufacturer,
            "model": facts.token.model,
            "firmware": facts.token.firmware,
        },
        "module": { "path": facts.token.module, "sha256": facts.token.module_sha256, "library": facts.token.library },
        "attributes": facts.attributes,
        "public_key": URL_SAFE_NO_PAD.encode(facts.public_key.to_spki()?),
        "thumbprint": facts.public_key.thumbprint()?,
        "taken_over": facts.taken_over,
        "origin": facts.origin,
        "time": facts.now.to_string(),
    });
    if !facts.actor.is_empty() {
        record["actor"] = facts.actor.into();
    }
    Ok(record.to_string())
}

/// The bytes that are signed.
pub(super) fn message(record: &str) -> Vec<u8> {
    [EVIDENCE_PREFIX, record.as_bytes()].concat()
}

/// The bytes that prove possession: `nonce` is fresh at each proof.
pub(super) fn proof_message(kid: KeyId, nonce: &[u8; 32]) -> Vec<u8> {
    [PROOF_PREFIX, kid.as_bytes().as_slice(), nonce].concat()
}

/// Whether `signature` (JOSE form) is a proof of possession for `kid` and `nonce` by the key whose SubjectPublicKeyInfo is `public_key`.
pub fn verify_proof(algorithm: SigningAlgorithm, public_key: &[u8], kid: KeyId, nonce: &[u8; 32], signature: &[u8]) -> bool {
    PublicKey::from_spki(algorithm, public_key).is_ok_and(|key| key.verify(&proof_message(kid, nonce), signature))
}

/// Whether `evidence` was signed by the key whose SubjectPublicKeyInfo is `public_key`. Says nothing of what the record says.
pub fn verify_evidence(algorithm: SigningAlgorithm, public_key: &[u8], evidence: &KeyEvidence) -> bool {
    PublicKey::from_spki(algorithm, public_key).is_ok_and(|key| key.verify(&message(&evidence.record), &evidence.signature))
}
