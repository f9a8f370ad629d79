//! Signatures of every algorithm, checked by OpenSSL.

use openssl::{
    ec::EcKeyRef,
    ecdsa::EcdsaSig,
    error::ErrorStack,
    hash::{MessageDigest, hash},
    nid::Nid,
    pkey::{PKeyRef, Public},
    rsa::Padding,
    sign::{RsaPssSaltlen, Verifier},
};

use super::{
    CoseAlgorithm,
    edwards::Edwards,
    key::{Curve, PublicKey},
};

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key is not of the kind that the algorithm takes.
    #[error("the algorithm {0} does not go with the key")]
    KeyMismatch(CoseAlgorithm),
    /// An algorithm that nothing may be signed with here.
    #[error("signatures of {0} are not accepted")]
    Unsupported(CoseAlgorithm),
    /// It is not a signature of these bytes by this key.
    #[error("the signature does not verify")]
    Invalid,
}

/// How an algorithm signs.
enum Scheme {
    /// The signature is a DER sequence of r and s. The only curve, where the algorithm fixes it.
    Ecdsa(MessageDigest, Option<Curve>),
    RsaPkcs1(MessageDigest),
    /// MGF1 with the same hash, salt as long as the hash (RFC 8230 section 2).
    RsaPss(MessageDigest),
    EdDsa(Option<Edwards>),
}

fn scheme(algorithm: CoseAlgorithm) -> Option<Scheme> {
    use CoseAlgorithm as A;
    Some(match algorithm {
        A::Es256 => Scheme::Ecdsa(MessageDigest::sha256(), None),
        A::Es384 => Scheme::Ecdsa(MessageDigest::sha384(), None),
        A::Es512 => Scheme::Ecdsa(MessageDigest::sha512(), None),
        A::Es256k => Scheme::Ecdsa(MessageDigest::sha256(), Some(Curve::Secp256k1)),
        A::Esp256 => Scheme::Ecdsa(MessageDigest::sha256(), Some(Curve::P256)),
        A::Esp384 => Scheme::Ecdsa(MessageDigest::sha384(), Some(Curve::P384)),
        A::Esp512 => Scheme::Ecdsa(MessageDigest::sha512(), Some(Curve::P521)),
        A::EdDsa => Scheme::EdDsa(None),
        A::Ed25519 => Scheme::EdDsa(Some(Edwards::Ed25519)),
        A::Ed448 => Scheme::EdDsa(Some(Edwards::Ed448)),
        A::Rs256 => Scheme::RsaPkcs1(MessageDigest::sha256()),
        A::Rs384 => Scheme::RsaPkcs1(MessageDigest::sha384()),
        A::Rs512 => Scheme::RsaPkcs1(MessageDigest::sha512()),
        A::Ps256 => Scheme::RsaPss(MessageDigest::sha256()),
        A::Ps384 => Scheme::RsaPss(MessageDigest::sha384()),
        A::Ps512 => Scheme::RsaPss(MessageDigest::sha512()),
        A::Rs1 => return None,
    })
}

/// Checks that `signature` is one of `message` by `key`, made with `algorithm`.
///
/// A certificate's key is no COSE key: ES256 with one on P-384 is a signature like any other, for the algorithm fixes the hash alone
/// (RFC 9053 section 2.1). What a credential's key must be is for [`super::cose`] to say.
pub(super) fn verify(algorithm: CoseAlgorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let scheme = scheme(algorithm).ok_or(SignatureError::Unsupported(algorithm))?;
    let verified = match (scheme, key) {
        (Scheme::Ecdsa(hash, only), PublicKey::Ec(curve, key)) if only.map_or(*curve != Curve::Secp256k1, |only| only == *curve) => {
            verify_ecdsa(hash, key, message, signature)
        }
        (Scheme::RsaPkcs1(hash), PublicKey::Rsa(key)) if is_sane_size(key) => verify_pkcs1(hash, key, message, signature),
        (Scheme::RsaPss(hash), PublicKey::Rsa(key)) if is_sane_size(key) => verify_pss(hash, key, message, signature),
        (Scheme::EdDsa(only), PublicKey::Edwards(curve, key)) if only.is_none_or(|only| only == *curve) => {
            Verifier::new_without_digest(key).and_then(|mut verifier| verifier.verify_oneshot(signature, message))
        }
        _ => return Err(SignatureError::KeyMismatch(algorithm)),
    };
    // Bytes that are no signature at all are an error to OpenSSL; to us they are a signature that does not verify.
    if verified.unwrap_or(false) { Ok(()) } else { Err(SignatureError::Invalid) }
}

/// Checks that `signature` is one of `message` by `key`, made with RS1 (RSASSA-PKCS1-v1_5 with SHA-1), which [`verify`] never accepts. For
/// the TPM's statements alone, whose policy is asked first.
pub(super) fn verify_rs1(key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let verified = match key {
        PublicKey::Rsa(key) if is_sane_size(key) => verify_pkcs1(MessageDigest::sha1(), key, message, signature),
        _ => return Err(SignatureError::KeyMismatch(CoseAlgorithm::Rs1)),
    };
    if verified.unwrap_or(false) { Ok(()) } else { Err(SignatureError::Invalid) }
}

/// RSA keys that are too small to mean anything, or so large that checking them is an attack, are not used.
fn is_sane_size(key: &PKeyRef<Public>) -> bool {
    (2048..=8192).contains(&key.bits())
}

/// With OpenSSL's own key object: through EVP, which first copies each fresh key to a provider, it takes half as long again.
fn verify_ecdsa(digest: MessageDigest, key: &EcKeyRef<Public>, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    let parsed = EcdsaSig::from_der(signature)?;
    // r and s have one form in DER. Any other, and anything after it, is refused.
    Ok(parsed.to_der()? == signature && parsed.verify(&hash(digest, message)?, key)?)
}

/// The method of RFC 8017 section 8.2.2: the encoded message that the signature holds is the one that this message has, all of it. With
/// OpenSSL's own key object, for the same reason as above.
fn verify_pkcs1(digest: MessageDigest, key: &PKeyRef<Public>, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    let key = key.rsa()?;
    let length = signature.len();
    let Some(expected) = encoded(digest, message, length)?.filter(|_| u32::try_from(length).is_ok_and(|length| length == key.size()))
    else {
        return Ok(false);
    };
    let mut held = vec![0; length];
    let held_length = key.public_decrypt(signature, &mut held, Padding::NONE)?;
    Ok(held_length == length && held == expected)
}

/// EMSA-PKCS1-v1_5 (RFC 8017 section 9.2) in so many bytes. `None` if they are too few, or the hash is of no signature here.
fn encoded(digest: MessageDigest, message: &[u8], length: usize) -> Result<Option<Vec<u8>>, ErrorStack> {
    // DER of DigestInfo up to the hash (note 1).
    let info: &[u8] = match digest.type_() {
        Nid::SHA1 => b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
        Nid::SHA256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
        Nid::SHA384 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
        Nid::SHA512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
        _ => return Ok(None),
    };
    let hash = hash(digest, message)?;
    let Some(padding) = length.checked_sub(3 + info.len() + hash.len()).filter(|padding| *padding >= 8) else { return Ok(None) };
    Ok(Some([&[0, 1][..], &vec![0xff; padding], &[0], info, &hash].concat()))
}

fn verify_pss(digest: MessageDigest, key: &PKeyRef<Public>, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    let mut verifier = Verifier::new(digest, key)?;
    verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
    verifier.set_rsa_mgf1_md(digest)?;
    verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
    verifier.verify_oneshot(signature, message)
}

#[cfg(test)]
mod tests {
    use openssl::{
        pkey::{PKey, Private},
        rsa::Rsa,
    };

    use super::*;
    use crate::webauthn::{
        der,
        testing::{KeyPair, sign},
    };

    fn public(key: &KeyPair) -> PublicKey {
        public_half(&key.private)
    }

    fn public_half(key: &PKeyRef<Private>) -> PublicKey {
        PublicKey::from_spki(der::only(der::SEQUENCE, &key.public_key_to_der().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn each_algorithm_verifies_and_refuses() {
        for algorithm in CoseAlgorithm::ALL.into_iter().filter(|a| *a != CoseAlgorithm::Rs1) {
            let key = KeyPair::generate(algorithm);
            let signature = sign(algorithm, &key.private, b"message");
            let check = |message: &[u8], signature: &[u8]| verify(algorithm, &public(&key), message, signature);
            assert_eq!(check(b"message", &signature), Ok(()), "{algorithm}");
            assert_eq!(check(b"massage", &signature), Err(SignatureError::Invalid), "{algorithm}");
            assert_eq!(check(b"message", &[]), Err(SignatureError::Invalid), "{algorithm}");
            assert_eq!(check(b"message", &[&signature[..], &[0]].concat()), Err(SignatureError::Invalid), "{algorithm}");
            assert_eq!(check(b"message", &signature[..signature.len() - 1]), Err(SignatureError::Invalid), "{algorithm}");
        }
    }

    #[test]
    fn an_algorithm_goes_with_its_own_keys_only() {
        use CoseAlgorithm as A;
        for (algorithm, key) in [
            (A::Rs256, A::Es256),
            (A::Es256, A::Rs256),
            (A::Es256, A::Es256k),
            (A::Es256k, A::Es256),
            (A::Esp256, A::Es384),
            (A::Esp384, A::Es256),
            (A::Ed25519, A::Ed448),
            (A::Ed448, A::EdDsa),
            (A::EdDsa, A::Es256),
            (A::Ps256, A::EdDsa),
        ] {
            let key = KeyPair::generate(key);
            assert_eq!(verify(algorithm, &public(&key), b"m", &[0; 64]), Err(SignatureError::KeyMismatch(algorithm)), "{algorithm}");
        }
        let key = KeyPair::generate(A::Rs256);
        assert_eq!(verify(A::Rs1, &public(&key), b"m", &[0; 256]), Err(SignatureError::Unsupported(A::Rs1)));
        assert_eq!(verify(A::Rs512, &public(&key), b"m", &sign(A::Rs256, &key.private, b"m")), Err(SignatureError::Invalid));
        assert_eq!(verify(A::Ps256, &public(&key), b"m", &sign(A::Rs256, &key.private, b"m")), Err(SignatureError::Invalid));
    }

    #[test]
    fn rs1_has_a_door_of_its_own() {
        let key = KeyPair::generate(CoseAlgorithm::Rs256);
        let signature = sign(CoseAlgorithm::Rs1, &key.private, b"message");
        assert_eq!(verify_rs1(&public(&key), b"message", &signature), Ok(()));
        assert_eq!(verify_rs1(&public(&key), b"massage", &signature), Err(SignatureError::Invalid));
        assert_eq!(verify_rs1(&public(&key), b"message", &[]), Err(SignatureError::Invalid));
        let sha256 = sign(CoseAlgorithm::Rs256, &key.private, b"message");
        assert_eq!(verify_rs1(&public(&key), b"message", &sha256), Err(SignatureError::Invalid));
        let small = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
        let mismatch = Err(SignatureError::KeyMismatch(CoseAlgorithm::Rs1));
        assert_eq!(verify_rs1(&public_half(&small), b"m", &sign(CoseAlgorithm::Rs1, &small, b"m")), mismatch);
        assert_eq!(verify_rs1(&public(&KeyPair::generate(CoseAlgorithm::Es256)), b"m", &[0; 64]), mismatch);
    }

    #[test]
    fn small_rsa_keys_do_not_sign() {
        let key = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
        let signature = sign(CoseAlgorithm::Rs256, &key, b"m");
        assert_eq!(
            verify(CoseAlgorithm::Rs256, &public_half(&key), b"m", &signature),
            Err(SignatureError::KeyMismatch(CoseAlgorithm::Rs256))
        );
    }

    #[test]
    fn ecdsa_signatures_have_one_form() {
        let key = KeyPair::generate(CoseAlgorithm::Es256);
        let der = sign(CoseAlgorithm::Es256, &key.private, b"m");
        let signature = EcdsaSig::from_der(&der).unwrap();
        let raw = [signature.r().to_vec_padded(32).unwrap(), signature.s().to_vec_padded(32).unwrap()].concat();
        let long_length = [&[0x30, 0x81, der[1]], &der[2..]].concat();
        let mut padded = der.clone();
        padded.insert(4, 0);
        padded[3] += 1;
        padded[1] += 1;
        let indefinite = [&[0x30, 0x80], &der[2..], &[0, 0]].concat();
        for other in [raw, long_length, padded, indefinite] {
            assert_eq!(verify(CoseAlgorithm::Es256, &public(&key), b"m", &other), Err(SignatureError::Invalid), "{other:02x?}");
        }
    }
    /// RFC 8017 section 8.2.2, note: what a lenient reader of the encoded message takes, a forger makes.
    #[test]
    fn rsa_signatures_hold_one_encoded_message() {
        use CoseAlgorithm as A;
        let key = KeyPair::generate(A::Rs256);
        let rsa = key.private.rsa().unwrap();
        let check = |algorithm, encoded: &[u8]| {
            let mut signature = vec![0; 256];
            rsa.private_encrypt(encoded, &mut signature, Padding::NONE).unwrap();
            verify(algorithm, &public(&key), b"m", &signature)
        };
        for (algorithm, digest) in
            [(A::Rs256, MessageDigest::sha256()), (A::Rs384, MessageDigest::sha384()), (A::Rs512, MessageDigest::sha512())]
        {
            let good = encoded(digest, b"m", 256).unwrap().unwrap();
            assert_eq!(check(algorithm, &good), Ok(()), "{algorithm}");
            for at in [1, 2, 9, 200, 255] {
                let mut other = good.clone();
                other[at] ^= 1;
                assert_eq!(check(algorithm, &other), Err(SignatureError::Invalid), "{algorithm} {at}");
            }
            // Less padding, and bytes after the hash.
            let short = [&encoded(digest, b"m", 248).unwrap().unwrap()[..], &[0; 8]].concat();
            assert_eq!(check(algorithm, &short), Err(SignatureError::Invalid), "{algorithm}");
        }
        assert_eq!(encoded(MessageDigest::sha512(), b"m", 93).unwrap(), None);
        assert_eq!(encoded(MessageDigest::md5(), b"m", 256).unwrap(), None);
        // As long as the modulus and not less than it.
        assert_eq!(verify(A::Rs256, &public(&key), b"m", &[0xff; 256]), Err(SignatureError::Invalid));
    }
}
