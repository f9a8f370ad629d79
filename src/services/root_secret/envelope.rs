//! The root secret as it is stored: sealed with AES-256-GCM under a key that only the token's signature leads to.

use openssl::{
    error::ErrorStack,
    symm::{Cipher, decrypt_aead, encrypt_aead},
};
use zeroize::Zeroizing;

use super::{Secret, derivation::envelope_key};
use crate::{
    domain::{Rng, Timestamp},
    hsm::Unlocked,
    storage::RootEnvelope,
};

const NONCE: usize = 12;
const TAG: usize = 16;

/// Seals the secret for the token that made this signature.
pub(super) fn seal(secret: &Secret, unlocked: &Unlocked, rng: &dyn Rng, now: Timestamp) -> Result<RootEnvelope, ErrorStack> {
    let key = envelope_key(&unlocked.signature, &unlocked.token_serial)?;
    // Random: a token's key seals a handful of times in its life.
    let nonce = rng.bytes::<NONCE>();
    let mut tag = [0; TAG];
    let aad = aad(&unlocked.token_serial, &unlocked.public_key);
    let sealed = encrypt_aead(Cipher::aes_256_gcm(), key.as_slice(), Some(&nonce), &aad, secret.as_slice(), &mut tag)?;
    Ok(RootEnvelope {
        token_serial: unlocked.token_serial.clone(),
        public_key: unlocked.public_key.clone(),
        envelope: [nonce.as_slice(), &sealed, &tag].concat(),
        created_at: now,
    })
}

/// The secret; `None` when this is not what was sealed for this token and this key.
pub(super) fn open_envelope(sealed: &RootEnvelope, unlocked: &Unlocked) -> Result<Option<Secret>, ErrorStack> {
    let Some((nonce, rest)) = sealed.envelope.split_first_chunk::<NONCE>() else { return Ok(None) };
    let Some((ciphertext, tag)) = rest.split_last_chunk::<TAG>() else { return Ok(None) };
    let key = envelope_key(&unlocked.signature, &unlocked.token_serial)?;
    let aad = aad(&sealed.token_serial, &sealed.public_key);
    let opened = decrypt_aead(Cipher::aes_256_gcm(), key.as_slice(), Some(nonce), &aad, ciphertext, tag);
    let Ok(opened) = opened.map(Zeroizing::new) else { return Ok(None) };
    let mut secret = Secret::default();
    if opened.len() != secret.len() {
        return Ok(None);
    }
    secret.copy_from_slice(&opened);
    Ok(Some(secret))
}

/// Which token and key it is for; the length keeps the one from running into the other.
fn aad(token_serial: &str, public_key: &[u8]) -> Vec<u8> {
    let length = u64::try_from(token_serial.len()).unwrap_or(u64::MAX).to_be_bytes();
    [length.as_slice(), token_serial.as_bytes(), public_key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemRng;

    fn unlocked(serial: &str, public_key: &[u8], signature: u8) -> Unlocked {
        Unlocked { token_serial: serial.to_owned(), public_key: public_key.to_vec(), signature: Zeroizing::new(vec![signature; 384]) }
    }

    fn sealed(secret: &Secret, by: &Unlocked) -> RootEnvelope {
        seal(secret, by, &SystemRng, Timestamp::from_millis(5)).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_signature() {
        let (secret, token) = (Secret::new([9; 32]), unlocked("serial", b"key", 3));
        let (first, second) = (sealed(&secret, &token), sealed(&secret, &token));
        assert_eq!(first.envelope.len(), 60);
        assert_ne!(first.envelope, second.envelope, "no nonce twice");
        assert!(!first.envelope.windows(8).any(|w| w == [9; 8]));
        for envelope in [first, second] {
            assert_eq!(open_envelope(&envelope, &token).unwrap(), Some(secret.clone()));
        }
    }

    #[test]
    fn nothing_else_opens_it() {
        let (secret, token) = (Secret::new([9; 32]), unlocked("serial", b"key", 3));
        let good = sealed(&secret, &token);
        let opens = |envelope: &RootEnvelope, by: &Unlocked| open_envelope(envelope, by).unwrap().is_some();
        assert!(opens(&good, &token));
        assert!(!opens(&good, &unlocked("serial", b"key", 4)), "another key's signature");
        assert!(!opens(&good, &unlocked("other", b"key", 3)), "another token's serial number");
        assert!(!opens(&RootEnvelope { token_serial: "other".to_owned(), ..good.clone() }, &token), "moved to another token's row");
        assert!(!opens(&RootEnvelope { public_key: b"kez".to_vec(), ..good.clone() }, &token), "under another public key");
        // What one field loses the other does not gain.
        assert!(!opens(&RootEnvelope { token_serial: "seria".to_owned(), public_key: b"lkey".to_vec(), ..good.clone() }, &token));
        for at in 0..good.envelope.len() {
            let mut bent = good.clone();
            bent.envelope[at] ^= 1;
            assert!(!opens(&bent, &token), "byte {at}");
        }
        for length in 0..good.envelope.len() {
            assert!(!opens(&RootEnvelope { envelope: good.envelope[..length].to_vec(), ..good.clone() }, &token), "{length} bytes");
        }
        assert!(!opens(&RootEnvelope { envelope: [good.envelope.as_slice(), &[0]].concat(), ..good.clone() }, &token));
    }
}
