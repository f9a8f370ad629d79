//! Signatures of every algorithm, checked by OpenSSL.

use openssl::{
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{Id, PKeyRef, Public},
    rsa::Padding,
    sign::{RsaPssSaltlen, Verifier},
};

use super::CoseAlgorithm;

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
    Ecdsa(MessageDigest, Option<Nid>),
    RsaPkcs1(MessageDigest),
    /// MGF1 with the same hash, salt as long as the hash (RFC 8230 section 2).
    RsaPss(MessageDigest),
    EdDsa(Option<Id>),
}

fn scheme(algorithm: CoseAlgorithm) -> Option<Scheme> {
    use CoseAlgorithm as A;
    Some(match algorithm {
        A::Es256 => Scheme::Ecdsa(MessageDigest::sha256(), None),
        A::Es384 => Scheme::Ecdsa(MessageDigest::sha384(), None),
        A::Es512 => Scheme::Ecdsa(MessageDigest::sha512(), None),
        A::Es256k => Scheme::Ecdsa(MessageDigest::sha256(), Some(Nid::SECP256K1)),
        A::Esp256 => Scheme::Ecdsa(MessageDigest::sha256(), Some(Nid::X9_62_PRIME256V1)),
        A::Esp384 => Scheme::Ecdsa(MessageDigest::sha384(), Some(Nid::SECP384R1)),
        A::Esp512 => Scheme::Ecdsa(MessageDigest::sha512(), Some(Nid::SECP521R1)),
        A::EdDsa => Scheme::EdDsa(None),
        A::Ed25519 => Scheme::EdDsa(Some(Id::ED25519)),
        A::Ed448 => Scheme::EdDsa(Some(Id::ED448)),
        A::Rs256 => Scheme::RsaPkcs1(MessageDigest::sha256()),
        A::Rs384 => Scheme::RsaPkcs1(MessageDigest::sha384()),
        A::Rs512 => Scheme::RsaPkcs1(MessageDigest::sha512()),
        A::Ps256 => Scheme::RsaPss(MessageDigest::sha256()),
        A::Ps384 => Scheme::RsaPss(MessageDigest::sha384()),
        A::Ps512 => Scheme::RsaPss(MessageDigest::sha512()),
        A::Rs1 => return None,
    })
}

impl Scheme {
    fn takes(&self, key: &PKeyRef<Public>) -> bool {
        match self {
            Self::Ecdsa(_, only) => key.ec_key().ok().and_then(|key| key.group().curve_name()).is_some_and(|curve| match only {
                Some(only) => curve == *only,
                // A certificate's key is no COSE key: the algorithm fixes the hash alone (RFC 9053 section 2.1).
                None => matches!(curve, Nid::X9_62_PRIME256V1 | Nid::SECP384R1 | Nid::SECP521R1),
            }),
            Self::RsaPkcs1(_) => key.id() == Id::RSA && is_sane_size(key),
            Self::RsaPss(_) => matches!(key.id(), Id::RSA | Id::RSA_PSS) && is_sane_size(key),
            Self::EdDsa(None) => matches!(key.id(), Id::ED25519 | Id::ED448),
            Self::EdDsa(Some(only)) => key.id() == *only,
        }
    }

    fn verify(&self, key: &PKeyRef<Public>, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let mut verifier = match self {
            // OpenSSL writes r and s anew and compares: a signature in any form but DER's one is refused.
            Self::Ecdsa(hash, _) | Self::RsaPkcs1(hash) => Verifier::new(*hash, key)?,
            Self::RsaPss(hash) => {
                let mut verifier = Verifier::new(*hash, key)?;
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                verifier.set_rsa_mgf1_md(*hash)?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                verifier
            }
            Self::EdDsa(_) => Verifier::new_without_digest(key)?,
        };
        verifier.verify_oneshot(signature, message)
    }
}

/// RSA keys that are too small to mean anything, or so large that checking them is an attack, are not used.
fn is_sane_size(key: &PKeyRef<Public>) -> bool {
    (2048..=8192).contains(&key.bits())
}

/// Checks that `signature` is one of `message` by `key`, made with `algorithm`.
pub(super) fn verify(algorithm: CoseAlgorithm, key: &PKeyRef<Public>, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let scheme = scheme(algorithm).ok_or(SignatureError::Unsupported(algorithm))?;
    if !scheme.takes(key) {
        return Err(SignatureError::KeyMismatch(algorithm));
    }
    // Bytes that are no signature at all are an error to OpenSSL; to us they are a signature that does not verify.
    if scheme.verify(key, message, signature).unwrap_or(false) { Ok(()) } else { Err(SignatureError::Invalid) }
}

#[cfg(test)]
mod tests {
    use openssl::{ecdsa::EcdsaSig, pkey::PKey, rsa::Rsa};

    use super::*;
    use crate::webauthn::testing::{KeyPair, sign};

    fn public(key: &KeyPair) -> PKey<Public> {
        PKey::public_key_from_der(&key.private.public_key_to_der().unwrap()).unwrap()
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
    fn small_rsa_keys_do_not_sign() {
        let key = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
        let signature = sign(CoseAlgorithm::Rs256, &key, b"m");
        let public = PKey::public_key_from_der(&key.public_key_to_der().unwrap()).unwrap();
        assert_eq!(verify(CoseAlgorithm::Rs256, &public, b"m", &signature), Err(SignatureError::KeyMismatch(CoseAlgorithm::Rs256)));
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
}
