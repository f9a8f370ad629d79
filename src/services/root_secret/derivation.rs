//! What is derived, by HKDF-SHA-256 (RFC 5869), from the root secret and from the signatures that open it.

use openssl::{error::ErrorStack, md::Md, pkey::Id, pkey_ctx::PkeyCtx};
use zeroize::Zeroizing;

use super::Secret;
use crate::storage::RootFingerprint;

/// The key that an envelope is sealed with. The signature is RSA's: long, secret, and with less than a bit of entropy in each of its bits.
pub(super) fn envelope_key(signature: &[u8], token_serial: &str) -> Result<Zeroizing<[u8; 32]>, ErrorStack> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf(signature, &[], &[b"passkey-hsm root envelope v1\0", token_serial.as_bytes()].concat(), key.as_mut_slice())?;
    Ok(key)
}

/// Tells one secret from another, and nothing else of it.
pub(super) fn fingerprint(secret: &Secret) -> Result<RootFingerprint, ErrorStack> {
    let mut fingerprint = RootFingerprint::default();
    hkdf(secret.as_slice(), &[], b"passkey-hsm root fingerprint v1", &mut fingerprint)?;
    Ok(fingerprint)
}

/// A key for one purpose.
pub(super) fn subkey(secret: &Secret, purpose: &str) -> Result<Zeroizing<[u8; 32]>, ErrorStack> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf(secret.as_slice(), &[], &[b"passkey-hsm root subkey v1\0", purpose.as_bytes()].concat(), key.as_mut_slice())?;
    Ok(key)
}

fn hkdf(key: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), ErrorStack> {
    let mut context = PkeyCtx::new_id(Id::HKDF)?;
    context.derive_init()?;
    context.set_hkdf_md(Md::sha256())?;
    context.set_hkdf_salt(salt)?;
    context.set_hkdf_key(key)?;
    context.add_hkdf_info(info)?;
    context.derive(Some(out))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 5869 appendix A.1, A.2 and A.3.
    #[test]
    fn the_rfcs_test_vectors() {
        let range = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        let cases = [
            (
                vec![0x0b; 22],
                range(0x00, 0x0c),
                range(0xf0, 0xf9),
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                range(0x00, 0x4f),
                range(0x60, 0xaf),
                range(0xb0, 0xff),
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
                 cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                vec![0x0b; 22],
                Vec::new(),
                Vec::new(),
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ];
        for (key, salt, info, expected) in cases {
            let expected = bytes(expected);
            let mut out = vec![0; expected.len()];
            hkdf(&key, &salt, &info, &mut out).unwrap();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn what_is_derived_for_one_thing_is_not_for_another() {
        let secret = Secret::new([7; 32]);
        let keys = [
            subkey(&secret, "a").unwrap(),
            subkey(&secret, "b").unwrap(),
            subkey(&secret, "").unwrap(),
            envelope_key(secret.as_slice(), "a").unwrap(),
            envelope_key(secret.as_slice(), "b").unwrap(),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().map(|key| key.to_vec()).collect();
        assert_eq!(distinct.len(), keys.len());
        let fingerprint = fingerprint(&secret).unwrap();
        assert!(keys.iter().all(|key| key[..16] != fingerprint));
        assert_ne!(fingerprint, self::fingerprint(&Secret::new([8; 32])).unwrap());
    }
}
